//! The leader's broadcast phase (Leader.propose, processAck, tryToCommit; Zab paper, section 5.3).
//!
//! A proposal counts a server's acknowledgement only once that server has the transaction on disk. The
//! leader's own acknowledgement comes from its log thread like everyone else's.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::leader::counter_max;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::mutants::{self, Mutant};
use crate::quorum::verifier::{AckSet, QuorumVerifier};

/// A transaction as it goes to the log and to the peers, encoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its zxid.
    pub zxid: Zxid,
    /// Header, record and digest.
    pub encoded: Bytes,
}

/// Proposals on their way to being committed.
#[derive(Debug)]
pub struct Broadcast {
    me: ServerId,
    verifier: QuorumVerifier,
    last_proposed: Zxid,
    last_committed: Zxid,
    outstanding_proposals: VecDeque<LogEntry>,
    /// Who has everything up to where on disk. Everybody logs in the order of the proposals.
    acked: BTreeMap<ServerId, Zxid>,
    committed: VecDeque<LogEntry>,
}

impl Broadcast {
    /// A leader whose history ends at `last_zxid`.
    pub fn new(me: ServerId, verifier: QuorumVerifier, last_zxid: Zxid) -> Broadcast {
        Broadcast {
            me,
            verifier,
            last_proposed: last_zxid,
            last_committed: last_zxid,
            outstanding_proposals: VecDeque::new(),
            acked: BTreeMap::new(),
            committed: VecDeque::new(),
        }
    }

    /// The newest zxid given out.
    pub fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    /// The newest zxid that a quorum has on disk.
    pub fn last_committed(&self) -> Zxid {
        self.last_committed
    }

    /// The zxid that the next proposal has to carry.
    pub fn next_zxid(&self) -> Zxid {
        if mutants::is_on(Mutant::M20) && self.last_proposed.counter() >= counter_max() {
            return Zxid::new(Epoch(self.last_proposed.epoch().0 + 1), 0);
        }
        self.last_proposed.next()
    }

    /// Proposals that are not committed yet.
    pub fn outstanding_count(&self) -> usize {
        self.outstanding_proposals.len()
    }

    /// The proposals that are not committed yet, oldest first.
    pub fn outstanding(&self) -> impl Iterator<Item = &LogEntry> {
        self.outstanding_proposals.iter()
    }

    /// Takes up a proposal. The caller hands the same entry to its log and to its peers.
    pub fn propose(&mut self, entry: LogEntry) {
        assert_eq!(entry.zxid, self.next_zxid(), "proposals leave no gap");
        self.last_proposed = entry.zxid;
        self.outstanding_proposals.push_back(entry);
    }

    /// This server's log is on disk up to `upto`.
    pub fn on_log_durable(&mut self, upto: Zxid) {
        assert!(upto <= self.last_proposed, "only what was proposed is logged");
        self.on_ack(self.me, upto);
    }

    /// `from` has everything up to `upto` on disk: its log is in the order of the proposals.
    pub fn on_ack(&mut self, from: ServerId, upto: Zxid) {
        let acked = self.acked.entry(from).or_insert(upto);
        *acked = upto.max(*acked);
        if *acked <= self.last_committed {
            return;
        }
        let Some(upto) = self.quorum_has() else { return };
        while let Some(first) = self
            .outstanding_proposals
            .pop_front_if(|entry| entry.zxid <= upto)
        {
            assert_eq!(first.zxid, self.last_committed.next(), "commits leave no gap");
            self.last_committed = first.zxid;
            self.committed.push_back(first);
        }
    }

    /// What the newest transaction is that a quorum has on disk, if it is not committed yet.
    fn quorum_has(&self) -> Option<Zxid> {
        let mut candidates: Vec<Zxid> = self.acked.values().copied().collect();
        candidates.retain(|zxid| *zxid > self.last_committed);
        candidates.sort_unstable();
        candidates.into_iter().rev().find(|candidate| {
            let mut acks = AckSet::default();
            let wanted = match mutants::is_on(Mutant::M8) {
                true => self.last_committed.next(),
                false => *candidate,
            };
            let have = self.acked.iter().filter(|(_, acked)| **acked >= wanted);
            have.for_each(|(server, _)| acks.add(*server));
            self.verifier.contains_quorum(&acks)
        })
    }

    /// A server that comes back holds nothing behind `kept`: what it acknowledged once no longer counts.
    pub fn forget_acks(&mut self, server: ServerId, kept: Zxid) {
        if let Some(acked) = self.acked.get_mut(&server) {
            *acked = kept.min(*acked);
        }
    }

    /// The last transaction that a server has acknowledged, or had when it joined.
    pub fn acked(&self, server: ServerId) -> Option<Zxid> {
        self.acked.get(&server).copied()
    }

    /// The next transaction to apply.
    pub fn pop_committed(&mut self) -> Option<LogEntry> {
        self.committed.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broadcast(voters: i64) -> Broadcast {
        let verifier = QuorumVerifier::majority((1..=voters).map(ServerId));
        let mut broadcast = Broadcast::new(ServerId(1), verifier, Zxid(4));
        for zxid in 5..=7 {
            broadcast.propose(LogEntry {
                zxid: Zxid(zxid),
                encoded: Bytes::new(),
            });
        }
        broadcast
    }

    fn committed(broadcast: &mut Broadcast) -> Vec<i64> {
        std::iter::from_fn(|| broadcast.pop_committed())
            .map(|entry| entry.zxid.0)
            .collect()
    }

    #[test]
    fn an_ensemble_of_one_commits_what_its_disk_has() {
        let mut broadcast = broadcast(1);
        assert_eq!(committed(&mut broadcast), [0i64; 0]);
        broadcast.on_log_durable(Zxid(6));
        assert_eq!(committed(&mut broadcast), [5, 6]);
        assert_eq!(
            (broadcast.last_committed(), broadcast.outstanding_count()),
            (Zxid(6), 1)
        );
    }

    #[test]
    fn commits_need_a_quorum_and_keep_their_order() {
        let mut broadcast = broadcast(3);
        broadcast.on_ack(ServerId(2), Zxid(7));
        broadcast.on_ack(ServerId(2), Zxid(7));
        assert_eq!(committed(&mut broadcast), [0i64; 0]);
        broadcast.on_log_durable(Zxid(5));
        assert_eq!(committed(&mut broadcast), [5]);
        broadcast.on_ack(ServerId(3), Zxid(7));
        assert_eq!(committed(&mut broadcast), [6, 7]);
    }

    #[test]
    fn a_server_that_was_cut_back_no_longer_counts_for_what_it_lost() {
        let mut broadcast = broadcast(3);
        broadcast.on_ack(ServerId(2), Zxid(7));
        broadcast.forget_acks(ServerId(2), Zxid(5));
        broadcast.on_log_durable(Zxid(7));
        assert_eq!(committed(&mut broadcast), [5]);
        broadcast.on_ack(ServerId(2), Zxid(6));
        assert_eq!(committed(&mut broadcast), [6]);
        assert_eq!(broadcast.acked(ServerId(2)), Some(Zxid(6)));
    }

    #[test]
    fn who_has_no_vote_commits_nothing() {
        let mut broadcast = broadcast(3);
        broadcast.on_log_durable(Zxid(7));
        broadcast.on_ack(ServerId(9), Zxid(7));
        assert_eq!(committed(&mut broadcast), [0i64; 0]);
    }

    #[test]
    #[should_panic(expected = "proposals leave no gap")]
    fn a_gap_is_refused() {
        broadcast(1).propose(LogEntry {
            zxid: Zxid(9),
            encoded: Bytes::new(),
        });
    }
}
