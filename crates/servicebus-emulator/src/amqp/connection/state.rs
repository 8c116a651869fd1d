//! What is known of a connection: [`State`]. It reads no socket.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::{
    faults::{Event, Faults},
    message::Message,
    namespace::{Namespace, Refusal},
    sas::{Claim, Right},
};

use super::{
    super::{
        cbs::Claims,
        frame::{AMQP, Frame, HEADER, MIN_MAX_FRAME},
        link::Node,
        management::{self, Answer},
        performative::{CLOSE, Error, OPEN, Open, Performative},
        session::{Context, Request, Session},
        wait::{LinkKey, Waits},
        wire::Wire,
    },
    MAX_FRAME,
};

/// The highest channel; Service Bus has the same.
const CHANNEL_MAX: u16 = 4999;

/// What a connection may be without a link, of the time that a link may be idle: 5 of 10 minutes.
const WITHOUT_LINK: u32 = 2;

/// The same before its first link: 1 of 10 minutes.
const BEFORE_FIRST_LINK: u32 = 10;

/// No connection goes for want of a link before that, however short the times of the namespace are: to make one takes some
/// time on a busy machine.
const MIN_WITHOUT_LINK: Duration = Duration::from_secs(10);

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The peer has not said `open`.
    New,
    Open,
    /// We have said `close`, and have to say nothing more.
    Over,
}

/// A connection with its sessions, from the peer's frames to ours.
#[derive(Debug)]
pub(super) struct State {
    namespace: Namespace,
    faults: Faults,
    phase: Phase,
    wire: Wire,
    claims: Claims,
    /// By channel. `None`: we have ended it, and the peer has yet to.
    sessions: BTreeMap<u16, Option<Session>>,
    waits: Waits,
    /// Nothing more is to be sent, and the connection to be cut.
    cut: bool,
    channel_max: u16,
    /// After how long without a frame of ours the peer gives up.
    peer_idle: Option<Duration>,
    last_read: Instant,
    last_written: Instant,
    had_link: bool,
    last_linked: Instant,
}

impl State {
    pub(super) fn new(namespace: Namespace, faults: Faults, claim: Option<Claim>) -> Self {
        let now = Instant::now();
        let mut claims = Claims::default();
        if let Some(claim) = claim {
            claims.add(claim).expect("there is room for the first");
        }
        Self {
            namespace,
            faults,
            phase: Phase::New,
            wire: Wire::new(),
            claims,
            sessions: BTreeMap::new(),
            waits: Waits::default(),
            cut: false,
            channel_max: CHANNEL_MAX,
            peer_idle: None,
            last_read: now,
            last_written: now,
            had_link: false,
            last_linked: now,
        }
    }

    /// Does what whole frames say, until too much waits to be written.
    pub(super) fn read(&mut self, input: &mut BytesMut) {
        self.last_read = Instant::now();
        while self.phase != Phase::Over && !self.cut && !self.wire.is_full() {
            match Frame::take(input, MAX_FRAME as usize) {
                Ok(Some(frame)) => {
                    if let Err(error) = self.frame(frame) {
                        self.end(&error);
                    }
                }
                Ok(None) => break,
                Err(malformed) => {
                    self.end(&Error::new("amqp:connection:framing-error", malformed.to_string()));
                }
            }
        }
        for session in self.sessions.values_mut().flatten() {
            session.flush(&mut self.wire);
        }
    }

    /// Whether a whole frame waits to be looked at.
    pub(super) fn has_more(&self, input: &BytesMut) -> bool {
        let Some(length) = input.first_chunk::<4>() else { return false };
        let length = u32::from_be_bytes(*length) as usize;
        self.phase != Phase::Over
            && !self.cut
            && (length <= input.len() || length > MAX_FRAME as usize)
            && input.len() >= HEADER
    }

    /// Sends what sessions have, in turn.
    pub(super) fn pump(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        let now = Instant::now();
        while !self.wire.is_full() && !self.cut {
            let mut sent = false;
            let (mut cx, sessions) = self.context(now);
            for session in sessions.values_mut().flatten() {
                sent |= session.pump(&mut cx);
            }
            if !sent {
                break;
            }
        }
    }

