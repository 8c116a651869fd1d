//! The rows of the look-up table, and where the predecessor's borders were wrong.

use super::*;

/// Ids 0 to 9, each of one message of `c`, of which `evicted` left the ring.
fn ten(dense_ids: bool, evicted: usize) -> Node {
    let mut node = Node::open(dense_ids);
    (0..10).for_each(|id| node.append(id, &["c"]));
    (0..evicted).for_each(|_| assert!(node.store.evict()));
    node
}

fn messages(ids: std::ops::Range<u64>) -> Vec<Got> {
    ids.map(|id| message("c", id, 0)).collect()
}

#[test]
fn a_cursor_in_the_ring_goes_on_from_there() {
    for dense_ids in [true, false] {
        let mut node = ten(dense_ids, 3);
        for id in 3..10 {
            let (key, look_up) = node.resume(&["c"], behind(id));
            assert_eq!(look_up, LookUp::InRing);
            assert_eq!(node.read_all(key), messages(id + 1..10));
        }
    }
}

#[test]
fn a_cursor_equal_to_the_last_evicted_id_is_at_the_older_edge() {
    for dense_ids in [true, false] {
        let mut node = ten(dense_ids, 5);
        let (key, look_up) = node.resume(&["c"], behind(4));
        assert_eq!(look_up, LookUp::InRing);
        assert_eq!(node.read_all(key), messages(5..10));
    }
}

#[test]
fn a_cursor_of_the_last_evicted_id_counts_when_the_whole_ring_is_gone() {
    for dense_ids in [true, false] {
        let mut node = ten(dense_ids, 10);
        let (key, look_up) = node.resume(&["c"], behind(9));
        assert_eq!((look_up, node.read(key)), (LookUp::InRing, None));
        node.append(10, &["c"]);
        assert_eq!(node.read_all(key), messages(10..11));
    }
}

#[test]
fn an_older_cursor_is_told_where_a_message_of_its_channels_has_gone() {
    for (dense_ids, frames) in [(true, Some(3)), (false, None)] {
        let mut node = ten(dense_ids, 5);
        let (key, look_up) = node.resume(&["c"], behind(1));
        assert_eq!(look_up, LookUp::Older { expired: true });
        assert_eq!(node.read(key), Some(Got::Gap(GapReason::Expired, frames)));
        assert_eq!(node.read_all(key), messages(5..10));
    }
}

#[test]
fn an_older_cursor_of_a_quiet_channel_is_told_nothing() {
    let mut node = Node::open(true);
    node.append(0, &["quiet"]);
    (1..9).for_each(|id| node.append(id, &["c"]));
    node.append(9, &["quiet"]);
    (0..9).for_each(|_| assert!(node.store.evict()));
    let (key, look_up) = node.resume(&["quiet", "unheard"], behind(0));
    assert_eq!(look_up, LookUp::Older { expired: false });
    assert_eq!(node.read_all(key), [message("quiet", 9, 0)]);
    let (_, look_up) = node.resume(&["quiet"], before(0));
    assert_eq!(look_up, LookUp::Older { expired: true });
}

#[test]
fn a_cursor_before_all_that_this_node_knows_may_have_missed_messages() {
    let mut node = Node::new(true);
    node.store.open(node.now, Epoch(1), None, (Epoch(1), Some(PayloadId(9))), true);
    (5..10).for_each(|id| node.append(id, &["c"]));
    let (key, look_up) = node.resume(&["other"], behind(3));
    assert_eq!(look_up, LookUp::Older { expired: true });
    assert_eq!(node.read_all(key), [Got::Gap(GapReason::Expired, Some(1))]);
    let (key, look_up) = node.resume(&["c"], behind(4));
    assert_eq!((look_up, node.read(key)), (LookUp::InRing, Some(message("c", 5, 0))));
}

