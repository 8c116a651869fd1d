//! Payloads that did not arrive: who is told, once, and where a cursor stands then.

use super::*;

fn lost(frames: impl Into<Option<u64>>) -> Got {
    Got::Gap(GapReason::Lost, frames.into())
}

#[test]
fn a_hole_is_told_to_every_reader_between_the_messages_around_it() {
    for dense_ids in [true, false] {
        let mut node = Node::open(dense_ids);
        let (reads, quiet) = (node.subscribe(&["c"]), node.subscribe(&["quiet"]));
        node.append(0, &["c"]);
        node.note_hole(Some(before(3)), Some(2));
        node.append(3, &["c"]);
        assert_eq!(node.read_all(reads), [message("c", 0, 0), lost(2), message("c", 3, 0)]);
        assert_eq!(node.read_all(quiet), [lost(2)]);
        let fresh = node.subscribe(&["c"]);
        assert_eq!(node.read(fresh), None, "from now is behind it");
    }
}

#[test]
fn a_hole_at_the_rings_edge_is_told_to_who_resumes_before_it() {
    for dense_ids in [true, false] {
        let mut node = Node::open(dense_ids);
        (0..3).for_each(|id| node.append(id, &["c"]));
        node.note_hole(Some(before(5)), Some(2));
        node.append(5, &["c"]);
        (0..3).for_each(|_| assert!(node.store.evict()));
        let (key, look_up) = node.resume(&["c"], behind(2));
        assert_eq!((look_up, node.read_all(key)), (LookUp::InRing, vec![lost(2), message("c", 5, 0)]));
        let (key, look_up) = node.resume(&["c"], before(5));
        assert_eq!((look_up, node.read_all(key)), (LookUp::InRing, vec![message("c", 5, 0)]));
        let (key, _) = node.resume(&["c"], behind(1));
        let gaps = [Got::Gap(GapReason::Expired, dense_ids.then_some(1)), lost(2), message("c", 5, 0)];
        assert_eq!(node.read_all(key), gaps);
    }
}

#[test]
fn a_client_of_a_node_without_the_hole_is_told_what_concerns_it() {
    let mut node = Node::open(true);
    node.append(0, &["c"]);
    node.note_hole(Some(before(4)), Some(3));
    node.append(4, &["c"]);
    for (position, told) in [(behind(0), true), (behind(1), true), (at(1, 2, 1), true), (behind(3), false)] {
        let (key, _) = node.resume(&["c"], position);
        let gap = told.then_some(lost(3));
        assert_eq!(node.read_all(key), gap.into_iter().chain([message("c", 4, 0)]).collect::<Vec<_>>());
    }
}

#[test]
fn missing_frame_numbers_are_told_to_who_resumes_right_before_them() {
    for dense_ids in [true, false] {
        let mut node = Node::open(dense_ids);
        let key = node.subscribe(&["quiet"]);
        node.append(0, &["c"]);
        node.note_hole(Some(before(1)), Some(2));
        node.append(1, &["c"]);
        assert_eq!(node.position(key), behind(0), "it has passed what came before the hole");
        assert_eq!(node.read(key), Some(lost(2)));
        let (key, _) = node.resume(&["c"], behind(0));
        assert_eq!(node.read_all(key), [lost(2), message("c", 1, 0)]);
        let (key, _) = node.resume(&["c"], before(1));
        assert_eq!(node.read_all(key), [message("c", 1, 0)]);
    }
}

#[test]
fn where_frame_numbers_are_missing_ids_do_not_count_what_left_the_ring() {
    let mut node = Node::open(true);
    (0..2).for_each(|id| node.append(id, &["c"]));
    node.note_hole(Some(before(2)), Some(5));
    (2..4).for_each(|id| node.append(id, &["c"]));
    (0..3).for_each(|_| assert!(node.store.evict()));
    for (position, frames) in [(behind(0), None), (behind(1), None), (before(2), Some(1))] {
        let (key, _) = node.resume(&["c"], position);
        assert_eq!(
            node.read_all(key),
            [Got::Gap(GapReason::Expired, frames), message("c", 3, 0)],
            "{position:?}"
        );
    }
}

#[test]
fn a_broken_link_is_told_once_and_a_cursor_remembers_it() {
    for dense_ids in [true, false] {
        let mut node = Node::open(dense_ids);
        let key = node.subscribe(&["c"]);
        node.append(0, &["c"]);
        node.read_all(key);
        node.note_hole(None, None);
        assert_eq!(node.position(key), behind(0));
        assert_eq!(node.read(key), Some(lost(None)));
        let told = node.position(key);
        assert_eq!(told, at(1, 0, Position::TOLD));
        node.append(1, &["c"]);
        let (again, _) = node.resume(&["c"], told);
        assert_eq!(node.read_all(again), [message("c", 1, 0)]);
        let (untold, _) = node.resume(&["c"], behind(0));
        assert_eq!(node.read_all(untold), [lost(None), message("c", 1, 0)]);
    }
}

