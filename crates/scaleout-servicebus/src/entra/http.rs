//! The HTTP client that credentials ask with: rustls with ring, as for all else, and nothing that is kept.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    error::{Error as AzureError, ErrorKind as AzureErrorKind, Result as AzureResult},
    http::{AsyncRawResponse, Body, HttpClient, Request as AzureRequest, headers::Headers},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use scaleout_core::Error;
use tokio::time::timeout;

use crate::{
    config::{ManagementUrl, tls_of},
    error::Failure,
    management::http::{Http, failed, read},
};

/// What is answered is a token, or why there is none.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// For a connection, and once more for the answer. A token is asked for minutes before it is needed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks whoever gives tokens, on a new connection each time.
#[derive(Debug)]
pub(super) struct HttpsClient {
    tls: Arc<ClientConfig>,
}

impl HttpsClient {
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config) where the operating system knows no authorities.
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self { tls: tls_of(None)? })
    }

    async fn ask(&self, request: &AzureRequest) -> Result<AsyncRawResponse, Failure> {
        let no_request = || Failure::Foreign("a request for a token that is none".into());
        let url = request.url();
        // An IPv6 address is in brackets there.
        let host = url.host_str().ok_or_else(no_request)?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or_else(no_request)?;
        let place = ManagementUrl { tls: url.scheme() == "https", host, port };
        let Body::Bytes(body) = request.body() else { return Err(no_request()) };
        let mut asking = Request::builder()
            .method(request.method().as_str())
            .uri(request.path_and_query())
            .header(HOST, place.authority());
        for (name, value) in request.headers().iter() {
            asking = asking.header(name.as_str(), value.as_str());
        }
        let asking = asking.body(Full::new(Bytes::clone(body))).map_err(|_| no_request())?;
        let http = Http {
            tls: place.tls.then(|| Arc::clone(&self.tls)),
            url: place,
            connect_timeout: PATIENCE,
            answer_timeout: PATIENCE,
        };
        let stream = within(async { Ok(http.connect().await?) }).await?;
        within(async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
            let answer = async {
                let response = sender.send_request(asking).await.map_err(failed)?;
                let mut headers = Headers::new();
                for (name, value) in response.headers() {
                    if let Ok(value) = value.to_str() {
                        headers.insert(name.as_str().to_owned(), value.to_owned());
                    }
                }
                let answer = read(response, MAX_ANSWER_BYTES).await?;
                Ok(AsyncRawResponse::from_bytes(answer.status.as_u16().into(), headers, answer.body))
            };
            tokio::pin!(answer, connection);
            tokio::select! {
                answer = &mut answer => answer,
                // It ends when the answer is complete, or before that by an error that the request gets as well.
                _ = &mut connection => answer.await,
            }
        })
        .await
    }
}

#[async_trait]
impl HttpClient for HttpsClient {
    async fn execute_request(&self, request: &AzureRequest) -> AzureResult<AsyncRawResponse> {
        self.ask(request).await.map_err(|failure| match failure {
            Failure::Io(error) => AzureError::with_error(AzureErrorKind::Io, error, "asking for a token"),
            failure => {
                AzureError::with_message(AzureErrorKind::Io, format!("asking for a token: {failure:?}"))
            }
        })
    }
}

async fn within<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(PATIENCE, work).await.unwrap_or(Err(Failure::TimedOut { after: PATIENCE }))
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, Url};

    use super::*;
    use crate::test_server::{TestServer, answer};

    fn client() -> HttpsClient {
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        HttpsClient { tls: Arc::new(tls) }
    }

    #[tokio::test]
    async fn a_request_goes_out_as_it_is_and_the_whole_answer_comes_back() {
        let server = TestServer::start(|_| answer(429, "Retry-After: 7\r\n", "{\"error\":\"busy\"}")).await;
        let url = Url::parse(&format!("{}/tenant/token?a=b", server.url)).expect("a URL");
        let mut request = AzureRequest::new(url, Method::Post);
        request.insert_header("content-type", "application/x-www-form-urlencoded");
        request.set_body("grant_type=client_credentials");
        let response = client().execute_request(&request).await.expect("an answer");
        assert_eq!(u16::from(response.status()), 429);
        let told = response.headers().iter().find(|(name, _)| name.as_str() == "retry-after");
        assert_eq!(told.map(|(_, value)| value.as_str()), Some("7"));
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!(body, "{\"error\":\"busy\"}");
        let asked = &server.asked()[0];
        assert_eq!(
            (asked.line().as_str(), asked.body.as_str()),
            ("POST /tenant/token?a=b", "grant_type=client_credentials")
        );
        assert!(asked.head.contains("content-type: application/x-www-form-urlencoded"), "{}", asked.head);
    }

    #[tokio::test]
    async fn nobody_who_answers_is_an_error_that_may_pass() {
        let server = TestServer::start(|_| Vec::new()).await;
        let url = Url::parse(&server.url).expect("a URL");
        let error = client().execute_request(&AzureRequest::new(url, Method::Get)).await;
        assert!(matches!(error.expect_err("no answer").kind(), AzureErrorKind::Io));
    }
}
