//! Each distinct ACL once (ReferenceCountedACLCache).
//!
//! A list lives as long as a node uses it, and as long as the snapshot lasts that may still refer to it.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::proto::acl::{Acl, RawAcls, perms};

/// A list by number. 0 is the built-in `world:anyone` of nodes without a list, -1 on disk; the numbers of the
/// others are the ids on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclId(pub u32);

/// A list as bytes and decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclList {
    /// As it came in.
    pub raw: RawAcls<'static>,
    /// Decoded; a null vector is empty.
    pub list: Vec<Acl>,
    /// The permissions granted to `world:anyone`; all of them when there are no entries at all.
    pub world_perms: i32,
}

impl AclList {
    /// Decodes a list.
    pub fn new(raw: &RawAcls<'_>) -> AclList {
        let list = raw.to_list().unwrap_or_default();
        let is_world = |acl: &&Acl| acl.id.scheme == "world" && acl.id.id == "anyone";
        let world_perms = match list.is_empty() {
            true => perms::ALL,
            false => list.iter().filter(is_world).fold(0, |all, acl| all | acl.perms),
        };
        AclList {
            raw: raw.clone().into_owned(),
            list,
            world_perms,
        }
    }
}

/// The lists in use.
pub(super) struct AclCache {
    /// By number; the first is the built-in one.
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Numbers by the bytes of the list.
    index: HashTable<u32>,
    hasher: FixedState,
    /// Numbers that lost their last use while a snapshot was under way, `None` when there is none.
    retired: Option<Vec<u32>>,
    /// Stands for numbers that do not exist.
    nobody: Arc<AclList>,
}

struct Entry {
    list: Arc<AclList>,
    uses: u32,
}

impl AclCache {
    pub(super) fn new(hasher: FixedState) -> AclCache {
        let built_in = Entry {
            list: Arc::new(AclList::new(&RawAcls::from_list(&[Acl::world(perms::ALL)]))),
            uses: 1,
        };
        AclCache {
            entries: vec![Some(built_in)],
            free: Vec::new(),
            index: HashTable::new(),
            hasher,
            retired: None,
            nobody: Arc::new(AclList::new(&nobody())),
        }
    }

    /// The list with this number, or one that grants nothing.
    pub(super) fn list(&self, id: AclId) -> &Arc<AclList> {
        self.entries
            .get(id.0 as usize)
            .and_then(Option::as_ref)
            .map_or(&self.nobody, |entry| &entry.list)
    }

    /// The number of a list, new if the list is. It has to be claimed to stay. Null is the built-in list.
    pub(super) fn intern(&mut self, raw: &RawAcls<'_>) -> AclId {
        if raw.bytes() == NULL_VECTOR {
            return AclId::BUILT_IN;
        }
        let hash = self.hasher.hash_one(raw.bytes());
        let entries = &self.entries;
        let is_same = |&id: &u32| raw_of(entries, id) == Some(raw.bytes());
        if let Some(&id) = self.index.find(hash, is_same) {
            return AclId(id);
        }
        let entry = Some(Entry {
            list: Arc::new(AclList::new(raw)),
            uses: 0,
        });
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("memory ends before numbers do")
        });
        self.entries[id as usize] = entry;
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, id, |&id| {
            hasher.hash_one(raw_of(entries, id).unwrap_or_default())
        });
        AclId(id)
    }

    /// One more node uses the list.
    pub(super) fn claim(&mut self, id: AclId) {
        if let Some(entry) = self.counted(id) {
            entry.uses += 1;
        }
    }

    /// One node less uses the list.
    pub(super) fn release(&mut self, id: AclId) {
        let Some(entry) = self.counted(id) else { return };
        entry.uses -= 1;
        if entry.uses == 0 {
            match &mut self.retired {
                Some(retired) => retired.push(id.0),
                None => self.forget(id.0),
            }
        }
    }

    /// Keeps lists that fall out of use until [`AclCache::unpin`].
    pub(super) fn pin(&mut self) {
        self.retired.get_or_insert_default();
    }

    pub(super) fn unpin(&mut self) {
        for id in self.retired.take().unwrap_or_default() {
            self.forget_unused(id);
        }
    }

    /// Drops every list that no node uses.
    pub(super) fn purge_unused(&mut self) {
        for id in 1..self.entries.len() as u32 {
            self.forget_unused(id);
        }
    }

    /// Number on disk and bytes of every list but the built-in one, by number.
    pub(super) fn on_disk(&self) -> Vec<(i64, RawAcls<'static>)> {
        let lists = self.entries.iter().enumerate().skip(1);
        lists
            .filter_map(|(id, entry)| Some((id as i64, entry.as_ref()?.list.raw.clone())))
            .collect()
    }

    /// The entry, unless it is the built-in one, which is not counted.
    fn counted(&mut self, id: AclId) -> Option<&mut Entry> {
        if id == AclId::BUILT_IN {
            return None;
        }
        self.entries.get_mut(id.0 as usize)?.as_mut()
    }

    fn forget_unused(&mut self, id: u32) {
        if self.counted(AclId(id)).is_some_and(|entry| entry.uses == 0) {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u32) {
        let Some(entry) = self.entries[id as usize].take() else {
            return;
        };
        let hash = self.hasher.hash_one(entry.list.raw.bytes());
        if let Ok(found) = self.index.find_entry(hash, |&other| other == id) {
            found.remove();
        }
        self.free.push(id);
    }
}

