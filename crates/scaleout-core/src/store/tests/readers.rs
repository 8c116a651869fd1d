//! Readers: what they are given, what they cost, where their cursors stand.

use super::*;

#[test]
fn a_quiet_readers_cursor_advances_and_never_expires() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["quiet"]);
    for id in 0..50 {
        node.append(id, &["c"]);
        assert_eq!((node.read(key), node.position(key)), (None, behind(id)));
        if id > 5 {
            assert!(node.store.evict());
        }
    }
    let position = node.position(key);
    node.append(50, &["quiet"]);
    assert_eq!(node.position(key), position, "a message waits: the cursor stays before it");
    let (other, look_up) = node.resume(&["quiet"], position);
    assert_eq!((look_up, node.read_all(other)), (LookUp::InRing, vec![message("quiet", 50, 0)]));
}

#[test]
fn messages_of_several_channels_come_in_the_order_of_their_positions() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["a", "b", "a"]);
    node.append(0, &["b", "a", "x", "b"]);
    node.append(1, &["x"]);
    node.append(2, &["a", "a"]);
    let expected = [("b", 0, 0), ("a", 0, 1), ("b", 0, 3), ("a", 2, 0), ("a", 2, 1)];
    assert_eq!(node.read_all(key), expected.map(|(channel, id, index)| message(channel, id, index)));
}

#[test]
fn a_slow_reader_is_told_how_far_it_lagged_and_a_quiet_one_never_lags() {
    let mut node = Node::open(true);
    let (slow, quiet) = (node.subscribe(&["c"]), node.subscribe(&["quiet"]));
    node.append(0, &["other"]);
    (1..7).for_each(|id| node.append(id, &["c"]));
    (0..4).for_each(|_| assert!(node.store.evict()));
    assert_eq!(node.position(slow), behind(0));
    assert_eq!(node.read(slow), Some(Got::Gap(GapReason::Lagged, Some(3))), "frames 1 to 3");
    assert_eq!(node.position(slow), behind(3));
    assert_eq!(node.read_all(slow).len(), 3);
    assert_eq!(node.read(quiet), None);
}

#[test]
fn what_lagged_is_counted_from_where_the_reader_was() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c"]);
    (0..10).for_each(|id| node.append(id, &["other"]));
    node.note_hole(None, None);
    (10..13).for_each(|id| node.append(id, &["c"]));
    (0..12).for_each(|_| assert!(node.store.evict()));
    assert_eq!(node.read(key), Some(Got::Gap(GapReason::Lost, None)));
    assert_eq!(node.read(key), Some(Got::Gap(GapReason::Lagged, Some(2))));
}

#[test]
fn a_channel_is_added_from_the_readers_own_position() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c"]);
    node.append(0, &["d"]);
    node.append(1, &["c", "d"]);
    node.append(2, &["d"]);
    assert!(node.store.add_channel(key, "d", &mut Vec::new()));
    assert!(!node.store.add_channel(key, "d", &mut Vec::new()));
    let rest = [message("c", 1, 0), message("d", 1, 1), message("d", 2, 0)];
    assert_eq!(node.read_all(key), rest, "0 was passed when it was added");
    assert!(node.store.add_channel(key, "e", &mut Vec::new()));
    node.append(3, &["e"]);
    assert_eq!(node.read_all(key), [message("e", 3, 0)]);
}

#[test]
fn an_added_channel_that_lost_messages_since_the_readers_position_is_told() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c"]);
    node.append(0, &["c", "c"]);
    (1..6).for_each(|id| node.append(id, &["d"]));
    node.append(6, &["c"]);
    assert_eq!(node.read_all(key).len(), 3);
    node.append(7, &["c"]);
    node.append(8, &["d"]);
    node.append(9, &["c"]);
    assert_eq!(node.read(key), Some(message("c", 7, 0)));
    (0..9).for_each(|_| assert!(node.store.evict()));
    node.store.add_channel(key, "d", &mut Vec::new());
    assert_eq!(node.position(key), behind(7));
    assert_eq!(node.read_all(key), [Got::Gap(GapReason::Lagged, Some(1)), message("c", 9, 0)]);
}

