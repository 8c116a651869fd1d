//! The twin of `metrics.rs` without feature `metrics`: nothing is measured, and nothing is paid.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use tokio::task::AbortHandle;

use super::Inner;
use crate::{AppName, queue::Attempt};

pub(super) struct Metrics;

pub(super) struct Measured;

pub(super) fn spawn(_: &Arc<Inner>) -> Option<AbortHandle> {
    None
}

impl Metrics {
    pub(super) fn register(_: &AppName, _: NonZeroU16) -> Self {
        Self
    }

    pub(super) fn measure(&self, attempt: &Attempt, _: Duration) -> Measured {
        // Nobody else wants to know.
        let _ = attempt.messages;
        Measured
    }

    pub(super) fn sent(&self, _: &Measured, _: Duration) {}

    pub(super) fn received(&self, _: u64) {}

    pub(super) fn export(&self, _: &Inner) {}
}