#[test]
fn a_cursor_above_the_maximum_waits_for_it() {
    for dense_ids in [true, false] {
        let mut node = ten(dense_ids, 0);
        let (key, look_up) = node.resume(&["c"], behind(11));
        assert_eq!((look_up, node.read(key)), (LookUp::Ahead, None));
        assert_eq!(node.position(key), behind(11), "a client that leaves while it waits keeps its place");
        node.append(10, &["c"]);
        node.append(11, &["c"]);
        assert_eq!(node.read(key), None, "it has seen these");
        node.append(12, &["c"]);
        assert_eq!(node.read_all(key), messages(12..13));
    }
}

#[test]
fn a_wait_that_is_over_is_told_and_goes_on_from_now() {
    let mut node = ten(true, 0);
    let (key, _) = node.resume(&["c"], behind(500));
    node.pass_up_time(AHEAD_WAIT - Duration::from_millis(1));
    node.append(10, &["c"]);
    assert_eq!(node.read(key), None);
    node.pass_up_time(Duration::from_millis(1));
    assert_eq!(node.position(key), behind(500), "not told yet");
    assert_eq!(node.read(key), Some(Got::Gap(GapReason::Reset, None)));
    assert_eq!((node.read(key), node.position(key)), (None, behind(10)));
    node.append(11, &["c"]);
    assert_eq!(node.read_all(key), messages(11..12));
}

#[test]
fn a_cursor_of_an_epoch_to_come_waits_for_it() {
    let mut node = ten(true, 0);
    let (key, look_up) = node.resume(&["c"], at(2, 0, Position::WHOLE));
    assert_eq!(look_up, LookUp::Ahead);
    node.begin_epoch(2, Some((1, 9)));
    node.append(0, &["c"]);
    assert_eq!(node.read(key), None);
    node.append(1, &["c"]);
    assert_eq!(node.read_all(key), [Got::Message("c".into(), at(2, 1, 0))]);
}

#[test]
fn an_id_reset_is_a_new_epoch_and_old_cursors_are_told() {
    let mut node = ten(true, 0);
    let (ahead, _) = node.resume(&["c"], behind(12));
    node.begin_epoch(2, Some((1, 6)));
    assert_eq!(node.read(ahead), Some(Got::Gap(GapReason::Reset, None)), "it ended before that");
    node.append(0, &["c"]);
    assert_eq!(node.read_all(ahead), [Got::Message("c".into(), at(2, 0, 0))]);
    let (key, look_up) = node.resume(&["c"], behind(11));
    assert_eq!((look_up, node.read(key)), (LookUp::Reset, Some(Got::Gap(GapReason::Reset, None))));
    assert_eq!(node.read(key), None);
    let (key, look_up) = node.resume(&["c"], behind(8));
    assert_eq!(look_up, LookUp::InRing, "this node still has what the store forgot");
    assert_eq!(node.read_all(key), [message("c", 9, 0), Got::Message("c".into(), at(2, 0, 0))]);
}

#[test]
fn a_cursor_with_another_stem_is_foreign() {
    let mut node = ten(true, 0);
    node.begin_epoch(2, Some((1, 6)));
    node.append(0, &["c"]);
    let stem = Some((Epoch(1), PayloadId(9)));
    let ours = CursorEntry::At { position: at(2, 0, Position::WHOLE), stem };
    assert_eq!(node.begin(&["c"], Asked::Cursor(Some(&ours))).1, LookUp::InRing);
    let (key, look_up) = node.resume(&["c"], at(2, 0, Position::WHOLE));
    assert_eq!((look_up, node.read(key)), (LookUp::Reset, Some(Got::Gap(GapReason::Reset, None))));
}

