//! Elections on a network that loses, delays and reorders messages, among servers that crash. Whoever is
//! elected has a history that no quorum beats, and once the faults end, all have one leader.

use std::collections::BTreeSet;

use super::*;
use crate::prng::Prng;

struct Simulation {
    prng: Prng,
    members: Members,
    now: Millis,
    nodes: BTreeMap<i64, Node>,
    /// By arrival and a number: who, to whom and the message.
    events: BTreeMap<(Millis, u64), (i64, i64, Bytes)>,
    events_count: u64,
    has_faults: bool,
}

struct Node {
    zxid: i64,
    election: Option<Election>,
    decided_at: Millis,
}

impl Simulation {
    fn new(seed: u64, count: i64) -> Simulation {
        let mut prng = Prng::new(seed);
        let node = |id| {
            let zxid = prng.below(3) as i64;
            let node = Node {
                zxid,
                election: None,
                decided_at: Millis(0),
            };
            (id, node)
        };
        let nodes = (1..=count).map(node).collect();
        Simulation {
            prng,
            members: members_of(count, &[]),
            now: Millis(0),
            nodes,
            events: BTreeMap::new(),
            events_count: 0,
            has_faults: true,
        }
    }

    fn input(&mut self, id: i64, input: Input<'_>) {
        let node = self.nodes.get_mut(&id).expect("a member");
        let Some(election) = &mut node.election else {
            return;
        };
        let mut out = Vec::new();
        election.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Notify { to, body } => self.send(id, to.0, body),
                Output::Decided { vote, .. } => {
                    self.nodes.get_mut(&id).expect("a member").decided_at = self.now;
                    self.check_winner(vote.leader);
                }
                Output::DialAll | Output::VoterLooking(_) | Output::Outvoted(_) => {}
                Output::MembersDiffer { .. }
                | Output::AddressDiffers { .. }
                | Output::NewerConfig(_)
                | Output::ProposedConfig(_) => {
                    panic!("all have one list")
                }
            }
        }
    }

    fn send(&mut self, from: i64, to: i64, body: Bytes) {
        if self.has_faults && self.prng.below(5) == 0 {
            return;
        }
        let slowest = if self.prng.below(10) == 0 { 1000 } else { 30 };
        let at = self.now + Millis(self.prng.below(slowest));
        self.events.insert((at, self.events_count), (from, to, body));
        self.events_count += 1;
    }

    /// A leader whose history a quorum would not have voted for could lose what was committed.
    fn check_winner(&self, leader: ServerId) {
        let rank = |id: i64| (self.nodes[&id].zxid, id);
        let backs = |id: &i64| rank(*id) <= rank(leader.0);
        let backers = self.nodes.keys().copied().filter(backs).map(ServerId);
        assert!(self.members.verifier().contains_quorum(&backers.collect()));
    }

    fn look(&mut self, id: i64) {
        let zxid = Zxid(self.nodes[&id].zxid);
        self.input(id, Input::Start { zxid, peer_epoch: 0 });
    }

    fn boot(&mut self, id: i64) {
        let config = ElectionConfig::new(ServerId(id), Configs::new(self.members.clone()));
        self.nodes.get_mut(&id).expect("a member").election = Some(Election::new(config));
        self.tell_links(id);
        self.look(id);
    }

    fn crash(&mut self, id: i64) {
        self.nodes.get_mut(&id).expect("a member").election = None;
        self.tell_links(id);
    }

    /// Most of the time the others notice that a process came or went.
    fn tell_links(&mut self, id: i64) {
        for other in self.ids() {
            let is_up = self.nodes[&id].election.is_some();
            if other != id && self.prng.below(4) > 0 {
                let id = ServerId(id);
                self.input(
                    other,
                    if is_up {
                        Input::LinkUp(id)
                    } else {
                        Input::LinkDown(id)
                    },
                );
            }
        }
    }

    fn ids(&self) -> Vec<i64> {
        self.nodes.keys().copied().collect()
    }

    /// What this server believes, if it runs and has a leader.
    fn leader_of(&self, id: i64) -> Option<i64> {
        let election = self.nodes[&id].election.as_ref()?;
        (election.state() != PeerState::Looking).then_some(election.vote().leader.0)
    }

    /// In place of the broadcast: who leads without a quorum, or follows one that does not lead, looks again.
    fn supervise(&mut self) {
        for id in self.ids() {
            let Some(leader) = self.leader_of(id) else {
                continue;
            };
            if self.now - self.nodes[&id].decided_at < Millis(1000) {
                continue;
            }
            let follows = |other: &i64| self.leader_of(*other) == Some(leader);
            let followers: BTreeSet<i64> = self.nodes.keys().copied().filter(follows).collect();
            let is_led = followers.contains(&leader) && followers.len() > self.nodes.len() / 2;
            if !is_led {
                self.look(id);
            }
        }
    }

    /// Runs for so long, in steps of at most 50 ms.
    fn run(&mut self, ms: u64) {
        let end = self.now + Millis(ms);
        let mut supervised_at = self.now;
        while self.now < end {
            let ticks = self.nodes.values().filter_map(|node| node.election.as_ref());
            let tick = ticks.filter_map(Election::next_deadline).min();
            let message = self.events.keys().next().map(|(at, _)| *at);
            let next = [Some(supervised_at + Millis(50)), tick, message];
            self.now = next
                .into_iter()
                .flatten()
                .min()
                .expect("one is there")
                .max(self.now);
            while let Some(first) = self.events.first_entry() {
                if first.key().0 > self.now {
                    break;
                }
                let (from, to, body) = first.remove();
                let from = ServerId(from);
                self.input(to, Input::Received { from, body: &body });
            }
            for id in self.ids() {
                let election = self.nodes[&id].election.as_ref();
                if election
                    .and_then(Election::next_deadline)
                    .is_some_and(|at| at <= self.now)
                {
                    self.input(id, Input::Tick);
                }
            }
            if supervised_at + Millis(50) <= self.now {
                supervised_at = self.now;
                self.supervise();
                self.maybe_crash();
            }
        }
    }

    fn maybe_crash(&mut self) {
        if !self.has_faults || self.prng.below(20) > 0 {
            return;
        }
        let id = 1 + self.prng.below(self.nodes.len() as u64) as i64;
        if self.nodes[&id].election.is_some() {
            self.crash(id);
        } else {
            self.boot(id);
        }
    }
}

#[test]
fn servers_converge_when_the_faults_end() {
    for seed in 0..150 {
        let count = if seed % 2 == 0 { 3 } else { 5 };
        let mut simulation = Simulation::new(seed, count);
        simulation.run(20_000);
        simulation.has_faults = false;
        for id in simulation.ids() {
            if simulation.nodes[&id].election.is_none() {
                simulation.boot(id);
            }
        }
        simulation.run(70_000);
        let leaders: BTreeSet<Option<i64>> = simulation
            .ids()
            .into_iter()
            .map(|id| simulation.leader_of(id))
            .collect();
        assert_eq!(leaders.len(), 1, "seed {seed}: {leaders:?}");
        assert!(!leaders.contains(&None), "seed {seed}");
        let decided = simulation.nodes.values().map(|node| node.decided_at).max();
        assert!(
            decided < Some(simulation.now - Millis(5000)),
            "seed {seed}: not settled"
        );
    }
}
