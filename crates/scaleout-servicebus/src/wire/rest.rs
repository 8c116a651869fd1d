//! Service Bus over its REST interface, through `azure_messaging_servicebus`, whose interfaces stay inside this module.
//!
//! A message is one request to send, two to receive: it is locked, then deleted. Nothing is sent ahead, and no link tells
//! that a topic was deleted. It is for networks and rules that leave no other way.
//!
//! The crate knows texts only, the address and the keys of the public cloud only, and less of an answer than is needed.
//! So payloads cross it as base64, and what answers hold as a text of ours ([`text`]); the HTTP client that it is given
//! ([`Exchange`]) makes of them the bytes that travel. On the wire a message is what it is by AMQP: its body is the
//! payload, as it is. Nodes that use either understand each other.
//!
//! Source: "Service Bus Runtime REST" in the documentation of Azure: Send Message, Peek-Lock Message, Delete Message,
//! Receive and Delete Message, and the message headers.

mod exchange;
mod text;

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use azure_core_legacy::{Error as ClientError, HttpClient};
use azure_messaging_servicebus::service_bus::{
    PeekLockResponse, SendMessageOptions, SettableBrokerProperties, SubscriptionReceiver, TopicClient,
    TopicSender,
};
use futures_util::future::BoxFuture;
use scaleout_core::Error;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use self::exchange::{Exchange, Refused};
use super::{Answer, Delivery, Inlet, Outgoing, Outlet, Wire};
use crate::{
    config::{NodeTls, Reception, ServiceBusConfig},
    error::Failure,
    token::Tokens,
};

/// Messages that are locked for a node before it asks for them. Their locks run, so there are few.
const MAX_AHEAD: usize = 16;

/// Messages that wait to be deleted.
const MAX_UNSETTLED: usize = 64;

/// The longest time that a request waits for a message, which is as long as it does by default.
const MAX_POLL: Duration = Duration::from_secs(60);

/// How long to leave a service alone that has no message and does not wait for one.
const PAUSE: Duration = Duration::from_millis(100);

/// Requests to a namespace.
#[derive(Debug)]
pub(crate) struct Rest {
    exchange: Arc<Exchange>,
    poll: Duration,
}

impl Rest {
    /// It connects to nothing.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config) where TLS cannot be set up.
    pub(crate) fn new(
        config: &ServiceBusConfig,
        tokens: Arc<Tokens>,
        tls: &NodeTls<'_>,
    ) -> Result<Self, Error> {
        // In whole seconds, since that is what the service takes.
        let poll = Duration::from_secs((config.idle_timeout / 2).min(MAX_POLL).as_secs().max(1));
        Ok(Self { exchange: Arc::new(Exchange::new(config, tokens, tls, poll)?), poll })
    }

    /// A client of the crate. It signs for the public cloud, and what it signs is replaced.
    fn client(&self, topic: &str) -> Result<TopicClient, Failure> {
        let http: Arc<dyn HttpClient> = Arc::clone(&self.exchange) as Arc<dyn HttpClient>;
        TopicClient::new(http, "namespace", topic, "policy", String::from("key")).map_err(failure)
    }
}

impl Wire for Rest {
    fn outlet<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Box<dyn Outlet>, Failure>> {
        Box::pin(async move {
            self.exchange.reach().await?;
            let sender = self.client(topic)?.topic_sender();
            Ok(Box::new(RestOutlet { sender, exchange: Arc::clone(&self.exchange) }) as Box<dyn Outlet>)
        })
    }

    fn inlet<'a>(
        &'a self,
        topic: &'a str,
        subscription: &'a str,
        reception: Reception,
    ) -> BoxFuture<'a, Result<Box<dyn Inlet>, Failure>> {
        Box::pin(async move {
            let receiver = self.client(topic)?.subscription_receiver(subscription);
            let (arrivals, arrived) = mpsc::channel(MAX_AHEAD);
            let (locks, settled) = mpsc::channel(MAX_UNSETTLED);
            Ok(Box::new(RestInlet {
                arrived,
                failed: None,
                taken: Vec::new(),
                unsettled: VecDeque::new(),
                locks,
                settler: tokio::spawn(settle(settled)),
                poller: AbortOnDropHandle::new(tokio::spawn(poll(receiver, reception, self.poll, arrivals))),
            }) as Box<dyn Inlet>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.exchange.close_idle() })
    }
}

/// Sends to one topic.
#[derive(Debug)]
struct RestOutlet {
    sender: TopicSender,
    exchange: Arc<Exchange>,
}

impl Outlet for RestOutlet {
    fn max_message_bytes(&self) -> Option<u64> {
        None
    }

    fn is_bound(&self) -> bool {
        false
    }

