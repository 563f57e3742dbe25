//! Servers in memory, wired by connections that keep their order, on disks that finish what they were given
//! now, later, or in a crash only in part.
//!
//! Elections are arbitrary: whom they name must not matter for what is never to happen, only for progress.

mod links;

use std::collections::{BTreeMap, VecDeque};

use super::{config, entry, packets};
use crate::clock::Millis;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::prng::Prng;
use crate::proto::quorum::{PacketType, QuorumPacket};
use crate::zab::*;

#[derive(Clone, Debug)]
enum DiskOp {
    Append(LogEntry),
    Epochs(Epoch, Epoch),
    Install(Vec<LogEntry>),
    Truncate(Zxid),
}

#[derive(Debug)]
enum Message {
    Packet(QuorumPacket),
    Image(Vec<LogEntry>),
}

#[derive(Debug)]
struct Link {
    learner: usize,
    leader: usize,
    to_leader: VecDeque<Message>,
    to_learner: VecDeque<Message>,
}

#[derive(Debug, Default)]
struct Node {
    is_up: bool,
    role: Zab,
    /// What a restart would find: snapshot and log.
    history: Vec<LogEntry>,
    accepted: Epoch,
    current: Epoch,
    disk: VecDeque<DiskOp>,
    tree: Vec<LogEntry>,
    window: Option<CommittedLog>,
    needs_snapshot: bool,
    is_reloading: bool,
    active: Option<Epoch>,
    has_joined: bool,
}

fn last(history: &[LogEntry]) -> Zxid {
    history.last().map_or(Zxid::ZERO, |entry| entry.zxid)
}

pub struct World {
    nodes: Vec<Node>,
    voters: usize,
    /// Whether observers are behind followers.
    has_observer_masters: bool,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    now: Millis,
    prng: Prng,
    numbers: i64,
    /// What an active leader has committed, ever.
    committed: Vec<LogEntry>,
    leaders: BTreeMap<Epoch, usize>,
    /// How long the history was that an epoch began with.
    initial: BTreeMap<Epoch, usize>,
    pub plans: BTreeMap<PacketType, usize>,
    pub plans_of_observers: BTreeMap<PacketType, usize>,
}

impl World {
    pub fn new(seed: u64, voters: usize, observers: usize, has_observer_masters: bool) -> World {
        let mut nodes = Vec::new();
        for _ in 0..voters + observers {
            nodes.push(Node {
                is_up: true,
                ..Node::default()
            });
        }
        World {
            nodes,
            voters,
            has_observer_masters,
            links: BTreeMap::new(),
            next_link: 0,
            now: Millis(0),
            prng: Prng::new(seed),
            numbers: 0,
            committed: Vec::new(),
            leaders: BTreeMap::new(),
            initial: BTreeMap::new(),
            plans: BTreeMap::new(),
            plans_of_observers: BTreeMap::new(),
        }
    }

    fn pick(&mut self, count: usize) -> usize {
        self.prng.below(count as u64) as usize
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.prng.below(100) < percent
    }

    /// One random event.
    pub fn step(&mut self) {
        let node = self.pick(self.nodes.len());
        match self.pick(1000) {
            0..560 => self.deliver_random(),
            560..760 => self.disk(node),
            760..840 => self.propose(node),
            840..910 => self.look(node, 15),
            910..975 => {
                let pause = self.prng.below(400);
                self.pass(pause);
            }
            975..982 => self.crash(node),
            982..994 => self.restart(node),
            _ => {
                let links: Vec<LinkId> = self.links.keys().copied().collect();
                if !links.is_empty() {
                    let link = links[self.pick(links.len())];
                    self.cut(link, None);
                }
            }
        }
        self.check();
    }

    /// No more faults: everybody comes to serve, and holds the same.
    pub fn heal(&mut self) {
        for node in 0..self.nodes.len() {
            self.restart(node);
        }
        for _ in 0..3000 {
            (0..self.nodes.len()).for_each(|node| self.look(node, 0));
            self.settle();
            self.pass(100);
            self.check();
            // A leader that was deposed may not know it yet, nor its followers.
            let newest = self.leaders.keys().last().copied();
            if newest.is_some() && self.nodes.iter().all(|node| node.active == newest) && self.is_quiet() {
                break;
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            assert!(node.active.is_some(), "node {at} does not serve: {:?}", node.role);
        }
        for _ in 0..3 {
            (0..self.nodes.len()).for_each(|node| self.propose(node));
        }
        (0..20).for_each(|_| self.settle());
        let committed = self.committed.len();
        for (at, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.tree.len(), committed, "node {at} is behind");
            assert!(node.history == self.committed, "node {at} holds something else");
        }
    }

