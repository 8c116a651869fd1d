//! The entries of all nodes, found by group, by member of a group, and by own member.

use std::{hash::BuildHasher, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable};
use scaleout_core::NodeId;
use slab::Slab;

use super::Entry;

/// What a link of a list holds at its end.
const NONE: u32 = u32::MAX;

/// Below this many entries, room that is not used is not worth giving back.
const SMALL: usize = 1_024;

/// The entries of all nodes.
///
/// An entry takes a slot of 56 bytes, its name and its value, 4 bytes in the list of its group, and about 7 in a hash table;
/// one of this node 7 more. What is asked seldom (all entries of a node) looks at every slot instead of taking room in each.
#[derive(Debug)]
pub(super) struct Directory {
    slots: Slab<Slot>,
    /// The first slot of each (group, member).
    members: HashTable<u32>,
    groups: Slab<Group>,
    /// Each group, by its name.
    names: HashTable<u32>,
    /// The first slot of each member that this node tracks.
    own: HashTable<u32>,
    owners: Slab<OwnerState>,
    hasher: DefaultHashBuilder,
    /// The value of entries without one.
    no_value: Arc<[u8]>,
}

/// The node of an entry, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(u16);

impl Owner {
    /// This node.
    pub(super) const ME: Self = Self(0);
}

/// What is known of an entry while all entries of its node are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// They are not asked for.
    Settled,
    /// It is from before the question.
    Stale,
    /// An answer has it.
    Paged,
    /// A delta told of it since the question, which is newer than any answer, or is followed by a delta that is.
    Told,
}

/// What became of a [`Directory::put`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    Added(u32),
    Changed(u32),
    Same,
}

#[derive(Debug)]
struct Slot {
    member: Arc<str>,
    value: Arc<[u8]>,
    group: u32,
    /// Where it is in the list of its group.
    place: u32,
    /// The slot of the same member of the same group of another node.
    twin: u32,
    /// The slots of the same member in other groups, of this node's entries only.
    next: u32,
    previous: u32,
    owner: Owner,
    mark: Mark,
}

#[derive(Debug)]
struct Group {
    name: Arc<str>,
    slots: Vec<u32>,
    /// Distinct members.
    members: usize,
}

#[derive(Debug)]
struct OwnerState {
    node: NodeId,
    entries: usize,
}

impl Directory {
    pub(super) fn new(me: NodeId) -> Self {
        let mut owners = Slab::new();
        owners.insert(OwnerState { node: me, entries: 0 });
        Self {
            slots: Slab::new(),
            members: HashTable::new(),
            groups: Slab::new(),
            names: HashTable::new(),
            own: HashTable::new(),
            owners,
            hasher: DefaultHashBuilder::default(),
            no_value: Arc::default(),
        }
    }

    /// Makes room for the entries of another node; `None` beyond 65,535 of them.
    pub(super) fn admit(&mut self, node: NodeId) -> Option<Owner> {
        let key = self.owners.vacant_key();
        let owner = Owner(u16::try_from(key).ok()?);
        self.owners.insert(OwnerState { node, entries: 0 });
        Some(owner)
    }

    /// Forgets a node, and answers its entries.
    pub(super) fn dismiss(&mut self, owner: Owner) -> Vec<Entry> {
        let entries = self.remove_all(owner, |_| true);
        self.owners.remove(usize::from(owner.0));
        entries
    }

    /// Adds or changes an entry; what an answer has does not change what a delta told.
    pub(super) fn put(&mut self, owner: Owner, group: &str, member: &str, value: &[u8], mark: Mark) -> Put {
        let group = self.group_or_new(group);
        let hash = self.hasher.hash_one((group, member));
        let head = self.head(hash, group, member);
        if let Some(slot) = head.and_then(|head| self.twin_of(head, owner)) {
            let held = &mut self.slots[slot as usize];
            if held.mark == Mark::Told && mark == Mark::Paged {
                return Put::Same;
            }
            held.mark = mark;
            if *held.value == *value {
                return Put::Same;
            }
            held.value = if value.is_empty() { Arc::clone(&self.no_value) } else { value.into() };
            return Put::Changed(slot);
        }
        let member = match head {
            Some(head) => Arc::clone(&self.slots[head as usize].member),
            None => member.into(),
        };
        let value = if value.is_empty() { Arc::clone(&self.no_value) } else { value.into() };
        Put::Added(self.add(owner, group, member, value, mark, hash, head))
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, owner: Owner, group: &str, member: &str) -> Option<Entry> {
        let slot = self.find(owner, group, member)?;
        Some(self.remove_slot(slot))
    }

