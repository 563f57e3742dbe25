//! How far one learner has come, as its leader sees it (LearnerHandler).

use crate::clock::Millis;
use crate::ids::{ServerId, Zxid};
use crate::mutants::{self, Mutant};

/// One connection.
#[derive(Debug)]
pub(super) struct LearnerProgress {
    /// Who it says it is; 0 before its first packet.
    pub server: ServerId,
    pub is_observer: bool,
    pub is_zkserver: bool,
    /// Wherever its history ends.
    pub wants_snapshot: bool,
    pub phase: Phase,
    /// When it last sent something, or was last asked for something.
    pub heard: Millis,
    /// It counts as synced up to this tick.
    pub synced_until: u64,
    /// The end of the history in front of NEWLEADER: with its acknowledgement all of it is on disk.
    pub synced_to: Zxid,
    /// Proposals that it acknowledged before the epoch, as 3.8.0 does; they count after it.
    pub early_ack: Option<Zxid>,
    pub ack_timer: AckTimer,
    /// Pings since UPTODATE; each is answered once, in order.
    pub pings_sent: u64,
    pub pings_answered: u64,
    /// The last round that it was asked in, and what `pings_answered` has to reach to confirm that.
    pub round: u64,
    pub round_mark: u64,
}

/// Steps of one learner, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has said nothing yet.
    Hello,
    /// It waits for the epoch.
    WaitEpoch,
    /// It was told the epoch.
    AwaitAckEpoch,
    /// It waits for the quorum that joins the epoch. Its history ends at `last`.
    WaitAckQuorum { last: Zxid },
    /// What it lacks is read from the log.
    ReadingLog { last: Zxid },
    /// A snapshot is on its way to it. From here on it gets every proposal and commit.
    SendingSnapshot,
    /// It was sent its history and NEWLEADER.
    AwaitNewLeaderAck,
    /// It holds the history; the quorum is not there yet.
    WaitActive,
    /// It serves clients.
    Up,
}

impl LearnerProgress {
    pub fn new(now: Millis) -> LearnerProgress {
        LearnerProgress {
            server: ServerId(0),
            is_observer: false,
            is_zkserver: false,
            wants_snapshot: false,
            phase: Phase::Hello,
            heard: now,
            synced_until: 0,
            synced_to: Zxid::ZERO,
            early_ack: None,
            ack_timer: AckTimer::default(),
            pings_sent: 0,
            pings_answered: 0,
            round: 0,
            round_mark: 0,
        }
    }

    /// Whether it gets what is proposed and committed from now on.
    pub fn is_forwarding(&self) -> bool {
        match self.phase {
            Phase::Hello
            | Phase::WaitEpoch
            | Phase::AwaitAckEpoch
            | Phase::WaitAckQuorum { .. }
            | Phase::ReadingLog { .. } => false,
            Phase::SendingSnapshot | Phase::AwaitNewLeaderAck | Phase::WaitActive | Phase::Up => true,
        }
    }

    /// Whether what it says counts towards a quorum, if it has a vote.
    pub fn counts(&self) -> bool {
        !self.is_observer || mutants::is_on(Mutant::M5b)
    }

    /// Whether it has acknowledged NEWLEADER.
    pub fn is_synced(&self) -> bool {
        matches!(self.phase, Phase::WaitActive | Phase::Up)
    }
}

/// How long the oldest proposal has waited for this learner (LearnerHandler.SyncLimitCheck): one is timed,
/// and when it is acknowledged, the newest one is next.
#[derive(Debug, Default)]
pub(super) struct AckTimer {
    timed: Option<(Zxid, Millis)>,
    newest: Option<(Zxid, Millis)>,
}

impl AckTimer {
    pub fn proposed(&mut self, zxid: Zxid, now: Millis) {
        self.newest = Some((zxid, now));
        self.timed = self.timed.or(self.newest);
    }

    pub fn acked(&mut self, upto: Zxid) {
        if self.timed.is_some_and(|(zxid, _)| zxid <= upto) {
            self.timed = self.newest.filter(|(zxid, _)| *zxid > upto);
        }
    }

    pub fn is_late(&self, now: Millis, limit: Millis) -> bool {
        self.timed.is_some_and(|(_, since)| now - since > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learner_that_keeps_up_is_never_late() {
        let mut timer = AckTimer::default();
        let limit = Millis(10);
        timer.proposed(Zxid(1), Millis(0));
        timer.proposed(Zxid(2), Millis(8));
        assert!(!timer.is_late(Millis(10), limit));
        assert!(timer.is_late(Millis(11), limit));
        timer.acked(Zxid(1));
        assert!(!timer.is_late(Millis(18), limit));
        assert!(timer.is_late(Millis(19), limit));
        timer.acked(Zxid(2));
        assert!(!timer.is_late(Millis(99), limit));
    }
}
