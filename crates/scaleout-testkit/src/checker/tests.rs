//! Good histories pass; for each invariant a bad one is found as exactly that.

use std::time::Duration;

use bytes::Bytes;

use scaleout_core::{Epoch, ErrorKind, NodeId, PayloadId, Position, StreamIndex};

use super::*;

const STREAM: StreamIndex = StreamIndex(0);

#[test]
fn a_good_history_passes() {
    assert_eq!(check(&Stage::new(4).recording), []);
}

#[test]
fn a_history_across_a_fork_and_a_repair_passes() {
    assert_eq!(check(&forked().recording), []);
}

#[test]
fn what_a_broken_link_lost_may_be_told_as_a_gap() {
    assert_eq!(check(&broken_link(Reason::Lost).recording), []);
}

#[test]
fn validity_a_message_that_nobody_published() {
    let mut stage = Stage::new(4);
    let LogFrame { content: Content::Frame(frame), .. } = &mut stage.recording.log[1] else { unreachable!() };
    frame.messages[0].1 = Bytes::from_static(b"made up");
    stage.message(0, 1).bytes = Bytes::from_static(b"made up");
    stage.recording.publishes[1].outcome = Outcome::Unconfirmed;
    stage.finds(&[Invariant::Validity]);
}

#[test]
fn validity_a_message_of_a_channel_that_was_left() {
    let mut stage = Stage::new(4);
    stage.recording.clients[0].items.insert(4, Item::Left { channel: "a".into() });
    stage.finds(&[Invariant::Validity]);
}

#[test]
fn validity_another_origin() {
    let mut stage = Stage::new(4);
    stage.message(0, 1).origin = NodeId(2);
    stage.finds(&[Invariant::Validity]);
}

#[test]
fn validity_and_outcomes_a_refused_message_is_in_the_store() {
    let mut stage = Stage::new(4);
    stage.recording.publishes[3].outcome = Outcome::Refused(ErrorKind::Expired);
    stage.finds(&[Invariant::Validity, Invariant::Outcomes]);
}

#[test]
fn uniqueness_a_message_comes_again_after_a_fork() {
    let mut stage = forked();
    let again = Item::Message(MessageItem { position: at(2, 0), ..stage.message(0, 3).clone() });
    stage.recording.clients[0].items.insert(5, again);
    stage.finds(&[Invariant::Uniqueness]);
}

#[test]
fn uniqueness_the_store_holds_a_frame_twice() {
    let mut stage = Stage::new(4);
    let LogFrame { content: Content::Frame(frame), .. } = &mut stage.recording.log[3] else { unreachable!() };
    frame.number = 3;
    // The copy also breaks the order of numbers in the store.
    stage.finds(&[Invariant::Uniqueness, Invariant::Repair]);
}

#[test]
fn stream_order_two_publishers_swapped() {
    let mut stage = Stage::new(4);
    stage.recording.publishes[2].node = 1;
    let LogFrame { content: Content::Frame(frame), .. } = &mut stage.recording.log[2] else { unreachable!() };
    frame.node = NodeId(2);
    stage.message(0, 2).origin = NodeId(2);
    stage.recording.clients[0].items.swap(2, 3);
    stage.finds(&[Invariant::StreamOrder]);
}

#[test]
fn publisher_order_the_store_itself_reordered() {
    let mut stage = Stage::new(4);
    stage.recording.publishes[1].order = 2;
    stage.recording.publishes[2].order = 1;
    stage.finds(&[Invariant::PublisherOrder]);
}

#[test]
fn agreement_a_position_names_something_else_in_the_store() {
    let mut stage = Stage::new(4);
    for (item, id) in stage.recording.clients[0].items[1..].iter_mut().zip(10..) {
        let Item::Message(message) = item else { unreachable!() };
        message.position.id = PayloadId(id);
    }
    stage.recording.clients[0].end.clear();
    stage.finds(&[Invariant::Agreement]);
}

#[test]
fn completeness_a_message_is_missing_without_a_gap() {
    let mut stage = Stage::new(4);
    stage.recording.clients[0].items.remove(2);
    stage.finds(&[Invariant::Completeness]);
}