    /// Removes an entry of this node for `member`, of whatever group.
    pub(super) fn remove_any_own(&mut self, member: &str) -> Option<Entry> {
        let hash = self.hasher.hash_one(member);
        let &slot = self.own.find(hash, |&slot| *self.slots[slot as usize].member == *member)?;
        Some(self.remove_slot(slot))
    }

    /// Removes the entries of a node that no answer and no delta had since they were marked, and settles the others.
    pub(super) fn sweep(&mut self, owner: Owner) -> Vec<Entry> {
        let swept = self.remove_all(owner, |mark| mark == Mark::Stale);
        self.mark_all(owner, Mark::Settled);
        swept
    }

    /// Marks all entries of a node.
    pub(super) fn mark_all(&mut self, owner: Owner, mark: Mark) {
        if self.count_of(owner) == 0 {
            return;
        }
        for (_, slot) in &mut self.slots {
            if slot.owner == owner {
                slot.mark = mark;
            }
        }
    }

    /// How many entries a node has.
    pub(super) fn count_of(&self, owner: Owner) -> usize {
        self.owners[usize::from(owner.0)].entries
    }

    /// The value of an entry of this node.
    pub(super) fn own_value(&self, group: &str, member: &str) -> Option<&[u8]> {
        let slot = self.find(Owner::ME, group, member)?;
        Some(&self.slots[slot as usize].value)
    }

    /// This node's entries in slots from `first` on, each with its slot.
    ///
    /// An entry keeps its slot while it is there.
    pub(super) fn own_from(&self, first: usize) -> impl Iterator<Item = (usize, &str, &str, &[u8])> {
        (first..self.slots.capacity()).filter_map(|at| {
            let slot = self.slots.get(at).filter(|slot| slot.owner == Owner::ME)?;
            Some((at, &*self.groups[slot.group as usize].name, &*slot.member, &*slot.value))
        })
    }

    /// The entry in a slot.
    pub(super) fn entry(&self, slot: u32) -> Entry {
        let slot = &self.slots[slot as usize];
        Entry {
            group: Arc::clone(&self.groups[slot.group as usize].name),
            member: Arc::clone(&slot.member),
            node: self.owners[usize::from(slot.owner.0)].node,
            value: Arc::clone(&slot.value),
        }
    }

    pub(super) fn list(&self, group: &str) -> Vec<Entry> {
        let Some(group) = self.group(group) else { return Vec::new() };
        self.groups[group as usize].slots.iter().map(|&slot| self.entry(slot)).collect()
    }

    /// Distinct members of a group.
    pub(super) fn count(&self, group: &str) -> usize {
        self.group(group).map_or(0, |group| self.groups[group as usize].members)
    }

    pub(super) fn contains(&self, group: &str, member: &str) -> bool {
        let Some(group) = self.group(group) else { return false };
        self.head(self.hasher.hash_one((group, member)), group, member).is_some()
    }

    /// The entries of a member of a group, of all nodes.
    pub(super) fn entries_of(&self, group: &str, member: &str) -> Vec<Entry> {
        let Some(group) = self.group(group) else { return Vec::new() };
        let head = self.head(self.hasher.hash_one((group, member)), group, member);
        head.into_iter().flat_map(|head| self.twins(head)).map(|slot| self.entry(slot)).collect()
    }

    pub(super) fn groups(&self) -> Vec<Arc<str>> {
        self.groups.iter().map(|(_, group)| Arc::clone(&group.name)).collect()
    }