    fn send(&mut self, message: Outgoing) -> BoxFuture<'_, Result<Answer, Failure>> {
        Box::pin(async move {
            let properties =
                SettableBrokerProperties { message_id: Some(message.message_id), ..Default::default() };
            let options = SendMessageOptions {
                content_type: Some("application/octet-stream".into()),
                broker_properties: Some(properties),
                custom_properties: None,
            };
            let body = text::of_payload(&message.payload);
            match self.sender.send_message(&body, Some(options)).await.map_err(failure) {
                Ok(()) => Ok(Answer::Accepted),
                Err(failure) => match failure {
                    Failure::Busy { .. }
                    | Failure::Http { .. }
                    | Failure::Unauthorized(_)
                    | Failure::Token(_)
                    | Failure::Amqp { .. } => Ok(Answer::Refused(failure)),
                    failure => Err(failure),
                },
            }
        })
    }

    fn prove(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.exchange.reach())
    }

    fn ended(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn has_ended(&mut self) -> bool {
        false
    }

    fn close(self: Box<Self>, _patience: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn abandon(self: Box<Self>) {
        self.exchange.close_idle();
    }
}

/// Receives from one subscription: a task asks for messages, another one deletes those that were handed out.
struct RestInlet {
    arrived: mpsc::Receiver<Result<Arrival, Failure>>,
    /// What ended the task that asks, behind what came before.
    failed: Option<Failure>,
    /// Not handed out yet.
    taken: Vec<Delivery>,
    /// Of those that are handed out, or will be next.
    unsettled: VecDeque<PeekLockResponse>,
    locks: mpsc::Sender<PeekLockResponse>,
    settler: JoinHandle<()>,
    poller: AbortOnDropHandle<()>,
}

/// A message, and its lock where it has one.
struct Arrival {
    delivery: Delivery,
    lock: Option<PeekLockResponse>,
}

impl RestInlet {
    async fn next(&mut self, room: u32) -> Result<Vec<Delivery>, Failure> {
        if self.taken.is_empty() {
            if let Some(failure) = self.failed.take() {
                return Err(failure);
            }
            let arrival = self.arrived.recv().await.unwrap_or(Err(Failure::Closed))?;
            self.take(arrival);
            while self.taken.len() < room as usize && self.failed.is_none() {
                match self.arrived.try_recv() {
                    Ok(Ok(arrival)) => self.take(arrival),
                    Ok(Err(failure)) => self.failed = Some(failure),
                    Err(_) => break,
                }
            }
        }
        while !self.unsettled.is_empty() {
            // Without the task they come again.
            let Ok(place) = self.locks.reserve().await else { break };
            if let Some(lock) = self.unsettled.pop_front() {
                place.send(lock);
            }
        }
        Ok(std::mem::take(&mut self.taken))
    }

    fn take(&mut self, arrival: Arrival) {
        self.taken.push(arrival.delivery);
        self.unsettled.extend(arrival.lock);
    }
}

impl fmt::Debug for RestInlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestInlet").field("taken", &self.taken.len()).finish_non_exhaustive()
    }
}

impl Inlet for RestInlet {
    fn receive(&mut self, room: u32) -> BoxFuture<'_, Result<Vec<Delivery>, Failure>> {
        Box::pin(self.next(room))
    }

    fn close(self: Box<Self>, patience: Duration) -> BoxFuture<'static, ()> {
        let Self { locks, mut settler, poller, .. } = *self;
        drop((locks, poller));
        Box::pin(async move {
            if timeout(patience, &mut settler).await.is_err() {
                settler.abort();
            }
        })
    }
}

/// Asks for one message after the other until that fails, or nobody wants them any more.
async fn poll(
    receiver: SubscriptionReceiver,
    reception: Reception,
    wait: Duration,
    arrivals: mpsc::Sender<Result<Arrival, Failure>>,
) {
    loop {
        let asked = Instant::now();
        let arrival = match reception {
            Reception::PeekLock => lock_next(&receiver, wait).await,
            Reception::ReceiveAndDelete => take_next(&receiver).await,
        };
        let arrival = match arrival {
            Ok(Some(arrival)) => Ok(arrival),
            Ok(None) => {
                if asked.elapsed() < wait / 2 {
                    sleep(PAUSE).await;
                }
                continue;
            }
            Err(failure) => Err(failure),
        };
        let is_last = arrival.is_err();
        if arrivals.send(arrival).await.is_err() || is_last {
            return;
        }
    }
}

async fn lock_next(receiver: &SubscriptionReceiver, wait: Duration) -> Result<Option<Arrival>, Failure> {
    let lock = receiver.peek_lock_message2(Some(wait)).await.map_err(failure)?;
    let delivery = text::to_delivery(&lock.body())?;
    Ok(delivery.map(|delivery| Arrival { delivery, lock: Some(lock) }))
}

async fn take_next(receiver: &SubscriptionReceiver) -> Result<Option<Arrival>, Failure> {
    let body = receiver.receive_and_delete_message().await.map_err(failure)?;
    Ok(text::to_delivery(&body)?.map(|delivery| Arrival { delivery, lock: None }))
}

/// Deletes messages, until there are no more or nobody answers. Those that are left come again when their locks are over.
async fn settle(mut locks: mpsc::Receiver<PeekLockResponse>) {
    while let Some(lock) = locks.recv().await {
        match lock.delete_message().await.map_err(failure) {
            Ok(_) => {}
            // It took too long, and comes again.
            Err(failure) if failure.is_not_found() => tracing::debug!("the lock of a message is lost"),
            Err(failure) => {
                tracing::debug!(?failure, "a message could not be deleted");
                return;
            }
        }
    }
}

/// What our HTTP client told the crate, or what the crate makes of an answer.
fn failure(error: ClientError) -> Failure {
    match error.into_downcast::<Refused>() {
        Ok(Refused(failure)) => failure,
        Err(error) => Failure::Foreign(format!("an answer to REST cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests;
