//! What can be made to go wrong: [`Faults`].

mod counters;
mod orders;
mod schedule;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

pub(crate) use self::orders::{Connection, Event};
pub use self::{counters::Figures, schedule::FaultKind};
use self::{
    counters::{Counters, Protocol},
    orders::Order,
};
use crate::namespace::{Address, Incoming, Namespace, Refusal};

/// What can be made to go wrong, and how much of everything there was. Clones are the same.
#[derive(Debug, Clone)]
pub struct Faults {
    namespace: Namespace,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What was asked for, and the connections that there are. Never held across a wait.
    state: Mutex<State>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    connections: Vec<Arc<Order>>,
    refuses_connections: bool,
    busy: Busy,
    delay: Duration,
    lost_outcomes: usize,
    lost_sends: usize,
    held_sends: usize,
    /// What is on its way, until it is told to arrive.
    held: Vec<Held>,
    cut_deliveries: usize,
}

/// Messages on their way to a topic.
#[derive(Debug)]
struct Held {
    topic: String,
    /// `None`: there is no such topic.
    created_at: Option<SystemTime>,
    messages: Vec<Incoming>,
}

/// Which sends are turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Busy {
    /// The next so many.
    Next(usize),
    UntilTold,
}

impl Default for Busy {
    fn default() -> Self {
        Self::Next(0)
    }
}

/// What becomes of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendFate {
    /// It is done, and answered.
    Normal,
    /// It is answered with [`Refusal::ServerBusy`].
    Busy,
    /// It is done, and never answered.
    LoseOutcome,
    /// It is neither done nor answered.
    Lose,
    /// It is not answered, and done when told: give it to [`Faults::hold`].
    Hold,
}

