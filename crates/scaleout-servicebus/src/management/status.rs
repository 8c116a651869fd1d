//! What the status of an answer means.
//!
//! Source: "Service Bus messaging exceptions" and "Service Bus Resource Manager exceptions" in the documentation of Azure.

use std::time::Duration;

use hyper::StatusCode;

use crate::{
    error::Failure,
    management::{atom, http::Answer},
};

/// What an answer that is no success means; `what` is what was asked for, such as `topic scaleout-chat-0`.
pub(crate) fn refusal(answer: &Answer, what: &str) -> Failure {
    let detail = atom::detail(&answer.body);
    let sub_code = sub_code(&detail);
    let busy = |detail: String| {
        let wait = answer.retry_after.or_else(|| asked_wait(&detail)).map(|wait| wait.min(LONGEST_WAIT));
        Failure::Busy { wait, detail }
    };
    match answer.status {
        StatusCode::UNAUTHORIZED => Failure::Unauthorized(detail),
        StatusCode::FORBIDDEN if is_about_rights(&detail) => Failure::Unauthorized(detail),
        StatusCode::NOT_FOUND | StatusCode::GONE => Failure::NotFound(what.to_owned()),
        StatusCode::CONFLICT if sub_code == Some(OPERATION_IN_PROGRESS) => busy(detail),
        // Some answers of that meaning have no number.
        StatusCode::CONFLICT if detail.contains("conflicting operation") => busy(detail),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => busy(detail),
        status if status.is_redirection() => Failure::Foreign(format!(
            "it redirects (status {}), which Service Bus never does",
            status.as_u16()
        )),
        status => Failure::Http { status: status.as_u16(), sub_code, detail },
    }
}

/// The number of `SubCode=40901. …`.
fn sub_code(detail: &str) -> Option<u32> {
    let (_, rest) = detail.split_once("SubCode=")?;
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The seconds of "Please wait 2 seconds and try again".
fn asked_wait(detail: &str) -> Option<Duration> {
    let (_, rest) = detail.split_once("wait ")?;
    let (seconds, rest) = rest.split_once(' ')?;
    rest.starts_with("second").then(|| seconds.parse().ok().map(Duration::from_secs))?
}

/// Whether a 403 is about the caller, as those of quotas are not: a missing claim, a firewall.
fn is_about_rights(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    ["unauthorized", "authoriz", "claim", "permission", "ip has been prevented", "public network access"]
        .iter()
        .any(|word| detail.contains(word))
}

/// Another operation on the entity is under way.
const OPERATION_IN_PROGRESS: u32 = 40_901;

/// Nobody is asked to wait for longer; what is answered beyond that is not believed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Failure {
        let answer = Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            retry_after: None,
            date: None,
            body: body.to_owned().into(),
        };
        refusal(&answer, "topic t")
    }

    fn error(detail: &str) -> String {
        format!("<Error><Code>0</Code><Detail>{detail}</Detail></Error>")
    }

    #[test]
    fn each_status_has_its_meaning() {
        let busy = |failure| matches!(failure, Failure::Busy { wait: None, .. });
        assert!(busy(of(409, &error("SubCode=40901. Another conflicting operation is in progress."))));
        assert!(busy(of(
            409,
            &error("Resource Conflict Occurred. Another conflicting operation may be in progress.")
        )));
        assert!(busy(of(429, "")));
        assert!(busy(of(503, "<html>no XML")));
        assert!(matches!(of(409, &error("SubCode=40900. Conflict.")),
            Failure::Http { status: 409, sub_code: Some(40_900), detail } if detail == "SubCode=40900. Conflict."));
        assert!(matches!(of(401, &error("no")), Failure::Unauthorized(detail) if detail == "no"));
        assert!(matches!(of(403, &error("Manage claim is required")), Failure::Unauthorized(_)));
        assert!(matches!(of(403, &error("Ip has been prevented to connect")), Failure::Unauthorized(_)));
        assert!(matches!(
            of(403, &error("SubCode=40300. The quota is exceeded")),
            Failure::Http { status: 403, sub_code: Some(40_300), .. }
        ));
        assert!(matches!(of(404, ""), Failure::NotFound(what) if what == "topic t"));
        assert!(matches!(of(410, ""), Failure::NotFound(_)));
        assert!(matches!(of(301, ""), Failure::Foreign(_)));
        assert!(
            matches!(of(500, "text"), Failure::Http { status: 500, sub_code: None, detail } if detail == "text")
        );
        assert!(matches!(of(400, &error("SubCode=x")), Failure::Http { status: 400, sub_code: None, .. }));
    }

    #[test]
    fn a_wait_that_is_asked_for_is_taken_over() {
        let wait = |text: &str| match of(503, &error(text)) {
            Failure::Busy { wait, .. } => wait.map(|wait| wait.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait("The request was terminated. Please wait 2 seconds and try again."), Some(2));
        assert_eq!(wait("Please wait 86400 seconds"), Some(30));
        assert_eq!(wait("Please wait some seconds"), None);
        assert_eq!(wait("Please wait"), None);
    }

    #[test]
    fn a_detail_is_one_line_of_bounded_length() {
        assert_eq!(atom::detail(b"<Error><Detail>a\n  b\tc</Detail></Error>"), "a b c");
        assert_eq!(atom::detail(b"<string>\nwhy </string>"), "why");
        assert_eq!(atom::detail(b"<Error><Code>1</Code></Error>"), "");
        assert_eq!(atom::detail(b"\xff\r\nHost: x"), "\u{fffd} Host: x");
        assert_eq!(atom::detail("ä".repeat(5_000).as_bytes()).chars().count(), 300);
    }
}
