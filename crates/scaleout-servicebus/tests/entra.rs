//! Tokens of a credential of `azure_identity`, which is played here, against bearer tokens of the emulator.
#![cfg(feature = "entra")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use azure_core::{
    Result as AzureResult,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::{Error as AzureError, ErrorKind as AzureErrorKind},
};
use bytes::Bytes;
use scaleout_core::{Bus, ErrorKind, FrameId, NodeId, Received, StreamIndex};
use scaleout_servicebus::{EntraToken, ServiceBusConfig};
use servicebus_emulator::{Emulator, Namespace, Right, Rights};
use tokio::time::timeout;

use self::support::{for_tests, node};

const PATIENCE: Duration = Duration::from_secs(60);

/// Gives a new token each time, which the namespace knows from then on.
#[derive(Debug)]
struct Played {
    namespace: Namespace,
    lifetime: Duration,
    given: AtomicUsize,
}

impl Played {
    fn new(emulator: &Emulator, lifetime: Duration) -> Arc<Self> {
        Arc::new(Self { namespace: emulator.namespace().clone(), lifetime, given: AtomicUsize::new(0) })
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl TokenCredential for Played {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> AzureResult<AccessToken> {
        assert_eq!(scopes, ["https://servicebus.azure.net/.default"]);
        let token = format!("ey.token.{}", self.given.fetch_add(1, Ordering::Relaxed));
        let expires = SystemTime::now() + self.lifetime;
        self.namespace.register_token(&token, Rights::of(&[Right::Manage]), "", expires);
        Ok(AccessToken::new(token, expires.into()))
    }
}

/// Nobody is logged in.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl TokenCredential for Nobody {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> AzureResult<AccessToken> {
        Err(AzureError::with_message(AzureErrorKind::Credential, "please run 'az login'"))
    }
}

fn config(emulator: &Emulator, credential: Arc<dyn TokenCredential>) -> ServiceBusConfig {
    let text = format!(
        "Endpoint=sb://127.0.0.1:{};UseDevelopmentEmulator=true;ManagementEndpoint=http://127.0.0.1:{};App=chat;TopicCount=1",
        emulator.amqp_port(),
        emulator.http_port()
    );
    for_tests(ServiceBusConfig::parse_with(&text, EntraToken::new(credential).into()).expect("settings"))
}

async fn bus(config: ServiceBusConfig) -> Bus {
    let bus = Bus::builder_from(node(config)).connect();
    timeout(PATIENCE, bus).await.expect("it is connected in time").expect("it is connected")
}

/// Publishes and hears, whatever gaps there are before.
async fn passes(bus: &Bus, text: &str) {
    let mut subscription = bus.subscribe(["room"]);
    let published = bus.publish("room", Bytes::copy_from_slice(text.as_bytes()));
    timeout(PATIENCE, published).await.expect("in time").expect("it is published");
    let heard = async {
        while let Some(received) = subscription.recv().await {
            if matches!(received, Received::Message(message) if message.payload() == text) {
                return;
            }
        }
        panic!("the subscription ended");
    };
    timeout(PATIENCE, heard).await.expect("it is heard in time");
}

#[tokio::test]
async fn tokens_of_a_credential_open_everything() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let credential = Played::new(&emulator, Duration::from_secs(3600));
    let bus = bus(config(&emulator, credential.clone())).await;
    passes(&bus, "hello").await;
    // One for topics and subscriptions, and for all links.
    assert_eq!(credential.given(), 1);
    bus.close(PATIENCE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let credential = Played::new(&emulator, Duration::from_secs(4));
    let bus = bus(config(&emulator, credential.clone())).await;
    let mut number = 0;
    while credential.given() < 4 {
        passes(&bus, &number.to_string()).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    passes(&bus, "with the last one").await;
    bus.close(PATIENCE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn a_token_that_is_refused_is_asked_for_anew() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let credential = Played::new(&emulator, Duration::from_secs(3600));
    let bus = bus(config(&emulator, credential.clone())).await;
    passes(&bus, "before").await;
    emulator.faults().expire_tokens();
    emulator.faults().kill_connections();
    passes(&bus, "after").await;
    assert!(credential.given() >= 2);
    bus.close(PATIENCE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn who_is_not_logged_in_is_told_so() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let node = node(config(&emulator, Arc::new(Nobody)));
    let frame = FrameId { node: NodeId::random(), number: 0, after: 0 };
    let answer = timeout(PATIENCE, node.send(StreamIndex(0), frame, Bytes::new())).await.expect("in time");
    let error = answer.expect_err("there is no token");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.is_fatal() && format!("{error:?}").contains("az login"), "{error:?}");
    emulator.stop().await;
}