    /// Entries of all nodes.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn find(&self, owner: Owner, group: &str, member: &str) -> Option<u32> {
        let group = self.group(group)?;
        let head = self.head(self.hasher.hash_one((group, member)), group, member)?;
        self.twin_of(head, owner)
    }

    fn group(&self, name: &str) -> Option<u32> {
        let same = |&group: &u32| *self.groups[group as usize].name == *name;
        self.names.find(self.hasher.hash_one(name), same).copied()
    }

    fn group_or_new(&mut self, name: &str) -> u32 {
        if let Some(group) = self.group(name) {
            return group;
        }
        let Self { groups, names, hasher, .. } = self;
        let group = index(groups.insert(Group { name: name.into(), slots: Vec::new(), members: 0 }));
        let rehash = |&group: &u32| hasher.hash_one(&*groups[group as usize].name);
        names.insert_unique(hasher.hash_one(name), group, rehash);
        group
    }

    fn head(&self, hash: u64, group: u32, member: &str) -> Option<u32> {
        let same = |&slot: &u32| {
            let slot = &self.slots[slot as usize];
            slot.group == group && *slot.member == *member
        };
        self.members.find(hash, same).copied()
    }

    fn twin_of(&self, head: u32, owner: Owner) -> Option<u32> {
        self.twins(head).find(|&slot| self.slots[slot as usize].owner == owner)
    }

    fn twins(&self, head: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(head), |&slot| link(self.slots[slot as usize].twin))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a slot, and where the caller found its place"
    )]
    fn add(
        &mut self,
        owner: Owner,
        group: u32,
        member: Arc<str>,
        value: Arc<[u8]>,
        mark: Mark,
        hash: u64,
        head: Option<u32>,
    ) -> u32 {
        let Self { slots, members, groups, own, owners, hasher, .. } = self;
        let entry = slots.vacant_entry();
        let at = index(entry.key());
        let list = &mut groups[group as usize];
        let place = index(list.slots.len());
        list.slots.push(at);
        list.members += usize::from(head.is_none());
        owners[usize::from(owner.0)].entries += 1;
        let links = (NONE, NONE, NONE);
        let (twin, next, previous) = links;
        entry.insert(Slot { member, value, group, place, twin, next, previous, owner, mark });
        match head {
            // Behind the first one, which stays the one that is found.
            Some(head) => {
                let twin = std::mem::replace(&mut slots[head as usize].twin, at);
                slots[at as usize].twin = twin;
            }
            None => {
                let rehash = |&slot: &u32| {
                    let slot = &slots[slot as usize];
                    hasher.hash_one((slot.group, &*slot.member))
                };
                members.insert_unique(hash, at, rehash);
            }
        }
        if owner == Owner::ME {
            let member = &*slots[at as usize].member;
            let hash = hasher.hash_one(member);
            match own.find_mut(hash, |&slot| *slots[slot as usize].member == *member) {
                Some(first) => {
                    let next = std::mem::replace(first, at);
                    slots[at as usize].next = next;
                    slots[next as usize].previous = at;
                }
                None => {
                    let rehash = |&slot: &u32| hasher.hash_one(&*slots[slot as usize].member);
                    own.insert_unique(hash, at, rehash);
                }
            }
        }
        at
    }

    fn remove_all(&mut self, owner: Owner, which: impl Fn(Mark) -> bool) -> Vec<Entry> {
        if self.count_of(owner) == 0 {
            return Vec::new();
        }
        let wanted = self.slots.iter().filter(|(_, slot)| slot.owner == owner && which(slot.mark));
        let wanted: Vec<u32> = wanted.map(|(at, _)| index(at)).collect();
        wanted.into_iter().map(|slot| self.remove_slot(slot)).collect()
    }

    fn remove_slot(&mut self, at: u32) -> Entry {
        let entry = self.entry(at);
        self.unlink_twin(at);
        let slot = self.slots.remove(at as usize);
        self.owners[usize::from(slot.owner.0)].entries -= 1;
        if slot.owner == Owner::ME {
            self.unlink_own(at, &slot);
        }
        let list = &mut self.groups[slot.group as usize].slots;
        list.swap_remove(slot.place as usize);
        if let Some(&moved) = list.get(slot.place as usize) {
            self.slots[moved as usize].place = slot.place;
        }
        if list.is_empty() {
            self.groups.remove(slot.group as usize);
            let hash = self.hasher.hash_one(&*entry.group);
            if let Ok(name) = self.names.find_entry(hash, |&group| group == slot.group) {
                name.remove();
            }
        } else if list.len() < list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
        if self.slots.is_empty() && self.slots.capacity() > SMALL {
            self.slots = Slab::new();
            self.groups = Slab::new();
            (self.members, self.names, self.own) = Default::default();
        }
        entry
    }

    fn unlink_twin(&mut self, at: u32) {
        let slot = &self.slots[at as usize];
        let (group, twin) = (slot.group, slot.twin);
        let hash = self.hasher.hash_one((group, &*slot.member));
        if let Ok(mut found) = self.members.find_entry(hash, |&head| head == at) {
            match link(twin) {
                Some(twin) => *found.get_mut() = twin,
                None => {
                    found.remove();
                    self.groups[group as usize].members -= 1;
                }
            }
            return;
        }
        let member = &*self.slots[at as usize].member;
        let head = self.head(hash, group, member);
        let before =
            head.and_then(|head| self.twins(head).find(|&slot| self.slots[slot as usize].twin == at));
        if let Some(before) = before {
            self.slots[before as usize].twin = twin;
        }
    }

    /// Takes `slot`, which was at `at`, out of the list of its member.
    fn unlink_own(&mut self, at: u32, slot: &Slot) {
        if let Some(next) = link(slot.next) {
            self.slots[next as usize].previous = slot.previous;
        }
        if let Some(previous) = link(slot.previous) {
            self.slots[previous as usize].next = slot.next;
            return;
        }
        let hash = self.hasher.hash_one(&*slot.member);
        if let Ok(mut first) = self.own.find_entry(hash, |&first| first == at) {
            match link(slot.next) {
                Some(next) => *first.get_mut() = next,
                None => drop(first.remove()),
            }
        }
    }
}

