//! Several machines, joined by a channel that loses, beside a plain map of what every node tracks.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const NODES: usize = 4;

/// (group, member, node) and the value.
type View = BTreeMap<(String, String, NodeId), Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Track(usize, u8, u8, u8),
    Untrack(usize, u8, u8),
    UntrackAll(usize, u8),
    /// Publishes a delta, where none is out.
    Publish(usize, Fate),
    /// Tells the machine what became of its delta.
    Settle(usize),
    Beat(usize),
    /// The next messages of the channel reach a node, or do not.
    Deliver(usize, usize),
    Lose(usize, usize),
    /// The next answer reaches a node.
    Answer(usize),
    /// All that a node waits for is given up and asked again.
    GiveUp(usize),
    /// A node learns of another one by a list, which has old news of it.
    Meet(usize, usize),
    /// A node takes another one for gone, with or without reason.
    Expire(usize, usize),
    /// A node says goodbye, and is another one from then on.
    Replace(usize),
    /// A node says goodbye, and begins another life with what it tracks.
    Return(usize),
    /// A node says goodbye, and begins another life that tracks nothing.
    Reopen(usize),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Stored,
    Lost,
    /// It is stored, but its node is not told so.
    Unconfirmed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0..NODES;
    let fate = prop_oneof![6 => Just(Fate::Stored), 1 => Just(Fate::Lost), 1 => Just(Fate::Unconfirmed)];
    let step = prop_oneof![
        12 => (node.clone(), 0..3_u8, 0..5_u8, 0..3_u8).prop_map(|(n, g, m, v)| Step::Track(n, g, m, v)),
        8 => (node.clone(), 0..3_u8, 0..5_u8).prop_map(|(n, g, m)| Step::Untrack(n, g, m)),
        1 => (node.clone(), 0..5_u8).prop_map(|(n, m)| Step::UntrackAll(n, m)),
        10 => (node.clone(), fate).prop_map(|(n, fate)| Step::Publish(n, fate)),
        8 => node.clone().prop_map(Step::Settle),
        6 => node.clone().prop_map(Step::Beat),
        20 => (node.clone(), 1..6_usize).prop_map(|(n, count)| Step::Deliver(n, count)),
        2 => (node.clone(), 1..4_usize).prop_map(|(n, count)| Step::Lose(n, count)),
        16 => node.clone().prop_map(Step::Answer),
        1 => node.clone().prop_map(Step::GiveUp),
        1 => (node.clone(), node.clone()).prop_map(|(n, other)| Step::Meet(n, other)),
        1 => (node.clone(), node.clone()).prop_map(|(n, other)| Step::Expire(n, other)),
        1 => node.clone().prop_map(Step::Replace),
        1 => node.clone().prop_map(Step::Return),
        1 => node.prop_map(Step::Reopen),
    ];
    prop::collection::vec(step, 0..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn views_converge(steps in steps(), max_bytes in 1..60_usize) {
        let mut world = World::new(max_bytes);
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.check();
    }
}

/// What travels on the channel.
#[derive(Debug, Clone)]
enum Message {
    Delta(Bytes),
    Beat { incarnation: u64, version: u64 },
    Ask { id: u64, to: NodeId, message: Bytes },
    Goodbye,
}

#[derive(Debug)]
struct World {
    nodes: Vec<Node>,
    channel: Vec<(NodeId, Message)>,
    max_bytes: usize,
    names: u64,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    incarnation: u64,
    state: State,
    tracked: BTreeMap<(String, String), Vec<u8>>,
    /// What the events say.
    told: View,
    /// How much of the channel it has read.
    read: usize,
    /// What became of the delta that is out.
    out: Option<bool>,
    open: BTreeMap<u64, (Question, Series)>,
    /// Answers on their way: to which ask, and by whom.
    answers: VecDeque<(u64, NodeId, Bytes)>,
}

impl World {
    fn new(max_bytes: usize) -> Self {
        let nodes = (1..=NODES as u64).map(|id| Node::new(NodeId(id.into()), 1)).collect();
        Self { nodes, channel: Vec::new(), max_bytes, names: 100 }
    }

