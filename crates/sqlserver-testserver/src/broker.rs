//! Service Broker, as far as the doorbell uses it: conversations, two queues per schema, messages on their way.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use uuid::Uuid;

use crate::{error::SqlError, store::now};

/// The broker of the database.
#[derive(Debug)]
pub(crate) struct Broker {
    /// `is_broker_enabled`. While it is not, whatever is sent stays on its way.
    enabled: bool,
    /// Services by name: the schema and the name of the queue.
    pub(crate) services: BTreeMap<String, (String, String)>,
    endpoints: BTreeMap<Uuid, Endpoint>,
    /// Messages by the endpoint that they have arrived at.
    queues: BTreeMap<Uuid, VecDeque<Received>>,
    /// `sys.transmission_queue`: from, to, what.
    on_their_way: VecDeque<(Uuid, Uuid, Received)>,
    /// Queues that are off, as schema and name.
    off: Vec<(String, String)>,
}

/// One end of a conversation; what is closed is gone.
#[derive(Debug)]
struct Endpoint {
    schema: String,
    queue: String,
    peer: Uuid,
    state: State,
    /// When its lifetime is over, in microseconds since 1970.
    expires_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Conversing,
    /// The other side has ended.
    DisconnectedInbound,
    /// This side has ended, the other one does not know yet.
    DisconnectedOutbound,
    /// Its lifetime is over.
    Failed,
}

/// What a queue hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// Of the type DEFAULT.
    Default(Bytes),
    EndDialog,
    Error,
}

