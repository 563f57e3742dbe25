//! What is to happen in a run, all of it decided before it begins: who does what when, and what goes wrong
//! then. A plan can be written down, cut shorter, and run again.

use serde::{Deserialize, Serialize};

/// How much of a server there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// Replicas on a model of a disk, and a few kinds of requests.
    Protocol,
    /// The real storage, and everything that clients may ask for.
    Full,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub tier: Tier,
    pub seed: u64,
    pub voters: usize,
    pub observers: usize,
    /// Observers are behind followers.
    #[serde(default)]
    pub has_observer_masters: bool,
    pub leader_serves: bool,
    pub may_read_log: bool,
    pub snap_count: u64,
    pub window: usize,
    pub chunk_bytes: usize,
    /// Where the history begins.
    pub base: i64,
    pub slowest: [u64; 5],
    pub slowest_disk: [u64; 5],
    /// How the clocks of the servers go: thousandths, and by how much the wall clocks are wrong.
    pub clocks: Vec<(u64, i64)>,
    pub users: usize,
    /// How often containers and TTL nodes are looked at; 0 for never in such a run.
    #[serde(default)]
    pub container_check_ms: u64,
    /// Members come, go and change their roles.
    #[serde(default)]
    pub reconfigures: bool,
    /// Servers that are no members at first.
    #[serde(default)]
    pub strangers: usize,
    /// Proposals change on their way: the run has to fail.
    #[serde(default)]
    pub is_canary: bool,
    pub steps: Vec<Step>,
}

/// Something to do, so many milliseconds after the beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub at: u64,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Act {
    /// The user asks, or connects if there is no connection.
    Ask {
        user: usize,
        former: bool,
        ops: Vec<Op>,
    },
    /// The user goes to another server with its session.
    Move {
        user: usize,
        timeout_ms: i32,
    },
    HangUp {
        user: usize,
    },
    Crash {
        who: Who,
        done: u64,
        power: Cut,
    },
    /// All die at once but this one, if there is one.
    CrashAll {
        but: Option<Who>,
        power: Cut,
    },
    Start {
        who: Who,
    },
    StartAll,
    Stop {
        who: Who,
    },
    /// No connections between the two.
    Part {
        a: Who,
        b: Who,
        port: Gate,
    },
    /// No connections with anybody else.
    Isolate {
        who: Who,
        port: Gate,
    },
    /// No connections between those in the mask and the others.
    Split {
        mask: u64,
    },
    /// Nothing arrives that this one sends, or that is sent to it.
    Silence {
        who: Who,
        outward: bool,
    },
    /// Nothing arrives from one at the other.
    Hush {
        from: Who,
        to: Who,
    },
    /// The connections break once.
    Reset {
        a: Who,
        b: Who,
        port: Gate,
    },
    Mend,
    HoldDisk {
        who: Who,
    },
    Release {
        who: Who,
    },
    HoldWalks {
        who: Who,
    },
    Pause {
        who: Who,
    },
    Resume {
        who: Who,
    },
    FailDisk {
        who: Who,
        calls: u64,
    },
    Damage {
        who: Who,
    },
    SetWall {
        who: Who,
        offset_ms: i64,
    },
    /// The servers of the user's connection is cut off, and the user moves.
    MoveAway {
        user: usize,
    },
    /// Once that happens for the nth time from now on, do this at once.
    When {
        what: Watch,
        who: Who,
        nth: u64,
        then: Vec<Act>,
    },
    /// Later.
    After {
        ms: u64,
        act: Box<Act>,
    },
}

/// A server, named when it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    Node(usize),
    Leader,
    /// One that does not lead.
    Other(usize),
    /// With the longest log on disk.
    Newest,
    /// With the shortest.
    Oldest,
    /// The one that something happened to; anybody, where something is waited for.
    Here,
}

/// What a crash makes of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// The process alone dies.
    Process,
    /// Within a call to the disk.
    Within(u64),
    /// The machine: everything that was not synced is gone.
    Lost(Option<u64>),
    /// The machine: some of it.
    Torn(Option<u64>, u64),
}

/// Which ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gate {
    Both,
    Quorum,
    Election,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Watch {
    LogDurable,
    EpochsDurable,
    CutDurable,
    ImageDurable,
    SentAck,
    SentJoined,
    SentProposal,
    SentCommit,
    SentNewLeader,
    SentUpToDate,
    GotDiff,
    GotTrunc,
    GotSnap,
    GotNewLeader,
    GotUpToDate,
    GotLeaderInfo,
    GotProposal,
    GotCommit,
    Leads,
    Serves,
    RoleEnded,
    CommittedFirst,
    SnapshotDone,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    Create {
        path: String,
        data: String,
        flags: i32,
        acl: Rights,
    },
    CreateContainer {
        path: String,
    },
    CreateTtl {
        path: String,
        ttl: i64,
    },
    Delete {
        path: String,
        version: i32,
    },
    Set {
        path: String,
        data: String,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Rights,
        version: i32,
    },
    Check {
        path: String,
        version: i32,
    },
    Get {
        path: String,
        watch: bool,
    },
    Exists {
        path: String,
        watch: bool,
    },
    Children {
        path: String,
        watch: bool,
    },
    GetAcl {
        path: String,
    },
    AddWatch {
        path: String,
        mode: i32,
    },
    CheckWatches {
        path: String,
        kind: i32,
    },
    RemoveWatches {
        path: String,
        kind: i32,
    },
    Sync {
        path: String,
    },
    Multi(Vec<Op>),
    Auth {
        name: String,
    },
    /// These join, or change: a server and whether it observes. Those leave.
    Reconfig {
        joining: Vec<(usize, bool)>,
        leaving: Vec<usize>,
        /// There is nobody but those who join.
        is_all: bool,
    },
    Close,
}

/// What an access control list allows, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rights {
    Open,
    ReadOnly,
    /// Everything, to whoever has authenticated.
    Creator,
    /// Everything to one user, and reading to all.
    Owned,
}

impl Plan {
    pub fn to_text(&self) -> String {
        let head = Plan {
            steps: Vec::new(),
            ..self.clone()
        };
        let mut text = serde_json::to_string(&head).expect("plain data");
        for step in &self.steps {
            text.push('\n');
            text.push_str(&serde_json::to_string(step).expect("plain data"));
        }
        text.push('\n');
        text
    }

    /// The opposite; an error names the line.
    pub fn from_text(text: &str) -> Result<Plan, String> {
        let mut lines = text.lines().enumerate();
        let (_, head) = lines.next().ok_or("line 1: a plan has to begin there")?;
        let mut plan: Plan = serde_json::from_str(head).map_err(|error| format!("line 1: {error}"))?;
        for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let step = serde_json::from_str(line);
            plan.steps
                .push(step.map_err(|error| format!("line {}: {error}", at + 1))?);
        }
        Ok(plan)
    }
}
