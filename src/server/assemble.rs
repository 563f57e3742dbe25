//! From a configuration to running threads.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle as Task;

use super::client_task::ClientContext;
use super::clock::Clock;
use super::core_thread::{self, CoreHandle, CoreLinks};
use super::four_letter::FourLetterAnswers;
use super::log_thread::{self, LogSetup};
use super::os_disk::OsDisk;
use super::peer_quorum::PeerQuorum;
use super::report::Report;
use super::snapshot_thread::{self, PurgeSchedule};
use super::start_error::StartError;
use super::workers::{AcceptConfig, Workers};
use super::{ensemble, four_letter, listen};
use crate::auth::{AuthConfig, DigestAlg};
use crate::client::ClientConfig;
use crate::client::four_letter::{Conf, Whitelist};
use crate::clock::Millis;
use crate::config::ServerConfig;
use crate::config::server_config::{self, FourLetterConfig, SnapshotCompression};
use crate::ids::ServerId;
use crate::prep::PrepConfig;
use crate::replica::{Replica, ReplicaConfig};
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
    /// Resolves when the core has ended.
    pub core_ended: oneshot::Receiver<()>,
    /// Whether clients are served.
    serving: watch::Receiver<bool>,
    beats: Arc<AtomicU64>,
    shared: Arc<Shared>,
    /// The connections to the other servers; `None` alone.
    pub peers: Option<PeerQuorum>,
    /// The core, the log and the snapshot thread, in the order in which they end.
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
    let clock = Clock::start();
    let seed = random_seed();
    let storage = storage_config(config);
    let lock = data_dir::open(&OsDisk, &storage).map_err(StartError::DataDir)?;
    let listener = listen::client_listener(&config.client_port)?;
    let is_member = config.ensemble.is_distributed();
    let Found {
        mut recovered,
        epochs,
        damage,
    } = find_history(config, &storage, seed, clock)?;
    let is_damaged = damage.is_some();
    let shared = shared_state(config, &mut recovered, damage, seed);
    let (core, inbox) = core_thread::channel();
    let (peers, quorum) = match is_member {
        true => {
            let (peers, quorum) = ensemble::connect(config, &storage, &core, seed).await?;
            (Some(peers), Some(quorum))
        }
        false => (None, None),
    };
    let member = is_member.then(|| ensemble::member_config(config, epochs, recovered, is_damaged));
    let (settings, now) = (replica_config(config, seed), clock.now());
    let replica = match member {
        Some(member) => Replica::member(Arc::clone(&shared), settings, member, now, seed),
        None => Replica::new(Arc::clone(&shared), settings, now, seed),
    };
    let (log, log_thread) = {
        let setup = LogSetup {
            disk: OsDisk,
            config: storage.clone(),
            epochs,
            hash_seed: seed,
            is_damaged,
            warning_threshold_ms: config.storage.fsync_warning_threshold_ms.into(),
        };
        log_thread::spawn(setup, core.clone(), Arc::clone(&shared), clock)?
    };
    let (purge, for_snapshots) = (purge_schedule(config), Arc::clone(&shared));
    let (snapshots, snapshot_thread) =
        snapshot_thread::spawn(OsDisk, storage, purge, core.clone(), for_snapshots, clock)?;
    let (serving_sender, serving) = watch::channel(false);
    let (ended, core_ended) = oneshot::channel();
    let beats = Arc::new(AtomicU64::new(0));
    let links = CoreLinks {
        log,
        snapshots,
        peers,
        serving: serving_sender,
        beats: Arc::clone(&beats),
        _ended: ended,
    };
    let core_thread = core_thread::spawn(replica, inbox, links, clock)?;
    let accept = accept(listener, start_workers(config, &shared, &core, clock)?)?;
    Ok(Running {
        core,
        accept,
        core_ended,
        serving,
        beats,
        shared,
        peers: quorum,
        threads: vec![core_thread, log_thread, snapshot_thread],
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
    let mut found = match recovery::recover(&OsDisk, storage, seed) {
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
    if is_member {
        ensemble::show_members(config, &mut found.recovered.tree, clock.now());
    }
    Ok(found)
}

/// What the threads share, around the tree that was recovered.
fn shared_state(
    config: &ServerConfig,
    recovered: &mut Recovered,
    damage: Option<String>,
    seed: u64,
) -> Arc<Shared> {
    let tick = Millis(u64::from(config.session.tick_time_ms));
    let tree = std::mem::replace(&mut recovered.tree, DataTree::empty(seed));
    let shared = Shared::new(tree, SessionTracker::new(tick, seed), seed);
    let (metrics, report) = (&shared.metrics, &recovered.report);
    metrics.startup_txns_loaded.record(report.txns_replayed);
    metrics.digest_mismatches_count.add(report.digest_mismatches);
    *shared.damage.lock() = damage;
    Arc::new(shared)
}

fn purge_schedule(config: &ServerConfig) -> Option<PurgeSchedule> {
    config.purge.purge_interval_hours.map(|hours| PurgeSchedule {
        interval: Duration::from_secs(3600 * u64::from(hours)),
        retain: config.purge.snap_retain_count as usize,
    })
}

fn accept(listener: Option<TcpListener>, workers: Arc<Workers>) -> io::Result<Task<()>> {
    Ok(match listener {
        Some(listener) => {
            tracing::info!("binding to port {}", listener.local_addr()?);
            tokio::spawn(workers.accept(listener))
        }
        None => {
            tracing::warn!("clientPort is not set: no client is served");
            tokio::spawn(std::future::pending())
        }
    })
}

fn start_workers(
    config: &ServerConfig,
    shared: &Arc<Shared>,
    core: &CoreHandle,
    clock: Clock,
) -> io::Result<Arc<Workers>> {
    let four_letter = FourLetterAnswers {
        whitelist: whitelist(&config.four_letter),
        conf: conf(config),
        dirs: (config.storage.snap_dir(), config.storage.log_dir()),
        shared: Arc::clone(shared),
        clock,
        started: clock.now().mono,
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
        auth: auth_config(&config.auth),
    };
    let accept = AcceptConfig {
        per_address_max: config.client_port.max_client_cnxns,
        total_max: config.client_port.max_cnxns,
        keep_alive: config.client_port.tcp_keep_alive,
    };
    // The core and the log have a thread each.
    let count = available_parallelism()
        .map_or(1, |cores| cores.get().saturating_sub(2))
        .max(1);
    Workers::start(Arc::new(context), Arc::new(client), accept, count)
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
            record_bytes_max,
            hash_seed,
        },
        auth,
        snap_count: u64::from(config.storage.snap_count),
        snap_size_limit: config.storage.snap_size_limit_bytes,
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
    }
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

fn whitelist(config: &FourLetterConfig) -> Whitelist {
    match config {
        FourLetterConfig::All => Whitelist::All,
        FourLetterConfig::Only(words) => Whitelist::new(words.iter().map(String::as_str)),
    }
}

fn conf(config: &ServerConfig) -> Conf {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    Conf {
        client_port: config.client_port.port.map_or(-1, i32::from),
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
        ensemble: four_letter::ensemble_conf(&config.ensemble),
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
    match &report.snapshot {
        Some(snapshot) => tracing::info!(
            "Reading snapshot {} ({} bytes)",
            snapshot.path.display(),
            snapshot.len
        ),
        None => tracing::info!("no snapshot found: starting from an empty database"),
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

/// The id in the top byte of session ids when there is no ensemble, as Apache has it.
const STANDALONE_ID: ServerId = ServerId(1);