    /// What is to be written.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.wire.out
    }

    /// Bytes were taken from [`output`](Self::output), of which so many are not written.
    pub(super) fn set_held_back(&mut self, bytes: usize) {
        self.wire.held_back = bytes;
    }

    pub(super) fn answer_delay(&self) -> Duration {
        self.faults.answer_delay()
    }

    pub(super) fn is_full(&self) -> bool {
        self.wire.is_full()
    }

    /// Whether there is nothing more to say than what is to be written.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over || self.cut
    }

    pub(super) fn wrote(&mut self) {
        self.last_written = Instant::now();
    }

    /// After a time in which nothing could be read.
    pub(super) fn thawed(&mut self) {
        self.last_read = Instant::now();
    }

    /// The next link that waited for something and has it.
    pub(super) async fn woken(&mut self) -> LinkKey {
        self.waits.next().await
    }

    pub(super) fn wake(&mut self, key: LinkKey) {
        let (mut cx, sessions) = self.context(Instant::now());
        if let Some(Some(session)) = sessions.get_mut(&key.channel) {
            session.wake(key, &mut cx);
        }
    }

    /// Does what a fault wants of a connection that goes on.
    pub(super) fn obey(&mut self, event: &Event) {
        let (mut cx, sessions) = self.context(Instant::now());
        for session in sessions.values_mut().flatten() {
            match event {
                Event::Detach { .. } => session.detach_where(&mut cx, |link, _| {
                    let description =
                        "The link is force detached. Code: RenewToken. Details: Detach origin: the emulator.";
                    let is_meant = link.kind.is_of_entity() && event.detaches(&link.address);
                    is_meant.then(|| Error::new("amqp:link:detach-forced", description))
                }),
                Event::TokensExpired => session.detach_unclaimed(&mut cx),
                Event::Kill => (),
            }
        }
    }

    /// How often [`tick`](Self::tick) is to be called.
    pub(super) fn tick_every(&self, most: Duration) -> Duration {
        let idle = self.namespace.settings().link_idle.min(self.namespace.settings().idle_time_out);
        let shortest = self.peer_idle.map_or(idle, |peer| peer.min(idle));
        (shortest / 4).clamp(Duration::from_millis(1), most)
    }

    /// Does what time brings.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        let (mut cx, sessions) = self.context(now);
        for session in sessions.values_mut().flatten() {
            session.tick(&mut cx);
        }
        if self.peer_idle.is_some_and(|idle| now.duration_since(self.last_written) >= idle / 2) {
            self.wire.heartbeat();
        }
        // Twice what it was told: the standard wants some leniency.
        if now.duration_since(self.last_read) > self.namespace.settings().idle_time_out * 2
            && !self.wire.is_full()
        {
            let description = "The connection was inactive for longer than its idle-time-out.";
            self.end(&Error::new("amqp:resource-limit-exceeded", description));
        }
        if self.sessions.values().flatten().any(Session::has_links) {
            (self.had_link, self.last_linked) = (true, now);
        }
        let part = if self.had_link { WITHOUT_LINK } else { BEFORE_FIRST_LINK };
        let most = (self.namespace.settings().link_idle / part).max(MIN_WITHOUT_LINK);
        if now.duration_since(self.last_linked) >= most {
            let description = format!(
                "The connection was inactive for more than the allowed {} milliseconds and is closed by container.",
                most.as_millis()
            );
            self.end(&Error::new("amqp:connection:forced", description));
        }
    }

    /// Gives up what the connection holds.
    pub(super) fn close(&mut self) {
        for session in self.sessions.values_mut().flatten() {
            session.close(&self.namespace, &self.faults);
        }
        self.sessions.clear();
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Error> {
        if frame.kind != AMQP {
            return Err(Error::new("amqp:connection:framing-error", "a frame of another kind than AMQP"));
        }
        if frame.body.is_empty() {
            return Ok(());
        }
        let performative = Performative::decode(frame.body)?;
        if self.phase == Phase::New {
            return match performative {
                Performative::Open(open) => {
                    self.open(&open);
                    Ok(())
                }
                _ => Err(Error::new("amqp:not-allowed", "the first frame is an open")),
            };
        }
        let channel = frame.channel;
        match performative {
            Performative::Open(_) => Err(Error::new("amqp:illegal-state", "the connection is open already")),
            Performative::Close => {
                self.wire.performative(0, CLOSE, |_| ());
                self.phase = Phase::Over;
                Ok(())
            }
            Performative::Begin(_) if channel > self.channel_max => {
                Err(Error::new("amqp:connection:framing-error", "the channel is higher than channel-max"))
            }
            Performative::Begin(_) if self.sessions.get(&channel).is_some_and(Option::is_some) => {
                Err(Error::new("amqp:illegal-state", "the channel has a session already"))
            }
            Performative::Begin(begin) => {
                let session = Session::begin(channel, &begin, &mut self.wire);
                self.sessions.insert(channel, Some(session));
                Ok(())
            }
            Performative::End => {
                if let Some(Some(mut session)) = self.sessions.remove(&channel) {
                    session.flush(&mut self.wire);
                    session.close(&self.namespace, &self.faults);
                    self.wire.end(channel, None);
                }
                Ok(())
            }
            performative => self.in_session(channel, performative),
        }
    }

    fn open(&mut self, open: &Open) {
        tracing::debug!(container = open.container, "an AMQP connection is open");
        let idle_time_out = self.namespace.settings().idle_time_out;
        self.wire.performative(0, OPEN, |fields| {
            fields.string("servicebus-emulator");
            fields.null();
            fields.uint(MAX_FRAME);
            fields.value(&crate::codec::Value::Ushort(CHANNEL_MAX));
            fields.uint(u32::try_from(idle_time_out.as_millis()).unwrap_or(u32::MAX));
        });
        self.wire.max_frame = open.max_frame.clamp(MIN_MAX_FRAME, MAX_FRAME) as usize;
        self.channel_max = CHANNEL_MAX.min(open.channel_max);
        self.peer_idle = open.idle_time_out.map(|time| Duration::from_millis(time.into()));
        self.phase = Phase::Open;
    }

    fn in_session(&mut self, channel: u16, performative: Performative) -> Result<(), Error> {
        let (mut cx, sessions) = self.context(Instant::now());
        let session = match sessions.get_mut(&channel) {
            Some(Some(session)) => session,
            // The peer does not know yet that it is over.
            Some(None) => return Ok(()),
            None => return Err(Error::new("amqp:not-allowed", "the channel has no session")),
        };
        let done = match performative {
            Performative::Attach(attach) => session.attach(&attach, &mut cx).map(|()| None),
            Performative::Flow(flow) => session.flow(&flow, &mut cx).map(|()| None),
            Performative::Transfer(transfer, payload) => session.transfer(&transfer, &payload, &mut cx),
            Performative::Disposition(disposition) => {
                session.disposition(&disposition, &mut cx);
                Ok(None)
            }
            Performative::Detach(detach) => {
                session.detach(&detach, &mut cx);
                Ok(None)
            }
            Performative::Open(_) | Performative::Begin(_) | Performative::End | Performative::Close => {
                Ok(None)
            }
        };
        match done {
            Ok(None) => (),
            Ok(Some(request)) => self.answer(channel, &request),
            Err(error) => {
                tracing::debug!(condition = error.condition, error.description, "ended a session");
                if let Some(Some(mut session)) = self.sessions.insert(channel, None) {
                    session.flush(&mut self.wire);
                    session.close(&self.namespace, &self.faults);
                    self.wire.end(channel, Some(&error));
                }
            }
        }
        Ok(())
    }

    /// Answers a request, on the link of the same session or another that wants the answer.
    fn answer(&mut self, channel: u16, request: &Request) {
        let reply: Bytes = self.reply_to(&request.node, &request.message).encode();
        let reply_to = request.message.properties.reply_to.clone();
        let (mut cx, sessions) = self.context(Instant::now());
        let others = sessions.keys().copied().filter(|other| *other != channel);
        let channels: Vec<u16> = std::iter::once(channel).chain(others).collect();
        // Where no link has the name that the request says, any link to the node.
        for reply_to in [reply_to.as_deref(), None] {
            for channel in &channels {
                if let Some(Some(session)) = sessions.get_mut(channel)
                    && session.reply(&request.node, reply_to, &reply, &mut cx)
                {
                    return;
                }
            }
        }
    }

    fn reply_to(&mut self, node: &Node, request: &Message) -> Message {
        let answer = match node {
            Node::Cbs => match self.claims.put_token(&self.namespace, request) {
                Ok(()) => Answer::new(202, "Accepted"),
                Err(refusal) => Answer::from(refusal),
            },
            Node::Management(entity) => {
                if self.claims.allow(&self.namespace, Right::Listen, entity) {
                    management::answer(&self.namespace, entity, request)
                } else {
                    let what =
                        format!("Unauthorized access. 'Listen' claim is required. Resource: '{entity}'.");
                    Answer::from(Refusal::Unauthorized(what))
                }
            }
        };
        answer.message(request, node)
    }

    /// Closes the connection with an error.
    fn end(&mut self, error: &Error) {
        if self.phase == Phase::Over {
            return;
        }
        tracing::debug!(condition = error.condition, error.description, "closed a connection");
        if self.phase == Phase::New {
            // An error has its place in a close, which comes after an open.
            self.open(&Open {
                container: String::new(),
                max_frame: MAX_FRAME,
                channel_max: 0,
                idle_time_out: None,
            });
        }
        for session in self.sessions.values_mut().flatten() {
            session.flush(&mut self.wire);
        }
        self.wire.performative(0, CLOSE, |fields| error.write(fields));
        self.phase = Phase::Over;
    }

    fn context(&mut self, now: Instant) -> (Context<'_>, &mut BTreeMap<u16, Option<Session>>) {
        let cx = Context {
            namespace: &self.namespace,
            faults: &self.faults,
            claims: &self.claims,
            wire: &mut self.wire,
            waits: &mut self.waits,
            now,
            cut: &mut self.cut,
        };
        (cx, &mut self.sessions)
    }
}
