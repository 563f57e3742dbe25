//! The one history that all servers show beginnings of.

use std::collections::BTreeMap;

use super::disk::Disk;
use zkserver::ids::{Epoch, Zxid};
use zkserver::proto::txn;
use zkserver::tree::DataTree;
use zkserver::zab::{LogEntry, follows};

/// What was ever shown by a server that serves, in its order.
#[derive(Default)]
pub struct History {
    /// Where it begins.
    pub base: Zxid,
    pub entries: Vec<LogEntry>,
    leaders: BTreeMap<Epoch, usize>,
}

impl History {
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
            return assert_eq!(*other, at, "epoch {} has two leaders", epoch.0);
        }
        self.leaders.insert(epoch, at);
        let last = tree.last_processed_zxid();
        assert!(
            last >= self.last(),
            "server {at} leads with {last}, after {}",
            self.last()
        );
    }

    /// Law: a server that serves has applied the same as all others, and shows what comes of that. It was
    /// known to have applied everything up to `known`.
    pub fn shown(&mut self, at: usize, disk: &Disk, known: Zxid, tree: &DataTree) {
        let last = tree.last_processed_zxid();
        if last > self.last() {
            for entry in disk.given(self.last(), last) {
                assert!(
                    follows(self.last(), entry.zxid),
                    "{} comes after {}",
                    entry.zxid,
                    self.last()
                );
                self.entries.push(entry.clone());
            }
            assert_eq!(self.last(), last, "server {at} shows what it has not logged");
        }
        for entry in disk.given(known, last) {
            let same = self.get(entry.zxid);
            assert_eq!(same, Some(entry), "server {at} has another {}", entry.zxid);
        }
        let Some(entry) = self.get(last) else {
            return assert_eq!(last, self.base, "server {at} shows what nobody else knows");
        };
        let logged = txn::decode(&entry.encoded).expect("a good transaction");
        if let Some(digest) = logged.digest {
            assert_eq!(digest.digest, tree.digest(), "the tree of server {at} at {last}");
        }
    }
}
