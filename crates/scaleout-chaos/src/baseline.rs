//! A bare loop in the place of a node.

use anyhow::Result;

/// # Errors
/// Always.
pub(crate) async fn run() -> Result<()> {
    anyhow::bail!("soon")
}