#[test]
fn completeness_a_gap_somewhere_else_is_no_excuse() {
    let mut stage = broken_link(Reason::Lost);
    stage.recording.clients[0].items.remove(4);
    stage.finds(&[Invariant::Completeness]);
}

#[test]
fn completeness_what_a_client_left_behind_is_not_owed() {
    let mut stage = Stage::new(4);
    stage.recording.clients[0].items.truncate(3);
    stage.recording.clients[0].items.push(Item::Left { channel: "a".into() });
    assert_eq!(check(&stage.recording), []);
}

#[test]
fn completeness_a_repair_does_not_come_to_who_was_reset_where_the_original_was_known() {
    // A fork took the third message, which the client's new node had, and the one before had not. Node 1 publishes two
    // more, then node 0 repairs, and goes on.
    let mut stage = Stage::new(6);
    stage.recording.log[2].forgotten_in = Some(Epoch(2));
    stage.recording.log.truncate(3);
    let frames = [(3, 2, 1), (4, 2, 2), (2, 1, 3), (5, 1, 4)].map(|(publish, origin, number)| {
        let Content::Frame(of_node_0) = frame(publish, number) else { unreachable!() };
        Content::Frame(FrameContent { node: NodeId(origin), ..of_node_0 })
    });
    let after = Some((Epoch(1), PayloadId(1)));
    let opened = ArrivalKind::Opened { epoch: Epoch(2), after, head: (Epoch(2), None), unbroken: true };
    let arrivals = &mut stage.recording.nodes[1].arrivals;
    arrivals.truncate(4);
    arrivals.push(arrival(35, opened));
    for (id, content) in (0..).zip(frames) {
        stage.recording.log.push(logged(2, id, content.clone()));
        arrivals.push(arrival(40 + id, ArrivalKind::Payload { id: PayloadId(id), len: 100, content }));
    }
    for (publish, id) in [(3, 0), (4, 1), (5, 3)] {
        stage.message(0, publish).position = at(2, id);
        if publish != 5 {
            stage.message(0, publish).origin = NodeId(2);
            stage.recording.publishes[publish].node = 1;
        }
    }
    let cursor = Some(Position::behind(Epoch(2), PayloadId(3)));
    stage.recording.clients[0].end = vec![End { stream: STREAM, cursor, head: (Epoch(2), PayloadId(3)) }];
    let reset = [hop(Position::behind(Epoch(2), PayloadId(0))), gap(Reason::Reset, None)];
    stage.recording.clients[0].items.splice(5..5, reset);
    stage.recording.clients[0].items.remove(3);
    assert_eq!(check(&stage.recording), []);
    // A node that had it not would have to deliver the repair.
    let original = stage.recording.nodes[1].arrivals.remove(3);
    stage.finds(&[Invariant::Completeness, Invariant::NoFalseGap]);
    stage.recording.nodes[1].arrivals.insert(3, original);
    // Nor is it covered where the client was not told.
    stage.recording.clients[0].items.remove(5);
    stage.finds(&[Invariant::Completeness]);
}

#[test]
fn completeness_from_now_is_the_head_of_the_reception_that_serves_the_client() {
    let mut stage = Stage::new(4);
    stage.recording.clients[0].items.drain(1..3);
    let opened =
        |id| ArrivalKind::Opened { epoch: Epoch(1), after: None, head: (Epoch(1), id), unbroken: true };
    let before = [ArrivalKind::Began, opened(None), ArrivalKind::Ended].map(|kind| arrival(0, kind));
    let now = [arrival(5, ArrivalKind::Began), arrival(25, opened(Some(PayloadId(1))))];
    stage.recording.nodes[1].arrivals.splice(..1, before.into_iter().chain(now));
    assert_eq!(check(&stage.recording), []);
    // It came to a stream that was open.
    stage.recording.nodes[1].arrivals.drain(2..5);
    stage.finds(&[Invariant::Completeness]);
}

#[test]
fn no_false_gap_what_an_earlier_reception_lost_explains_nothing() {
    let mut stage = broken_link(Reason::Lost);
    let again = Stage::new(4).recording.nodes.swap_remove(1).arrivals;
    let arrivals = &mut stage.recording.nodes[1].arrivals;
    arrivals.extend([arrival(900, ArrivalKind::Ended), arrival(1_000, ArrivalKind::Began)]);
    arrivals.extend(again.into_iter().map(|again| Arrival { at: Duration::from_secs(1), ..again }));
    stage.finds(&[Invariant::NoFalseGap]);
    stage.gap(0).at = Duration::from_millis(500);
    assert_eq!(check(&stage.recording), []);
}