#[test]
fn a_client_that_comes_from_behind_a_fork_is_not_sent_back_before_it() {
    // Long after a fork stems are gone, but a node that held more still has it in its ring.
    let settle = |node: &mut Node| node.store.timeline.settle(node.now + Duration::from_secs(1_000));
    let (mut more, mut less) = (ten(true, 0), Node::open(true));
    (0..7).for_each(|id| less.append(id, &["c"]));
    for node in [&mut more, &mut less] {
        node.begin_epoch(2, Some((1, 6)));
        settle(node);
    }
    let (key, _) = more.resume(&["c"], behind(8));
    assert_eq!(more.read_all(key), messages(9..10));
    let cursor = more.position(key);
    assert_eq!(cursor, at(2, 0, 0));
    let (key, look_up) = less.resume(&["c"], cursor);
    assert_eq!((look_up, less.position(key)), (LookUp::InRing, cursor));
    let (key, _) = more.resume(&["c"], less.position(key));
    assert_eq!(more.read(key), None, "it has seen what the store forgot");
}

#[test]
fn another_layout_a_forgotten_epoch_and_no_position_are_told() {
    let mut node = ten(true, 0);
    let unpositioned = Asked::Cursor(Some(&CursorEntry::Unpositioned));
    let forgotten = CursorEntry::At { position: at(0, 4, 0), stem: None };
    for (asked, look_up, reason) in [
        (Asked::Foreign, LookUp::Reset, GapReason::Reset),
        (Asked::Cursor(Some(&forgotten)), LookUp::Reset, GapReason::Reset),
        (unpositioned, LookUp::Unpositioned, GapReason::Lost),
    ] {
        let (key, outcome) = node.begin(&["c"], asked);
        assert_eq!(outcome, look_up);
        assert_eq!(node.read_all(key), [Got::Gap(reason, None)]);
    }
}

#[test]
fn a_stream_absent_from_the_cursor_begins_now_without_a_gap() {
    let mut node = ten(true, 0);
    let (key, look_up) = node.begin(&["c"], Asked::Cursor(None));
    assert_eq!((look_up, node.read(key)), (LookUp::Absent, None));
    node.append(10, &["c"]);
    assert_eq!(node.read_all(key), messages(10..11));
}

#[test]
fn an_absent_id_inside_the_range_goes_on_with_the_next_greater_one() {
    let mut node = Node::open(false);
    [10, 15, 20].into_iter().for_each(|id| node.append(id, &["c"]));
    for (id, rest) in [(10, vec![15, 20]), (12, vec![15, 20]), (15, vec![20]), (19, vec![20]), (20, vec![])] {
        let (key, look_up) = node.resume(&["c"], behind(id));
        assert_eq!(look_up, LookUp::InRing, "{id}");
        assert_eq!(node.read_all(key), rest.iter().map(|id| message("c", *id, 0)).collect::<Vec<_>>());
    }
}

#[test]
fn an_id_that_is_missing_at_the_rings_edge_loses_nothing_behind_it() {
    // The predecessor's bug 3151: a cursor between two fragments got nothing at all.
    let mut node = Node::open(false);
    [1, 2, 3, 4, 5, 7, 8, 9].into_iter().for_each(|id| node.append(id, &["c"]));
    (0..5).for_each(|_| assert!(node.store.evict()));
    for id in [5, 6] {
        let (key, look_up) = node.resume(&["c"], behind(id));
        assert_eq!((look_up, node.read_all(key)), (LookUp::InRing, messages(7..10)));
    }
}

#[test]
fn a_cursor_inside_a_frame_goes_on_with_the_next_message() {
    let mut node = Node::open(true);
    node.append(0, &["c", "d", "c", "c"]);
    node.append(1, &["c"]);
    for (index, rest) in [(0, 4), (1, 3), (2, 3), (3, 2), (4, 1), (99, 1)] {
        let (key, look_up) = node.resume(&["c"], at(1, 0, index));
        assert_eq!((look_up, node.read_all(key).len()), (LookUp::InRing, rest), "{index}");
    }
    assert!(node.store.evict());
    for (index, expired) in [(0, true), (3, true), (4, false)] {
        let (_, look_up) = node.resume(&["c"], at(1, 0, index));
        assert_eq!(look_up, LookUp::Older { expired }, "{index}");
    }
    assert_eq!(node.resume(&["d"], at(1, 0, 2)).1, LookUp::Older { expired: false });
}

