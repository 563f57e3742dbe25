//! What an ensemble is told of itself.

use bytes::Bytes;

use super::configs::TICK;
use zkserver::ids::{ServerId, Zxid};
use zkserver::quorum::members::{Member, MemberAddress, Members};
use zkserver::zab::ZabConfig;

/// What differs from test to test.
pub struct Setup {
    pub voters: usize,
    pub observers: usize,
    pub leader_serves: bool,
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
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            voters: 3,
            observers: 0,
            leader_serves: true,
            may_read_log: true,
            snap_count: 100_000,
            chunk_bytes: 1 << 20,
            is_random: false,
            slowest: [3, 3, 3, 40, 400],
            slowest_disk: [3, 3, 3, 40, 400],
            window: 500,
            base: Zxid::ZERO,
            has_files: false,
            seed: 1,
        }
    }
}

pub fn members(setup: &Setup) -> Members {
    let member = |at: usize| {
        let address = MemberAddress {
            host: "127.0.0.1".into(),
            quorum_port: 2000 + at as u16,
            election_port: 3000 + at as u16,
        };
        let member = Member {
            addresses: vec![address],
            is_observer: at >= setup.voters,
            client_address: None,
        };
        (ServerId(at as i64 + 1), member)
    };
    Members {
        servers: (0..setup.voters + setup.observers).map(member).collect(),
        ..Members::default()
    }
}

pub fn zab_config(me: ServerId, members: &Members, setup: &Setup) -> ZabConfig {
    ZabConfig {
        me,
        verifier: members.verifier(),
        members: members.servers.keys().copied().collect(),
        config_text: Bytes::from(members.to_text()),
        config_version: 0,
        tick_ms: TICK,
        init_limit: 10,
        sync_limit: 5,
        max_epoch_wait_ms: Some(1000),
        force_snapshot: false,
        may_read_log: setup.may_read_log,
        truncates_apache: false,
        sync_asks_quorum: true,
    }
}
