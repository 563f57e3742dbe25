//! The one history that all servers show beginnings of.

use std::collections::BTreeMap;

use super::disk::Disk;
use zkserver::ids::{Epoch, Zxid};
use zkserver::proto::txn;
use zkserver::tree::DataTree;
use zkserver::zab::{LogEntry, follows};

/// What was ever shown by a server that serves, in its order.
pub struct History {
    /// Where it begins.
    pub base: Zxid,
    pub entries: Vec<LogEntry>,
    leaders: BTreeMap<Epoch, usize>,
}

impl History {
    /// One that goes on from there.
    pub fn new(base: Zxid) -> History {
        History {
            base,
            entries: Vec::new(),
            leaders: BTreeMap::new(),
        }
    }

    /// The newest transaction that was shown.
    pub fn last(&self) -> Zxid {
        self.entries.last().map_or(self.base, |entry| entry.zxid)
    }

    /// How many epochs have begun.
    pub fn epochs_count(&self) -> usize {
        self.leaders.len()
    }

    pub fn get(&self, zxid: Zxid) -> Option<&LogEntry> {
        let at = self.entries.binary_search_by_key(&zxid, |entry| entry.zxid);
        Some(&self.entries[at.ok()?])
    }

    /// Law: an epoch has one leader, who begins with everything that was ever shown.
    pub fn led(&mut self, epoch: Epoch, at: usize, tree: &DataTree) {
        if let Some(other) = self.leaders.get(&epoch) {
            return assert_eq!(*other, at, "I1: epoch {} has two leaders", epoch.0);
        }
        self.leaders.insert(epoch, at);
        let last = tree.last_processed_zxid();
        assert!(
            last >= self.last(),
            "I4: server {at} leads with {last}, after {}",
            self.last()
        );
    }

    /// Law: a server that serves has applied the same as all others, and shows what comes of that. It was
    /// known to have applied everything up to `known`.
    pub fn shown(&mut self, at: usize, disk: &Disk, known: Zxid, tree: &DataTree) -> bool {
        let last = tree.last_processed_zxid();
        let is_first = last > self.last();
        if is_first {
            for entry in disk.given(self.last(), last) {
                assert!(
                    follows(self.last(), entry.zxid),
                    "I4: {} comes after {}",
                    entry.zxid,
                    self.last()
                );
                self.entries.push(entry.clone());
            }
            assert_eq!(self.last(), last, "I6: server {at} shows what it has not logged");
        }
        for entry in disk.given(known, last) {
            let same = self.get(entry.zxid);
            assert_eq!(same, Some(entry), "I2: server {at} has another {}", entry.zxid);
        }
        let Some(entry) = self.get(last) else {
            assert_eq!(last, self.base, "I3: server {at} shows what nobody else knows");
            return false;
        };
        let logged = txn::decode(&entry.encoded).expect("a good transaction");
        if let Some(digest) = logged.digest {
            assert_eq!(
                digest.digest,
                tree.digest(),
                "I18: the tree of server {at} at {last}"
            );
        }
        is_first
    }
}