#[test]
fn no_false_gap_without_any_fault() {
    for reason in [Reason::Lost, Reason::Reset, Reason::Expired, Reason::Lagged] {
        let mut stage = Stage::new(4);
        stage.recording.clients[0].items.insert(3, gap(reason, None));
        stage.finds(&[Invariant::NoFalseGap]);
    }
}

#[test]
fn no_false_gap_a_cursor_that_the_node_knows_is_reset() {
    let mut stage = Stage::new(4);
    stage.recording.clients[0].items.insert(3, hop(at(1, 1)));
    assert_eq!(check(&stage.recording), []);
    stage.recording.clients[0].items.insert(4, gap(Reason::Reset, None));
    stage.finds(&[Invariant::NoFalseGap]);
}

#[test]
fn a_cursor_of_an_epoch_that_the_node_never_had_may_be_reset() {
    let mut stage = Stage::new(4);
    stage.recording.clients[0].items.insert(3, hop(at(1, 1)));
    stage.recording.clients[0].items.insert(4, gap(Reason::Reset, None));
    for arrival in &mut stage.recording.nodes[1].arrivals {
        arrival.at = Duration::from_secs(100);
    }
    assert_eq!(check(&stage.recording), []);
}

#[test]
fn what_a_node_cannot_read_is_lost_to_who_read_a_part_of_it_elsewhere() {
    for (messages, found) in [(2, &[][..]), (1, &[Invariant::NoFalseGap])] {
        let mut stage = Stage::new(4);
        let LogFrame { content: Content::Frame(frame), .. } = &mut stage.recording.log[3] else {
            unreachable!()
        };
        frame.messages.extend((1..messages).map(|_| ("a".into(), publish_payload(100, 20))));
        // The opening, and four payloads.
        stage.recording.nodes[1].arrivals[4].kind =
            ArrivalKind::Payload { id: PayloadId(3), len: 100, content: Content::Unreadable };
        // No later number shows the loss. The client got the first message of the payload on another node.
        let items = &mut stage.recording.clients[0].items;
        items.extend([hop(Position { index: 1, ..at(1, 3) }), gap(Reason::Lost, Some(1))]);
        stage.finds(found);
    }
}

#[test]
fn no_false_gap_a_loss_that_left_with_the_ring_explains_cursors_from_before_it() {
    let (young, old) = (Duration::from_secs(1), Duration::from_secs(600));
    let before_it = Position::behind(Epoch(1), PayloadId(1));
    for (ring_age, from, found) in [
        (young, before_it, &[][..]),
        (old, before_it, &[Invariant::NoFalseGap]),
        (young, at(1, 3), &[Invariant::NoFalseGap]),
    ] {
        let mut stage = Stage::new(5);
        stage.recording.nodes[1].ring_age = ring_age;
        // The opening, and three payloads: the third cannot be read, and is owed to nobody.
        stage.recording.nodes[1].arrivals[3].kind =
            ArrivalKind::Payload { id: PayloadId(2), len: 100, content: Content::Unreadable };
        stage.recording.log[2].content = Content::Unreadable;
        stage.recording.publishes[2].outcome = Outcome::Unconfirmed;
        let items = &mut stage.recording.clients[0].items;
        items.splice(3..4, [hop(from), gap(Reason::Expired, Some(1))]);
        stage.finds(found);
    }
}

#[test]
fn lagging_behind_a_small_ring_is_no_false_gap_but_behind_a_large_one_it_is() {
    let mut stage = Stage::new(40);
    stage.recording.clients[0].items.drain(3..20);
    stage.recording.clients[0].items.insert(3, gap(Reason::Lagged, None));
    stage.recording.nodes[1].ring_bytes = Some(1000);
    assert_eq!(check(&stage.recording), []);
    stage.recording.nodes[1].ring_bytes = Some(1 << 20);
    stage.finds(&[Invariant::NoFalseGap]);
}

