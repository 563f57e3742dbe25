//! From a seed to a plan: a few kinds of faults out of all, one of them aimed at where servers are weakest.

use zkserver::ids::{Epoch, Zxid};
use zkserver::prng::Prng;

use super::plan::{Act, Cut, Gate, Plan, Step, Tier, Watch, Who};
use super::requests;

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

pub fn plan(tier: Tier, seed: u64) -> Plan {
    let mut prng = Prng::new(seed ^ 0x51_u64 << 56);
    let (voters, observers) = *pick(
        &mut prng,
        &[(3, 0), (3, 0), (3, 1), (5, 0), (2, 1), (5, 1), (4, 0), (1, 1)],
    );
    let count = voters + observers;
    let is_late = prng.below(12) == 0;
    let mut plan = Plan {
        tier,
        seed,
        voters,
        observers,
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
        slowest: *pick(
            &mut prng,
            &[
                [2, 2, 3, 3, 5],
                [3, 3, 3, 40, 400],
                [3, 30, 30, 300, 3000],
                [1, 1, 1, 1, 900],
            ],
        ),
        slowest_disk: *pick(
            &mut prng,
            &[
                [1, 1, 2, 2, 3],
                [3, 3, 3, 40, 400],
                [10, 50, 50, 50, 800],
                [1, 1, 1, 1, 4000],
            ],
        ),
        clocks: vec![(1000, 0); count],
        users: 3 + prng.below(3) as usize,
        is_canary: false,
        steps: Vec::new(),
    };
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

    fn who(&mut self) -> Who {
        let node = self.prng.below((self.plan.voters + self.plan.observers) as u64) as usize;
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
        let (other, nth) = (self.below(4) as usize, 1 + self.below(3));
        let crash = Act::Crash {
            who: Who::Here,
            done,
            power,
        };
        let when = |what, who, then| Act::When { what, who, nth, then };
        match self.below(9) {
            // In the same step as something became durable, or right behind what says so.
            0 => {
                let what = *pick(
                    &mut self.prng,
                    &[
                        Watch::LogDurable,
                        Watch::EpochsDurable,
                        Watch::SentAck,
                        Watch::SentJoined,
                    ],
                );
                when(what, Who::Here, vec![crash])
            }
            // The server that has just begun to lead, or alone has the newest transaction.
            1 => {
                let what = *pick(
                    &mut self.prng,
                    &[Watch::Leads, Watch::SentProposal, Watch::SentNewLeader],
                );
                let isolate = Act::Isolate {
                    who: Who::Here,
                    port: Gate::Both,
                };
                let mend = Act::After {
                    ms: 1 + self.below(15_000),
                    act: Box::new(Act::Mend),
                };
                when(what, Who::Here, vec![isolate, mend])
            }
            // One of those that have just committed something.
            2 => {
                let who = *pick(&mut self.prng, &[Who::Here, Who::Newest, Who::Other(other)]);
                let crash = Act::Crash { who, done, power };
                when(Watch::CommittedFirst, Who::Here, vec![crash])
            }
            // Nobody but the one that is furthest behind.
            3 => Act::CrashAll {
                but: Some(Who::Oldest),
                power,
            },
            // Within a synchronization.
            4 | 5 => {
                let what = *pick(
                    &mut self.prng,
                    &[
                        Watch::GotDiff,
                        Watch::GotTrunc,
                        Watch::GotSnap,
                        Watch::GotNewLeader,
                        Watch::CutDurable,
                        Watch::ImageDurable,
                        Watch::GotUpToDate,
                        Watch::GotLeaderInfo,
                    ],
                );
                when(what, Who::Here, vec![crash])
            }
            // A packet that comes late.
            6 => {
                let what = *pick(
                    &mut self.prng,
                    &[
                        Watch::SentCommit,
                        Watch::SentNewLeader,
                        Watch::SentUpToDate,
                        Watch::SentProposal,
                    ],
                );
                let hush = Act::Hush {
                    from: Who::Here,
                    to: Who::Other(other),
                };
                let mend = Act::After {
                    ms: 1 + self.below(9000),
                    act: Box::new(Act::Mend),
                };
                when(what, Who::Leader, vec![hush, mend])
            }
            7 => Act::MoveAway { user: self.user() },
            _ => {
                let stop = vec![Act::Crash {
                    who: Who::Leader,
                    done,
                    power,
                }];
                let what = *pick(
                    &mut self.prng,
                    &[Watch::Serves, Watch::RoleEnded, Watch::SnapshotDone],
                );
                when(what, Who::Here, stop)
            }
        }
    }
}
