//! Carrying out what a plan says, at once or when something happens.

use zkserver::clock::Millis;
use zkserver::proto::quorum::PacketType;

use super::plan::{Act, Cut, Gate, Watch, Who};
use super::run::Run;
use super::world::disk::Power;
use super::world::moments::{Happened, Moment, Written};
use super::world::network::Port;
use super::world::sim_disk::Unsynced;

/// Something that is waited for.
pub struct Armed {
    what: Watch,
    who: Who,
    left: u64,
    then: Vec<Act>,
}

impl Run {
    /// Does what is waited for, if this is it.
    pub fn fire(&mut self, moment: Moment) {
        for at in (0..self.armed.len()).rev() {
            let (what, who) = (self.armed[at].what, self.armed[at].who);
            let is_meant = who == Who::Here || self.resolve(who, None) == Some(moment.node);
            if !is_meant || !what.is(moment.what) {
                continue;
            }
            self.armed[at].left -= 1;
            if self.armed[at].left == 0 {
                let Armed { then, .. } = self.armed.remove(at);
                self.say(format_args!("{what:?} at {}, which was waited for", moment.node));
                then.iter().for_each(|act| self.apply(act, Some(moment.node)));
            }
        }
    }

    fn resolve(&self, who: Who, here: Option<usize>) -> Option<usize> {
        let nodes = &self.world.nodes;
        let leader = || (0..nodes.len()).find(|at| nodes[*at].leads());
        match who {
            Who::Node(at) => Some(at % nodes.len()),
            Who::Leader => leader(),
            Who::Other(nth) => {
                let leader = leader();
                let others: Vec<usize> = (0..nodes.len()).filter(|at| Some(*at) != leader).collect();
                others.get(nth % others.len().max(1)).copied()
            }
            Who::Newest => (0..self.plan.voters).max_by_key(|at| nodes[*at].disk.last()),
            Who::Oldest => (0..self.plan.voters).min_by_key(|at| nodes[*at].disk.last()),
            Who::Here => here,
        }
    }

    /// Carries out an act, which happened at a server, if it was waited for.
    pub fn apply(&mut self, act: &Act, here: Option<usize>) {
        self.marks.on_act(act);
        if !matches!(act, Act::Ask { .. }) {
            self.say(format_args!("plan: {act:?}"));
        }
        match act {
            Act::Ask { user, former, ops } => self.ask(*user, *former, ops),
            Act::Move { user, timeout_ms } => {
                if self.users[*user].is_connected {
                    self.connect(*user, *timeout_ms);
                }
            }
            Act::HangUp { user } => {
                if let Some(conn) = self.users[*user].conn {
                    self.world.hang_up(conn);
                }
            }
            Act::MoveAway { user } => self.move_away(*user),
            Act::When { .. } | Act::After { .. } => self.put_off(act),
            Act::CrashAll { but, power } => {
                self.crash_all(but.and_then(|who| self.resolve(who, here)), *power)
            }
            Act::StartAll => (0..self.world.nodes.len()).for_each(|at| self.start(at)),
            Act::Mend => self.world.mend(),
            Act::Split { mask } => {
                let count = self.world.nodes.len();
                let side = |at: usize| mask >> at & 1;
                for (a, b) in pairs(count).filter(|(a, b)| side(*a) != side(*b)) {
                    self.world.cut(a, b);
                }
            }
            Act::Part { a, b, port } => self.between(*a, *b, here, |run, a, b| run.cut(a, b, *port)),
            Act::Hush { from, to } => self.between(*from, *to, here, |run, a, b| run.world.silence(a, b)),
            Act::Reset { a, b, port } => self.between(*a, *b, here, |run, a, b| {
                for port in port.ports() {
                    run.world.reset(a, b, *port);
                }
            }),
            Act::Crash { who, .. }
            | Act::Start { who }
            | Act::Stop { who }
            | Act::Isolate { who, .. }
            | Act::Silence { who, .. }
            | Act::HoldDisk { who }
            | Act::Release { who }
            | Act::HoldWalks { who }
            | Act::Pause { who }
            | Act::Resume { who }
            | Act::FailDisk { who, .. }
            | Act::Damage { who }
            | Act::SetWall { who, .. } => {
                if let Some(at) = self.resolve(*who, here) {
                    self.apply_to(at, act);
                }
            }
        }
    }

    /// For later, or until something happens.
    fn put_off(&mut self, act: &Act) {
        match act {
            Act::When { what, who, nth, then } if self.armed.len() < ARMED_MAX => self.armed.push(Armed {
                what: *what,
                who: *who,
                left: *nth,
                then: then.clone(),
            }),
            Act::After { ms, act } => {
                self.later_count += 1;
                let at = self.world.now.mono + Millis(*ms);
                self.later.insert((at, self.later_count), (**act).clone());
            }
            _ => {}
        }
    }

    fn crash_all(&mut self, but: Option<usize>, power: Cut) {
        for at in (0..self.world.nodes.len()).filter(|at| Some(*at) != but) {
            self.world.crash_with(at, 0, power.to_power(at));
        }
    }

