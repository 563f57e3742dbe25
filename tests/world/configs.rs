//! What replicas and their connections are told of their configuration, and where time starts.

use std::sync::Arc;

use zkserver::auth::{AuthConfig, DigestAlg};
use zkserver::client::ClientConfig;
use zkserver::clock::{Millis, Now};
use zkserver::ids::ServerId;
use zkserver::prep::PrepConfig;
use zkserver::replica::ReplicaConfig;

/// What a server allows, and when it takes snapshots.
pub struct Limits {
    pub snap_count: u64,
    pub snap_size_limit: Option<u64>,
    pub outstanding_max: usize,
    pub frame_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            snap_count: 100_000,
            snap_size_limit: None,
            outstanding_max: 1000,
            frame_bytes_max: 4 << 20,
        }
    }
}

fn auth_config() -> AuthConfig {
    AuthConfig {
        super_digest: None,
        digest_enabled: true,
        digest_alg: DigestAlg::Sha1,
        skip_acl: false,
    }
}

/// What a replica is told of its configuration.
pub fn replica_config(server_id: ServerId, limits: &Limits) -> ReplicaConfig {
    ReplicaConfig {
        server_id,
        prep: PrepConfig {
            auth: auth_config(),
            digest_enabled: true,
            extended_types: false,
            record_bytes_max: 8 << 20,
            hash_seed: 1,
        },
        auth: auth_config(),
        snap_count: limits.snap_count,
        snap_size_limit: limits.snap_size_limit,
    }
}

/// What connections are told of it.
pub fn client_config(limits: &Limits) -> Arc<ClientConfig> {
    Arc::new(ClientConfig {
        frame_bytes_max: limits.frame_bytes_max,
        session_timeout_min_ms: 2 * TICK as i32,
        session_timeout_max_ms: 20 * TICK as i32,
        outstanding_max: limits.outstanding_max,
        auth: auth_config(),
    })
}

pub fn now(mono: u64) -> Now {
    Now {
        mono: Millis(mono),
        wall_ms: 1_700_000_000_000 + mono as i64,
    }
}

pub const TICK: u64 = 2000;
/// Where time starts: a multiple of the tick.
pub const START: u64 = 100_000;