#[test]
fn a_broken_link_is_told_to_who_comes_from_inside_of_what_it_lost() {
    for dense_ids in [true, false] {
        let mut node = Node::open(dense_ids);
        node.append(0, &["c"]);
        // Another node got some of what is missing here.
        let (ahead, look_up) = node.resume(&["c"], behind(3));
        assert_eq!(look_up, LookUp::Ahead);
        node.note_hole(None, None);
        node.append(7, &["c"]);
        assert_eq!(node.read_all(ahead), [lost(None), message("c", 7, 0)]);
        for (position, told) in [(behind(0), true), (behind(5), true), (before(7), false)] {
            let (key, look_up) = node.resume(&["c"], position);
            assert_eq!(look_up, LookUp::InRing);
            assert_eq!(node.read_all(key).len(), if told { 2 } else { 1 }, "{position:?}");
        }
    }
}

#[test]
fn a_broken_link_that_a_new_epoch_follows_reaches_up_to_its_start() {
    let mut node = Node::open(false);
    node.append(0, &["c"]);
    node.note_hole(None, None);
    node.begin_epoch(2, Some((1, 7)));
    node.append(0, &["c"]);
    for (position, told) in [(behind(0), true), (behind(5), true), (behind(7), false), (at(2, 0, 0), false)] {
        let (key, _) = node.resume(&["c"], position);
        assert_eq!(node.read_all(key).len(), if told { 2 } else { 1 }, "{position:?}");
    }
}

#[test]
fn a_broken_link_before_the_first_payload_is_told() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c"]);
    node.note_hole(None, None);
    assert_eq!(node.read_all(key), [lost(None)]);
    node.append(0, &["c"]);
    assert_eq!(node.read_all(key), [message("c", 0, 0)]);
}

#[test]
fn two_holes_are_told_one_after_the_other() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c"]);
    node.append(0, &["c"]);
    node.note_hole(Some(before(2)), Some(1));
    node.note_hole(Some(behind(2)), Some(1));
    node.append_blank(2);
    node.append(3, &["c"]);
    assert_eq!(node.read_all(key), [message("c", 0, 0), lost(1), lost(1), message("c", 3, 0)]);
    let (key, _) = node.resume(&["c"], before(2));
    assert_eq!(node.read_all(key), [lost(1), message("c", 3, 0)]);
    let (key, _) = node.resume(&["c"], behind(2));
    assert_eq!(node.read_all(key), [message("c", 3, 0)]);
}

#[test]
fn what_a_new_epoch_misses_stands_before_its_start() {
    let mut node = Node::open(true);
    let key = node.subscribe(&["c"]);
    node.append(0, &["c"]);
    node.note_hole(Some(at(2, 0, 0)), Some(3));
    node.begin_epoch(2, Some((1, 3)));
    assert_eq!(node.read_all(key), [message("c", 0, 0), lost(3)]);
    assert_eq!(node.position(key), behind(3), "the form that also nodes without the epoch can read");
    for (position, told) in [(behind(0), true), (behind(3), false), (at(2, 0, 0), false)] {
        let (key, look_up) = node.resume(&["c"], position);
        assert_eq!((look_up, node.read_all(key).len()), (LookUp::InRing, usize::from(told)), "{position:?}");
    }
}

#[test]
fn holes_leave_with_the_time_of_the_ring_and_old_cursors_are_told_of_something() {
    let mut node = Node::open(true);
    let (unread, quiet) = (node.subscribe(&["c"]), node.subscribe(&["quiet"]));
    node.append(0, &["other"]);
    node.note_hole(Some(before(2)), Some(1));
    node.now = Duration::from_secs(700);
    node.append(2, &["other"]);
    node.store.expire(node.now, Duration::from_secs(600));
    for key in [unread, quiet] {
        assert_eq!(node.read_all(key), [lost(None)], "it was not told, and how much it was is forgotten");
    }
    let (key, look_up) = node.resume(&["c"], behind(0));
    assert_eq!((look_up, node.read(key)), (LookUp::InRing, Some(lost(None))));
}

#[test]
fn a_forgotten_hole_at_the_rings_edge_is_told_once_and_not_counted_as_less_than_it_was() {
    for to in [before(4), behind(3)] {
        let mut node = Node::open(true);
        (0..2).for_each(|id| node.append(id, &["c"]));
        node.note_hole(Some(to), None);
        node.now = Duration::from_secs(601);
        node.append(4, &["c"]);
        node.store.expire(node.now, Duration::from_secs(600));
        for (position, reason) in [(behind(0), GapReason::Expired), (behind(1), GapReason::Lost)] {
            let (key, _) = node.resume(&["c"], position);
            assert_eq!(node.read(key), Some(Got::Gap(reason, None)), "how much it was is forgotten");
            let told = node.position(key);
            let (again, look_up) = node.resume(&["c"], told);
            assert_eq!((look_up, node.read_all(again)), (LookUp::InRing, vec![message("c", 4, 0)]));
        }
    }
}

#[test]
fn more_holes_than_are_remembered_are_told_as_one() {
    let mut node = Node::open(true);
    node.append(0, &["c"]);
    let slow = node.subscribe(&["c"]);
    for hole in 0..super::super::MAX_HOLES as u64 + 5 {
        node.note_hole(Some(before(hole * 2 + 2)), Some(1));
        node.append(hole * 2 + 2, &["other"]);
    }
    assert_eq!(node.read(slow), Some(lost(None)));
    assert_eq!(node.read(slow), Some(lost(1)));
    let (key, look_up) = node.resume(&["c"], behind(0));
    assert_eq!(look_up, LookUp::InRing);
    assert_eq!(node.read(key), Some(lost(None)), "some holes between are forgotten");
}