    /// Every disk and connection does what it has been given.
    fn settle(&mut self) {
        for node in 0..self.nodes.len() {
            while !self.nodes[node].disk.is_empty() {
                self.disk(node);
            }
        }
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            while self.deliver(link, true) || self.deliver(link, false) {}
        }
    }

    pub fn committed_count(&self) -> usize {
        self.committed.len()
    }

    pub fn epochs_count(&self) -> usize {
        self.leaders.len()
    }

    fn is_quiet(&self) -> bool {
        self.links
            .values()
            .all(|link| link.to_leader.is_empty() && link.to_learner.is_empty())
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Millis(ms);
        for node in 0..self.nodes.len() {
            if self.nodes[node]
                .role
                .next_deadline()
                .is_some_and(|at| at <= self.now)
            {
                self.input(node, Input::Tick);
            }
        }
    }

    fn deliver_random(&mut self) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        if !links.is_empty() {
            let link = links[self.pick(links.len())];
            let is_to_leader = self.chance(50);
            self.deliver(link, is_to_leader);
        }
    }

    fn deliver(&mut self, id: LinkId, is_to_leader: bool) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let (queue, node) = match is_to_leader {
            true => (&mut link.to_leader, link.leader),
            false => (&mut link.to_learner, link.learner),
        };
        match queue.pop_front() {
            None => false,
            Some(Message::Packet(packet)) => {
                if matches!(
                    packet.kind,
                    PacketType::Diff | PacketType::Trunc | PacketType::Snap
                ) {
                    let plans = match node >= self.voters {
                        true => &mut self.plans_of_observers,
                        false => &mut self.plans,
                    };
                    *plans.entry(packet.kind).or_default() += 1;
                }
                self.input(node, Input::Packet(id, packet));
                true
            }
            Some(Message::Image(history)) => {
                self.nodes[node].disk.push_back(DiskOp::Install(history));
                true
            }
        }
    }

    /// The disk finishes the next thing it was given.
    fn disk(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(op) = node.disk.pop_front() else { return };
        let input = match op {
            DiskOp::Append(entry) => {
                let upto = entry.zxid;
                assert!(
                    follows(last(&node.history), upto),
                    "node {at} logs a gap at {upto}"
                );
                node.history.push(entry);
                Input::LogDurable { upto }
            }
            DiskOp::Epochs(accepted, current) => {
                assert!(accepted >= node.accepted && current >= node.current && current <= accepted);
                (node.accepted, node.current) = (accepted, current);
                Input::EpochsSaved { accepted, current }
            }
            DiskOp::Install(_) | DiskOp::Truncate(_) => {
                match op {
                    DiskOp::Install(history) => node.history = history,
                    DiskOp::Truncate(to) => node.history.retain(|entry| entry.zxid <= to),
                    DiskOp::Append(_) | DiskOp::Epochs(..) => unreachable!(),
                }
                node.tree = node.history.clone();
                node.is_reloading = false;
                let zxid = last(&node.history);
                Input::SnapshotInstalled { zxid }
            }
        };
        self.input(at, input);
    }

    fn propose(&mut self, at: usize) {
        self.numbers += 1;
        let mut out = Vec::new();
        if let Zab::Leading(leader) = &mut self.nodes[at].role
            && leader.is_active()
        {
            leader.propose(self.now, entry(leader.next_zxid(), self.numbers), &mut out);
        }
        self.execute(at, out);
    }

    /// A server without a role finds one: mostly that of the election, sometimes any.
    fn look(&mut self, at: usize, madness: u64) {
        let node = &self.nodes[at];
        if !node.is_up || !matches!(node.role, Zab::Looking) {
            return;
        }
        let is_observer = at >= self.voters;
        let leading = |node: &Node| matches!(node.role, Zab::Leading(_));
        let leaders: Vec<usize> = (0..self.nodes.len())
            .filter(|i| leading(&self.nodes[*i]))
            .collect();
        let vote = |i: usize| (self.nodes[i].current, last(&self.nodes[i].history), i);
        let best = (0..self.voters)
            .filter(|i| self.nodes[*i].is_up)
            .map(vote)
            .max()
            .map(|best| best.2);
        let is_mad = self.chance(madness);
        let count = leaders.len();
        if count > 0 && !is_mad {
            let leader = leaders[self.pick(count)];
            self.begin(at, Some(leader));
        } else if !is_observer && (best == Some(at) || is_mad) {
            self.begin(at, None);
        }
    }

    fn begin(&mut self, at: usize, leader: Option<usize>) {
        let node = &mut self.nodes[at];
        assert!(node.disk.is_empty(), "the log is fenced between roles");
        // The repair rule, which a start applies, too.
        node.current = node.current.max(last(&node.history).epoch());
        assert!(
            last(&node.history).epoch() <= node.accepted,
            "state of an epoch never promised"
        );
        let end = last(&node.history);
        node.tree = node.history.clone();
        let window = node
            .window
            .take()
            .unwrap_or_else(|| CommittedLog::new(end, COMMIT_LOG_COUNT));
        assert_eq!(window.last(), end);
        let history = History {
            last_logged: end,
            last_applied: end,
            accepted_epoch: node.accepted,
            current_epoch: node.current,
        };
        let mut config = config(at as i64 + 1, self.voters as i64);
        config.has_observer_masters = self.has_observer_masters;
        let mut out = Vec::new();
        node.role = match leader {
            None => Zab::Leading(Box::new(Leader::new(config, self.now, history, window, &mut out))),
            Some(leader) => {
                let voters: Vec<ServerId> = (1..=self.voters as i64).map(ServerId).collect();
                let mut masters = Masters::new(0, self.next_link);
                masters.set_voters(if self.has_observer_masters { &voters } else { &[] });
                let role = (
                    ServerId(leader as i64 + 1),
                    (at >= self.voters).then_some(masters),
                );
                let standing = match std::mem::take(&mut node.needs_snapshot) {
                    true => Standing::NeedsSnapshot,
                    false => Standing::Whole,
                };
                let learner = Learner::new(config, self.now, history, window, role, standing, &mut out);
                Zab::Learning(Box::new(learner))
            }
        };
        self.execute(at, out);
    }

    fn input(&mut self, at: usize, input: Input) {
        let mut out = Vec::new();
        self.nodes[at].role.step(self.now, input, &mut out);
        self.execute(at, out);
    }

    fn execute(&mut self, at: usize, out: Vec<Output>) {
        let mut later = Vec::new();
        for output in out {
            self.execute_one(at, output, &mut later);
        }
        for (node, input) in later {
            self.input(node, input);
        }
    }

    fn execute_one(&mut self, at: usize, output: Output, later: &mut Vec<(usize, Input)>) {
        let node = &mut self.nodes[at];
        match output {
            Output::Listen | Output::ListenForObservers => {}
            Output::Connect { leader } => {
                let leader = leader.0 as usize - 1;
                let is_listening = matches!(self.nodes[leader].role, Zab::Leading(_));
                self.connect(at, leader, is_listening, later);
            }
            Output::ConnectToMaster { master } => {
                let master = master.0 as usize - 1;
                let role = &self.nodes[master].role;
                let is_listening =
                    matches!(role, Zab::Learning(learner) if learner.synced_observers().is_some());
                self.connect(at, master, is_listening, later);
            }
            Output::Send(id, bytes) => {
                for packet in packets(&bytes) {
                    self.check_ack(at, &packet);
                    self.queue(at, id, Message::Packet(packet));
                }
            }
            Output::SendSnapshot { link, then } => {
                let image = node.tree.clone();
                let snap = QuorumPacket::new(PacketType::Snap, last(&image), None);
                self.queue(at, link, Message::Packet(snap));
                self.queue(at, link, Message::Image(image));
                let then = then.iter().flat_map(packets);
                then.for_each(|packet| self.queue(at, link, Message::Packet(packet)));
                later.push((at, Input::SnapshotSent(link)));
            }
            Output::ReadLog { link, after, upto } => {
                let from = node.history.iter().position(|entry| entry.zxid == after);
                let upto = node.history.iter().position(|entry| entry.zxid == upto);
                let entries = from
                    .zip(upto)
                    .map(|(from, upto)| node.history[from + 1..=upto].to_vec());
                later.push((at, Input::LogRead { link, entries }));
            }
            Output::Close { link, .. } => self.cut(link, Some(at)),
            Output::SaveEpochs { accepted, current } => {
                node.disk.push_back(DiskOp::Epochs(accepted, current))
            }
            Output::AppendLog(entry) => node.disk.push_back(DiskOp::Append(entry)),
            Output::TruncateLog { to } => {
                node.is_reloading = true;
                node.disk.push_back(DiskOp::Truncate(to));
            }
            Output::InstallSnapshot { .. } => node.is_reloading = true,
            Output::Commit(entry) => self.commit(at, entry),
            Output::Active { epoch } => self.activate(at, epoch),
            Output::RoleEnded { needs_snapshot, .. } => self.end_role(at, needs_snapshot),
            other => assert!(matches!(other, Output::LearnerPing { .. }), "{other:?}"),
        }
    }

    /// Law: what is acknowledged is durable, NEWLEADER with its epoch and all that was applied.
    fn check_ack(&mut self, at: usize, packet: &QuorumPacket) {
        if packet.kind != PacketType::Ack {
            return;
        }
        let node = &mut self.nodes[at];
        if packet.zxid.counter() == 0 {
            assert_eq!(
                node.current,
                packet.zxid.epoch(),
                "node {at} joins an epoch not on disk"
            );
            // The second one, after UPTODATE, says nothing.
            let is_first = !std::mem::replace(&mut node.has_joined, true);
            assert!(
                !is_first || node.history.starts_with(&node.tree),
                "node {at} applied more than it logged"
            );
        } else {
            assert!(
                node.history.iter().any(|entry| entry.zxid == packet.zxid),
                "ACK before the disk"
            );
        }
    }

    fn commit(&mut self, at: usize, entry: LogEntry) {
        let node = &mut self.nodes[at];
        assert!(
            follows(last(&node.tree), entry.zxid),
            "node {at} applies a gap at {}",
            entry.zxid
        );
        node.tree.push(entry.clone());
        if matches!(node.role, Zab::Leading(_)) {
            self.committed.push(entry);
            assert!(node.tree == self.committed, "the leader commits another history");
        }
    }

    fn activate(&mut self, at: usize, epoch: Epoch) {
        let node = &mut self.nodes[at];
        node.active = Some(epoch);
        if matches!(node.role, Zab::Leading(_)) {
            let other = self.leaders.insert(epoch, at);
            assert_eq!(other, None, "two leaders of one epoch");
            assert!(
                node.history.starts_with(&self.committed),
                "the leader of {epoch:?} lacks what was committed"
            );
            self.committed = node.history.clone();
            self.initial.insert(epoch, self.committed.len());
        } else {
            assert!(
                node.tree.len() >= self.initial[&epoch],
                "node {at} serves too early"
            );
        }
    }

    fn end_role(&mut self, at: usize, needs_snapshot: bool) {
        let node = &mut self.nodes[at];
        node.needs_snapshot |= needs_snapshot;
        (node.active, node.has_joined) = (None, false);
        let role = std::mem::take(&mut node.role);
        // The log is fenced: what it was given is finished, nothing comes later.
        while !self.nodes[at].disk.is_empty() {
            self.disk(at);
        }
        let node = &mut self.nodes[at];
        let (mut window, uncommitted) = match role {
            Zab::Looking => return,
            Zab::Leading(leader) => leader.into_parts(),
            Zab::Learning(learner) => learner.into_parts(),
        };
        if node.is_reloading || window.last() > last(&node.history) {
            node.is_reloading = false;
            window = CommittedLog::new(last(&node.history), COMMIT_LOG_COUNT);
        } else {
            uncommitted.into_iter().for_each(|entry| window.push(entry));
        }
        if window.last() != last(&node.history) {
            // A snapshot or a cut was finished by the fence.
            window.reset(last(&node.history));
        }
        node.window = Some(window);
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.leader == at || link.learner == at)
            .map(|(id, _)| *id)
            .collect();
        links.into_iter().for_each(|link| self.cut(link, Some(at)));
    }

    fn crash(&mut self, at: usize) {
        if !self.nodes[at].is_up {
            return;
        }
        // Any prefix of what the disk was given is done.
        let done = self.pick(self.nodes[at].disk.len() + 1);
        self.nodes[at].role = Zab::Looking;
        for _ in 0..done {
            self.disk(at);
        }
        let node = &mut self.nodes[at];
        node.is_up = false;
        node.disk.clear();
        (node.active, node.has_joined) = (None, false);
        (node.is_reloading, node.needs_snapshot, node.window) = (false, false, None);
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for id in links {
            if self
                .links
                .get(&id)
                .is_some_and(|link| link.leader == at || link.learner == at)
            {
                self.cut(id, Some(at));
            }
        }
    }

    fn restart(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.is_up {
            node.is_up = true;
            node.tree = node.history.clone();
            let tail = node.history.iter().map(|entry| entry.encoded.clone()).collect();
            node.window = Some(CommittedLog::recovered(
                tail,
                last(&node.history),
                COMMIT_LOG_COUNT,
            ));
        }
    }

    /// Whoever serves shows a beginning of what was committed.
    fn check(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            if node.active.is_some() {
                assert!(
                    self.committed.starts_with(&node.tree),
                    "node {at} shows another history"
                );
            }
        }
    }
}
