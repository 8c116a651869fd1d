//! Several nodes on one log, without a runtime: what each reads, when, and what it hears of the others is up to the test.

use std::collections::HashMap;

use super::*;

const INTERVAL: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(250);

/// What everybody reads in one order.
#[derive(Default)]
struct Log(Vec<(NodeId, Vec<u8>)>);

struct Node {
    id: NodeId,
    machine: Membership,
    /// Its clock, which is nobody else's.
    now: Duration,
    /// How far it has read, and when it last heard whom.
    read: usize,
    heard: HashMap<NodeId, Duration>,
    /// Cut off: it neither reads nor sends.
    cut: bool,
    /// Not running at all.
    frozen: bool,
    unsent: Vec<Vec<u8>>,
    gone: Vec<(NodeId, Departure)>,
}

struct World {
    log: Log,
    nodes: Vec<Node>,
}

impl World {
    fn of(count: usize) -> Self {
        let mut world = Self { log: Log::default(), nodes: Vec::new() };
        (0..count).for_each(|_| world.start());
        world
    }

    fn start(&mut self) {
        self.start_with(INTERVAL, LEASE);
    }

    fn start_with(&mut self, interval: Duration, lease: Duration) {
        let id = NodeId(1 + self.nodes.len() as u128 * 0x1234_5678_9ABC_DEF1);
        // Clocks have nothing in common.
        let now = Duration::from_secs(1000 * self.nodes.len() as u64);
        let about = About {
            started_at_micros: 0,
            lease,
            label: String::new(),
            role: String::new(),
            version: String::new(),
        };
        let mut machine = Membership::new(id, 1, about, interval, Duration::from_millis(500));
        machine.last_tick = now;
        self.nodes.push(Node {
            id,
            machine,
            now,
            read: self.log.0.len(),
            heard: HashMap::new(),
            cut: false,
            frozen: false,
            unsent: Vec::new(),
            gone: Vec::new(),
        });
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / STEP.as_millis() {
            for node in &mut self.nodes {
                node.now += STEP;
                node.step(&mut self.log);
            }
        }
    }

    fn view(&self, index: usize) -> Vec<(usize, u64)> {
        let position = |id| self.nodes.iter().position(|node| node.id == id).unwrap();
        let members = self.nodes[index].machine.members.values();
        members.map(|entry| (position(entry.member.node()), entry.member.incarnation())).collect()
    }

    #[track_caller]
    fn all_see(&self, expected: &[(usize, u64)]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        for index in expected.iter().map(|(index, _)| *index) {
            let mut view = self.view(index);
            view.sort_unstable();
            assert_eq!(view, expected, "the view of node {index}");
        }
    }
}

impl Node {
    fn step(&mut self, log: &mut Log) {
        if self.frozen {
            return;
        }
        if !self.cut {
            log.0.extend(std::mem::take(&mut self.unsent).into_iter().map(|bytes| (self.id, bytes)));
            for (from, bytes) in &log.0[self.read..] {
                self.heard.insert(*from, self.now);
                self.machine.receive(self.now, *from, wire::read(bytes.clone().into()).unwrap());
            }
            self.read = log.0.len();
        }
        let (now, heard) = (self.now, &self.heard);
        self.machine.tick(now, 0, |node| heard.get(&node).map(|at| now - *at));
        for effect in self.machine.take_effects() {
            match effect {
                Effect::Send(message) => self.unsent.push(message),
                Effect::Gone(node, how) => self.gone.push((node, how)),
                _ => {}
            }
        }
    }
}

