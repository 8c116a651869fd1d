//! Requests beside what is measured: topics, and the control of our emulator.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{bail, ensure};
use rustls::crypto::ring;
use scaleout_servicebus::{Credential, ServiceBusConfig};
use serde::{Deserialize, Serialize};
use servicebus_emulator::shared_access_token;
use tokio::task::spawn_blocking;
use ureq::{
    Agent, http,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long tokens are good.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Every TCP connection is broken.
    Kill,
    /// Every link is detached with `amqp:link:detach-forced`.
    Detach,
}

/// The HTTP side of a namespace.
#[derive(Debug, Clone)]
pub struct Http {
    agent: Agent,
    origin: String,
    token: String,
}

impl Http {
    pub fn new(config: &ServiceBusConfig) -> anyhow::Result<Self> {
        let origin =
            config.management_endpoint.clone().unwrap_or_else(|| match config.development_emulator {
                true => format!("http://{}:5300", config.host),
                false => format!("https://{}", config.host),
            });
        let mut agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        if origin.starts_with("https:") {
            agent = agent.tls_config(tls(config)?);
        }
        Ok(Self {
            agent: agent.build().into(),
            origin: origin.trim_end_matches('/').to_owned(),
            token: token(config)?,
        })
    }

    /// A token for everything there is.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether it is our emulator, which can be told to fail.
    pub async fn has_control(&self) -> bool {
        self.call(http::Method::GET, "$emulator/state", None).await.is_ok_and(|status| status == 200)
    }

    pub async fn inject(&self, fault: Fault) -> anyhow::Result<()> {
        let wish = match fault {
            Fault::Kill => r#"{"fault":"kill-connections"}"#,
            Fault::Detach => r#"{"fault":"detach"}"#,
        };
        let status = self.call(http::Method::POST, "$emulator/faults", Some(wish.into())).await?;
        ensure!(status == 200, "the emulator does not do what it is told: {status}");
        Ok(())
    }

    /// Makes a topic with one subscription, both with nothing out of the ordinary.
    pub async fn create(&self, topic: &str, subscription: &str) -> anyhow::Result<()> {
        let paths = [
            (topic.to_owned(), "TopicDescription"),
            (format!("{topic}/subscriptions/{subscription}"), "SubscriptionDescription"),
        ];
        for (path, description) in paths {
            let entry = format!(
                r#"<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><{description} xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect" /></content></entry>"#
            );
            let path = format!("{path}?api-version=2021-05");
            let status = self.call(http::Method::PUT, &path, Some(entry)).await?;
            ensure!(status == 201, "{path} could not be created: {status}");
        }
        Ok(())
    }

    /// Deletes a topic if there is one.
    pub async fn delete(&self, topic: &str) -> anyhow::Result<()> {
        let status = self.call(http::Method::DELETE, &format!("{topic}?api-version=2021-05"), None).await?;
        ensure!(matches!(status, 200 | 404), "topic {topic} could not be deleted: {status}");
        Ok(())
    }

    async fn call(&self, method: http::Method, path: &str, body: Option<String>) -> anyhow::Result<u16> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.origin))
            .header("Authorization", &self.token)
            .header("Content-Type", "application/atom+xml;type=entry;charset=utf-8");
        let agent = self.agent.clone();
        let answer = spawn_blocking(move || {
            let mut answer = match body {
                Some(body) => agent.run(request.body(body)?)?,
                None => agent.run(request.body(())?)?,
            };
            // So that the connection can be used again.
            answer.body_mut().read_to_vec()?;
            anyhow::Ok(answer.status().as_u16())
        });
        answer.await?
    }
}

/// Trusts what nodes trust.
fn tls(config: &ServiceBusConfig) -> anyhow::Result<TlsConfig> {
    let mut trusted: Vec<Certificate<'_>> = Vec::new();
    for item in parse_pem(config.ca.as_deref().unwrap_or_default()) {
        if let PemItem::Certificate(certificate) = item? {
            trusted.push(certificate);
        }
    }
    let system = rustls_native_certs::load_native_certs().certs;
    trusted.extend(system.iter().map(|certificate| Certificate::from_der(certificate).to_owned()));
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(trusted))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build())
}

fn token(config: &ServiceBusConfig) -> anyhow::Result<String> {
    Ok(match &config.credential {
        Credential::SharedAccessKey { name, key } => {
            let resource = format!("sb://{}/", config.host);
            shared_access_token(&resource, name, key.expose(), SystemTime::now() + TOKEN_LIFETIME)
        }
        Credential::SharedAccessSignature(token) => token.expose().to_owned(),
        _ => bail!("this program takes shared access keys and their tokens only"),
    })
}