/// A place in a slab as slots and lists keep it.
fn index(key: usize) -> u32 {
    u32::try_from(key).expect("four billion entries need more memory than there is")
}

fn link(slot: u32) -> Option<u32> {
    (slot != NONE).then_some(slot)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_has_the_size_that_the_docs_say() {
        assert_eq!(size_of::<Slot>(), 56);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u16, u8, u8, u8),
        Remove(u16, u8, u8),
        RemoveOwn(u8),
        Dismiss(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..4_u16, 0..3_u8, 0..4_u8, 0..3_u8).prop_map(|(o, g, m, v)| Step::Put(o, g, m, v)),
            4 => (0..4_u16, 0..3_u8, 0..4_u8).prop_map(|(o, g, m)| Step::Remove(o, g, m)),
            1 => (0..4_u8).prop_map(Step::RemoveOwn),
            1 => (1..4_u16).prop_map(Step::Dismiss),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds(steps in steps()) {
            let mut directory = Directory::new(NodeId(0));
            let mut owners: Vec<Owner> = vec![Owner::ME];
            owners.extend((1..4).map(|node| directory.admit(NodeId(node)).expect("there is room")));
            let mut model: BTreeMap<(u16, String, String), Vec<u8>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(node, group, member, value) => {
                        let (group, member) = (group.to_string(), member.to_string());
                        let value = vec![7; value.into()];
                        let owner = owners[usize::from(node)];
                        let put = directory.put(owner, &group, &member, &value, Mark::Settled);
                        let before = model.insert((node, group, member), value.clone());
                        match (put, before) {
                            (Put::Added(_), None) => {}
                            (Put::Changed(_), Some(before)) => prop_assert_ne!(before, value),
                            (Put::Same, Some(before)) => prop_assert_eq!(before, value),
                            (put, before) => prop_assert!(false, "{:?} where there was {:?}", put, before),
                        }
                    }
                    Step::Remove(node, group, member) => {
                        let (group, member) = (group.to_string(), member.to_string());
                        let removed = directory.remove(owners[usize::from(node)], &group, &member);
                        let expected = model.remove(&(node, group, member));
                        prop_assert_eq!(removed.map(|entry| entry.value.to_vec()), expected);
                    }
                    Step::RemoveOwn(member) => {
                        let member = member.to_string();
                        let removed = std::iter::from_fn(|| directory.remove_any_own(&member)).count();
                        let before = model.len();
                        model.retain(|(node, _, other), _| *node != 0 || *other != member);
                        prop_assert_eq!(removed, before - model.len());
                    }
                    Step::Dismiss(node) => {
                        let removed = directory.dismiss(owners[usize::from(node)]);
                        let before = model.len();
                        model.retain(|(owner, ..), _| *owner != node);
                        prop_assert_eq!(removed.len(), before - model.len());
                        owners[usize::from(node)] = directory.admit(NodeId(node.into())).expect("there is room");
                    }
                }
                check(&directory, &model)?;
            }
        }
    }

    fn check(
        directory: &Directory,
        model: &BTreeMap<(u16, String, String), Vec<u8>>,
    ) -> Result<(), TestCaseError> {
        let groups: BTreeSet<&str> = model.keys().map(|(_, group, _)| &**group).collect();
        let held = directory.groups();
        prop_assert_eq!(held.iter().map(|group| &**group).collect::<BTreeSet<_>>(), groups);
        prop_assert_eq!(directory.len(), model.len());
        let mut listed = BTreeMap::new();
        for group in held {
            let mut members = BTreeSet::new();
            for entry in directory.list(&group) {
                prop_assert!(directory.contains(&group, &entry.member));
                members.insert(Arc::clone(&entry.member));
                let node = u16::try_from(entry.node.0).expect("as it was made");
                listed
                    .insert((node, entry.group.to_string(), entry.member.to_string()), entry.value.to_vec());
            }
            prop_assert_eq!(directory.count(&group), members.len());
            let found: usize = members.iter().map(|member| directory.entries_of(&group, member).len()).sum();
            prop_assert_eq!(found, directory.list(&group).len());
        }
        prop_assert_eq!(&listed, model);
        let own: BTreeSet<_> = directory.own_from(0).map(|(_, group, member, _)| (group, member)).collect();
        let expected = model.keys().filter(|key| key.0 == 0).map(|(_, group, member)| (&**group, &**member));
        prop_assert_eq!(own, expected.collect::<BTreeSet<_>>());
        prop_assert_eq!(
            directory.members.len(),
            model.keys().map(|(_, g, m)| (g, m)).collect::<BTreeSet<_>>().len()
        );
        Ok(())
    }
}