    fn step(&mut self, step: Step) {
        let text = |number: u8| number.to_string();
        match step {
            Step::Track(node, group, member, value) => {
                let node = &mut self.nodes[node];
                let value = vec![1; value.into()];
                node.state.track(&text(group), &text(member), &value).expect("it is within bounds");
                node.tracked.insert((text(group), text(member)), value);
                node.listen();
            }
            Step::Untrack(node, group, member) => {
                let node = &mut self.nodes[node];
                let untracked = node.state.untrack(&text(group), &text(member));
                assert_eq!(untracked, node.tracked.remove(&(text(group), text(member))).is_some());
                node.listen();
            }
            Step::UntrackAll(node, member) => {
                let node = &mut self.nodes[node];
                let before = node.tracked.len();
                node.tracked.retain(|(_, other), _| *other != text(member));
                assert_eq!(node.state.untrack_all(&text(member)), before - node.tracked.len());
                node.listen();
            }
            Step::Publish(node, fate) => self.publish(node, fate),
            Step::Settle(node) => self.nodes[node].settle(),
            Step::Beat(node) => {
                let Node { id, incarnation, state, .. } = &self.nodes[node];
                let message = Message::Beat { incarnation: *incarnation, version: state.version() };
                self.channel.push((*id, message));
            }
            Step::Deliver(node, count) => (0..count).for_each(|_| self.deliver(node)),
            Step::Lose(node, count) => {
                let read = &mut self.nodes[node].read;
                *read = (*read + count).min(self.channel.len());
            }
            Step::Answer(node) => self.answer(node),
            Step::GiveUp(node) => {
                let open = mem::take(&mut self.nodes[node].open);
                open.into_values().for_each(|(question, _)| self.ask(node, question));
            }
            Step::Meet(node, other) => {
                let Node { id, incarnation, .. } = self.nodes[other];
                let known = self.nodes[node].state.peers.contains_key(&id);
                if !known {
                    let state = &mut self.nodes[node].state;
                    state.beat(id, incarnation, 0);
                    state.unknown(id);
                    self.asks(node);
                }
            }
            Step::Expire(node, other) => {
                let other = self.nodes[other].id;
                self.nodes[node].state.gone(other);
                self.nodes[node].listen();
            }
            Step::Replace(node) => {
                self.names += 1;
                let id = NodeId(self.names.into());
                self.goodbye(node);
                self.nodes[node] = Node { read: self.channel.len(), ..Node::new(id, 1) };
            }
            Step::Return(node) => {
                self.goodbye(node);
                self.nodes[node].incarnation += 1;
            }
            Step::Reopen(node) => {
                self.goodbye(node);
                let Node { id, incarnation, read, .. } = self.nodes[node];
                self.nodes[node] = Node { read, ..Node::new(id, incarnation + 1) };
            }
        }
    }

    fn goodbye(&mut self, node: usize) {
        self.channel.push((self.nodes[node].id, Message::Goodbye));
    }

    fn publish(&mut self, node: usize, fate: Fate) {
        let node = &mut self.nodes[node];
        let Some(delta) = node.state.next_delta(self.max_bytes) else { return };
        node.out = Some(matches!(fate, Fate::Stored));
        if !matches!(fate, Fate::Lost) {
            self.channel.push((node.id, Message::Delta(delta.encode().into())));
        }
    }

    fn deliver(&mut self, to: usize) {
        let node = &mut self.nodes[to];
        let Some((from, message)) = self.channel.get(node.read).cloned() else { return };
        node.read += 1;
        if from == node.id {
            return;
        }
        match message {
            Message::Delta(message) => {
                node.state.delta(from, &Delta::decode(message).expect("a machine wrote it"));
            }
            Message::Beat { incarnation, version } => node.state.beat(from, incarnation, version),
            Message::Goodbye => node.state.gone(from),
            Message::Ask { id, to, message } => {
                if to == node.id {
                    let ask = Ask::decode(message).expect("a machine wrote it");
                    let page = node.state.page(ask, self.max_bytes).encode();
                    if let Some(asker) = self.nodes.iter_mut().find(|asker| asker.id == from) {
                        asker.answers.push_back((id, to, page.into()));
                    }
                }
                return;
            }
        }
        node.listen();
        self.asks(to);
    }

    fn asks(&mut self, node: usize) {
        for question in self.nodes[node].state.questions() {
            self.ask(node, question);
        }
    }