impl Faults {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace, shared: Arc::default() }
    }

    /// Breaks every TCP connection; gives how many.
    pub fn kill_connections(&self) -> usize {
        let state = self.state();
        state.connections.iter().for_each(|order| order.give(Event::Kill));
        state.connections.len()
    }

    /// Breaks the oldest TCP connection; gives whether there was one.
    pub fn kill_connection(&self) -> bool {
        let state = self.state();
        state.connections.first().inspect(|order| order.give(Event::Kill)).is_some()
    }

    /// Makes the connections that there are half open: nothing is read or written any more, and the sockets stay, until
    /// [`thaw`](Self::thaw) or [`kill_connections`](Self::kill_connections). New connections are not affected.
    pub fn freeze(&self) {
        self.state().connections.iter().for_each(|order| order.freeze(true));
    }

    /// Ends [`freeze`](Self::freeze): what arrived meanwhile is done and answered.
    pub fn thaw(&self) {
        self.state().connections.iter().for_each(|order| order.freeze(false));
    }

    /// Detaches every link with `amqp:link:detach-forced`, as the service does when it moves an entity or a link was idle.
    pub fn detach_all(&self) {
        self.state().connections.iter().for_each(|order| order.give(Event::Detach { entity: None }));
    }

    /// Detaches the links of a topic and of its subscriptions, or of one subscription.
    pub fn detach(&self, entity: &str) {
        let event = Event::Detach { entity: Some(entity.to_lowercase()) };
        self.state().connections.iter().for_each(|order| order.give(event.clone()));
    }

    /// Turns the next `count` sends away with `com.microsoft:server-busy`.
    pub fn server_busy(&self, count: usize) {
        self.state().busy = Busy::Next(count);
    }

    /// Turns every send away with `com.microsoft:server-busy`, until told otherwise.
    pub fn server_busy_until_told(&self, busy: bool) {
        self.state().busy = if busy { Busy::UntilTold } else { Busy::Next(0) };
    }

    /// Makes every answer take so much longer.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Stores the messages of the next `count` sends and never says so.
    pub fn lose_outcomes(&self, count: usize) {
        self.state().lost_outcomes = count;
    }

    /// Loses the messages of the next `count` sends on their way.
    pub fn lose_sends(&self, count: usize) {
        self.state().lost_sends = count;
    }

    /// Keeps the messages of the next `count` sends on their way until [`release_sends`](Self::release_sends); they are
    /// never answered.
    pub fn hold_sends(&self, count: usize) {
        self.state().held_sends = count;
    }

    /// How many sends are [held](Self::hold_sends).
    pub fn held_sends(&self) -> usize {
        self.state().held.len()
    }

    /// Lets what was [held](Self::hold_sends) arrive; gives how many sends that were.
    pub fn release_sends(&self) -> usize {
        let held = std::mem::take(&mut self.state().held);
        let count = held.len();
        for Held { topic, created_at, messages } in held {
            // What was on its way to a topic does not come to another one of that name.
            if self.created_at(&topic) == created_at {
                // Nobody waits for the answer.
                let _ = self.namespace.publish(&topic, messages);
            }
        }
        count
    }

    /// Breaks the connection after each of the next `count` deliveries.
    pub fn cut_deliveries(&self, count: usize) {
        self.state().cut_deliveries = count;
    }

    /// Delivers each of the next `count` messages twice, with the same numbers.
    pub fn duplicate_deliveries(&self, count: usize) {
        self.namespace.repeat_deliveries(count);
    }

    /// Whether new connections are closed at once.
    pub fn refuse_connections(&self, refuse: bool) {
        self.state().refuses_connections = refuse;
    }

    /// Declares every token expired that was shown so far, and detaches the links that were made with them.
    pub fn expire_tokens(&self) {
        self.namespace.expire_tokens();
        self.state().connections.iter().for_each(|order| order.give(Event::TokensExpired));
    }

    /// Deletes a topic or a subscription, attached or not.
    ///
    /// # Errors
    /// Where there is none.
    pub fn delete_entity(&self, entity: &str) -> Result<(), Refusal> {
        match Address::parse(entity) {
            Some(Address::Topic(topic)) => self.namespace.delete_topic(&topic),
            Some(Address::Subscription { topic, subscription, .. }) => {
                self.namespace.delete_subscription(&topic, &subscription)
            }
            None => Err(Refusal::NotFound { entity: entity.to_owned() }),
        }
    }

    /// Ends every fault that lasts, and those that were to come.
    pub fn clear(&self) {
        self.namespace.repeat_deliveries(0);
        self.namespace.set_clock(0);
        let mut state = self.state();
        state.connections.iter().for_each(|order| order.freeze(false));
        let connections = std::mem::take(&mut state.connections);
        *state = State { connections, ..State::default() };
    }

    /// How much of everything there was.
    pub fn figures(&self) -> Figures {
        self.shared.counters.figures()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// An AMQP connection came. `None`: it is to be closed at once.
    pub(crate) fn connect(&self) -> Option<Connection> {
        self.join(Protocol::Amqp)
    }

    /// As [`connect`](Self::connect), for HTTP.
    pub(crate) fn connect_http(&self) -> Option<Connection> {
        self.join(Protocol::Http)
    }

    fn join(&self, protocol: Protocol) -> Option<Connection> {
        let mut state = self.state();
        if state.refuses_connections {
            return None;
        }
        let order = Arc::<Order>::default();
        state.connections.push(Arc::clone(&order));
        drop(state);
        Some(Connection::new(self.clone(), order, protocol))
    }

    fn disconnect(&self, order: &Arc<Order>) {
        self.state().connections.retain(|other| !Arc::ptr_eq(other, order));
    }

    /// What becomes of the send that came now.
    pub(crate) fn next_send(&self) -> SendFate {
        let mut state = self.state();
        match &mut state.busy {
            Busy::UntilTold => return SendFate::Busy,
            Busy::Next(0) => {}
            Busy::Next(count) => {
                *count -= 1;
                return SendFate::Busy;
            }
        }
        if state.lost_outcomes > 0 {
            state.lost_outcomes -= 1;
            return SendFate::LoseOutcome;
        }
        if state.lost_sends > 0 {
            state.lost_sends -= 1;
            return SendFate::Lose;
        }
        if state.held_sends > 0 {
            state.held_sends -= 1;
            return SendFate::Hold;
        }
        SendFate::Normal
    }

    /// Keeps messages on their way.
    pub(crate) fn hold(&self, topic: &str, messages: Vec<Incoming>) {
        let created_at = self.created_at(topic);
        self.state().held.push(Held { topic: topic.to_owned(), created_at, messages });
    }

    /// Whether the connection is to be broken after the delivery that is made now.
    pub(crate) fn cuts_delivery(&self) -> bool {
        let mut state = self.state();
        let cuts = state.cut_deliveries > 0;
        state.cut_deliveries = state.cut_deliveries.saturating_sub(1);
        cuts
    }

    /// How much longer an answer is to take.
    pub(crate) fn answer_delay(&self) -> Duration {
        self.state().delay
    }

    fn created_at(&self, topic: &str) -> Option<SystemTime> {
        self.namespace.topic(topic).map(|topic| topic.times.created_at)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
