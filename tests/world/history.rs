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
    /// Whatever any log was given, and what came before it there.
    logged: BTreeMap<Zxid, (LogEntry, Zxid)>,
}

impl History {
    /// One that goes on from there.
    pub fn new(base: Zxid) -> History {
        History {
            base,
            entries: Vec::new(),
            leaders: BTreeMap::new(),
            logged: BTreeMap::new(),
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

    /// What led to a transaction that was shown belongs to the history.
    fn grow(&mut self, at: usize, upto: Zxid) {
        let (mut tail, mut next) = (Vec::new(), upto);
        while next > self.last() {
            let Some((entry, before)) = self.logged.get(&next) else {
                panic!("I3: server {at} shows {next}, which nobody has logged");
            };
            tail.push(entry.clone());
            next = *before;
        }
        let last = self.last();
        assert_eq!(
            next, last,
            "I2: server {at} shows {upto}, which does not come after {last}"
        );
        self.entries.extend(tail.into_iter().rev());
    }

    /// Law: an epoch has one leader, who begins with everything that was ever shown.
    pub fn led(&mut self, epoch: Epoch, at: usize, tree: &DataTree) {
        if let Some(other) = self.leaders.get(&epoch) {
            return assert_eq!(*other, at, "I1: epoch {} has two leaders", epoch.0);
        }
        self.leaders.insert(epoch, at);
        let last = tree.last_processed_zxid();
        // What a later epoch has committed is not for this one to know.
        let later = self.entries.partition_point(|entry| entry.zxid.epoch() < epoch);
        let before = later.checked_sub(1).map_or(self.base, |at| self.entries[at].zxid);
        assert!(
            last >= before,
            "I4: server {at} leads with {last}, after {before}"
        );
    }

    /// Law: whoever logs a transaction logs the same one, behind the same history, committed or not.
    pub fn logged(&mut self, at: usize, before: Zxid, entry: &LogEntry) {
        assert!(
            follows(before, entry.zxid),
            "I4: server {at} logs {} behind {before}",
            entry.zxid
        );
        let known = self.logged.entry(entry.zxid);
        let known = known.or_insert_with(|| (entry.clone(), before));
        assert!(
            known.0 == *entry && known.1 == before,
            "I2: server {at} logs {} behind {before}, which was behind {} or another one",
            entry.zxid,
            known.1
        );
    }

    /// Law: a server that serves has applied the same as all others, and shows what comes of that. It was
    /// known to have applied everything up to `known`.
    pub fn shown(&mut self, at: usize, disk: &Disk, known: Zxid, tree: &DataTree) -> bool {
        let last = tree.last_processed_zxid();
        let is_first = last > self.last();
        if is_first {
            self.grow(at, last);
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