impl AclId {
    /// The built-in `world:anyone` ALL.
    pub const BUILT_IN: AclId = AclId(0);

    /// The id in a snapshot.
    pub fn on_disk(self) -> i64 {
        match self.0 {
            0 => -1,
            id => i64::from(id),
        }
    }
}

/// A list that grants nothing to anyone. (One without entries would grant everything.)
pub(super) fn nobody() -> RawAcls<'static> {
    RawAcls::from_list(&[Acl::world(0)])
}

fn raw_of(entries: &[Option<Entry>], id: u32) -> Option<&[u8]> {
    entries[id as usize].as_ref().map(|entry| entry.list.raw.bytes())
}

/// A vector that is null.
pub(super) const NULL_VECTOR: &[u8] = &[0xff; 4];

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> AclCache {
        AclCache::new(FixedState::with_seed(1))
    }

    fn raw(perms: i32) -> RawAcls<'static> {
        RawAcls::from_list(&[Acl::world(perms)])
    }

    #[test]
    fn equal_lists_share_a_number_until_the_last_use_ends() {
        let mut cache = cache();
        let all = cache.intern(&raw(31));
        assert_eq!(all, AclId(1), "an explicit list is not the built-in one");
        cache.claim(all);
        let again = cache.intern(&raw(31));
        assert_eq!(again, all);
        cache.claim(again);
        cache.release(all);
        assert_eq!(cache.list(all).world_perms, 31);
        cache.release(all);
        assert_eq!(cache.list(all).world_perms, 0, "gone");
        assert_eq!(cache.intern(&raw(1)), AclId(1), "the number is free again");
    }

    #[test]
    fn a_pinned_list_outlives_its_uses() {
        let mut cache = cache();
        let (one, two) = (cache.intern(&raw(1)), cache.intern(&raw(2)));
        cache.claim(one);
        cache.claim(two);
        cache.pin();
        cache.release(one);
        cache.release(two);
        assert_eq!(cache.intern(&raw(2)), two);
        cache.claim(two);
        assert_eq!(
            cache.intern(&raw(3)),
            AclId(3),
            "the number of a pinned list is not used again"
        );
        cache.unpin();
        let left: Vec<i64> = cache.on_disk().into_iter().map(|(id, _)| id).collect();
        assert_eq!(left, [2, 3]);
        cache.purge_unused();
        assert_eq!(cache.on_disk(), [(2, raw(2))]);
    }

    #[test]
    fn world_perms_unite_what_anyone_is_granted() {
        let mut acls = vec![Acl::world(1), Acl::world(4)];
        acls[1].id.id = "someone".into();
        acls.push(Acl::world(8));
        assert_eq!(AclList::new(&RawAcls::from_list(&acls)).world_perms, 9);
        assert_eq!(AclList::new(&RawAcls::from_list(&[])).world_perms, 31);
        assert_eq!(AclList::new(&nobody()).world_perms, 0);
    }
}
