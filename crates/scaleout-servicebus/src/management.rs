//! Requests about topics and subscriptions: ATOM over HTTPS, each call one request.

mod atom;
pub(crate) mod http;
pub(crate) mod status;
mod subscriptions;
mod time;
mod topics;
pub(crate) mod xml;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT},
};
use percent_encoding::utf8_percent_encode;
use scaleout_core::Error;

use self::http::{Answer, Http};
pub(crate) use self::{
    subscriptions::{SubscriptionInfo, SubscriptionSpec},
    topics::{TopicInfo, TopicSpec},
};
use crate::{
    config::{NodeTls, ServiceBusConfig},
    error::Failure,
    token::{TokenKind, Tokens, UNRESERVED},
};

/// Asks for and changes the entities of a namespace.
///
/// No call tries again, but for a token that was refused and may be newer now.
#[derive(Debug)]
pub(crate) struct Management {
    http: Http,
    /// What tokens are for: the whole namespace.
    resource: String,
    tokens: Arc<Tokens>,
}

/// What came of the request to create an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    /// It is there now, and was not before.
    New,
    /// It was there.
    Exists,
}

impl Management {
    /// It does no I/O but reading the certificates of the operating system.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config) where the settings have no URL, or there are no certificates.
    pub(crate) fn new(
        config: &ServiceBusConfig,
        tokens: Arc<Tokens>,
        tls: &NodeTls<'_>,
    ) -> Result<Self, Error> {
        Ok(Self { http: Http::of(config, tls)?, resource: config.resource_uri(""), tokens })
    }

    /// The names of the topics that begin with `prefix` in any case, as the service does not tell cases apart.
    ///
    /// Topics that come or go meanwhile may be missed: the list is read in pages.
    pub(crate) async fn topics(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for page in 0..MAX_PAGES {
            let skip = page * PAGE;
            let target = format!("/$Resources/topics?$skip={skip}&$top={PAGE}&api-version={API_VERSION}");
            let answer = self.request(Method::GET, &target, None).await?;
            if answer.status != StatusCode::OK {
                return Err(status::refusal(&answer, "the list of topics"));
            }
            let titles = atom::titles(&answer.body)?;
            let is_last = titles.len() < PAGE;
            names.extend(titles.into_iter().filter(|title| {
                title.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
            }));
            if is_last {
                return Ok(names);
            }
        }
        Err(Failure::Foreign("the list of topics does not end".into()))
    }

    /// The topic, or `None` where there is none.
    pub(crate) async fn topic(&self, name: &str) -> Result<Option<TopicInfo>, Failure> {
        match self.entity(&path([name]), &format!("topic {name}")).await? {
            Some(body) => TopicInfo::read(name, &body),
            None => Ok(None),
        }
    }

    /// Creates a topic; its answer does not tell when it was created.
    pub(crate) async fn create_topic(&self, name: &str, spec: &TopicSpec) -> Result<Created, Failure> {
        self.create(&path([name]), spec.entry(), &format!("topic {name}")).await
    }

    /// Deletes a topic with its subscriptions; `false` if there was none.
    pub(crate) async fn delete_topic(&self, name: &str) -> Result<bool, Failure> {
        self.delete(&path([name]), &format!("topic {name}")).await
    }

    /// The subscription, or `None` where there is none, or no such topic.
    pub(crate) async fn subscription(
        &self,
        topic: &str,
        name: &str,
    ) -> Result<Option<SubscriptionInfo>, Failure> {
        let what = format!("subscription {name} of topic {topic}");
        match self.entity(&path([topic, "subscriptions", name]), &what).await? {
            Some(body) => SubscriptionInfo::read(&body),
            None => Ok(None),
        }
    }

    /// Creates a subscription. Where the topic is missing, the failure says so.
    pub(crate) async fn create_subscription(
        &self,
        topic: &str,
        name: &str,
        spec: &SubscriptionSpec,
    ) -> Result<Created, Failure> {
        // What cannot be found is not the subscription.
        self.create(&path([topic, "subscriptions", name]), spec.entry(), &format!("topic {topic}")).await
    }

    /// Deletes a subscription; `false` if there was none.
    pub(crate) async fn delete_subscription(&self, topic: &str, name: &str) -> Result<bool, Failure> {
        let what = format!("subscription {name} of topic {topic}");
        self.delete(&path([topic, "subscriptions", name]), &what).await
    }

    async fn entity(&self, path: &str, what: &str) -> Result<Option<Bytes>, Failure> {
        let target = format!("{path}?api-version={API_VERSION}&enrich=False");
        let answer = self.request(Method::GET, &target, None).await?;
        if answer.status == StatusCode::OK {
            return Ok(Some(answer.body));
        }
        match status::refusal(&answer, what) {
            Failure::NotFound(_) => Ok(None),
            failure => Err(failure),
        }
    }

    async fn create(&self, path: &str, body: String, what: &str) -> Result<Created, Failure> {
        let target = format!("{path}?api-version={API_VERSION}");
        let answer = self.request(Method::PUT, &target, Some(body)).await?;
        // It says 201; where it would say 200, taking it for new is what hides nothing.
        if answer.status.is_success() {
            return Ok(Created::New);
        }
        match status::refusal(&answer, what) {
            Failure::Http { status: 409, .. } => Ok(Created::Exists),
            failure => Err(failure),
        }
    }

    async fn delete(&self, path: &str, what: &str) -> Result<bool, Failure> {
        let target = format!("{path}?api-version={API_VERSION}");
        let answer = self.request(Method::DELETE, &target, None).await?;
        if answer.status.is_success() {
            return Ok(true);
        }
        match status::refusal(&answer, what) {
            Failure::NotFound(_) => Ok(false),
            failure => Err(failure),
        }
    }

    /// Asks, and once more where a token that was kept is refused and there may be a newer one.
    async fn request(&self, method: Method, target: &str, body: Option<String>) -> Result<Answer, Failure> {
        let answer = self.ask(&method, target, body.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.tokens.forget(&self.resource) {
            return Ok(answer);
        }
        self.ask(&method, target, body).await
    }

    async fn ask(&self, method: &Method, target: &str, body: Option<String>) -> Result<Answer, Failure> {
        let token = self.tokens.token(&self.resource).await?;
        let mut authorization = match token.kind {
            TokenKind::Sas => HeaderValue::from_str(token.text.expose()),
            TokenKind::Jwt => HeaderValue::from_str(&format!("Bearer {}", token.text.expose())),
        }
        .map_err(|_| Failure::Unauthorized("the token holds a character that no header takes".into()))?;
        authorization.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, self.http.url.authority())
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/atom+xml, application/xml")
            .header(CONNECTION, "close")
            .header(USER_AGENT, concat!("scaleout-servicebus/", env!("CARGO_PKG_VERSION")));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/atom+xml;type=entry;charset=utf-8");
        }
        let request = request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(|_| Failure::Foreign("the names of the entities make no request".into()))?;
        self.http.ask(request).await
    }
}

/// The path of an entity.
fn path<const N: usize>(names: [&str; N]) -> String {
    names.map(|name| format!("/{}", utf8_percent_encode(name, UNRESERVED))).concat()
}

/// The newest that all SDKs of Azure ask for.
const API_VERSION: &str = "2021-05";

/// Entries that are asked for at once: as many as the service gives.
const PAGE: usize = 100;

/// A namespace has at most 10,000 topics, and 16,000 of the tier Premium.
const MAX_PAGES: usize = 200;

#[cfg(test)]
mod tests;
