//! From a configuration to running threads.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle as Task;

use super::client_task::ClientContext;
use super::clock::Clock;
use super::core_thread::{self, CoreHandle, CoreLinks};
use super::four_letter::FourLetterAnswers;
use super::in_force::InForce;
use super::loading_disk::LoadingDisk;
use super::log_thread::{self, LogSetup};
use super::os_disk::OsDisk;
use super::peer_quorum::PeerQuorum;
use super::report::Report;
use super::snapshot_thread::{self, PurgeSchedule};
use super::start_error::StartError;
use super::wakes::Wakes;
use super::workers::{AcceptConfig, Workers};
use super::{client_port, ensemble, listen};
use crate::auth::{AuthConfig, DigestAlg};
use crate::client::four_letter::{Conf, Whitelist};
use crate::client::{AdmissionConfig, ClientConfig};
use crate::clock::{Millis, Now};
use crate::config::ServerConfig;
use crate::config::server_config::{self, FourLetterConfig, SnapshotCompression};
use crate::ids::ServerId;
use crate::prep::PrepConfig;
use crate::quorum::reconfig::Rules;
use crate::replica::{ContainerConfig, LocalSessions, Replica, ReplicaConfig};
use crate::session::ConnectionThrottle;
use crate::session::tracker::SessionTracker;
use crate::shared::Shared;
use crate::storage::data_dir::{self, DataDirLock};
use crate::storage::epochs::Epochs;
use crate::storage::recovery::{self, DigestMismatch, Recovered, TornTail};
use crate::storage::{Compression, StorageConfig};
use crate::tree::DataTree;

/// A server that serves.
pub struct Running {
    /// The core.
    pub core: CoreHandle,
    /// The task that accepts connections.
    pub accept: Task<()>,
    /// The core's task.
    pub core_task: Task<()>,
    /// Whether clients are served.
    serving: watch::Receiver<bool>,
    beats: Arc<AtomicU64>,
    shared: Arc<Shared>,
    /// The connections to the other servers; `None` alone.
    pub peers: Option<PeerQuorum>,
    /// The log and the snapshot thread, which end after the core.
    pub threads: Vec<JoinHandle<()>>,
    /// Held until the process ends.
    _lock: DataDirLock<OsDisk>,
}

