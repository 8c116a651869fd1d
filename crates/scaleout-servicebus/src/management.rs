//! Requests about topics and subscriptions: ATOM over HTTPS, each call one request.

mod atom;
pub(crate) mod http;
mod namespace;
pub(crate) mod status;
mod subscriptions;
mod time;
mod topics;
pub(crate) mod xml;

use std::{sync::Arc, time::SystemTime};

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
    namespace::NamespaceInfo,
    subscriptions::{SubscriptionInfo, SubscriptionSpec},
    time::iso8601,
    topics::{TopicInfo, TopicSpec},
};
use crate::{
    config::{ManagementUrl, NodeTls, ServiceBusConfig},
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

    /// Where it asks.
    pub(crate) fn url(&self) -> &ManagementUrl {
        &self.http.url
    }

    /// The names of the topics that begin with `prefix` in any case, as the service does not tell cases apart.
    ///
    /// Topics that come or go meanwhile may be missed: the list is read in pages.
    pub(crate) async fn topics(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        let read = |body: &[u8]| {
            let titles = atom::titles(body)?;
            let count = titles.len();
            names.extend(titles.into_iter().filter(|title| {
                title.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
            }));
            Ok(count)
        };
        self.pages("/$Resources/topics", "the list of topics", read).await?;
        Ok(names)
    }

    /// The subscriptions of a topic, by name, with what is in them; none where there is no such topic.
    pub(crate) async fn subscriptions(
        &self,
        topic: &str,
    ) -> Result<Vec<(String, SubscriptionInfo)>, Failure> {
        let mut all = Vec::new();
        let read = |body: &[u8]| {
            let page = SubscriptionInfo::read_all(body)?;
            let count = page.len();
            all.extend(page);
            Ok(count)
        };
        let what = format!("the list of subscriptions of topic {topic}");
        match self.pages(&path([topic, "subscriptions"]), &what, read).await {
            Ok(()) => Ok(all),
            Err(Failure::NotFound(_)) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Reads a list to its end; `read` takes a page, and tells how many entries it had.
    async fn pages(
        &self,
        path: &str,
        what: &str,
        mut read: impl FnMut(&[u8]) -> Result<usize, Failure>,
    ) -> Result<(), Failure> {
        for page in 0..MAX_PAGES {
            let skip = page * PAGE;
            let target = format!("{path}?$skip={skip}&$top={PAGE}&api-version={API_VERSION}");
            let answer = self.request(Method::GET, &target, None).await?;
            if answer.status != StatusCode::OK {
                return Err(status::refusal(&answer, what));
            }
            if read(&answer.body)? < PAGE {
                return Ok(());
            }
        }
        Err(Failure::Foreign(format!("{what} does not end")))
    }

    /// Whether anybody answers, and what its clock shows: without a token, so that neither needs the other one.
    pub(crate) async fn knock(&self) -> Result<Option<SystemTime>, Failure> {
        let answer = self.carry(&Method::GET, NAMESPACE, None, None).await?;
        match status::refusal(&answer, "the namespace") {
            // What redirects is somebody else.
            Failure::Foreign(what) => Err(Failure::Foreign(what)),
            _ => Ok(answer.date),
        }
    }

    /// What the namespace is; `None` where it does not say.
    pub(crate) async fn namespace(&self) -> Result<Option<NamespaceInfo>, Failure> {
        let answer = self.request(Method::GET, NAMESPACE, None).await?;
        if answer.status == StatusCode::OK {
            return Ok(NamespaceInfo::read(&answer.body));
        }
        match status::refusal(&answer, "the namespace") {
            // An emulator need not know it.
            Failure::NotFound(_) | Failure::Http { .. } => Ok(None),
            failure => Err(failure),
        }
    }

    /// The topic, or `None` where there is none.
    pub(crate) async fn topic(&self, name: &str) -> Result<Option<TopicInfo>, Failure> {
        self.topic_at(name, "False").await
    }

    /// The same, with what is in it.
    pub(crate) async fn topic_with_contents(&self, name: &str) -> Result<Option<TopicInfo>, Failure> {
        self.topic_at(name, "True").await
    }

    async fn topic_at(&self, name: &str, enrich: &str) -> Result<Option<TopicInfo>, Failure> {
        match self.entity(&path([name]), &format!("topic {name}"), enrich).await? {
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
        match self.entity(&path([topic, "subscriptions", name]), &what, "False").await? {
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

    async fn entity(&self, path: &str, what: &str, enrich: &str) -> Result<Option<Bytes>, Failure> {
        let target = format!("{path}?api-version={API_VERSION}&enrich={enrich}");
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
        self.carry(method, target, Some(authorization), body).await
    }

    async fn carry(
        &self,
        method: &Method,
        target: &str,
        authorization: Option<HeaderValue>,
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, self.http.url.authority())
            .header(ACCEPT, "application/atom+xml, application/xml")
            .header(CONNECTION, "close")
            .header(USER_AGENT, concat!("scaleout-servicebus/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
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

/// Where a namespace says what it is.
const NAMESPACE: &str = "/$namespaceinfo?api-version=2021-05";

/// Entries that are asked for at once: as many as the service gives.
const PAGE: usize = 100;

/// A namespace has at most 10,000 topics, and 16,000 of the tier Premium.
const MAX_PAGES: usize = 200;

#[cfg(test)]
mod tests;