    fn ask(&mut self, node: usize, question: Question) {
        let Some(NextAsk { ask, series }) = self.nodes[node].state.ask(question) else { return };
        self.names += 1;
        let id = self.names;
        self.nodes[node].open.insert(id, (question, series));
        let message = Message::Ask { id, to: question.node, message: ask.encode().into() };
        self.channel.push((self.nodes[node].id, message));
    }

    fn answer(&mut self, to: usize) {
        let node = &mut self.nodes[to];
        let Some((id, from, page)) = node.answers.pop_front() else { return };
        let Some((question, series)) = node.open.remove(&id) else { return };
        node.state.answered(from, series, &Page::decode(page).expect("a machine wrote it"));
        node.listen();
        self.ask(to, question);
    }

    /// Until nothing is left to be told, with nothing lost any more, and who is gone taken for gone.
    fn settle(&mut self) {
        let living: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        for _ in 0..1_000 {
            let mut busy = false;
            for node in 0..NODES {
                self.nodes[node].settle();
                self.publish(node, Fate::Stored);
                busy |= self.nodes[node].out.is_some();
            }
            if !busy {
                (0..NODES).for_each(|node| self.step(Step::Beat(node)));
            }
            for node in 0..NODES {
                while self.nodes[node].read < self.channel.len() {
                    busy |= !matches!(self.channel[self.nodes[node].read], (_, Message::Beat { .. }));
                    self.deliver(node);
                }
                while !self.nodes[node].answers.is_empty() {
                    busy = true;
                    self.answer(node);
                }
            }
            for node in &mut self.nodes {
                let gone: Vec<NodeId> =
                    node.state.peers.keys().filter(|peer| !living.contains(peer)).copied().collect();
                gone.into_iter().for_each(|peer| node.state.gone(peer));
                node.listen();
            }
            if busy {
                continue;
            }
            if self.nodes.iter().all(|node| node.open.is_empty()) {
                return;
            }
            (0..NODES).for_each(|node| self.step(Step::GiveUp(node)));
        }
        panic!("they never come to rest: {self:#?}");
    }

    /// Every node sees what all of them track, and keeps nothing else.
    fn check(&self) {
        let mut expected = View::new();
        for node in &self.nodes {
            for ((group, member), value) in &node.tracked {
                expected.insert((group.clone(), member.clone(), node.id), value.clone());
            }
        }
        for node in &self.nodes {
            let state = &node.state;
            assert_eq!(node.view(), expected);
            assert_eq!(node.told, expected, "the events tell of something else");
            assert_eq!(state.directory.len(), expected.len());
            assert_eq!(state.peers.len(), NODES - 1);
            assert!(state.peers.values().all(|peer| peer.pull.is_none() && peer.asking.is_none()));
            assert!(!state.has_changes() && state.questions.is_empty());
        }
    }
}

impl Node {
    fn new(id: NodeId, incarnation: u64) -> Self {
        let mut state = State::new(id, 1, 1_000);
        state.set_watched(true);
        Self {
            id,
            incarnation,
            state,
            tracked: BTreeMap::new(),
            told: View::new(),
            read: 0,
            out: None,
            open: BTreeMap::new(),
            answers: VecDeque::new(),
        }
    }

    fn settle(&mut self) {
        if let Some(stored) = self.out.take() {
            self.state.settle(stored);
        }
    }

    fn view(&self) -> View {
        let directory = self.state.directory();
        let entries = directory.groups().into_iter().flat_map(|group| directory.list(&group));
        entries.map(|entry| (key(&entry), entry.value.to_vec())).collect()
    }

    /// Follows the events, each of which must fit what is known.
    fn listen(&mut self) {
        for event in self.state.events() {
            match event {
                PresenceEvent::Joined(entry) => {
                    assert_eq!(self.told.insert(key(&entry), entry.value.to_vec()), None);
                }
                PresenceEvent::Updated(entry) => {
                    let before = self.told.insert(key(&entry), entry.value.to_vec());
                    assert!(before.is_some_and(|before| before != *entry.value));
                }
                PresenceEvent::Left(entry) => {
                    assert_eq!(self.told.remove(&key(&entry)), Some(entry.value.to_vec()));
                }
                PresenceEvent::NodeLeft { node, entries } => {
                    for entry in entries.iter() {
                        assert_eq!(self.told.remove(&key(entry)), Some(entry.value.to_vec()));
                    }
                    assert!(self.told.keys().all(|(_, _, other)| *other != node));
                }
                PresenceEvent::Resync => panic!("a machine has no bounds that it could tell of"),
            }
        }
        assert_eq!(self.told, self.view());
    }
}

