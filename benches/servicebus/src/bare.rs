//! The client crate alone: one message of Service Bus for each, nothing numbered, nothing mended.
//!
//! It has the settings that make it fast: its own socket without delay, outcomes that are not awaited one by one, locks
//! that are settled together.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::ConnectionHandle,
    link::{CreditMode, SendError, delivery::DeliveryFut, delivery::DeliveryInfo},
    sasl_profile::SaslProfile,
    session::SessionHandle,
    types::{
        definitions::{ReceiverSettleMode, SenderSettleMode},
        messaging::{Body, Data, Message, Outcome, Source, Target},
        primitives::{Binary, Value},
    },
};
use fe2o3_amqp_cbs::{client::CbsClient, token::CbsToken};
use futures_util::FutureExt as _;
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{sleep_until, timeout},
};

use crate::{
    case::{BARE_IN_FLIGHT, Case},
    http::Http,
    server::{BARE_SUBSCRIPTION, settings_of},
    tally::{Published, Spread, UNCOUNTED, counts, now, payload},
};

/// Messages that may be sent ahead.
const CREDIT: u32 = 500;

/// Messages before what is measured.
const WARM_UP: u64 = 256;

/// How long an end in good order may take.
const CLOSING: Duration = Duration::from_secs(2);

type Answer = DeliveryFut<Result<Outcome, SendError>>;

/// A connection that may do everything.
#[derive(Debug)]
pub struct Bare {
    connection: ConnectionHandle<()>,
    sessions: Vec<SessionHandle<()>>,
    _claims: CbsClient,
}

impl Bare {
    pub async fn connect(host: &str, port: u16, token: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        let mut connection = Connection::builder()
            .container_id(format!("bare-{:08x}", fastrand::u32(..)))
            .hostname(host)
            .sasl_profile(SaslProfile::Anonymous)
            .open_with_stream(socket)
            .await?;
        let mut session = Session::begin(&mut connection).await?;
        let mut claims = CbsClient::attach(&mut session).await?;
        let token = CbsToken::new(token, "servicebus.windows.net:sastoken", None);
        claims.put_token(format!("amqps://{host}/"), token).await?;
        Ok(Self { connection, sessions: vec![session], _claims: claims })
    }

    pub async fn sender(&mut self, topic: &str) -> anyhow::Result<Sender> {
        let mut session = Session::begin(&mut self.connection).await?;
        let sender = Sender::builder()
            .name(format!("to-{topic}"))
            .source(Source::default())
            .target(Target::builder().address(topic).build())
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .attach(&mut session)
            .await?;
        self.sessions.push(session);
        Ok(sender)
    }

    pub async fn receiver(&mut self, topic: &str) -> anyhow::Result<Receiver> {
        let mut session = Session::begin(&mut self.connection).await?;
        let receiver = Receiver::builder()
            .name(format!("from-{topic}"))
            .source(Source::builder().address(format!("{topic}/Subscriptions/{BARE_SUBSCRIPTION}")).build())
            .target(Target::default())
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .receiver_settle_mode(ReceiverSettleMode::Second)
            .credit_mode(CreditMode::Manual)
            .attach(&mut session)
            .await?;
        self.sessions.push(session);
        Ok(receiver)
    }

    pub async fn close(mut self) {
        let _ = timeout(CLOSING, self.connection.close()).await;
    }

    async fn of(case: &Case) -> anyhow::Result<Self> {
        let config = settings_of(case)?;
        ensure!(config.development_emulator, "the client crate alone speaks without TLS here");
        Self::connect(&config.host, config.amqp_port.unwrap_or(5672), Http::new(&config)?.token()).await
    }
}

/// A reception of the client crate.
#[derive(Debug)]
pub struct BareInlet {
    _bare: Bare,
    receiver: Receiver,
    credit: u32,
    taken: VecDeque<Vec<u8>>,
    unsettled: Vec<DeliveryInfo>,
}

impl BareInlet {
    pub async fn open(case: &Case) -> anyhow::Result<Self> {
        let mut bare = Bare::of(case).await?;
        let receiver = bare.receiver(&case.app).await?;
        Ok(Self { _bare: bare, receiver, credit: 0, taken: VecDeque::new(), unsettled: Vec::new() })
    }