#[test]
fn a_removed_channel_gives_nothing_more() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c", "d"]);
    node.append(0, &["c", "d"]);
    node.append(1, &["c"]);
    assert!(node.store.remove_channel(key, "c"));
    assert!(!node.store.remove_channel(key, "c"));
    assert_eq!(node.read_all(key), [message("d", 0, 1)]);
    assert!(node.store.remove_channel(key, "d"));
    assert!(!node.store.has_channels(key));
}

#[test]
fn removing_a_channel_does_not_pass_a_hole_that_was_not_told() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c", "d"]);
    node.append(0, &["c"]);
    node.note_hole(Some(before(2)), Some(1));
    node.append(2, &["x"]);
    node.store.remove_channel(key, "c");
    assert_eq!(node.position(key), behind(0));
    assert_eq!(node.read_all(key), [Got::Gap(GapReason::Lost, Some(1))]);
}

#[test]
fn readers_that_are_not_notified_yet_stand_before_the_payload() {
    let mut node = Node::open(true);
    let keys: Vec<_> = (0..7).map(|_| node.subscribe(&["c"])).collect();
    let added = node.subscribe(&["x"]);
    let mut appended = node.append_only(0, &["c"]);
    let mut wakes = Vec::new();
    assert_eq!(node.store.notify(&mut appended, &mut wakes), Notified::More);
    for key in &keys {
        assert_eq!(node.position(*key), before(0));
    }
    node.store.add_channel(keys[6], "y", &mut wakes);
    node.store.add_channel(added, "c", &mut wakes);
    let late = node.subscribe(&["c"]);
    while node.store.notify(&mut appended, &mut wakes) == Notified::More {}
    for key in keys.into_iter().chain([added]) {
        assert_eq!(node.read_all(key), [message("c", 0, 0)]);
        assert_eq!(node.position(key), behind(0));
    }
    assert_eq!(node.read(late), None, "from now");
}

#[test]
fn a_payload_that_left_the_ring_before_all_were_notified_is_told() {
    let mut node = Node::open(true);
    let keys: Vec<_> = (0..5).map(|_| node.subscribe(&["c"])).collect();
    let mut appended = node.append_only(0, &["c"]);
    let mut wakes = Vec::new();
    assert_eq!(node.store.notify(&mut appended, &mut wakes), Notified::More);
    assert!(node.store.evict());
    while node.store.notify(&mut appended, &mut wakes) == Notified::More {}
    for key in keys {
        assert_eq!(node.read_all(key), [Got::Gap(GapReason::Lagged, Some(1))]);
    }
}

#[test]
fn a_blank_payload_takes_a_place_where_cursors_may_stand() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c"]);
    node.append(0, &["c"]);
    node.append_blank(1);
    node.append(2, &["c"]);
    let (resumed, look_up) = node.resume(&["c"], behind(1));
    assert_eq!((look_up, node.read_all(resumed)), (LookUp::InRing, vec![message("c", 2, 0)]));
    assert_eq!(node.read_all(key).len(), 2);
}

#[test]
fn everything_that_left_the_ring_is_accounted_back() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c", "quiet"]);
    assert_eq!(node.store.bytes(), 0);
    for id in 0..200 {
        node.append(id, &["c", &format!("room:{}", id % 7), "c"]);
    }
    let full = node.store.bytes();
    assert!(full > 200 * 30, "{full}");
    while node.store.evict() {}
    assert_eq!((node.store.bytes(), node.store.oldest()), (0, None));
    node.store.remove_reader(key);
    assert_eq!(node.store.reader_count(), 0);
    node.append(200, &["c"]);
    node.now = Duration::from_secs(601);
    node.store.expire(node.now, Duration::from_secs(600));
    assert_eq!(node.store.bytes(), 0);
}

#[test]
fn a_dropped_reader_leaves_nothing_behind() {
    let mut node = Node::open(true);
    let (ahead, _) = node.resume(&["c"], behind(5));
    let now = node.subscribe(&["c"]);
    node.append(0, &["c"]);
    node.store.remove_reader(ahead);
    node.store.remove_reader(now);
    (1..7).for_each(|id| node.append(id, &["c"]));
    node.pass_up_time(AHEAD_WAIT * 2);
    while node.store.evict() {}
    assert_eq!((node.store.reader_count(), node.store.bytes()), (0, 0));
}