impl Broker {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            queues: BTreeMap::new(),
            on_their_way: VecDeque::new(),
            off: Vec::new(),
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub(crate) fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
        self.deliver();
    }

    pub(crate) fn is_on(&self, schema: &str, queue: &str) -> bool {
        !self.off.iter().any(|(s, q)| s == schema && q == queue)
    }

    pub(crate) fn set_queue(&mut self, schema: &str, queue: &str, on: bool) {
        self.off.retain(|(s, q)| !(s == schema && q == queue));
        if !on {
            self.off.push((schema.into(), queue.into()));
        }
        self.deliver();
    }

    /// `BEGIN DIALOG` between the two services of a schema: the end that begins it. The other end comes to be with the
    /// first message.
    pub(crate) fn begin(&mut self, schema: &str, from: &str, to: &str, lifetime_seconds: i64) -> Uuid {
        let (this, peer) = (Uuid::new_v4(), Uuid::new_v4());
        let expires_at = now().saturating_add(lifetime_seconds.saturating_mul(1_000_000));
        for (handle, peer, queue) in [(this, peer, from), (peer, this, to)] {
            let (schema, queue) = (schema.into(), queue.into());
            self.endpoints
                .insert(handle, Endpoint { schema, queue, peer, state: State::Conversing, expires_at });
        }
        this
    }

    /// `SEND ON CONVERSATION`.
    pub(crate) fn send(&mut self, handle: Uuid, body: Bytes) -> Result<(), SqlError> {
        self.expire();
        let endpoint = self.endpoints.get(&handle).ok_or_else(|| no_conversation(handle))?;
        if endpoint.state != State::Conversing {
            return Err(wrong_state("SEND", endpoint.state));
        }
        self.on_their_way.push_back((handle, endpoint.peer, Received::Default(body)));
        self.deliver();
        Ok(())
    }

    /// `END CONVERSATION`.
    pub(crate) fn end(&mut self, handle: Uuid) -> Result<(), SqlError> {
        let endpoint = self.endpoints.get_mut(&handle).ok_or_else(|| no_conversation(handle))?;
        match endpoint.state {
            State::Conversing => {
                endpoint.state = State::DisconnectedOutbound;
                let peer = endpoint.peer;
                self.on_their_way.push_back((handle, peer, Received::EndDialog));
            }
            State::DisconnectedOutbound => return Err(wrong_state("END CONVERSATION", endpoint.state)),
            State::DisconnectedInbound | State::Failed => {
                self.endpoints.remove(&handle);
            }
        }
        self.queues.remove(&handle);
        self.deliver();
        Ok(())
    }

    /// Whether there is such an end.
    pub(crate) fn is_open(&self, handle: Uuid) -> bool {
        self.endpoints.contains_key(&handle)
    }

    /// `RECEIVE` of all that one end has got; `None` where there is nothing yet.
    pub(crate) fn receive(&mut self, handle: Uuid) -> Result<Option<VecDeque<Received>>, SqlError> {
        self.expire();
        let Some(endpoint) = self.endpoints.get(&handle) else { return Ok(None) };
        if !self.is_on(&endpoint.schema, &endpoint.queue) {
            return Err(SqlError::queue_is_off(&endpoint.queue));
        }
        Ok(self.queues.remove(&handle))
    }

    /// `RECEIVE TOP (1)` of a whole queue: the end that got it, and what.
    pub(crate) fn receive_any(
        &mut self,
        schema: &str,
        queue: &str,
    ) -> Result<Option<(Uuid, Received)>, SqlError> {
        self.expire();
        if !self.is_on(schema, queue) {
            return Err(SqlError::queue_is_off(queue));
        }
        let is_here = |handle: &Uuid| {
            self.endpoints.get(handle).is_some_and(|end| end.schema == schema && end.queue == queue)
        };
        let Some(handle) = self.queues.keys().copied().find(is_here) else { return Ok(None) };
        let Some(messages) = self.queues.get_mut(&handle) else { return Ok(None) };
        let first = messages.pop_front();
        if messages.is_empty() {
            self.queues.remove(&handle);
        }
        Ok(first.map(|message| (handle, message)))
    }

    /// Ends of conversations of a schema that are not closed.
    pub(crate) fn conversations(&self, schema: &str) -> usize {
        self.endpoints.values().filter(|endpoint| endpoint.schema == schema).count()
    }

    /// Those of one queue, and with it of its service.
    pub(crate) fn conversations_of(&self, schema: &str, queue: &str) -> usize {
        self.endpoints.values().filter(|end| end.schema == schema && end.queue == queue).count()
    }

    pub(crate) fn all_conversations(&self) -> usize {
        self.endpoints.len()
    }

    /// How many messages of a schema cannot be delivered, and why the oldest cannot.
    pub(crate) fn undelivered(&self, schema: &str) -> (usize, Option<&'static str>) {
        let ours = |(from, ..): &&(Uuid, Uuid, Received)| {
            self.endpoints.get(from).is_some_and(|endpoint| endpoint.schema == schema)
        };
        let count = self.on_their_way.iter().filter(ours).count();
        let why = if self.enabled {
            "One or more messages could not be delivered to the local service because its queue is disabled."
        } else {
            "The broker is disabled in the sender's database."
        };
        (count, (count > 0).then_some(why))
    }

    /// Every conversation comes to the end of its lifetime.
    pub(crate) fn end_lifetimes(&mut self) {
        self.endpoints.values_mut().for_each(|endpoint| endpoint.expires_at = 0);
        self.expire();
    }

    /// Dropping a service ends what it takes part in, without a word.
    pub(crate) fn drop_service(&mut self, name: &str) {
        if let Some((schema, queue)) = self.services.remove(name) {
            let gone = |endpoint: &Endpoint| endpoint.schema == schema && endpoint.queue == queue;
            let handles: Vec<Uuid> =
                self.endpoints.iter().filter(|(_, end)| gone(end)).map(|(handle, _)| *handle).collect();
            for handle in handles {
                self.endpoints.remove(&handle);
                self.queues.remove(&handle);
            }
            // The other side hears of an error.
            for (handle, endpoint) in &mut self.endpoints {
                if endpoint.schema == schema && endpoint.state != State::Failed {
                    endpoint.state = State::Failed;
                    self.queues.entry(*handle).or_default().push_back(Received::Error);
                }
            }
            self.deliver();
        }
    }

    /// Nothing of a schema stays.
    pub(crate) fn forget(&mut self, schema: &str) {
        self.services.retain(|_, (s, _)| s != schema);
        self.off.retain(|(s, _)| s != schema);
        self.endpoints.retain(|_, endpoint| endpoint.schema != schema);
        self.queues.retain(|handle, _| self.endpoints.contains_key(handle));
        self.on_their_way.retain(|(from, ..)| self.endpoints.contains_key(from));
    }

    /// Both sides get an error when the lifetime is over.
    fn expire(&mut self) {
        let now = now();
        for (handle, endpoint) in &mut self.endpoints {
            if endpoint.state == State::Conversing && endpoint.expires_at <= now {
                endpoint.state = State::Failed;
                self.queues.entry(*handle).or_default().push_back(Received::Error);
            }
        }
    }

    /// Whatever can arrive does.
    fn deliver(&mut self) {
        if !self.enabled {
            return;
        }
        let mut waiting = VecDeque::new();
        for (from, to, message) in std::mem::take(&mut self.on_their_way) {
            let target = self.endpoints.get(&to);
            if target.is_some_and(|target| !self.is_on(&target.schema, &target.queue)) {
                waiting.push_back((from, to, message));
                continue;
            }
            if message == Received::EndDialog {
                // Now the other side knows, so this side is closed.
                self.endpoints.remove(&from);
            }
            let Some(target) = self.endpoints.get_mut(&to) else { continue };
            match target.state {
                State::Conversing => {
                    if message == Received::EndDialog {
                        target.state = State::DisconnectedInbound;
                    }
                    self.queues.entry(to).or_default().push_back(message);
                }
                // Nobody will look at it any more.
                State::DisconnectedInbound | State::DisconnectedOutbound | State::Failed => (),
            }
        }
        self.on_their_way = waiting;
    }
}

