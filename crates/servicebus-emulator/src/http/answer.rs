//! What is answered: [`Answer`].

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use uuid::Uuid;

use super::xml::escape;
use crate::namespace::Refusal;

/// Of entries and feeds.
pub(crate) const ATOM: &str = "application/atom+xml;type=entry;charset=utf-8";

/// A status, headers and a body.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Answer {
    /// A status alone.
    pub(crate) fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn with_body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }.with_header(CONTENT_TYPE.as_str(), content_type)
    }

    /// Leaves a header out that HTTP could not carry.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.headers.push((name, value));
        }
        self
    }

    /// As the service says why not.
    pub(crate) fn refused(why: &Refusal) -> Self {
        Self::error(why.status(), sub_code(why), &why.description())
    }

    /// An error with a status that is none of [`Refusal`]'s.
    pub(crate) fn error(status: u16, sub_code: u32, detail: &str) -> Self {
        let detail = escape(detail);
        let tracking = Uuid::new_v4();
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        let body = format!(
            "<Error><Code>{status}</Code><Detail>SubCode={sub_code}. {detail} To know more visit \
             https://aka.ms/sbResourceMgrExceptions. TrackingId:{tracking}_E, SystemTracker:emulator, \
             Timestamp:{now}</Detail></Error>"
        );
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status).with_body("application/xml; charset=utf-8", body)
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        response.headers_mut().extend(answer.headers);
        response
    }
}

fn sub_code(why: &Refusal) -> u32 {
    match why {
        Refusal::Unauthorized(what) if what.starts_with("MissingToken") => 40102,
        Refusal::Unauthorized(what) if what.starts_with("Unauthorized") => 40100,
        Refusal::Unauthorized(_) => 40103,
        Refusal::QuotaExceeded(_) => 40300,
        Refusal::ServerBusy => 50009,
        other => u32::from(other.status()) * 100,
    }
}
