//! Whom an observer connects to (QuorumPeer.findLearnerMaster): the leader, or where followers serve
//! observers one voter after another, in an order of its own. The leader itself is left alone, unless there
//! is no other voter: then nobody would ever take Apache's observers, and those of ours go to the leader.

use super::Output;
use super::learner::Learner;
use crate::clock::Millis;
use crate::ids::ServerId;
use crate::prng::Prng;

/// The voters that an observer goes round, and how long it waits. It outlives roles, so that each role begins
/// with another voter than the last one.
#[derive(Clone, Debug)]
pub struct Masters {
    /// In the order that was drawn. Empty: observers connect to the leader.
    order: Vec<ServerId>,
    next: usize,
    reconnect_delay_ms: u64,
    prng: Prng,
}

impl Default for Masters {
    /// The leader, without a delay.
    fn default() -> Masters {
        Masters::new(0, 0)
    }
}

impl Masters {
    /// `reconnect_delay_ms` is `observer.reconnectDelayMs`: a random time below it goes by before the leader
    /// is connected to, or before another round of the voters begins.
    pub fn new(reconnect_delay_ms: u64, seed: u64) -> Masters {
        Masters {
            order: Vec::new(),
            next: 0,
            reconnect_delay_ms,
            prng: Prng::new(seed),
        }
    }

    /// The voters to go round, none for the leader alone. A new order is drawn only if they have changed.
    pub fn set_voters(&mut self, voters: &[ServerId]) {
        if voters.len() == self.order.len() && voters.iter().all(|voter| self.order.contains(voter)) {
            return;
        }
        let mut rest = voters.to_vec();
        self.order.clear();
        while !rest.is_empty() {
            let at = self.prng.below(rest.len() as u64) as usize;
            self.order.push(rest.remove(at));
        }
        self.next = 0;
    }

    /// Whom to connect to, `None` for the leader, and after what time. The leader itself serves no observers
    /// on that port, so it is passed over. `is_first` says that the role begins.
    pub(super) fn choose(&mut self, leader: ServerId, is_first: bool) -> (Option<ServerId>, Millis) {
        if self.order.iter().all(|voter| *voter == leader) {
            let delay = if is_first {
                self.reconnect_delay()
            } else {
                Millis(0)
            };
            return (None, delay);
        }
        let mut delay = Millis(0);
        loop {
            if self.next >= self.order.len() {
                self.next = 0;
                delay = self.reconnect_delay();
            }
            let master = self.order[self.next];
            self.next += 1;
            if master != leader {
                return (Some(master), delay);
            }
        }
    }

    fn reconnect_delay(&mut self) -> Millis {
        self.draw(self.reconnect_delay_ms)
    }

    /// A time below that many milliseconds; none for 0.
    pub fn draw(&mut self, below_ms: u64) -> Millis {
        match below_ms {
            0 => Millis(0),
            _ => Millis(self.prng.below(below_ms)),
        }
    }
}

impl Learner {
    /// Chooses who is to be connected to next, and does it after that time, or a longer one.
    pub(super) fn connect_after(&mut self, now: Millis, pause: Millis, out: &mut Vec<Output>) {
        let mut delay = Millis(0);
        if let Some(masters) = &mut self.masters {
            (self.master, delay) = masters.choose(self.leader, self.tries == 0);
        }
        // Who waits on purpose is not late for it.
        self.began = self.began + delay;
        match pause + delay {
            Millis(0) => self.connect(out),
            wait => self.retry_at = Some(now + wait),
        }
    }

    pub(super) fn connect(&mut self, out: &mut Vec<Output>) {
        self.retry_at = None;
        out.push(match self.master {
            Some(master) => Output::ConnectToMaster { master },
            None => Output::Connect { leader: self.leader },
        });
    }

    /// What the next role of an observer goes on with.
    pub fn take_masters(&mut self) -> Option<Masters> {
        self.masters.take()
    }

    /// The voter that is learned from in the leader's place.
    pub fn master(&self) -> Option<ServerId> {
        self.master
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn voters(count: i64) -> Vec<ServerId> {
        (1..=count).map(ServerId).collect()
    }

    #[test]
    fn without_voters_it_is_the_leader_after_a_delay_once() {
        let mut masters = Masters::new(1000, 3);
        let delays: BTreeSet<Millis> = (0..20).map(|_| masters.choose(ServerId(2), true).1).collect();
        assert!(delays.len() > 10 && delays.iter().all(|delay| *delay < Millis(1000)));
        assert_eq!(masters.choose(ServerId(2), false), (None, Millis(0)));
        assert_eq!(Masters::default().choose(ServerId(2), true), (None, Millis(0)));
    }

    #[test]
    fn every_voter_but_the_leader_has_its_turn_and_only_a_new_round_waits() {
        let mut masters = Masters::new(1000, 3);
        masters.set_voters(&voters(5));
        let mut waited = 0;
        for round in 0..20 {
            let chosen: Vec<_> = (0..4).map(|_| masters.choose(ServerId(4), true)).collect();
            let others: BTreeSet<_> = chosen.iter().filter_map(|(master, _)| *master).collect();
            assert_eq!(others, [1, 2, 3, 5].map(ServerId).into(), "round {round}");
            // The leader's place may be the first one of a round.
            waited += chosen.iter().filter(|(_, delay)| delay.0 > 0).count();
        }
        assert!((18..=20).contains(&waited), "{waited}");
    }

    #[test]
    fn the_order_is_kept_until_the_voters_change_and_differs_between_observers() {
        let orders: BTreeSet<Vec<ServerId>> = (0..20)
            .map(|seed| {
                let mut masters = Masters::new(0, seed);
                masters.set_voters(&voters(5));
                masters.order
            })
            .collect();
        assert!(orders.len() > 10, "{orders:?}");
        let mut masters = Masters::new(0, 1);
        masters.set_voters(&voters(3));
        let (first, _) = masters.choose(ServerId(9), true);
        masters.set_voters(&voters(3));
        assert_ne!(masters.choose(ServerId(9), true).0, first);
        masters.set_voters(&voters(4));
        assert_eq!(masters.next, 0);
    }

    #[test]
    fn the_only_voter_takes_observers_as_their_leader() {
        let mut masters = Masters::new(0, 1);
        masters.set_voters(&voters(1));
        assert_eq!(masters.choose(ServerId(1), true), (None, Millis(0)));
        assert_eq!(masters.choose(ServerId(1), false), (None, Millis(0)));
        // That of a list which is not the leader's, to begin with.
        assert_eq!(masters.choose(ServerId(2), true).0, Some(ServerId(1)));
    }
}