fn no_conversation(handle: Uuid) -> SqlError {
    SqlError::new(
        8426,
        format!("The conversation handle \"{}\" is not found.", handle.to_string().to_uppercase()),
    )
}

fn wrong_state(verb: &str, state: State) -> SqlError {
    let state = match state {
        State::Conversing => "CO",
        State::DisconnectedInbound => "DI",
        State::DisconnectedOutbound => "DO",
        State::Failed => "ER",
    };
    let message = format!(
        "The conversation endpoint is not in a valid state for {verb}. The current endpoint state is '{state}'."
    );
    SqlError::new(8429, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog(broker: &mut Broker) -> (Uuid, Uuid) {
        let ear = broker.begin("s", "ears", "bells", 60);
        broker.send(ear, Bytes::from_static(b"hello")).unwrap();
        let (bell, hello) = broker.receive_any("s", "bells").unwrap().unwrap();
        assert_eq!(hello, Received::Default(Bytes::from_static(b"hello")));
        (ear, bell)
    }

    #[test]
    fn a_ring_arrives_at_its_ear_and_both_ends_close() {
        let mut broker = Broker::new(true);
        let (ear, bell) = dialog(&mut broker);
        assert_eq!(broker.receive(ear), Ok(None));
        broker.send(bell, Bytes::from_static(&[1])).unwrap();
        assert_eq!(broker.receive(ear).unwrap().unwrap().len(), 1);
        assert_eq!(broker.conversations("s"), 2);
        broker.end(bell).unwrap();
        assert_eq!(broker.send(ear, Bytes::new()).unwrap_err().number, 8429);
        broker.end(ear).unwrap();
        assert_eq!(broker.conversations("s"), 0);
        assert_eq!(broker.end(ear).unwrap_err().number, 8426);
    }

    #[test]
    fn what_is_sent_without_a_broker_arrives_when_it_is_back() {
        let mut broker = Broker::new(true);
        let (ear, bell) = dialog(&mut broker);
        broker.set_enabled(false);
        broker.send(bell, Bytes::from_static(&[1])).unwrap();
        assert_eq!(broker.receive(ear), Ok(None));
        assert_eq!(broker.undelivered("s").0, 1);
        broker.set_enabled(true);
        assert_eq!(broker.receive(ear).unwrap().unwrap().len(), 1);
        assert_eq!(broker.undelivered("s"), (0, None));
    }

    #[test]
    fn ends_of_both_sides_without_a_broker_close_when_it_is_back() {
        let mut broker = Broker::new(true);
        let (ear, bell) = dialog(&mut broker);
        broker.set_enabled(false);
        broker.end(bell).unwrap();
        broker.end(ear).unwrap();
        assert_eq!(broker.conversations("s"), 2);
        broker.set_enabled(true);
        assert_eq!(broker.conversations("s"), 0);
    }

    #[test]
    fn a_queue_that_is_off_hands_out_nothing_and_gets_nothing() {
        let mut broker = Broker::new(true);
        let (ear, bell) = dialog(&mut broker);
        broker.set_queue("s", "ears", false);
        assert_eq!(broker.receive(ear).unwrap_err().number, 9617);
        broker.send(bell, Bytes::from_static(&[1])).unwrap();
        broker.set_queue("s", "ears", true);
        assert_eq!(broker.receive(ear).unwrap().unwrap().len(), 1);
    }

    #[test]
    fn the_end_of_a_lifetime_is_an_error_on_both_sides() {
        let mut broker = Broker::new(true);
        let (ear, bell) = dialog(&mut broker);
        broker.end_lifetimes();
        assert_eq!(broker.receive(ear).unwrap().unwrap(), [Received::Error]);
        assert_eq!(broker.receive_any("s", "bells"), Ok(Some((bell, Received::Error))));
        broker.end(ear).unwrap();
        broker.end(bell).unwrap();
        assert_eq!(broker.conversations("s"), 0);
    }
}