#[test]
fn nodes_that_start_find_each_other_in_a_moment() {
    let mut world = World::of(3);
    world.pass(Duration::from_secs(2));
    world.all_see(&[(0, 1), (1, 1), (2, 1)]);
    world.start();
    world.pass(Duration::from_secs(1));
    world.all_see(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert!(world.nodes.iter().all(|node| node.machine.is_ready()));
}

#[test]
fn one_member_answers_a_hello() {
    let mut world = World::of(5);
    world.pass(Duration::from_secs(5));
    let before = world.log.0.len();
    world.start();
    world.pass(Duration::from_secs(1));
    let answers = world.log.0[before..].iter().filter(|(_, bytes)| bytes[1] == 3).count();
    // Those that did not read the first answer when their turn came.
    assert!((1..=ANSWERERS).contains(&answers), "{answers}");
}

#[test]
fn a_silent_node_is_given_up_by_all_within_its_lease_and_a_moment() {
    let mut world = World::of(4);
    world.pass(Duration::from_secs(5));
    world.nodes[3].frozen = true;
    world.pass(LEASE - Duration::from_secs(4));
    assert_eq!(world.view(0).len(), 4);
    world.pass(Duration::from_secs(5));
    world.all_see(&[(0, 1), (1, 1), (2, 1)]);
}

#[test]
fn a_frozen_node_comes_back_as_a_new_one_and_gives_nobody_up() {
    let mut world = World::of(3);
    world.pass(Duration::from_secs(5));
    world.nodes[2].frozen = true;
    world.pass(Duration::from_secs(30));
    world.all_see(&[(0, 1), (1, 1)]);
    world.nodes[2].frozen = false;
    world.nodes[2].now += Duration::from_secs(30);
    world.pass(Duration::from_secs(5));
    world.all_see(&[(0, 1), (1, 1), (2, 2)]);
    let ids = [world.nodes[0].id, world.nodes[1].id];
    assert!(world.nodes[2].gone.iter().all(|(node, _)| !ids.contains(node)), "{:?}", world.nodes[2].gone);
}

#[test]
fn an_outage_of_the_store_makes_nobody_go() {
    let mut world = World::of(3);
    world.pass(Duration::from_secs(5));
    world.nodes.iter_mut().for_each(|node| node.cut = true);
    world.pass(Duration::from_secs(60));
    // They come back one after the other.
    for index in 0..3 {
        world.nodes[index].cut = false;
        world.pass(Duration::from_secs(4));
    }
    world.pass(Duration::from_secs(5));
    world.all_see(&[(0, 1), (1, 1), (2, 1)]);
    assert!(world.nodes.iter().all(|node| node.gone.is_empty()));
}

#[test]
fn a_node_that_was_cut_off_comes_back_as_a_new_one() {
    let mut world = World::of(3);
    world.pass(Duration::from_secs(5));
    world.nodes[0].cut = true;
    world.pass(Duration::from_secs(40));
    world.all_see(&[(1, 1), (2, 1)]);
    assert_eq!(world.view(0).len(), 3, "it learned nothing, and gave nobody up");
    world.nodes[0].cut = false;
    world.pass(Duration::from_secs(6));
    world.all_see(&[(0, 2), (1, 1), (2, 1)]);
}

#[test]
fn who_missed_its_expulsion_is_told_again() {
    let mut world = World::of(3);
    world.pass(Duration::from_secs(5));
    world.nodes[0].cut = true;
    world.pass(Duration::from_secs(40));
    // What was said meanwhile is lost to it.
    world.nodes[0].read = world.log.0.len();
    world.nodes[0].cut = false;
    world.pass(Duration::from_secs(15));
    world.all_see(&[(0, 2), (1, 1), (2, 1)]);
}

#[test]
fn a_goodbye_is_no_expiry_and_its_ghost_does_not_come_back() {
    let mut world = World::of(3);
    world.pass(Duration::from_secs(5));
    let (id, goodbye) = (world.nodes[2].id, wire::goodbye(1));
    world.nodes[2].frozen = true;
    world.log.0.push((id, goodbye));
    world.pass(Duration::from_secs(1));
    world.all_see(&[(0, 1), (1, 1)]);
    assert_eq!(world.nodes[0].gone, [(id, Departure::Left)]);
    world.pass(Duration::from_secs(20));
    world.start();
    world.pass(Duration::from_secs(5));
    assert_eq!(world.view(3).len(), 3);
}

#[test]
fn frames_of_any_kind_keep_a_member() {
    let mut world = World::of(2);
    world.pass(Duration::from_secs(5));
    for _ in 0..40 {
        // Its heartbeats do not get through, its other frames do.
        world.nodes[1].frozen = true;
        let id = world.nodes[1].id;
        let now = world.nodes[0].now;
        world.nodes[0].heard.insert(id, now);
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(world.view(0).len(), 2);
}

#[test]
fn a_node_that_hears_itself_on_another_stream_only_gives_nobody_up() {
    let mut world = World::of(2);
    world.pass(Duration::from_secs(5));
    world.nodes.iter_mut().for_each(|node| node.cut = true);
    for _ in 0..60 {
        let (id, now) = (world.nodes[0].id, world.nodes[0].now);
        world.nodes[0].heard.insert(id, now);
        world.pass(Duration::from_secs(1));
    }
    world.all_see(&[(0, 1), (1, 1)]);
}

#[test]
fn a_frame_is_a_sign_of_life_once() {
    let mut world = World::of(2);
    world.pass(Duration::from_secs(5));
    world.nodes[1].frozen = true;
    let node = &mut world.nodes[0];
    // The bus tells how long ago by its own clock, a moment after the tick's time was taken; less of it every time.
    let (heard, mut late) = (node.now, Duration::from_millis(100));
    for _ in 0..30 {
        node.now += Duration::from_millis(500);
        late -= Duration::from_millis(3);
        let (now, id) = (node.now, node.id);
        node.machine.hear_itself();
        node.machine.tick(now, 0, |other| Some(if other == id { late } else { now - heard + late }));
    }
    assert_eq!(world.view(0), [(0, 1)]);
}

#[test]
fn who_beats_seldom_gives_nobody_up_for_an_outage_and_the_dead_all_the_same() {
    let mut world = World::of(1);
    world.start_with(Duration::from_secs(60), Duration::from_secs(200));
    world.pass(Duration::from_secs(100));
    for _ in 0..5 {
        world.nodes.iter_mut().for_each(|node| node.cut = true);
        world.pass(Duration::from_secs(50));
        world.nodes.iter_mut().for_each(|node| node.cut = false);
        world.pass(Duration::from_secs(17));
        world.all_see(&[(0, 1), (1, 1)]);
    }
    world.nodes[0].frozen = true;
    world.pass(Duration::from_secs(60 * 4));
    world.all_see(&[(1, 1)]);
}

#[test]
fn one_of_many_that_alone_gave_a_living_node_up_takes_it_in_again_soon() {
    for index in 1..20 {
        let mut world = World::of(20);
        world.pass(Duration::from_secs(5));
        let (id, node) = (world.nodes[0].id, &mut world.nodes[index]);
        node.machine.remove(node.now, id, 1, Departure::Expired);
        world.pass(INTERVAL * 6);
        let expected: Vec<_> = (1..20).map(|node| (node, 1)).chain([(0, 2)]).collect();
        world.all_see(&expected);
    }
}

#[test]
fn who_left_while_a_list_with_it_was_on_its_way_is_no_member_of_a_newcomer_for_long() {
    let mut world = World::of(2);
    world.pass(Duration::from_secs(5));
    // Node 0 says who is there, and before the store has that, node 1 says goodbye.
    world.nodes[0].machine.answer();
    let list = world.nodes[0].machine.take_effects();
    let (id, goodbye) = (world.nodes[1].id, wire::goodbye(1));
    world.nodes[1].frozen = true;
    world.log.0.push((id, goodbye));
    world.start();
    let [Effect::Send(list)] = &list[..] else { panic!("{list:?}") };
    world.nodes[0].unsent.push(list.clone());
    world.pass(Duration::from_secs(2));
    world.all_see(&[(0, 1), (2, 1)]);
}

#[test]
fn the_last_of_all_incarnations_is_no_panic() {
    let mut world = World::of(2);
    world.pass(Duration::from_secs(5));
    let (id, expulsion) = (world.nodes[0].id, wire::expulsion(world.nodes[0].id, u64::MAX));
    world.log.0.push((id, expulsion));
    world.pass(Duration::from_secs(5));
}

#[test]
fn who_has_no_life_left_does_not_hurry() {
    let mut world = World::of(1);
    let node = &mut world.nodes[0];
    let due = node.machine.next_heartbeat;
    let now = due + Duration::from_secs(1);
    for _ in 0..2 {
        let expulsion = Wire::Expulsion { node: node.id, incarnation: u64::MAX };
        node.machine.receive(now, NodeId(99), expulsion);
    }
    assert_eq!(node.machine.next_heartbeat, due);
}
