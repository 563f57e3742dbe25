//! What replicas and their connections are told of their configuration, and where time starts.

use std::sync::Arc;

use zkserver::auth::{AuthConfig, DigestAlg};
use zkserver::client::{AdmissionConfig, ClientConfig};
use zkserver::clock::{Millis, Now};
use zkserver::ids::ServerId;
use zkserver::prep::PrepConfig;
use zkserver::quorum::reconfig::Rules;
use zkserver::replica::{ContainerConfig, LocalSessions, ReplicaConfig};

/// Who authenticates with this is the superuser.
pub const SUPERUSER: &str = "super:s";
/// What `DigestAuthenticationProvider.superDigest` says of it.
pub const SUPER_DIGEST: &str = "super:BDYfsKZtexvW+zRgsJ2N0pMNlLY=";

/// What a server allows, and when it takes snapshots.
pub struct Limits {
    pub snap_count: Option<u64>,
    pub snap_size_limit: Option<u64>,
    pub outstanding_max: usize,
    pub frame_bytes_max: usize,
    pub containers: ContainerConfig,
    pub local_sessions: LocalSessions,
    pub read_only_after: Option<Millis>,
    pub admission: AdmissionConfig,
    pub checks_acls_early: bool,
    pub reconfig: Option<Rules>,
    pub skip_acl: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            snap_count: Some(100_000),
            snap_size_limit: None,
            outstanding_max: 1000,
            frame_bytes_max: 4 << 20,
            containers: ContainerConfig::default(),
            local_sessions: LocalSessions::Off,
            read_only_after: None,
            admission: AdmissionConfig::default(),
            checks_acls_early: false,
            reconfig: None,
            skip_acl: false,
        }
    }
}

fn auth_config(limits: &Limits) -> AuthConfig {
    AuthConfig {
        super_digest: Some(SUPER_DIGEST.into()),
        digest_enabled: true,
        digest_alg: DigestAlg::Sha1,
        skip_acl: limits.skip_acl,
    }
}

/// What a replica is told of its configuration.
pub fn replica_config(server_id: ServerId, limits: &Limits) -> ReplicaConfig {
    ReplicaConfig {
        server_id,
        prep: PrepConfig {
            auth: auth_config(limits),
            digest_enabled: true,
            extended_types: true,
            enforce_quota: false,
            record_bytes_max: 8 << 20,
            hash_seed: 1,
        },
        auth: auth_config(limits),
        snap_count: limits.snap_count,
        snap_size_limit: limits.snap_size_limit,
        containers: limits.containers,
        local_sessions: limits.local_sessions,
        read_only_after: limits.read_only_after,
        checks_acls_early: limits.checks_acls_early,
        reconfig: limits.reconfig,
    }
}

/// What connections are told of it.
pub fn client_config(limits: &Limits) -> Arc<ClientConfig> {
    Arc::new(ClientConfig {
        frame_bytes_max: limits.frame_bytes_max,
        session_timeout_min_ms: 2 * TICK as i32,
        session_timeout_max_ms: 20 * TICK as i32,
        outstanding_max: limits.outstanding_max,
        admission: limits.admission.clone(),
        opens_local_sessions: limits.local_sessions != LocalSessions::Off,
        auth: auth_config(limits),
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
