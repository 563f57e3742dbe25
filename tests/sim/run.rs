//! A run: a plan, carried out to its end.

use std::collections::BTreeMap;
use std::fmt::Arguments;

use zkserver::clock::Millis;
use zkserver::ids::Zxid;
use zkserver::proto::quorum::{PacketType, QuorumPacket};
use zkserver::quorum::reconfig::Rules;
use zkserver::replica::ContainerConfig;
use zkserver::replica::LocalSessions;

use super::check::Laws;
use super::marks::Marks;
use super::plan::{Act, Plan, Tier};
use super::users::{User, Wire};
use super::waiting::Armed;
use super::world::configs::START;
use super::world::ensemble::Ensemble;
use super::world::node::Clock;
use super::world::setup::Setup;

pub struct Run {
    pub plan: Plan,
    pub world: Ensemble,
    pub users: Vec<User>,
    pub wires: Vec<Wire>,
    pub laws: Laws,
    pub marks: Marks,
    /// The newest zxid that any client has seen.
    pub seen: i64,
    pub answers_count: u64,
    pub armed: Vec<Armed>,
    pub later: BTreeMap<(Millis, u64), Act>,
    pub later_count: u64,
}

/// What a run comes to.
pub struct Summary {
    pub hash: u64,
    pub totals: Totals,
}

/// How much has happened.
#[derive(Default)]
pub struct Totals {
    pub virtual_ms: u64,
    pub inputs: u64,
    pub answers: u64,
    pub commits: u64,
    pub epochs: u64,
    pub marks: Marks,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        self.virtual_ms += other.virtual_ms;
        self.inputs += other.inputs;
        self.answers += other.answers;
        self.commits += other.commits;
        self.epochs += other.epochs;
        self.marks.add(&other.marks);
    }
}

/// Carries out a plan. Panics with the law that is broken.
pub fn run(plan: Plan, is_traced: bool) -> Summary {
    let mut run = Run::new(plan, is_traced);
    let steps = std::mem::take(&mut run.plan.steps);
    for step in steps {
        run.pass_to(Millis(START + step.at));
        run.apply(&step.act, None);
        run.after_step();
    }
    run.end();
    Summary {
        hash: run.world.trace.hash(),
        totals: Totals {
            virtual_ms: run.world.now.mono.0 - START,
            inputs: run.world.inputs_count,
            answers: run.answers_count,
            commits: run.world.history.entries.len() as u64,
            epochs: run.world.history.epochs_count() as u64,
            marks: std::mem::take(&mut run.marks),
        },
    }
}

impl Run {
    fn new(plan: Plan, is_traced: bool) -> Run {
        let mut world = Ensemble::asleep(setup(&plan));
        world.moments = Some(Vec::new());
        if plan.is_canary {
            world.net.tamper = Some(change);
        }
        world.trace.is_read = is_traced;
        for (node, (permille, wall_offset_ms)) in world.nodes.iter_mut().zip(&plan.clocks) {
            node.clock = Clock {
                permille: *permille,
                wall_offset_ms: *wall_offset_ms,
            };
        }
        (0..world.nodes.len()).for_each(|at| world.start(at));
        Run {
            users: (0..plan.users).map(|_| User::default()).collect(),
            wires: Vec::new(),
            laws: Laws::new(plan.tier, Zxid(plan.base)),
            marks: Marks::default(),
            seen: 0,
            answers_count: 0,
            armed: Vec::new(),
            later: BTreeMap::new(),
            later_count: 0,
            plan,
            world,
        }
    }

    pub fn say(&mut self, line: Arguments<'_>) {
        self.world.trace.say(self.world.now.mono.0, line);
    }