#[test]
fn extent_too_few_and_too_many_frames() {
    for (frames, good) in [(0, false), (1, true), (2, false)] {
        let mut stage = broken_link(Reason::Lost);
        stage.gap(0).frames = Some(frames);
        if good {
            assert_eq!(check(&stage.recording), []);
        } else {
            stage.finds(&[Invariant::Extent]);
        }
    }
}

#[test]
fn extent_something_was_delivered_inside_a_gap() {
    let mut stage = broken_link(Reason::Lost);
    stage.gap(0).position = Some(Position::behind(Epoch(1), PayloadId(3)));
    stage.finds(&[Invariant::Extent]);
}

#[test]
fn outcomes_a_publish_never_resolves_or_too_late() {
    let mut stage = Stage::new(4);
    stage.recording.publishes[1].outcome = Outcome::Unresolved;
    stage.finds(&[Invariant::Outcomes]);
    let mut stage = Stage::new(4);
    stage.recording.publishes[1].resolved = Some(Duration::from_secs(300));
    stage.recording.nodes[0].tail_age = Duration::ZERO;
    stage.finds(&[Invariant::Outcomes]);
}

#[test]
fn outcomes_ok_before_the_store_had_it() {
    let mut stage = Stage::new(4);
    stage.recording.publishes[1].in_log = false;
    stage.finds(&[Invariant::Outcomes]);
}

#[test]
fn repair_what_was_forgotten_stays_away() {
    let mut stage = forked();
    let LogFrame { content, .. } = &mut stage.recording.log[4];
    *content = Content::Empty;
    let ArrivalKind::Payload { content, .. } = &mut stage.recording.nodes[1].arrivals[6].kind else {
        unreachable!()
    };
    *content = Content::Empty;
    stage.finds(&[Invariant::Repair]);
    stage.recording.nodes[0].tail_age = Duration::ZERO;
    assert_eq!(check(&stage.recording), []);
}

#[test]
fn repair_newer_frames_come_before_repaired_ones() {
    let mut stage = forked();
    let LogFrame { content: Content::Frame(frame), .. } = &mut stage.recording.log[3] else { unreachable!() };
    frame.number = 9;
    stage.recording.log[3].forgotten_in = None;
    stage.finds(&[Invariant::Repair]);
}

#[test]
fn transparency_an_unconfirmed_message_is_lost_by_a_hop() {
    let mut stage = Stage::new(4);
    stage.recording.publishes[1].outcome = Outcome::Unconfirmed;
    let mut hopping = stage.recording.clients[0].clone();
    hopping.items[2] = hop(at(1, 0));
    hopping.twin = Some(0);
    stage.recording.clients.push(hopping);
    stage.finds(&[Invariant::Transparency]);
}

#[test]
fn what_was_given_up_and_forgotten_before_a_node_had_it_does_not_come_there() {
    let mut stage = Stage::new(5);
    stage.recording.publishes[3].outcome = Outcome::Unconfirmed;
    stage.recording.log[3].forgotten_in = Some(Epoch(2));
    stage.recording.log[4] = logged(2, 0, frame(4, 5));
    stage.message(0, 4).position = at(2, 0);
    let cursor = Some(Position::behind(Epoch(2), PayloadId(0)));
    stage.recording.clients[0].end = vec![End { stream: STREAM, cursor, head: (Epoch(2), PayloadId(0)) }];
    let after = Some((Epoch(1), PayloadId(2)));
    let opened = ArrivalKind::Opened { epoch: Epoch(2), after, head: (Epoch(2), None), unbroken: true };
    let last = ArrivalKind::Payload { id: PayloadId(0), len: 100, content: frame(4, 5) };
    stage.recording.nodes[1].arrivals.splice(5.., [arrival(50, opened), arrival(60, last)]);
    // Its twin went to a node that was slower than the store's failover.
    let mut slow = node(3);
    slow.arrivals = stage.recording.nodes[1].arrivals.clone();
    slow.arrivals.remove(4);
    stage.recording.nodes.push(slow);
    let mut hopping = stage.recording.clients[0].clone();
    let Item::Hop(mut to) = hop(Position::behind(Epoch(1), PayloadId(2))) else { unreachable!() };
    to.to = 2;
    hopping.items[4] = Item::Hop(to);
    let Item::Message(message) = &mut hopping.items[5] else { unreachable!() };
    message.node = 2;
    hopping.twin = Some(0);
    stage.recording.clients.push(hopping);
    assert_eq!(check(&stage.recording), []);
    // Where it had it, it is owed.
    stage.recording.nodes[2].arrivals = stage.recording.nodes[1].arrivals.clone();
    stage.finds(&[Invariant::Transparency]);
}

