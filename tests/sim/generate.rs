//! From a seed to a plan: a few kinds of faults out of all, one of them aimed at where servers are weakest.

use zkserver::ids::{Epoch, Zxid};
use zkserver::prng::Prng;

use super::plan::{Act, Cut, Gate, Op, Plan, Step, Tier, Watch, Who};
use super::requests;
use super::world::configs::SUPERUSER;

/// A kind of fault that a run may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Crash,
    CrashAll,
    Stop,
    Part,
    Split,
    OneWay,
    OnePort,
    Reset,
    SlowDisk,
    SlowWalks,
    Pause,
    FailDisk,
    Damage,
    Clock,
    HangUp,
}

const CLASSES: [Class; 15] = [
    Class::Crash,
    Class::CrashAll,
    Class::Stop,
    Class::Part,
    Class::Split,
    Class::OneWay,
    Class::OnePort,
    Class::Reset,
    Class::SlowDisk,
    Class::SlowWalks,
    Class::Pause,
    Class::FailDisk,
    Class::Damage,
    Class::Clock,
    Class::HangUp,
];

/// Delays that are chosen from.
const SLOWEST: [[u64; 5]; 4] = [
    [2, 2, 3, 3, 5],
    [3, 3, 3, 40, 400],
    [3, 30, 30, 300, 3000],
    [1, 1, 1, 1, 900],
];

/// Those of disks.
const SLOWEST_DISK: [[u64; 5]; 4] = [
    [1, 1, 2, 2, 3],
    [3, 3, 3, 40, 400],
    [10, 50, 50, 50, 800],
    [1, 1, 1, 1, 4000],
];

pub fn plan(tier: Tier, seed: u64) -> Plan {
    let mut prng = Prng::new(seed ^ 0x51_u64 << 56);
    let (voters, observers) = *pick(
        &mut prng,
        &[(3, 0), (3, 0), (3, 1), (5, 0), (2, 1), (5, 1), (4, 0), (1, 1)],
    );
    // Two, so that sessions go from one to another behind one follower.
    let has_observer_masters = observers > 0 && voters > 1 && Prng::new(!seed).below(2) == 0;
    let observers = if has_observer_masters { 2 } else { observers };
    let count = voters + observers;
    let is_late = prng.below(12) == 0;
    let mut plan = Plan {
        tier,
        seed,
        voters,
        observers,
        has_observer_masters,
        leader_serves: prng.below(8) > 0,
        may_read_log: prng.below(2) == 0,
        snap_count: *pick(&mut prng, &[4, 10, 30, 100_000]),
        window: *pick(&mut prng, &[3, 5, 10, 500]),
        chunk_bytes: *pick(&mut prng, &[100, 300, 2000]),
        // Near the end of an epoch's counter, sometimes.
        base: match is_late {
            true => Zxid::new(Epoch(1), u32::MAX - prng.below(60) as u32).0,
            false => 0,
        },
        slowest: *pick(&mut prng, &SLOWEST),
        slowest_disk: *pick(&mut prng, &SLOWEST_DISK),
        clocks: vec![(1000, 0); count],
        users: 3 + prng.below(3) as usize,
        container_check_ms: match tier {
            Tier::Protocol => 0,
            Tier::Full => *pick(&mut prng, &[100, 700, 5000]),
        },
        reconfigures: false,
        strangers: 0,
        is_canary: false,
        steps: Vec::new(),
    };
    plan.reconfigure();
    let classes: Vec<Class> = CLASSES.into_iter().filter(|_| prng.below(3) == 0).collect();
    if classes.contains(&Class::Clock) {
        for clock in &mut plan.clocks {
            *clock = (
                *pick(&mut prng, &[1000, 1000, 900, 1100, 700]),
                *pick(&mut prng, &[0, 0, -315_360_000_000, 315_360_000_000, 4000]),
            );
        }
    }
    let mut steps = Steps {
        faults: *pick(&mut prng, &[10, 30, 60]),
        prng,
        plan,
        classes,
        now: 0,
    };
    steps.fill();
    steps.plan
}