    /// The next payload.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> anyhow::Result<Vec<u8>> {
        loop {
            if !self.unsettled.is_empty() {
                self.receiver.accept_all(self.unsettled.iter().cloned()).await?;
                self.unsettled.clear();
            }
            if let Some(payload) = self.taken.pop_front() {
                return Ok(payload);
            }
            if self.credit <= CREDIT / 2 {
                self.receiver.set_credit(CREDIT).await?;
                self.credit = CREDIT;
            }
            let mut delivery = self.receiver.recv::<Body<Value>>().await?;
            loop {
                self.credit = self.credit.saturating_sub(1);
                self.unsettled.push(DeliveryInfo::from(&delivery));
                let Body::Data(sections) = delivery.into_message().body else {
                    bail!("a body that is no data")
                };
                let payloads = sections.into_iter().map(|Data(bytes)| bytes.into_vec());
                self.taken.extend(payloads.filter(|payload| counts(payload)));
                match self.receiver.recv::<Body<Value>>().now_or_never() {
                    Some(next) => delivery = next?,
                    None => break,
                }
            }
        }
    }
}

/// A publisher of the client crate.
#[derive(Debug)]
pub struct BareOutlet {
    bare: Bare,
    sender: Sender,
}

impl BareOutlet {
    /// Opens it, and sends some messages that the receiver does not count.
    pub async fn open(case: &Case) -> anyhow::Result<Self> {
        let mut bare = Bare::of(case).await?;
        let sender = bare.sender(&case.app).await?;
        let mut outlet = Self { bare, sender };
        for _ in 0..WARM_UP {
            accepted(outlet.send(payload(case.size, UNCOUNTED, 0)).await?.await)?;
        }
        Ok(outlet)
    }

    pub async fn publish(mut self, case: &Case) -> anyhow::Result<Published> {
        let published = if case.is_paced() { self.paced(case).await? } else { self.flat_out(case).await? };
        self.bare.close().await;
        Ok(published)
    }

    async fn flat_out(&mut self, case: &Case) -> anyhow::Result<Published> {
        let end = Instant::now() + Duration::from_secs(case.seconds.into());
        let (mut number, mut times) = (0, Vec::new());
        let mut under_way: VecDeque<(u64, Answer)> = VecDeque::new();
        while Instant::now() < end {
            if under_way.len() >= BARE_IN_FLIGHT {
                let (sent, answer) = under_way.pop_front().context("there is one")?;
                accepted(answer.await)?;
                times.push(now() - sent);
            }
            let sent = now();
            under_way.push_back((sent, self.send(payload(case.size, number, sent)).await?));
            number += 1;
        }
        for (sent, answer) in under_way {
            accepted(answer.await)?;
            times.push(now() - sent);
        }
        Ok(published(times))
    }

    async fn paced(&mut self, case: &Case) -> anyhow::Result<Published> {
        let begin = tokio::time::Instant::now();
        let mut confirms: Vec<JoinHandle<anyhow::Result<u64>>> = Vec::new();
        for number in 0..u64::from(case.seconds) * u64::from(case.rate) {
            sleep_until(begin + Duration::from_nanos(number * 1_000_000_000 / u64::from(case.rate))).await;
            let sent = now();
            let answer = self.send(payload(case.size, number, sent)).await?;
            confirms.push(tokio::spawn(async move { accepted(answer.await).map(|()| now() - sent) }));
        }
        let mut times = Vec::new();
        for confirm in confirms {
            times.push(confirm.await??);
        }
        Ok(published(times))
    }

    async fn send(&mut self, payload: Vec<u8>) -> anyhow::Result<Answer> {
        let message = Message::builder().data(Data(Binary::from(payload))).build();
        Ok(self.sender.send_batchable(message).await?)
    }
}

fn accepted(outcome: Result<Outcome, SendError>) -> anyhow::Result<()> {
    match outcome? {
        Outcome::Accepted(_) => Ok(()),
        outcome => bail!("a message was not accepted: {outcome:?}"),
    }
}

/// Each message is one of Service Bus.
fn published(times: Vec<u64>) -> Published {
    let sent = times.len() as u64;
    Published { sent, frames: sent, confirmed: Spread::of(times), ..Published::default() }
}