#[test]
fn liveness_a_stream_down_a_cursor_behind_an_outage_swallowed() {
    let mut stage = Stage::new(4);
    stage.recording.nodes[1].up = vec![false];
    stage.finds(&[Invariant::Liveness]);
    let mut stage = Stage::new(4);
    stage.recording.clients[0].end[0].cursor = Some(Position::behind(Epoch(1), PayloadId(2)));
    stage.finds(&[Invariant::Liveness]);
    let mut stage = Stage::new(4);
    stage.recording.nodes[1].states.push(StateSample {
        at: Duration::from_secs(1),
        stream: STREAM,
        up: true,
    });
    stage.finds(&[Invariant::Liveness]);
}

#[test]
fn bounds_a_budget_exceeded_a_task_left() {
    let mut stage = Stage::new(4);
    stage.recording.nodes[0].samples.push(Sample { what: "queue messages", used: 11, limit: 10 });
    stage.finds(&[Invariant::Bounds]);
    let mut stage = Stage::new(4);
    stage.recording.left_over.push(("tasks", 1));
    stage.finds(&[Invariant::Bounds]);
}

#[test]
fn accounts_a_counter_is_wrong() {
    let mut stage = Stage::new(4);
    stage.recording.nodes[0].accounts.push(Account { what: "published", counted: 3, observed: 4 });
    stage.finds(&[Invariant::Accounts]);
}

#[test]
fn not_vacuous_a_fault_that_never_occurred() {
    let mut coverage = Coverage::default();
    coverage.count("fault: flush", 3);
    assert_eq!(check_coverage(&coverage, &["fault: flush"]), []);
    let found = check_coverage(&coverage, &["fault: flush", "gap: Lagged"]);
    assert_eq!(
        found.iter().map(|violation| violation.invariant).collect::<Vec<_>>(),
        [Invariant::NotVacuous]
    );
}

#[test]
fn a_forged_cursor_begins_a_new_chain() {
    let mut stage = Stage::new(4);
    let Item::Hop(mut forged) = hop(at(1, 0)) else { unreachable!() };
    forged.forged = true;
    let again: Vec<_> = stage.recording.clients[0].items[2..].to_vec();
    stage.recording.clients[0].items.push(Item::Hop(forged));
    stage.recording.clients[0].items.extend(again);
    assert_eq!(check(&stage.recording), []);
}

/// Two nodes, one stream: node 0 publishes to channel `a`, one message a frame; a client on node 1 gets them all.
struct Stage {
    recording: Recording,
}

impl Stage {
    fn new(messages: usize) -> Self {
        let mut recording = Recording { resolve_within: Duration::from_secs(60), ..Recording::default() };
        recording.nodes = vec![node(1), node(2)];
        let opened =
            ArrivalKind::Opened { epoch: Epoch(1), after: None, head: (Epoch(1), None), unbroken: true };
        recording.nodes[1].arrivals.push(arrival(0, opened));
        let mut client = Client { drained: true, ..Client::default() };
        client.items.push(Item::Joined { at: Duration::ZERO, node: 1, channel: "a".into() });
        for id in 0..messages {
            let began = Duration::from_millis(10 * id as u64 + 10);
            let bytes = publish_payload(id, 20);
            recording.publishes.push(Published {
                node: 0,
                stream: STREAM,
                channel: "a".into(),
                order: id as u64,
                bytes: bytes.clone(),
                began,
                resolved: Some(began + Duration::from_millis(5)),
                outcome: Outcome::Ok,
                in_log: true,
            });
            let frame = frame(id, id as u64 + 1);
            recording.log.push(logged(1, id as u64, frame.clone()));
            let kind = ArrivalKind::Payload { id: PayloadId(id as u64), len: 100, content: frame };
            recording.nodes[1].arrivals.push(arrival(10 * id as u64 + 14, kind));
            client.items.push(Item::Message(MessageItem {
                node: 1,
                stream: STREAM,
                position: at(1, id as u64),
                origin: NodeId(1),
                channel: "a".into(),
                bytes,
            }));
        }
        let head = PayloadId(messages as u64 - 1);
        client.end.push(End {
            stream: STREAM,
            cursor: Some(Position::behind(Epoch(1), head)),
            head: (Epoch(1), head),
        });
        recording.clients.push(client);
        Self { recording }
    }