fn key(entry: &Entry) -> (String, String, NodeId) {
    (entry.group.to_string(), entry.member.to_string(), entry.node)
}

fn delta(from: u64, to: u64, changes: &[(&str, Option<&[u8]>)]) -> Delta {
    let mut writer = ChangesWriter::default();
    for &(member, value) in changes {
        writer.write(Change { group: "g", member, value });
    }
    Delta { from, to, changes: writer.finish() }
}

fn page(version: u64, next: Option<u64>, entries: &[(&str, Option<&[u8]>)]) -> Page {
    Page { version, next, entries: delta(0, 1, entries).changes }
}

fn members(state: &State) -> Vec<String> {
    let mut members: Vec<String> = state.directory().list("g").iter().map(|e| e.member.to_string()).collect();
    members.sort();
    members
}

/// A state that was told that node 2 has version 5, and what it asks.
fn asking() -> (State, Question, Series) {
    let mut state = State::new(NodeId(1), 1, 10);
    state.beat(NodeId(2), 1, 5);
    let question = state.questions()[0];
    let next = state.ask(question).expect("it has none of the entries");
    assert_eq!(next.ask, Ask { cursor: 0 });
    (state, question, next.series)
}

#[test]
fn what_a_delta_tells_wins_over_pages() {
    let (mut state, question, series) = asking();
    state.delta(NodeId(2), &delta(5, 6, &[("removed", None), ("changed", Some(b"new"))]));
    let entries = [("changed", Some(&b"old"[..])), ("kept", Some(b""))];
    assert!(state.answered(NodeId(2), series, &page(5, Some(3), &entries)));
    assert_eq!(state.ask(question).map(|next| next.ask), Some(Ask { cursor: 3 }));
    assert!(state.answered(NodeId(2), series, &page(5, None, &[("removed", Some(b""))])));
    assert_eq!(state.ask(question), None);
    assert_eq!(members(&state), ["changed", "kept"]);
    let changed = state.directory().list("g").into_iter().find(|entry| &*entry.member == "changed");
    assert_eq!(changed.map(|entry| entry.value.to_vec()), Some(b"new".to_vec()));
}

#[test]
fn what_neither_pages_nor_deltas_have_is_dropped_when_both_are_here() {
    let (mut state, question, series) = asking();
    state.answered(NodeId(2), series, &page(5, None, &[("a", Some(b"")), ("b", Some(b""))]));
    state.ask(question);
    // A gap: 6 is missing.
    state.delta(NodeId(2), &delta(6, 7, &[("c", Some(b""))]));
    let question = state.questions()[0];
    let series = state.ask(question).expect("6 is missing").series;
    state.answered(NodeId(2), series, &page(7, Some(3), &[("b", Some(b""))]));
    state.answered(NodeId(2), series, &page(8, None, &[("c", Some(b""))]));
    assert_eq!(state.ask(question), None);
    assert_eq!(members(&state), ["a", "b", "c"], "8 is not here yet");
    state.delta(NodeId(2), &delta(7, 8, &[("d", Some(b""))]));
    assert_eq!(members(&state), ["b", "c", "d"]);
}

#[test]
fn a_page_of_an_earlier_life_is_no_answer() {
    let (mut state, question, series) = asking();
    assert!(!state.answered(NodeId(2), series, &page(4, None, &[("a", Some(b""))])));
    assert_eq!(members(&state), [""; 0]);
    assert_eq!(state.ask(question).map(|next| next.series), Some(series));
}

#[test]
fn a_version_that_is_known_asks_nobody() {
    let mut state = State::new(NodeId(1), 1, 10);
    state.beat(NodeId(2), 1, 0);
    state.delta(NodeId(2), &delta(0, 1, &[("a", Some(b""))]));
    state.beat(NodeId(2), 1, 1);
    state.beat(NodeId(1), 1, 7);
    assert_eq!(state.questions(), []);
    assert_eq!(members(&state), ["a"]);
}

