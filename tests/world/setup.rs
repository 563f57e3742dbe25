//! What an ensemble is told of itself.

use super::configs::TICK;
use zkserver::ids::{ServerId, Zxid};
use zkserver::quorum::configs::Configs;
use zkserver::quorum::members::{Member, MemberAddress, Members};
use zkserver::quorum::reconfig::Rules;
use zkserver::replica::ContainerConfig;
use zkserver::replica::LocalSessions;
use zkserver::zab::ZabConfig;

/// What differs from test to test.
pub struct Setup {
    pub voters: usize,
    pub observers: usize,
    /// Whether followers serve observers, and observers connect to followers.
    pub has_observer_masters: bool,
    pub observer_election_delay_ms: u64,
    pub leader_serves: bool,
    /// What kind of session clients get.
    pub local_sessions: LocalSessions,
    /// Whether clients may read without a leader, after two seconds.
    pub is_read_only_allowed: bool,
    /// Whether members look at ACLs before they ask the leader.
    pub checks_acls_early: bool,
    pub may_read_log: bool,
    pub snap_count: u64,
    /// Bytes of a snapshot in one step.
    pub chunk_bytes: usize,
    /// How long anything takes is drawn, and connections that end may lose what was sent.
    pub is_random: bool,
    /// The most milliseconds that something takes between servers, one of these each time.
    pub slowest: [u64; 5],
    /// The same for their disks.
    pub slowest_disk: [u64; 5],
    /// Transactions in memory for learners.
    pub window: usize,
    /// Where the history begins: all servers have this and nothing else.
    pub base: Zxid,
    /// Whether the real storage is under the servers, or a model of it.
    pub has_files: bool,
    /// When containers and TTL nodes go.
    pub containers: ContainerConfig,
    pub seed: u64,
    /// By which rules the members may change, if they may. Nobody needs to be allowed to, then.
    pub reconfig: Option<Rules>,
    /// Servers that are no members at first, behind the observers.
    pub strangers: usize,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            voters: 3,
            observers: 0,
            has_observer_masters: false,
            observer_election_delay_ms: 0,
            leader_serves: true,
            local_sessions: LocalSessions::Off,
            is_read_only_allowed: false,
            checks_acls_early: false,
            may_read_log: true,
            snap_count: 100_000,
            chunk_bytes: 1 << 20,
            is_random: false,
            slowest: [3, 3, 3, 40, 400],
            slowest_disk: [3, 3, 3, 40, 400],
            window: 500,
            base: Zxid::ZERO,
            has_files: false,
            containers: ContainerConfig::default(),
            seed: 1,
            reconfig: None,
            strangers: 0,
        }
    }
}

pub fn members(setup: &Setup) -> Members {
    let member = |at: usize| (ServerId(at as i64 + 1), member(at, at >= setup.voters));
    Members {
        servers: (0..setup.voters + setup.observers).map(member).collect(),
        ..Members::default()
    }
}

/// What a server's own file says at first: a stranger adds itself to the others, and hopes to be let in.
pub fn members_at(setup: &Setup, at: usize) -> Members {
    let mut members = members(setup);
    members
        .servers
        .entry(ServerId(at as i64 + 1))
        .or_insert_with(|| member(at, true));
    members
}

/// Where a server is.
pub fn member(at: usize, is_observer: bool) -> Member {
    let address = MemberAddress {
        host: "127.0.0.1".into(),
        quorum_port: 2000 + at as u16,
        election_port: 3000 + at as u16,
    };
    Member {
        addresses: vec![address],
        is_observer,
        client_address: None,
    }
}

impl Setup {
    /// How many servers there are, members or not.
    pub fn servers(&self) -> usize {
        self.voters + self.observers + self.strangers
    }
}

pub fn zab_config(me: ServerId, configs: Configs, setup: &Setup) -> ZabConfig {
    ZabConfig {
        me,
        configs,
        reconfig_enabled: setup.reconfig.is_some(),
        tick_ms: TICK,
        init_limit: 10,
        sync_limit: 5,
        max_epoch_wait_ms: Some(1000),
        force_snapshot: false,
        may_read_log: setup.may_read_log,
        truncates_apache: false,
        sync_asks_quorum: true,
        has_observer_masters: setup.has_observer_masters,
    }
}