impl Running {
    /// What a service manager is told from.
    pub fn report(&self) -> Report {
        Report {
            core: self.core.clone(),
            beats: Arc::clone(&self.beats),
            serving: self.serving.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Opens the port and the data directory, recovers, and starts every thread.
pub async fn start(config: &ServerConfig) -> Result<Running, StartError> {
    let (clock, seed) = (Clock::start(), random_seed());
    let storage = storage_config(config);
    let lock = data_dir::open(&OsDisk, &storage).map_err(StartError::DataDir)?;
    let dynamic_files = ensemble::dynamic_files(config)?;
    let listener = listen::client_listener(&config.client_port)?;
    let mut found = find_history(config, &storage, seed, clock)?;
    let (epochs, is_damaged) = (found.epochs, found.damage.is_some());
    let shared = shared_state(config, &mut found, seed, clock.now().mono);
    let (core, inbox) = core_thread::channel();
    let is_member = config.ensemble.is_distributed();
    let (peers, quorum) = match is_member {
        true => Some(ensemble::connect(config, &storage, &core, seed).await?),
        false => None,
    }
    .unzip();
    let replica = replica(config, &shared, found, seed, clock.now());
    let (log, log_thread) = {
        let setup = LogSetup {
            disk: OsDisk,
            config: storage.clone(),
            epochs,
            hash_seed: seed,
            is_damaged,
            dynamic_files,
            warning_threshold_ms: config.storage.fsync_warning_threshold_ms.into(),
        };
        log_thread::spawn(setup, core.clone(), Arc::clone(&shared), clock)?
    };
    let (purge, for_snapshots) = (purge_schedule(config), Arc::clone(&shared));
    let (snapshots, snapshot_thread) =
        snapshot_thread::spawn(OsDisk, storage, purge, core.clone(), for_snapshots, clock)?;
    let (serving_sender, serving) = watch::channel(false);
    let (beats, in_force) = (Arc::new(AtomicU64::new(0)), InForce::new(config));
    let (client_port, port_changes) = client_port::handle(config);
    let wakes = Wakes::new(client_threads());
    let links = CoreLinks {
        log,
        snapshots,
        peers,
        serving: serving_sender,
        client_port,
        in_force: in_force.clone(),
        wakes: Arc::clone(&wakes),
        beats: Arc::clone(&beats),
    };
    let core_task = core_thread::spawn(replica, inbox, links, clock);
    let workers = start_workers(config, &shared, &core, in_force, wakes, clock)?;
    let accept = client_port::accept(listener, workers, port_changes)?;
    Ok(Running {
        core,
        accept,
        core_task,
        serving,
        beats,
        shared,
        peers: quorum,
        threads: vec![log_thread, snapshot_thread],
        _lock: lock,
    })
}

/// What a server begins with.
struct Found {
    recovered: Recovered,
    /// Of a member of an ensemble.
    epochs: Epochs,
    /// Why a member cannot use its logs and snapshots.
    damage: Option<String>,
}

/// Reads the data directory, and says what was found.
fn find_history(
    config: &ServerConfig,
    storage: &StorageConfig,
    seed: u64,
    clock: Clock,
) -> Result<Found, StartError> {
    let is_member = config.ensemble.is_distributed();
    let mut found = match recovery::recover(&LoadingDisk::new(clock), storage, seed) {
        Ok(recovered) => {
            report(&recovered, clock.now().mono);
            let epochs = match is_member {
                true => ensemble::load_epochs(storage, recovered.last_zxid)?,
                false => Epochs::default(),
            };
            Found {
                recovered,
                epochs,
                damage: None,
            }
        }
        Err(error) if is_member && config.ensemble.rejoins && error.is_damage() => Found {
            epochs: ensemble::epochs_beside_damage(config, storage, &error)?,
            recovered: Recovered::nothing(seed),
            damage: Some(error.to_string()),
        },
        Err(error) => return Err(StartError::Recovery(error)),
    };
    use_up_initialize(&config.storage)?;
    if is_member {
        ensemble::show_members(config, &mut found.recovered.tree, clock.now());
    }
    Ok(found)
}

fn replica(config: &ServerConfig, shared: &Arc<Shared>, found: Found, seed: u64, now: Now) -> Replica {
    let (settings, shared) = (replica_config(config, seed), Arc::clone(shared));
    let (txns, bytes) = (
        found.recovered.report.txns_replayed,
        found.recovered.report.bytes_replayed,
    );
    let mut replica = match config.ensemble.is_distributed() {
        true => {
            let is_damaged = found.damage.is_some();
            let member = ensemble::member_config(config, found.epochs, found.recovered, is_damaged);
            Replica::member(shared, settings, member, now, seed)
        }
        false => Replica::new(shared, settings, now, seed),
    };
    replica.count_replayed(txns, bytes);
    replica
}

/// What the threads share, around the tree that was recovered.
fn shared_state(config: &ServerConfig, found: &mut Found, seed: u64, now: Millis) -> Arc<Shared> {
    let recovered = &mut found.recovered;
    let tick = Millis(u64::from(config.session.tick_time_ms));
    let tree = std::mem::replace(&mut recovered.tree, DataTree::empty(seed));
    let shared = Shared::new(tree, SessionTracker::new(tick, seed), seed);
    let (metrics, report) = (&shared.metrics, &recovered.report);
    metrics.startup_txns_loaded.record(report.txns_replayed);
    metrics.digest_mismatches_count.add(report.digest_mismatches);
    shared.damage.lock().clone_from(&found.damage);
    *shared.connection_throttle.lock() = ConnectionThrottle::new(config.throttle.connections, now, seed);
    Arc::new(shared)
}

fn purge_schedule(config: &ServerConfig) -> Option<PurgeSchedule> {
    config.purge.purge_interval_hours.map(|hours| PurgeSchedule {
        interval: Duration::from_secs(3600 * u64::from(hours)),
        retain: config.purge.snap_retain_count as usize,
    })
}

fn start_workers(
    config: &ServerConfig,
    shared: &Arc<Shared>,
    core: &CoreHandle,
    in_force: InForce,
    wakes: Arc<Wakes>,
    clock: Clock,
) -> io::Result<Arc<Workers>> {
    let four_letter = FourLetterAnswers {
        whitelist: whitelist(config),
        conf: conf(config),
        in_force,
        dirs: (config.storage.snap_dir(), config.storage.log_dir()),
        shared: Arc::clone(shared),
        clock,
        started: clock.now().mono,
        has_local_sessions: local_sessions(config) != LocalSessions::Off,
    };
    let context = ClientContext {
        shared: Arc::clone(shared),
        core: core.clone(),
        clock,
        four_letter,
        sessionless_timeout: Duration::from_millis(config.client_port.sessionless_cnxn_timeout_ms.into()),
    };
    let client = ClientConfig {
        frame_bytes_max: config.request.jute_max_buffer,
        session_timeout_min_ms: timeout(config.session.min_session_timeout_ms),
        session_timeout_max_ms: timeout(config.session.max_session_timeout_ms),
        outstanding_max: config.request.global_outstanding_limit as usize,
        admission: admission(config),
        opens_local_sessions: local_sessions(config) != LocalSessions::Off,
        auth: auth_config(&config.auth),
    };
    let accept = AcceptConfig {
        per_address_max: config.client_port.max_client_cnxns,
        total_max: config.client_port.max_cnxns,
        keep_alive: config.client_port.tcp_keep_alive,
    };
    let large = config.request.jute_max_buffer;
    context.shared.large_reply_bytes.store(large, Relaxed);
    Workers::start(Arc::new(context), Arc::new(client), accept, wakes)
}

/// How many threads serve clients. The core and the log have a thread each.
fn client_threads() -> usize {
    available_parallelism()
        .map_or(1, |cores| cores.get().saturating_sub(2))
        .max(1)
}

fn admission(config: &ServerConfig) -> AdmissionConfig {
    let throttle = &config.throttle;
    AdmissionConfig {
        requests_max: throttle.requests_max as usize,
        stall_ms: throttle.stall_ms.into(),
        drops_gone: throttle.drops_stale && throttle.is_gone_stale,
        drops_late: throttle.drops_stale && throttle.is_late_stale,
        wait_max_ms: throttle.wait_max_ms.map(u64::from),
        large_threshold: throttle.large_threshold.map(|bytes| bytes as usize),
        large_bytes_max: throttle.large_bytes_max as usize,
        enforced_schemes: config.auth.enforced_schemes.clone(),
    }
}

fn replica_config(config: &ServerConfig, hash_seed: u64) -> ReplicaConfig {
    let record_bytes_max = record_bytes_max(config);
    let auth = auth_config(&config.auth);
    ReplicaConfig {
        server_id: match config.ensemble.is_distributed() {
            true => ensemble::my_id(&config.ensemble),
            false => STANDALONE_ID,
        },
        prep: PrepConfig {
            auth: auth.clone(),
            digest_enabled: config.storage.digest_enabled,
            extended_types: config.request.extended_types_enabled,
            enforce_quota: config.request.enforce_quota,
            record_bytes_max,
            hash_seed,
        },
        auth,
        snap_count: config.storage.snap_count.map(u64::from),
        snap_size_limit: config.storage.snap_size_limit_bytes,
        containers: ContainerConfig {
            check_interval_ms: config.containers.check_interval_ms.into(),
            per_minute_max: config.containers.per_minute_max,
            never_used_max_ms: config.containers.never_used_max_ms,
        },
        local_sessions: local_sessions(config),
        checks_acls_early: config.throttle.checks_acls_early,
        read_only_after: config.ensemble.read_only_mode_enabled.then(|| {
            let tick = u64::from(config.session.tick_time_ms);
            Millis(tick.max(READ_ONLY_AFTER_MS))
        }),
        reconfig: config.ensemble.reconfig_enabled.then_some(Rules {
            standalone_enabled: config.ensemble.standalone_enabled,
            is_multi_address_enabled: config.ensemble.is_multi_address_enabled,
        }),
    }
}

fn local_sessions(config: &ServerConfig) -> LocalSessions {
    let session = &config.session;
    let is_enabled = session.local_sessions_enabled && config.ensemble.is_distributed();
    match (is_enabled, session.local_sessions_upgrading_enabled) {
        (false, _) => LocalSessions::Off,
        (true, false) => LocalSessions::Kept,
        (true, true) => LocalSessions::Upgraded,
    }
}

/// The storage's view of the configuration.
pub fn storage_config(config: &ServerConfig) -> StorageConfig {
    let storage = &config.storage;
    StorageConfig {
        snap_dir: storage.snap_dir(),
        log_dir: storage.log_dir(),
        prealloc_bytes: storage.pre_alloc_bytes,
        force_sync: storage.force_sync,
        compression: match storage.snapshot_compression {
            SnapshotCompression::None => Compression::None,
            SnapshotCompression::Gzip => Compression::Gzip,
            SnapshotCompression::Snappy => Compression::Snappy,
        },
        trust_empty_snapshot: storage.snapshot_trust_empty,
        digest_enabled: storage.digest_enabled,
        log_size_limit: storage.txn_log_size_limit_bytes,
        record_bytes_max: record_bytes_max(config),
        autocreate: storage.auto_create,
        may_begin_empty: storage.db_auto_create
            || !config.ensemble.is_distributed()
            || initialize_files(storage).iter().any(|file| file.exists()),
    }
}

/// Where zkServer-initialize.sh puts its file, and where Apache's servers look for it.
fn initialize_files(storage: &server_config::StorageConfig) -> [PathBuf; 2] {
    [&storage.data_dir, &storage.data_log_dir].map(|dir| dir.join("initialize"))
}

/// The permission to begin empty is for one start (FileTxnSnapLog.restore).
fn use_up_initialize(storage: &server_config::StorageConfig) -> Result<(), StartError> {
    for file in initialize_files(storage) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StartError::Initialize { file, error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn record_bytes_max(config: &ServerConfig) -> usize {
    config
        .request
        .jute_max_buffer
        .saturating_add(config.request.jute_max_buffer_extra)
        .min(i32::MAX as usize)
}

fn auth_config(config: &server_config::AuthConfig) -> AuthConfig {
    AuthConfig {
        super_digest: config.super_digest.as_ref().map(|digest| digest.expose().clone()),
        digest_enabled: config.digest_enabled,
        digest_alg: match config.digest_alg {
            server_config::DigestAlg::Sha1 => DigestAlg::Sha1,
        },
        skip_acl: config.skip_acl,
    }
}

/// Clients of a server that may be read-only ask whether it is.
fn whitelist(config: &ServerConfig) -> Whitelist {
    let isro = config.ensemble.read_only_mode_enabled.then_some("isro");
    match &config.four_letter {
        FourLetterConfig::All => Whitelist::All,
        FourLetterConfig::Only(words) => Whitelist::new(words.iter().map(String::as_str).chain(isro)),
    }
}

fn conf(config: &ServerConfig) -> Conf {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    Conf {
        // In force, and not as configured.
        client_port: -1,
        secure_client_port: config.client_port.secure_port.map_or(-1, i32::from),
        data_dir: config.storage.snap_dir().display().to_string(),
        data_log_dir: config.storage.log_dir().display().to_string(),
        tick_time: number(config.session.tick_time_ms),
        max_client_cnxns: number(config.client_port.max_client_cnxns),
        min_session_timeout: number(config.session.min_session_timeout_ms),
        max_session_timeout: number(config.session.max_session_timeout_ms),
        // Apache prints -1 for the backlog that it does not choose itself.
        client_port_listen_backlog: match config.client_port.listen_backlog {
            server_config::DEFAULT_LISTEN_BACKLOG => -1,
            backlog => number(backlog),
        },
        server_id: match config.ensemble.is_distributed() {
            true => config.ensemble.my_id.map_or(0, |id| id.0),
            false => 0,
        },
        ensemble: None,
    }
}

fn timeout(ms: u32) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}

/// Says what the data directory held and what was done to it.
fn report(recovered: &Recovered, took: Millis) {
    let report = &recovered.report;
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    if report.snapshot.is_none() {
        tracing::info!("no snapshot found: starting from an empty database");
    }
    if let Some(torn) = &report.torn {
        report_torn(torn);
    }
    for path in &report.removed_logs {
        tracing::info!("removed {}, which held no transaction", path.display());
    }
    if let Some(DigestMismatch {
        zxid,
        expected,
        found,
    }) = report.first_digest_mismatch
    {
        tracing::error!(
            "the digest of the database was not the one written with it {} time(s), first after transaction \
             {zxid}: expected {expected:#x}, found {found:#x}. The database may differ from what was served \
             before: compare it with a backup or another server",
            report.digest_mismatches
        );
    }
    if let Some(snapshot) = &report.snapshot_written {
        tracing::info!("Snapshotting: {} to {}", snapshot.zxid, snapshot.path.display());
    }
    tracing::info!(
        txns = report.txns_replayed,
        znodes = recovered.tree.node_count(),
        took_ms = took.0,
        "database loaded, last transaction {}",
        recovered.last_zxid
    );
}

fn report_torn(torn: &TornTail) {
    let head: String = torn.head.iter().map(|byte| format!("{byte:02x}")).collect();
    tracing::warn!(
        "{} ended in an unfinished write, as a crash leaves it: {} bytes from offset {} on were cut ({}). \
         They began {head}",
        torn.path.display(),
        torn.bytes,
        torn.offset,
        torn.damage
    );
}

/// Differs from run to run, so that nobody outside can choose keys that collide.
fn random_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// The shortest search for a leader before a member serves read-only clients (QuorumPeer).
const READ_ONLY_AFTER_MS: u64 = 2000;
/// The id in the top byte of session ids when there is no ensemble, as Apache has it.
const STANDALONE_ID: ServerId = ServerId(1);