#[test]
fn a_member_of_whom_only_others_told_is_asked() {
    let mut state = State::new(NodeId(1), 1, 10);
    state.beat(NodeId(2), 1, 0);
    state.unknown(NodeId(2));
    state.unknown(NodeId(2));
    let [question] = state.questions()[..] else { panic!("not one question") };
    assert!(!state.is_settled());
    let series = state.ask(question).expect("it is unknown").series;
    state.answered(NodeId(2), series, &page(5, None, &[("a", Some(b""))]));
    assert_eq!(members(&state), ["a"]);
    // What the page has is not told again.
    state.delta(NodeId(2), &delta(4, 5, &[("b", Some(b""))]));
    state.beat(NodeId(2), 1, 5);
    assert!(state.is_settled() && state.questions().is_empty());
    assert_eq!(members(&state), ["a"]);
}

#[test]
fn a_first_page_wins_over_deltas_before_it() {
    let (mut state, question, series) = asking();
    state.delta(NodeId(2), &delta(5, 6, &[("back", None), ("changed", Some(b"old")), ("went", Some(b""))]));
    state.answered(NodeId(2), series, &page(8, None, &[("back", Some(b"")), ("changed", Some(b"new"))]));
    assert_eq!(state.ask(question), None);
    assert_eq!(members(&state), ["back", "changed"]);
    let changed = state.directory().entries_of("g", "changed");
    assert_eq!(changed.iter().map(|entry| &*entry.value).collect::<Vec<_>>(), [b"new"]);
    state.delta(NodeId(2), &delta(6, 8, &[("went", None)]));
    state.delta(NodeId(2), &delta(8, 9, &[("next", Some(b""))]));
    assert_eq!(members(&state), ["back", "changed", "next"]);
}

#[test]
fn entries_that_come_and_go_while_nobody_answers_do_not_pile_up() {
    let (mut state, question, series) = asking();
    for version in 5..100 {
        let name = version.to_string();
        state.delta(NodeId(2), &delta(version, version + 1, &[(&name, None)]));
        let removed = state.peers[&NodeId(2)].pull.as_ref().map_or(0, |pull| pull.removed.len());
        assert!(removed <= 10);
    }
    let next = state.ask(question).expect("it has no page");
    assert_ne!(next.series, series);
    state.answered(NodeId(2), next.series, &page(100, None, &[("a", Some(b""))]));
    assert_eq!(members(&state), ["a"]);
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let mut state = State::new(NodeId(1), 1, 2);
    let (long, large) = ("x".repeat(256), [0; 1_025]);
    let name = PresenceError::NameTooLong { actual: 256, limit: 255 };
    assert_eq!(state.track(&long, "m", b""), Err(name));
    assert_eq!(state.track("g", &long, b""), Err(name));
    let value = PresenceError::ValueTooLarge { actual: 1_025, limit: 1_024 };
    assert_eq!(state.track("g", "m", &large), Err(value));
    assert_eq!(state.track(&long[1..], &long[1..], &large[1..]), Ok(()));
    assert_eq!(state.track("g", "m", b""), Ok(()));
    assert_eq!(state.track("g", "n", b""), Err(PresenceError::TooMany { limit: 2 }));
    assert_eq!(state.track("g", "m", b"other"), Ok(()), "it is tracked already");
}

#[test]
fn a_late_delta_of_an_earlier_life_says_nothing_of_the_next() {
    let (mut before, mut after) = (State::new(NodeId(2), 1, 10), State::new(NodeId(2), 2, 10));
    let mut late = None;
    for member in ["a", "b", "c"] {
        before.track("g", member, b"").expect("it fits");
        late = before.next_delta(1_000);
        before.settle(true);
    }
    after.track("g", "new", b"").expect("it fits");
    after.next_delta(1_000);
    after.settle(true);
    let mut state = State::new(NodeId(1), 1, 10);
    state.beat(NodeId(2), 2, after.version());
    state.delta(NodeId(2), &late.expect("there was a change"));
    let [question] = state.questions()[..] else { panic!("not one question") };
    let NextAsk { ask, series } = state.ask(question).expect("it has no page");
    assert!(state.answered(NodeId(2), series, &after.page(ask, 1_000)));
    assert!(state.is_settled());
    assert_eq!(members(&state), ["new"]);
}
