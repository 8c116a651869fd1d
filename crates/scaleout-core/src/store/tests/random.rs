//! A store and its model side by side, through random histories.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    model::{Due, Model, name_of},
    *,
};

const CHANNELS: u8 = 5;

#[derive(Debug, Clone)]
enum Step {
    /// A payload of messages of these channels; with `skip` ids missing before it, told with dense ids.
    Append {
        channels: Vec<u8>,
        skip: u64,
        notified: bool,
    },
    /// Frame numbers missing before the next payload.
    MissNumbers {
        frames: u64,
    },
    BreakLink,
    /// An epoch that continues the history, less or more `shift` payloads.
    Epoch {
        shift: i64,
    },
    Evict {
        payloads: usize,
    },
    Subscribe {
        channels: BTreeSet<u8>,
    },
    /// From a cursor that some reader had once.
    Resume {
        channels: BTreeSet<u8>,
        cursor: usize,
    },
    /// From anywhere.
    Forge {
        channels: BTreeSet<u8>,
        epoch: i64,
        id: i64,
        index: u32,
    },
    Unpositioned {
        channels: BTreeSet<u8>,
    },
    Add {
        reader: usize,
        channel: u8,
    },
    Remove {
        reader: usize,
        channel: u8,
    },
    Leave {
        reader: usize,
    },
    Read {
        reader: usize,
        items: usize,
    },
    Notify,
    PassUpTime {
        seconds: u64,
    },
}