    fn apply_to(&mut self, at: usize, act: &Act) {
        let others = (0..self.world.nodes.len()).filter(|other| *other != at);
        match act {
            Act::Crash { done, power, .. } => {
                let given = self.world.nodes[at].disk.queue.len();
                self.world
                    .crash_with(at, given.min(*done as usize), power.to_power(at));
            }
            Act::Start { .. } => self.start(at),
            Act::Stop { .. } => self.world.stop(at),
            Act::Isolate { port, .. } => others.for_each(|other| self.cut(at, other, *port)),
            Act::Silence { outward: true, .. } => others.for_each(|other| self.world.silence(at, other)),
            Act::Silence { .. } => others.for_each(|other| self.world.silence(other, at)),
            Act::HoldDisk { .. } => self.world.nodes[at].disk.is_held = self.world.nodes[at].is_up(),
            Act::Release { .. } => {
                self.world.release_disk(at);
                self.world.release_walks(at);
            }
            Act::HoldWalks { .. } => self.world.nodes[at].are_walks_held = true,
            Act::Pause { .. } => self.world.pause(at),
            Act::Resume { .. } => self.world.resume(at),
            Act::FailDisk { calls, .. } => self.world.fail_disk(at, *calls),
            Act::Damage { .. } => self.world.damage(at),
            Act::SetWall { offset_ms, .. } => self.world.set_wall(at, *offset_ms),
            _ => unreachable!("it is not about one server"),
        }
    }

    fn start(&mut self, at: usize) {
        if !self.world.nodes[at].is_up() && !self.world.try_start(at) {
            let reason = self.world.nodes[at].died_of.clone().unwrap_or_default();
            self.laws.on_refused(at, &reason);
        }
    }

    fn between(&mut self, a: Who, b: Who, here: Option<usize>, act: impl FnOnce(&mut Run, usize, usize)) {
        if let (Some(a), Some(b)) = (self.resolve(a, here), self.resolve(b, here))
            && a != b
        {
            act(self, a, b);
        }
    }

    fn cut(&mut self, a: usize, b: usize, port: Gate) {
        for port in port.ports() {
            self.world.cut_port(a, b, *port);
        }
    }

    /// The server that the user is connected to is cut off, but not from the user, who goes elsewhere.
    fn move_away(&mut self, user: usize) {
        let Some(conn) = self.users[user].conn.filter(|_| self.users[user].is_connected) else {
            return;
        };
        self.world.cut_off(self.world.clients[conn].node);
        self.connect(user, 10_000);
    }
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

impl Gate {
    fn ports(self) -> &'static [Port] {
        match self {
            Gate::Both => &[Port::Quorum, Port::Election],
            Gate::Quorum => &[Port::Quorum],
            Gate::Election => &[Port::Election],
        }
    }
}

impl Cut {
    fn to_power(self, at: usize) -> Power {
        let (within, unsynced) = match self {
            Cut::Process => (None, Unsynced::Kept),
            Cut::Within(call) => (Some(call), Unsynced::Kept),
            Cut::Lost(within) => (within, Unsynced::Lost),
            Cut::Torn(within, seed) => (within, Unsynced::Torn(seed + at as u64)),
        };
        Power { within, unsynced }
    }
}

impl Watch {
    fn is(self, what: Happened) -> bool {
        use PacketType as P;
        let sent = |kind| matches!(what, Happened::Sent(sent, _) if sent == kind);
        let got = |kind| matches!(what, Happened::Arrived(got, _) if got == kind);
        match self {
            Watch::LogDurable => what == Happened::Durable(Written::Log),
            Watch::EpochsDurable => what == Happened::Durable(Written::Epochs),
            Watch::CutDurable => what == Happened::Durable(Written::Cut),
            Watch::ImageDurable => what == Happened::Durable(Written::Image),
            Watch::SentAck => matches!(what, Happened::Sent(P::Ack, zxid) if zxid.counter() > 0),
            Watch::SentJoined => matches!(what, Happened::Sent(P::Ack, zxid) if zxid.counter() == 0),
            Watch::SentProposal => sent(P::Proposal),
            Watch::SentCommit => sent(P::Commit),
            Watch::SentNewLeader => sent(P::NewLeader),
            Watch::SentUpToDate => sent(P::UpToDate),
            Watch::GotDiff => got(P::Diff),
            Watch::GotTrunc => got(P::Trunc),
            Watch::GotSnap => got(P::Snap),
            Watch::GotNewLeader => got(P::NewLeader),
            Watch::GotUpToDate => got(P::UpToDate),
            Watch::GotLeaderInfo => got(P::LeaderInfo),
            Watch::GotProposal => got(P::Proposal),
            Watch::GotCommit => got(P::Commit),
            Watch::Leads => what == Happened::Leads,
            Watch::Serves => what == Happened::Serves,
            Watch::RoleEnded => what == Happened::RoleEnded,
            Watch::CommittedFirst => what == Happened::CommittedFirst,
            Watch::SnapshotDone => what == Happened::SnapshotDone,
        }
    }
}

/// So many things are waited for at a time.
const ARMED_MAX: usize = 20;
