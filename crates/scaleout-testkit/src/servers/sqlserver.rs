//! The SQL Server that somebody named: there is none that a test could start itself.

use std::env;

use super::skip::skip;

/// The settings of the server that the environment variable `SCALEOUT_TEST_SQLSERVER` names, with `app` added to them; where
/// it names none, `None`, and says aloud that `test` is skipped.
///
/// They are a URL or a connection string of ADO.NET, for a user who may create and drop schemas in the database.
///
/// # Panics
/// Where it names none, and the environment variable `SCALEOUT_TEST_REQUIRE` is `all` or names `sqlserver`
/// (comma-separated).
#[must_use]
pub fn sqlserver_settings(test: &str, app: &str) -> Option<String> {
    let Some(text) = env::var("SCALEOUT_TEST_SQLSERVER").ok().filter(|text| !text.is_empty()) else {
        skip(test, "sqlserver", "SCALEOUT_TEST_SQLSERVER names no SQL Server");
        return None;
    };
    let separator = match (text.split_once("://"), text.contains('?')) {
        // A password of the other form may well hold `://`.
        (Some((scheme, _)), has_query) if !scheme.contains('=') => {
            if has_query {
                '&'
            } else {
                '?'
            }
        }
        _ => ';',
    };
    Some(format!("{text}{separator}app={app}"))
}