fn channels() -> impl Strategy<Value = BTreeSet<u8>> {
    prop::collection::btree_set(0..CHANNELS, 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let index = prop_oneof![
        3 => 0..4_u32,
        2 => Just(Position::WHOLE),
        1 => Just(Position::TOLD),
        1 => Just(77_u32),
    ];
    prop_oneof![
        10 => (prop::collection::vec(0..CHANNELS, 0..4), prop_oneof![4 => Just(0), 1 => 1..4_u64], any::<bool>())
            .prop_map(|(channels, skip, notified)| Step::Append { channels, skip, notified }),
        1 => (1..5_u64).prop_map(|frames| Step::MissNumbers { frames }),
        1 => Just(Step::BreakLink),
        1 => (-2..3_i64).prop_map(|shift| Step::Epoch { shift }),
        3 => (1..4_usize).prop_map(|payloads| Step::Evict { payloads }),
        2 => channels().prop_map(|channels| Step::Subscribe { channels }),
        4 => (channels(), any::<usize>()).prop_map(|(channels, cursor)| Step::Resume { channels, cursor }),
        3 => (channels(), -1..2_i64, -6..4_i64, index)
            .prop_map(|(channels, epoch, id, index)| Step::Forge { channels, epoch, id, index }),
        1 => channels().prop_map(|channels| Step::Unpositioned { channels }),
        2 => (any::<usize>(), 0..CHANNELS).prop_map(|(reader, channel)| Step::Add { reader, channel }),
        2 => (any::<usize>(), 0..CHANNELS).prop_map(|(reader, channel)| Step::Remove { reader, channel }),
        1 => any::<usize>().prop_map(|reader| Step::Leave { reader }),
        8 => (any::<usize>(), 1..6_usize).prop_map(|(reader, items)| Step::Read { reader, items }),
        2 => Just(Step::Notify),
        1 => (1..7_u64).prop_map(|seconds| Step::PassUpTime { seconds }),
    ]
}

/// How often each look-up row and each kind of item came.
type Seen = BTreeMap<String, usize>;

/// The store, its model, and what connects the two.
struct Pair {
    node: Node,
    model: Model,
    keys: Vec<(ReaderKey, Arc<Signal>, bool)>,
    epoch: u64,
    next_id: u64,
    appended: Option<Appended>,
    cursors: Vec<CursorEntry>,
    up_seconds: u64,
    seen: Seen,
}

impl Pair {
    fn new(dense_ids: bool) -> Self {
        Self {
            node: Node::open(dense_ids),
            model: Model::new(dense_ids, Epoch(1)),
            keys: Vec::new(),
            epoch: 1,
            next_id: 0,
            appended: None,
            cursors: Vec::new(),
            up_seconds: 0,
            seen: Seen::default(),
        }
    }

    fn take(&mut self, step: Step) {
        let readers = self.keys.len();
        match step {
            Step::Append { channels, skip, notified } => {
                self.finish_notifying();
                self.append(channels, skip);
                if notified {
                    self.finish_notifying();
                } else {
                    self.notify();
                }
            }
            Step::MissNumbers { frames } => {
                self.finish_notifying();
                self.note_hole(Some(at(self.epoch, self.next_id, 0)), Some(frames));
                // A payload shows that numbers are missing before it.
                self.append(vec![0], 0);
                self.finish_notifying();
            }
            Step::BreakLink => {
                self.finish_notifying();
                self.note_hole(None, None);
            }
            Step::Epoch { shift } => {
                self.finish_notifying();
                self.begin_epoch(shift);
            }
            Step::Evict { payloads } => {
                for _ in 0..payloads {
                    if self.model.held() == 1 {
                        // Whether its readers are marked by now, the model does not know.
                        self.finish_notifying();
                    }
                    assert_eq!(self.node.store.evict(), self.model.evict());
                }
            }
            Step::Subscribe { channels } => drop(self.subscribe(channels, Asked::Now)),
            Step::Resume { .. } if self.cursors.is_empty() => {}
            Step::Resume { channels, cursor } => {
                let cursor = self.cursors[cursor % self.cursors.len()];
                self.resume(channels, cursor);
            }
            Step::Forge { channels, epoch, id, index } => {
                let epoch = self.epoch.saturating_add_signed(epoch);
                let id = self.next_id.saturating_add_signed(id);
                let position = at(epoch, id, index);
                let stem = self.node.store.timeline.stem(position);
                self.resume(channels, CursorEntry::At { position, stem });
            }
            Step::Unpositioned { channels } => self.resume(channels, CursorEntry::Unpositioned),
            _ if readers == 0 => {}
            Step::Add { reader, channel } => {
                let reader = reader % readers;
                self.model.add(reader, channel);
                self.node.store.add_channel(self.keys[reader].0, &name_of(channel), &mut self.node.wakes);
            }
            Step::Remove { reader, channel } => {
                let reader = reader % readers;
                let removed = self.model.readers[reader].channels.remove(&channel);
                let key = self.keys[reader].0;
                assert_eq!(self.node.store.remove_channel(key, &name_of(channel)), removed);
            }
            Step::Leave { reader } => {
                let reader = reader % readers;
                self.model.readers.remove(reader);
                self.node.store.remove_reader(self.keys.remove(reader).0);
            }
            Step::Read { reader, items } => {
                for _ in 0..items {
                    self.read(reader % readers);
                    self.model.advance();
                    self.settle();
                }
            }
            Step::Notify => self.notify(),
            Step::PassUpTime { seconds } => {
                self.up_seconds += seconds;
                self.node.pass_up_time(Duration::from_secs(seconds));
                for (reader, asked, until) in self.model.waiting() {
                    if until.is_some_and(|until| until <= self.up_seconds) {
                        self.model.give_up(reader, asked);
                    }
                }
            }
        }
        self.model.advance();
        self.compare();
    }

    fn append(&mut self, channels: Vec<u8>, skip: u64) {
        let id = self.next_id + skip;
        if skip > 0 && self.model.dense_ids {
            self.note_hole(Some(at(self.epoch, id, 0)), Some(skip));
            self.model.advance();
        }
        self.next_id = id + 1;
        self.model.append(Epoch(self.epoch), PayloadId(id), channels.clone());
        let names: Vec<String> = channels.iter().map(|channel| name_of(*channel)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() {
            self.node.append_blank(id);
        } else {
            self.appended = Some(self.node.append_only(id, &names));
        }
        self.release();
    }

    fn note_hole(&mut self, to: Option<Position>, frames: Option<u64>) {
        self.model.note_hole(to, frames);
        self.node.note_hole(to, frames);
    }

    fn begin_epoch(&mut self, shift: i64) {
        let last = self.model.last().filter(|(epoch, _)| epoch.0 == self.epoch);
        let after = last.map(|(epoch, id)| (epoch, PayloadId(id.0.saturating_add_signed(shift))));
        if shift > 0 && after.is_some() {
            self.note_hole(
                Some(at(self.epoch + 1, 0, 0)),
                self.model.dense_ids.then_some(shift.unsigned_abs()),
            );
            self.model.advance();
        }
        (self.epoch, self.next_id) = (self.epoch + 1, 0);
        self.model.begin_epoch(Epoch(self.epoch), after);
        self.node.begin_epoch(self.epoch, after.map(|(epoch, id)| (epoch.0, id.0)));
        self.release();
    }

    /// Lets the model's readers go on whose position has come.
    fn release(&mut self) {
        self.node.store.release_waiting(&mut self.node.wakes);
        for (reader, asked, until) in self.model.waiting() {
            self.model.resume(reader, asked, judge(&self.node.store, asked), until);
        }
    }

    fn notify(&mut self) {
        let Some(appended) = &mut self.appended else { return };
        if self.node.store.notify(appended, &mut self.node.wakes) == Notified::All {
            (self.appended, self.model.notifying) = (None, None);
        }
    }

    fn finish_notifying(&mut self) {
        while self.appended.is_some() {
            self.notify();
        }
        self.model.advance();
    }

    fn subscribe(&mut self, channels: BTreeSet<u8>, asked: Asked<'_>) -> LookUp {
        let signal = Arc::new(Signal::default());
        let key = self.node.store.add_reader(Arc::clone(&signal));
        let names: Vec<String> = channels.iter().map(|channel| name_of(*channel)).collect();
        self.node.store.join(key, names.iter().map(String::as_str));
        self.keys.push((key, signal, false));
        self.model.subscribe(channels);
        self.node.store.begin(key, asked, AHEAD_WAIT, &mut self.node.wakes)
    }

    fn resume(&mut self, channels: BTreeSet<u8>, cursor: CursorEntry) {
        let judged = judge(&self.node.store, cursor);
        let look_up = self.subscribe(channels, Asked::Cursor(Some(&cursor)));
        let until = Some(self.up_seconds + AHEAD_WAIT.as_secs());
        let expected = self.model.resume(self.model.readers.len() - 1, cursor, judged, until);
        assert_eq!(look_up, expected, "the look-up of {cursor:?}");
        *self.seen.entry(format!("{look_up:?}")).or_default() += 1;
    }

    fn read(&mut self, reader: usize) {
        let (key, signal, raised) = &mut self.keys[reader];
        let due = self.model.due(reader);
        let mut item = None;
        let more = self.node.store.read(*key, &mut item);
        signal.take_raised();
        *raised = more;
        match (got(item), due) {
            (None, None | Some((_, true))) => {}
            (Some(got), Some((due, _))) if due.accepts(&got) => {
                let kind = match got {
                    Got::Message(..) => "message".to_owned(),
                    Got::Gap(reason, _) => reason.to_string(),
                };
                *self.seen.entry(kind).or_default() += 1;
                self.model.read(reader);
            }
            (got, due) => panic!("reader {reader} got {got:?}, due was {due:?}"),
        }
    }

    /// A reader with a message to come may stand right before it or where it was, as it was marked or not.
    fn settle(&mut self) {
        for reader in 0..self.keys.len() {
            let cursor = self.node.cursor(self.keys[reader].0);
            if cursor != self.model.cursor(reader, &self.node.store) {
                self.model.stand_before_notified(reader);
            }
        }
    }

    fn compare(&mut self) {
        self.settle();
        for reader in 0..self.keys.len() {
            let cursor = self.node.cursor(self.keys[reader].0);
            assert_eq!(cursor, self.model.cursor(reader, &self.node.store), "the cursor of reader {reader}");
            if !self.cursors.contains(&cursor) {
                self.cursors.push(cursor);
            }
            let (_, signal, raised) = &mut self.keys[reader];
            *raised |= !signal.take_raised().is_empty();
            let is_pending = self.model.due(reader).is_some_and(|(_, notifying)| !notifying);
            assert!(*raised || !is_pending, "reader {reader} was not woken for {:?}", self.model.due(reader));
        }
        assert_eq!(self.node.store.bytes() > 0, self.model.held() > 0);
    }

    /// Reads everything, evicts everything: nothing is left.
    fn finish(mut self) -> Seen {
        self.finish_notifying();
        for reader in 0..self.keys.len() {
            while let Some((due, _)) = self.model.due(reader) {
                self.read(reader);
                let is_over = self.model.due(reader).is_some_and(|(next, _)| next == due);
                assert!(!is_over || matches!(due, Due::Gap(..)), "a message came twice");
                self.model.advance();
            }
            assert!(self.node.read(self.keys[reader].0).is_none());
        }
        while self.node.store.evict() {}
        for (key, ..) in &self.keys {
            self.node.store.remove_reader(*key);
        }
        assert_eq!((self.node.store.bytes(), self.node.store.reader_count()), (0, 0));
        assert!(self.node.store.waiting.is_empty());
        self.seen
    }
}

fn judge(store: &Store, cursor: CursorEntry) -> super::super::timeline::Judgement {
    match cursor {
        CursorEntry::At { position, stem } => store.timeline.judge(position, stem),
        CursorEntry::Unpositioned => super::super::timeline::Judgement::Foreign,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_does_what_its_model_does(
        dense_ids in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut pair = Pair::new(dense_ids);
        for step in steps {
            pair.take(step);
        }
        pair.finish();
    }
}

#[test]
fn every_row_and_every_gap_occurs() {
    let all = RefCell::new(Seen::new());
    let histories = (any::<bool>(), prop::collection::vec(step(), 60));
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() },
        TestRunner::deterministic().new_rng(),
    );
    let ran = runner.run(&histories, |(dense_ids, steps)| {
        let mut pair = Pair::new(dense_ids);
        steps.into_iter().for_each(|step| pair.take(step));
        for (name, count) in pair.finish() {
            *all.borrow_mut().entry(name).or_default() += count;
        }
        Ok(())
    });
    ran.unwrap();
    let names: Vec<String> = all.into_inner().into_keys().collect();
    let expected = [
        "Ahead",
        "InRing",
        "Older { expired: false }",
        "Older { expired: true }",
        "Reset",
        "Unpositioned",
        "expired",
        "lagged",
        "lost",
        "message",
        "reset",
    ];
    assert_eq!(names, expected);
}