impl Plan {
    /// Lets the members change, perhaps. Drawn apart, so that all other plans stay as they are.
    fn reconfigure(&mut self) {
        let mut apart = Prng::new(self.seed ^ 0x26_u64 << 48);
        let one_in = match self.tier {
            Tier::Protocol => 3,
            Tier::Full => 16,
        };
        if apart.below(one_in) == 0 {
            self.reconfigures = true;
            self.strangers = apart.below(3) as usize;
        }
    }
}

fn pick<'a, T>(prng: &mut Prng, of: &'a [T]) -> &'a T {
    &of[prng.below(of.len() as u64) as usize]
}

struct Steps {
    prng: Prng,
    plan: Plan,
    classes: Vec<Class>,
    /// Of a hundred faults that might come, so many do.
    faults: u64,
    now: u64,
}

impl Steps {
    fn fill(&mut self) {
        let count = match self.plan.tier {
            Tier::Protocol => 160 + self.below(160),
            Tier::Full => 250 + self.below(250),
        };
        let aimed = 8 + self.below(20);
        for number in 0..count {
            if number > 10 && number % aimed == 0 {
                let act = self.aimed();
                self.add(act);
            }
            match self.below(100) {
                0..58 => self.ask(),
                58..80 => {
                    let longest = *pick(&mut self.prng, &[5, 5, 50, 400, 3000]);
                    self.now += self.below(longest);
                }
                80..89 => self.recover(),
                _ if self.below(100) < self.faults => self.fault(),
                _ => {}
            }
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.prng.below(bound)
    }

    fn add(&mut self, act: Act) {
        self.plan.steps.push(Step { at: self.now, act });
    }

    fn user(&mut self) -> usize {
        self.prng.below(self.plan.users as u64) as usize
    }

    fn servers(&self) -> usize {
        self.plan.voters + self.plan.observers + self.plan.strangers
    }

    fn who(&mut self) -> Who {
        let node = self.prng.below(self.servers() as u64) as usize;
        *pick(
            &mut self.prng,
            &[
                Who::Node(node),
                Who::Node(node),
                Who::Leader,
                Who::Other(node),
                Who::Newest,
            ],
        )
    }

    fn ask(&mut self) {
        let user = self.user();
        if self.below(30) == 0 {
            let timeout_ms = *pick(&mut self.prng, &[4000, 10_000, 40_000]);
            return self.add(Act::Move { user, timeout_ms });
        }
        if self.plan.reconfigures && self.below(20) == 0 {
            let servers = self.servers();
            let name = SUPERUSER.to_owned();
            let ops = vec![
                Op::Auth { name },
                requests::draw_reconfig(&mut self.prng, servers),
            ];
            let former = false;
            return self.add(Act::Ask { user, former, ops });
        }
        let former = self.below(8) == 0 && self.plan.tier == Tier::Protocol;
        let count = 1 + self.below(4);
        let ops = (0..count).map(|_| requests::draw(&mut self.prng, self.plan.tier));
        let ops = ops.collect();
        self.add(Act::Ask { user, former, ops });
    }

    fn recover(&mut self) {
        let who = self.who();
        let act = match self.below(8) {
            0 | 1 => Act::StartAll,
            2 => Act::Start { who },
            3 | 4 => Act::Release { who },
            5 => Act::Resume { who },
            _ => Act::Mend,
        };
        self.add(act);
    }

    fn gate(&mut self) -> Gate {
        *pick(&mut self.prng, &[Gate::Quorum, Gate::Election])
    }

    fn cut(&mut self) -> Cut {
        let within = (self.below(2) == 0).then(|| 1 + self.below(25));
        let seed = self.below(1 << 32);
        match (self.plan.tier, self.below(4)) {
            (Tier::Protocol, _) | (Tier::Full, 0) => Cut::Process,
            (Tier::Full, 1) => Cut::Within(1 + self.below(25)),
            (Tier::Full, 2) => Cut::Lost(within),
            (Tier::Full, _) => Cut::Torn(within, seed),
        }
    }

    fn fault(&mut self) {
        if self.classes.is_empty() {
            return;
        }
        let class = *pick(&mut self.prng, &self.classes.clone());
        let (who, other) = (self.who(), self.who());
        let power = self.cut();
        let done = self.below(4);
        let act = match class {
            Class::Crash => Act::Crash { who, done, power },
            Class::CrashAll => Act::CrashAll { but: None, power },
            Class::Stop => Act::Stop { who },
            Class::Part => Act::Part {
                a: who,
                b: other,
                port: Gate::Both,
            },
            Class::Split => Act::Split { mask: self.below(32) },
            Class::OneWay => match self.below(2) {
                0 => Act::Hush { from: who, to: other },
                _ => Act::Silence {
                    who,
                    outward: self.below(2) == 0,
                },
            },
            Class::OnePort => Act::Isolate {
                who,
                port: self.gate(),
            },
            Class::Reset => Act::Reset {
                a: who,
                b: other,
                port: Gate::Quorum,
            },
            Class::SlowDisk => Act::HoldDisk { who },
            Class::SlowWalks => Act::HoldWalks { who },
            Class::Pause => Act::Pause { who },
            Class::FailDisk => Act::FailDisk {
                who,
                calls: 1 + self.below(30),
            },
            Class::Damage => Act::Damage { who },
            Class::Clock => Act::SetWall {
                who,
                offset_ms: *pick(&mut self.prng, &[-100_000, 100_000, -315_360_000_000]),
            },
            Class::HangUp => Act::HangUp { user: self.user() },
        };
        self.add(act);
    }

    /// A fault where it hurts most.
    fn aimed(&mut self) -> Act {
        let power = self.cut();
        let done = self.below(3);
        let other = Who::Other(self.below(4) as usize);
        let crash = |who| Act::Crash { who, done, power };
        match self.below(9) {
            // In the same step as something became durable, or right behind what says so.
            0 => {
                use Watch::{EpochsDurable, LogDurable, SentAck, SentJoined};
                let what = [LogDurable, EpochsDurable, SentAck, SentJoined];
                self.when(&what, Who::Here, vec![crash(Who::Here)])
            }
            // The server that has just begun to lead, or alone has the newest transaction.
            1 => {
                let isolate = Act::Isolate {
                    who: Who::Here,
                    port: Gate::Both,
                };
                let then = vec![isolate, self.mend_within(15_000)];
                let what = [Watch::Leads, Watch::SentProposal, Watch::SentNewLeader];
                self.when(&what, Who::Here, then)
            }
            // One of those that have just committed something.
            2 => {
                let who = *pick(&mut self.prng, &[Who::Here, Who::Newest, other]);
                self.when(&[Watch::CommittedFirst], Who::Here, vec![crash(who)])
            }
            // Nobody but the one that is furthest behind.
            3 => Act::CrashAll {
                but: Some(Who::Oldest),
                power,
            },
            // Within a synchronization.
            4 | 5 => self.when(&SYNCHRONIZING, Who::Here, vec![crash(Who::Here)]),
            // A packet that comes late.
            6 => {
                use Watch::{SentCommit, SentNewLeader, SentProposal, SentUpToDate};
                let hush = Act::Hush {
                    from: Who::Here,
                    to: other,
                };
                let then = vec![hush, self.mend_within(9000)];
                let what = [SentCommit, SentNewLeader, SentUpToDate, SentProposal];
                self.when(&what, Who::Leader, then)
            }
            7 => Act::MoveAway { user: self.user() },
            _ => {
                let what = [Watch::Serves, Watch::RoleEnded, Watch::SnapshotDone];
                self.when(&what, Who::Here, vec![crash(Who::Leader)])
            }
        }
    }

    /// Once one of these happens so many times.
    fn when(&mut self, what: &[Watch], who: Who, then: Vec<Act>) -> Act {
        Act::When {
            what: *pick(&mut self.prng, what),
            who,
            nth: 1 + self.below(3),
            then,
        }
    }

    fn mend_within(&mut self, ms: u64) -> Act {
        Act::After {
            ms: 1 + self.below(ms),
            act: Box::new(Act::Mend),
        }
    }
}

const SYNCHRONIZING: [Watch; 8] = [
    Watch::GotDiff,
    Watch::GotTrunc,
    Watch::GotSnap,
    Watch::GotNewLeader,
    Watch::CutDurable,
    Watch::ImageDurable,
    Watch::GotUpToDate,
    Watch::GotLeaderInfo,
];