    /// Lets time go by, and does on the way what was put off or waited for.
    pub fn pass_to(&mut self, end: Millis) {
        self.world.settle();
        self.after_step();
        loop {
            let due = self
                .later
                .keys()
                .next()
                .map(|(at, _)| *at)
                .filter(|at| *at <= end);
            let until = due.unwrap_or(end);
            while self.world.step_before(until) {
                self.after_step();
                if self.later.keys().next().is_some_and(|(at, _)| *at < until) {
                    break;
                }
            }
            let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= end) else {
                break;
            };
            let ((at, _), act) = first.remove_entry();
            self.world.pass_to(at.max(self.world.now.mono));
            self.apply(&act, None);
            self.after_step();
        }
        self.world.pass_to(end);
    }

    /// After everything that happens: what was waited for, what clients have received, what has to hold.
    fn after_step(&mut self) {
        for _ in 0..100 {
            self.receive();
            let moments = std::mem::take(self.world.moments.as_mut().expect("they are kept"));
            if moments.is_empty() {
                break;
            }
            for moment in moments {
                self.marks.on_moment(&self.world, moment);
                self.laws.on_moment(&self.world, moment);
                self.fire(moment);
            }
            self.world.settle();
        }
        self.laws.on_step(&self.world);
    }

    /// No more faults: all come to serve and hold the same, and whoever asks is answered.
    fn end(&mut self) {
        self.say(format_args!("no more faults"));
        self.armed.clear();
        self.later.clear();
        self.pass(10);
        (self.world.setup.slowest, self.world.setup.slowest_disk) = ([2, 2, 3, 3, 5], [1, 1, 2, 2, 3]);
        self.world.heal();
        // Whoever was asked to end may have to wait for others.
        for ms in [1000, 30_000] {
            for at in 0..self.world.nodes.len() {
                if !self.world.nodes[at].is_up() {
                    let is_started = self.world.try_start(at);
                    assert!(is_started, "I27: server {at}: {:?}", self.world.nodes[at].died_of);
                }
            }
            self.pass(ms);
        }
        self.restart_beside_damage();
        if self.world.is_for_an_operator() {
            return self.say(format_args!("that is for an operator"));
        }
        self.serve();
        for _ in 0..3 {
            (0..self.users.len()).for_each(|user| self.last_words(user));
            self.pass(3000);
        }
        self.pass(5000);
        for user in 0..self.users.len() {
            let Some(conn) = self.users[user].conn.filter(|_| self.users[user].is_connected) else {
                continue;
            };
            let is_closed = self.world.clients[conn].client.is_closed;
            let waits = self.wires[conn].sent.keys().next();
            assert!(
                is_closed || waits.is_none(),
                "I27: user {user} waits for {waits:?} on {conn}"
            );
        }
        self.world.agree();
        self.after_step();
        self.laws.at_the_end(&self.world);
        self.marks.at_the_end(&self.world);
    }

    /// What could not be read once may be whole: that is for the operator to try.
    fn restart_beside_damage(&mut self) {
        for at in 0..self.world.nodes.len() {
            if self.world.nodes[at].disk.is_damaged && self.world.nodes[at].disk.files.is_some() {
                self.world.crash(at);
                self.world.start(at);
            }
        }
        self.pass(1000);
    }

    fn pass(&mut self, ms: u64) {
        self.pass_to(self.world.now.mono + Millis(ms));
    }

    fn serve(&mut self) {
        let end = self.world.now.mono + Millis(60_000);
        while !self.world.is_serving() {
            assert!(
                self.world.now.mono < end,
                "I27: nobody leads all:\n{}",
                self.world.describe()
            );
            self.pass(20);
        }
    }

    fn last_words(&mut self, user: usize) {
        let ops = [super::plan::Op::Set {
            path: "/a".into(),
            data: "last".into(),
            version: -1,
        }];
        self.ask(user, false, &ops);
    }
}

/// What an evil network does to a proposal.
fn change(packet: &mut QuorumPacket) {
    if packet.kind == PacketType::Proposal
        && let Some(data) = &packet.data
    {
        let mut changed = data.to_vec();
        // Within the time of the transaction, which nothing else depends on.
        changed[27] ^= 1;
        packet.data = Some(changed.into());
    }
}

fn setup(plan: &Plan) -> Setup {
    Setup {
        voters: plan.voters,
        observers: plan.observers,
        has_observer_masters: plan.has_observer_masters,
        observer_election_delay_ms: 200,
        leader_serves: plan.leader_serves,
        local_sessions: LocalSessions::Off,
        is_read_only_allowed: false,
        checks_acls_early: false,
        may_read_log: plan.may_read_log,
        snap_count: plan.snap_count,
        chunk_bytes: plan.chunk_bytes,
        is_random: true,
        slowest: plan.slowest,
        slowest_disk: plan.slowest_disk,
        window: plan.window,
        base: Zxid(plan.base),
        has_files: plan.tier == Tier::Full,
        containers: ContainerConfig {
            check_interval_ms: match plan.container_check_ms {
                0 => 1 << 40,
                ms => ms,
            },
            ..ContainerConfig::default()
        },
        seed: plan.seed,
        reconfig: plan.reconfigures.then_some(Rules {
            standalone_enabled: false,
            is_multi_address_enabled: false,
        }),
        strangers: plan.strangers,
    }
}
