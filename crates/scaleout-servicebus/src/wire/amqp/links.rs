//! Links that send and receive, each in a session of its own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fe2o3_amqp::{
    Receiver, Sender,
    link::{LinkStateError, RecvError, SendError, delivery::DeliveryInfo},
    session::SessionHandle,
    types::{
        messaging::{Body, Data, Message, MessageId, Properties, annotations::OwnedKey},
        primitives::{Binary, Value},
    },
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::timeout;

use super::{
    Link,
    failures::{answer, of_disposition, of_illegal_state, of_receive, of_send, too_large},
};
use crate::{
    error::Failure,
    token::Tokens,
    wire::{Answer, Delivery, FOREIGN_BODY, Inlet, Outgoing, Outlet},
};

/// The service's place of a message in its topic.
const ENQUEUED_SEQUENCE_NUMBER: &str = "x-opt-enqueue-sequence-number";

/// A sender, the session it has for itself, and the connection under it.
#[derive(Debug)]
pub(super) struct AmqpOutlet {
    pub(super) sender: Sender,
    pub(super) session: SessionHandle<()>,
    pub(super) link: Arc<Link>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) audience: String,
}

impl Outlet for AmqpOutlet {
    fn max_message_bytes(&self) -> Option<u64> {
        // 0 stands for "no limit".
        self.sender.max_message_size().filter(|bytes| *bytes > 0)
    }

    fn is_bound(&self) -> bool {
        true
    }

    fn send(&mut self, message: Outgoing) -> BoxFuture<'_, Result<Answer, Failure>> {
        Box::pin(async move {
            let properties = Properties::builder().message_id(MessageId::String(message.message_id)).build();
            let body = Data(Binary::from(Vec::from(message.payload)));
            let message = Message::builder().properties(properties).data(body).build();
            let sent = tokio::select! {
                biased;
                sent = self.sender.send(message) => sent,
                // The client leaves a send without an answer alone when all that is under it has ended.
                _ = self.session.on_end() => Err(SendError::LinkStateError(LinkStateError::IllegalState)),
            };
            match sent {
                Ok(outcome) => Ok(answer(outcome)),
                // The client looks before it sends.
                Err(SendError::MessageSizeExceeded(size)) => Ok(Answer::Refused(too_large(&size))),
                Err(error) => {
                    let failure = of_send(error);
                    self.link.fail(&failure);
                    Err(failure)
                }
            }
        })
    }

    fn prove(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async {
            // It goes over the same connection, behind all that the service has said of the link.
            let claimed = self.link.claim(&self.tokens, self.audience.clone()).await;
            if let Err(failure) = &claimed {
                self.link.fail(failure);
            }
            claimed
        })
    }

    fn ended(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.sender.on_detach().await;
        })
    }

    fn has_ended(&mut self) -> bool {
        self.session.is_ended() || self.link.cut.is_cancelled() || self.ended().now_or_never().is_some()
    }

    fn close(self: Box<Self>, patience: Duration) -> BoxFuture<'static, ()> {
        let Self { sender, mut session, link, .. } = *self;
        Box::pin(async move {
            let _ = timeout(patience, async {
                let _ = sender.close().await;
                let _ = session.end().await;
            })
            .await;
            drop(link);
        })
    }

    fn abandon(self: Box<Self>) {
        self.link.give_up();
    }
}

/// A receiver, the session it has for itself, and the connection under it.
#[derive(Debug)]
pub(super) struct AmqpInlet {
    pub(super) receiver: Receiver,
    pub(super) session: SessionHandle<()>,
    pub(super) link: Arc<Link>,
    /// Whether messages wait to be settled.
    pub(super) settles: bool,
    /// Messages that the service may still send.
    pub(super) credit: u32,
    /// Received, and not handed out yet.
    pub(super) taken: Vec<Delivery>,
    /// Received, and perhaps not settled yet.
    pub(super) unsettled: Vec<DeliveryInfo>,
    /// What ended the link behind them.
    pub(super) failed: Option<Failure>,
}