    fn message(&mut self, client: usize, place: usize) -> &mut MessageItem {
        let mut messages = self.recording.clients[client].items.iter_mut().filter_map(|item| match item {
            Item::Message(message) => Some(message),
            _ => None,
        });
        messages.nth(place).expect("the client has that many messages")
    }

    fn gap(&mut self, client: usize) -> &mut GapItem {
        let mut gaps = self.recording.clients[client].items.iter_mut().filter_map(|item| match item {
            Item::Gap(gap) => Some(gap),
            _ => None,
        });
        gaps.next().expect("the client has a gap")
    }

    #[track_caller]
    fn finds(&self, expected: &[Invariant]) {
        let violations = check(&self.recording);
        let mut found: Vec<_> = violations.iter().map(|violation| violation.invariant).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected, "{violations:#?}");
    }
}

/// As four messages, but the store forgot the last one: it began epoch 2 behind the third, and node 0 repaired it.
fn forked() -> Stage {
    let mut stage = Stage::new(4);
    stage.recording.log[3].forgotten_in = Some(Epoch(2));
    stage.recording.log.push(logged(2, 0, frame(3, 4)));
    let after = Some((Epoch(1), PayloadId(2)));
    let opened = ArrivalKind::Opened { epoch: Epoch(2), after, head: (Epoch(2), None), unbroken: true };
    stage.recording.nodes[1].arrivals.push(arrival(50, opened));
    let copy = ArrivalKind::Payload { id: PayloadId(0), len: 100, content: frame(3, 4) };
    stage.recording.nodes[1].arrivals.push(arrival(60, copy));
    let cursor = Some(Position::behind(Epoch(2), PayloadId(0)));
    stage.recording.clients[0].end = vec![End { stream: STREAM, cursor, head: (Epoch(2), PayloadId(0)) }];
    stage
}

/// As four messages, but node 1 never got the second, which its link hid.
fn broken_link(reason: Reason) -> Stage {
    let mut stage = Stage::new(4);
    stage.recording.nodes[1].arrivals.remove(2);
    stage.recording.clients[0].items[2] = gap(reason, None);
    stage
}

fn node(id: u128) -> NodeRecord {
    NodeRecord {
        id: NodeId(id),
        ended: None,
        replay: true,
        dense_ids: true,
        ring_bytes: None,
        ring_age: Duration::from_secs(600),
        tail_age: Duration::from_secs(60),
        arrivals: Vec::new(),
        up: vec![true],
        states: Vec::new(),
        samples: Vec::new(),
        accounts: Vec::new(),
    }
}

fn frame(publish: usize, number: u64) -> Content {
    let messages = vec![("a".into(), publish_payload(publish, 20))];
    Content::Frame(FrameContent { node: NodeId(1), number, after: number - 1, messages })
}

fn logged(epoch: u64, id: u64, content: Content) -> LogFrame {
    let (epoch, id) = (Epoch(epoch), PayloadId(id));
    LogFrame { stream: STREAM, epoch, id, content, forgotten_in: None, injected: false }
}

fn arrival(millis: u64, kind: ArrivalKind) -> Arrival {
    Arrival { at: Duration::from_millis(millis), stream: STREAM, kind }
}

fn at(epoch: u64, id: u64) -> Position {
    Position { epoch: Epoch(epoch), id: PayloadId(id), index: 0 }
}

fn gap(reason: Reason, frames: Option<u64>) -> Item {
    let at = Duration::from_secs(2);
    Item::Gap(GapItem { node: 1, at, stream: STREAM, reason, frames, position: None })
}

fn hop(position: Position) -> Item {
    let at = Duration::from_millis(30);
    Item::Hop(HopItem {
        to: 1,
        at,
        forged: false,
        entries: vec![HopEntry { stream: STREAM, position: Some(position), stem: None }],
    })
}
