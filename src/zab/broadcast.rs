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
    reconfig: Option<Box<Reconfig>>,
    last_proposed: Zxid,
    last_committed: Zxid,
    outstanding_proposals: VecDeque<LogEntry>,
    /// Who has everything up to where on disk. Everybody logs in the order of the proposals.
    acked: BTreeMap<ServerId, Zxid>,
    committed: VecDeque<LogEntry>,
}

/// A change of who counts, in the order of the proposals.
#[derive(Debug)]
struct Reconfig {
    /// From this proposal on quorums of both are needed.
    at: Zxid,
    /// Who counts, too. `None` once it is committed: then nothing behind it is, until [`Broadcast::resume`].
    next: Option<QuorumVerifier>,
}

impl Broadcast {
    /// A leader whose history ends at `last_zxid`.
    pub fn new(me: ServerId, verifier: QuorumVerifier, last_zxid: Zxid) -> Broadcast {
        Broadcast {
            me,
            verifier,
            reconfig: None,
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
        self.advance();
    }

    /// The next proposal is a reconfiguration: it, and what comes behind it, needs a quorum of these, too.
    pub fn reconfigure(&mut self, verifier: QuorumVerifier) {
        assert!(self.reconfig.is_none(), "one reconfiguration at a time");
        self.reconfig = Some(Box::new(Reconfig {
            at: self.next_zxid(),
            next: Some(verifier),
        }));
    }

    /// The reconfiguration that is under way.
    pub fn reconfig_at(&self) -> Option<Zxid> {
        self.reconfig.as_ref().map(|reconfig| reconfig.at)
    }

    /// Whether this is the reconfiguration that was committed last, and nothing goes on behind it yet.
    pub fn is_halted_at(&self, zxid: Zxid) -> bool {
        self.is_halted() && self.reconfig_at() == Some(zxid)
    }

    /// This server leads on after the reconfiguration.
    pub fn resume(&mut self) {
        assert!(self.is_halted(), "what goes on was halted");
        self.reconfig = None;
        self.advance();
    }

    fn is_halted(&self) -> bool {
        self.reconfig
            .as_ref()
            .is_some_and(|reconfig| reconfig.next.is_none())
    }

    /// Those count from now on, while nothing is under way.
    pub fn use_verifier(&mut self, verifier: QuorumVerifier) {
        assert!(self.outstanding_proposals.is_empty(), "nothing is under way");
        self.verifier = verifier;
    }

    fn advance(&mut self) {
        if self.is_halted() {
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
            if let Some(reconfig) = &mut self.reconfig
                && reconfig.at == self.last_committed
                && let Some(verifier) = reconfig.next.take()
            {
                self.verifier = verifier;
                return;
            }
        }
    }

    /// What the newest transaction is that a quorum has on disk, if it is not committed yet.
    fn quorum_has(&self) -> Option<Zxid> {
        let mut candidates: Vec<Zxid> = self.acked.values().copied().collect();
        if let Some(at) = self.reconfig_at() {
            // Up to there the old ones are enough.
            candidates.push(Zxid(at.0 - 1));
        }
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
            let next = self
                .reconfig
                .as_ref()
                .filter(|reconfig| *candidate >= reconfig.at);
            let next = next.and_then(|reconfig| reconfig.next.as_ref());
            let of_next = next.is_none_or(|next| next.contains_quorum(&acks) || mutants::is_on(Mutant::M21));
            of_next && self.verifier.contains_quorum(&acks)
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

    /// All that is to be applied, in order.
    pub fn take_committed(&mut self) -> Vec<LogEntry> {
        self.committed.drain(..).collect()
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

    /// 5, 6 and 7 are proposed to 1, 2 and 3, then 8 and 9 to 3, 4 and 5, too.
    fn reconfiguring() -> Broadcast {
        let mut broadcast = broadcast(3);
        broadcast.reconfigure(QuorumVerifier::majority((3..=5).map(ServerId)));
        for zxid in 8..=9 {
            broadcast.propose(LogEntry {
                zxid: Zxid(zxid),
                encoded: Bytes::new(),
            });
        }
        broadcast
    }

    #[test]
    fn a_reconfiguration_needs_quorums_of_both_and_what_was_before_it_does_not() {
        let mut broadcast = reconfiguring();
        broadcast.on_log_durable(Zxid(9));
        broadcast.on_ack(ServerId(2), Zxid(9));
        assert_eq!(committed(&mut broadcast), [5, 6, 7]);
        broadcast.on_ack(ServerId(4), Zxid(9));
        assert_eq!(committed(&mut broadcast), [0i64; 0]);
        assert_eq!(broadcast.reconfig_at(), Some(Zxid(8)));
        broadcast.on_ack(ServerId(5), Zxid(8));
        assert_eq!(committed(&mut broadcast), [8]);
        assert!(broadcast.is_halted_at(Zxid(8)));
        // The new ones alone count now, and only when this server goes on.
        broadcast.on_ack(ServerId(5), Zxid(9));
        assert_eq!(committed(&mut broadcast), [0i64; 0]);
        broadcast.resume();
        assert_eq!(committed(&mut broadcast), [9]);
        assert_eq!(broadcast.reconfig_at(), None);
    }

    #[test]
    fn a_quorum_of_the_new_ones_alone_commits_nothing() {
        let mut broadcast = reconfiguring();
        for server in 3..=5 {
            broadcast.on_ack(ServerId(server), Zxid(9));
        }
        assert_eq!(committed(&mut broadcast), [0i64; 0]);
        broadcast.on_log_durable(Zxid(8));
        assert_eq!(committed(&mut broadcast), [5, 6, 7, 8]);
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