#[test]
fn an_empty_store_answers_its_own_position() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c"]);
    let start = node.position(key);
    assert_eq!(start, before(0));
    let (key, look_up) = node.resume(&["c"], start);
    assert_eq!((look_up, node.read(key)), (LookUp::InRing, None));
    assert_eq!(node.resume(&["c"], behind(0)).1, LookUp::Ahead);
}

#[test]
fn the_first_payload_of_all_reaches_who_subscribed_without_a_cursor() {
    // The predecessor needed a sentinel for "before id 0".
    for opened in [true, false] {
        let mut node = if opened { Node::open(true) } else { Node::new(true) };
        let key = node.subscribe(&["c"]);
        if !opened {
            assert_eq!(node.cursor(key), CursorEntry::Unpositioned);
            node.store.open(node.now, Epoch(1), None, (Epoch(1), None), true);
        }
        assert_eq!(node.position(key), before(0));
        node.append(0, &["c"]);
        assert_eq!(node.position(key), before(0));
        assert_eq!(node.read_all(key), [message("c", 0, 0)]);
    }
}

#[test]
fn from_now_is_the_head_while_the_backlog_still_comes() {
    let mut node = Node::new(true);
    let early = node.subscribe(&["c"]);
    node.store.open(node.now, Epoch(1), None, (Epoch(1), Some(PayloadId(4))), true);
    let late = node.subscribe(&["c"]);
    let (resumed, look_up) = node.resume(&["c"], behind(2));
    assert_eq!(look_up, LookUp::Ahead);
    (2..6).for_each(|id| node.append(id, &["c"]));
    assert!(node.store.is_filled());
    assert_eq!(node.read_all(early), messages(5..6));
    assert_eq!(node.read_all(late), messages(5..6));
    assert_eq!(node.read_all(resumed), messages(3..6));
}

#[test]
fn a_cursor_of_an_earlier_epoch_waits_until_it_is_known_where_the_backlog_begins() {
    for (first, look_up) in [(0, vec![]), (3, vec![Got::Gap(GapReason::Expired, Some(3))])] {
        let mut node = Node::new(true);
        let head = (Epoch(2), Some(PayloadId(9)));
        node.store.open(node.now, Epoch(2), Some((Epoch(1), PayloadId(7))), head, true);
        let (key, _) = node.resume(&["other"], behind(7));
        assert_eq!(node.read(key), None);
        node.append(first, &["c"]);
        assert_eq!(node.read_all(key), look_up, "the backlog begins at {first}");
    }
}

#[test]
fn a_backlog_that_ends_in_an_epoch_without_payloads_is_whole() {
    let mut node = Node::new(true);
    let early = node.subscribe(&["c"]);
    node.store.open(node.now, Epoch(1), None, (Epoch(2), None), true);
    node.append(0, &["c"]);
    assert!(!node.store.is_filled());
    node.begin_epoch(2, Some((1, 0)));
    assert!(node.store.is_filled());
    assert_eq!(node.read(early), None);
    node.append(0, &["c"]);
    assert_eq!(node.read_all(early), [Got::Message("c".into(), at(2, 0, 0))]);
}

#[test]
fn an_unread_gap_is_told_again_to_a_client_that_leaves() {
    let mut node = ten(true, 5);
    let asked = at(1, 2, 0);
    let (key, _) = node.resume(&["c"], asked);
    assert_eq!(node.position(key), asked);
    assert_eq!(node.read(key), Some(Got::Gap(GapReason::Expired, Some(3))));
    assert_eq!(node.position(key), behind(4));
    let (key, _) = node.begin(&["c"], Asked::Cursor(Some(&CursorEntry::Unpositioned)));
    assert_eq!(node.cursor(key), CursorEntry::Unpositioned);
    assert_eq!(node.read(key), Some(Got::Gap(GapReason::Lost, None)));
    assert_eq!(node.position(key), behind(9));
}