/// What the client receives.
type Received = Result<fe2o3_amqp::link::delivery::Delivery<Body<Value>>, RecvError>;

impl AmqpInlet {
    async fn next(&mut self, room: u32) -> Result<Vec<Delivery>, Failure> {
        loop {
            if self.taken.is_empty() {
                // What was received before an error is handed out first.
                if let Some(failure) = self.failed.take() {
                    return Err(failure);
                }
                self.fill(room).await?;
            }
            if !self.unsettled.is_empty() {
                let settled = self.receiver.accept_all(self.unsettled.iter().cloned()).await;
                // Those come again, and are passed over then.
                self.failed = settled.map_err(of_disposition).err().or(self.failed.take());
                self.unsettled.clear();
            }
            if !self.taken.is_empty() {
                return Ok(std::mem::take(&mut self.taken));
            }
        }
    }

    /// Waits for a message, and takes all that are there.
    async fn fill(&mut self, room: u32) -> Result<(), Failure> {
        if self.credit <= room / 2 {
            self.receiver.set_credit(room).await.map_err(of_illegal_state)?;
            self.credit = room;
        }
        let mut received = Some(self.receiver.recv::<Body<Value>>().await);
        while let Some(delivery) = received {
            if let Err(failure) = self.take(delivery) {
                self.failed = Some(failure);
                break;
            }
            received = self.receiver.recv::<Body<Value>>().now_or_never();
        }
        Ok(())
    }

    fn take(&mut self, received: Received) -> Result<(), Failure> {
        let delivery = match received {
            Ok(delivery) => delivery,
            Err(RecvError::MessageDecode(error)) => {
                // None of ours; left as it is it would come again and again.
                tracing::warn!(error = %error.source, "a message cannot be read, and is passed over");
                self.credit = self.credit.saturating_sub(1);
                self.unsettled.extend(self.settles.then_some(error.info));
                return Ok(());
            }
            Err(error) => return Err(of_receive(error)),
        };
        self.credit = self.credit.saturating_sub(1);
        if self.settles {
            self.unsettled.push(DeliveryInfo::from(&delivery));
        }
        let message = delivery.into_message();
        let id = message
            .message_annotations
            .as_ref()
            .and_then(|annotations| annotations.0.get(&OwnedKey::from(ENQUEUED_SEQUENCE_NUMBER)))
            .and_then(|number| match number {
                Value::Long(number) => u64::try_from(*number).ok(),
                _ => None,
            })
            .ok_or_else(|| Failure::Foreign("a message without an enqueued sequence number".into()))?;
        let message_id = message.properties.and_then(|properties| properties.message_id);
        self.taken.push(Delivery {
            id,
            message_id: message_id.and_then(|id| match id {
                MessageId::String(id) => Some(id),
                _ => None,
            }),
            payload: payload(message.body),
        });
        Ok(())
    }
}

impl Inlet for AmqpInlet {
    fn receive(&mut self, room: u32) -> BoxFuture<'_, Result<Vec<Delivery>, Failure>> {
        Box::pin(async move {
            let received = self.next(room).await;
            if let Err(failure) = &received {
                self.link.fail(failure);
            }
            received
        })
    }

    fn close(self: Box<Self>, patience: Duration) -> BoxFuture<'static, ()> {
        let Self { receiver, mut session, link, .. } = *self;
        Box::pin(async move {
            let _ = timeout(patience, async {
                let _ = receiver.close().await;
                let _ = session.end().await;
            })
            .await;
            drop(link);
        })
    }
}

/// The bytes of a message: those of its data section, where it has one.
fn payload(body: Body<Value>) -> Bytes {
    match body {
        Body::Data(sections) => {
            let mut sections = sections.into_iter().map(|Data(bytes)| bytes.into_vec());
            let first = sections.next().unwrap_or_default();
            // More than one is none of ours, and no frame ends in another section.
            Bytes::from(sections.fold(first, |mut all, next| {
                all.extend(next);
                all
            }))
        }
        Body::Empty => Bytes::new(),
        Body::Value(_) | Body::Sequence(_) => Bytes::from_static(FOREIGN_BODY),
    }
}
