//! The configuration of one server: plain, typed and already checked.
//!
//! Invariant: a `ServerConfig` that `config::load` returned is complete and consistent.
//! `Default` is the built-in configuration: no file was named and none was found.
//! Key names in the comments are those of `zoo.cfg`. Units are in the names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ids::ServerId;
use crate::limits;
use crate::quorum::members::Members;

use super::secret::Secret;
pub use super::throttle::ThrottleConfig;

/// Everything the server reads from its configuration, by consumer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerConfig {
    /// Where the values came from.
    pub source: ConfigSource,
    /// The plain client listener.
    pub client_port: ClientPortConfig,
    /// Ticks and session timeouts.
    pub session: SessionConfig,
    /// Bounds on requests and what is accepted in them.
    pub request: RequestConfig,
    /// Removal of containers and TTL nodes.
    pub containers: ContainerConfig,
    /// What connections and requests are held to when there are many.
    pub throttle: ThrottleConfig,
    /// Data directories, transaction log and snapshots.
    pub storage: StorageConfig,
    /// Removal of old snapshots and logs.
    pub purge: PurgeConfig,
    /// Authentication and access control.
    pub auth: AuthConfig,
    /// Four-letter words that are answered.
    pub four_letter: FourLetterConfig,
    /// Who is in the ensemble, and how its members talk.
    pub ensemble: EnsembleConfig,
    /// What is logged, and in which form.
    pub logging: LoggingConfig,
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ConfigSource {
    /// No file was named and none was found.
    #[default]
    BuiltIn,
    /// Nor that, but there are the variables of a container.
    Variables,
    /// This file.
    File(PathBuf),
}

/// The plain (not TLS) client listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPortConfig {
    /// `clientPort`: None = no listener; 0 = any free port, which the server logs.
    pub port: Option<u16>,
    /// `clientPortAddress`: host name or address as written, resolved when binding.
    /// None = every interface, IPv4 and IPv6.
    pub host: Option<String>,
    /// `secureClientPort`: the TLS listener, which is not served yet.
    pub secure_port: Option<u16>,
    /// `secureClientPortAddress`, as `host`.
    pub secure_host: Option<String>,
    /// `clientPortListenBacklog`: connections the system queues before accept.
    pub listen_backlog: u32,
    /// `maxClientCnxns`: connections per client address; 0 = no limit.
    pub max_client_cnxns: u32,
    /// `maxCnxns`: connections in all; 0 = no limit.
    pub max_cnxns: u32,
    /// `clientTcpKeepAlive`: SO_KEEPALIVE on client sockets.
    pub tcp_keep_alive: bool,
    /// `nio.sessionlessCnxnTimeout`: a connection without a session is closed after this long.
    pub sessionless_cnxn_timeout_ms: u32,
}

/// Ticks and session timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionConfig {
    /// `tickTime`: the base time unit; sessions expire on its multiples.
    pub tick_time_ms: u32,
    /// `minSessionTimeout`: lower clamp of what a client asks for (default 2 ticks).
    pub min_session_timeout_ms: u32,
    /// `maxSessionTimeout`: upper clamp (default 20 ticks).
    pub max_session_timeout_ms: u32,
    /// `localSessionsEnabled`: a member of an ensemble gives its clients sessions that it keeps to itself.
    pub local_sessions_enabled: bool,
    /// `localSessionsUpgradingEnabled`: such a session becomes global with its first ephemeral.
    pub local_sessions_upgrading_enabled: bool,
}

/// Bounds on requests and packets in bytes and numbers, and what is accepted in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestConfig {
    /// `jute.maxbuffer`: longest request frame, in bytes.
    pub jute_max_buffer: usize,
    /// `jute.maxbuffer.extrasize`: bytes on top of it when log records and snapshots are read.
    pub jute_max_buffer_extra: usize,
    /// `globalOutstandingLimit`: requests queued in the server before it stops reading from sockets.
    pub global_outstanding_limit: u32,
    /// `extendedTypesEnabled`: TTL nodes may be created. On unless the server's id is 255; Apache's default
    /// is off.
    pub extended_types_enabled: bool,
    /// `enforceQuota`: writes over a quota are refused.
    pub enforce_quota: bool,
}

/// Removal of containers and TTL nodes by the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerConfig {
    /// `znode.container.checkIntervalMs`: how often they are looked at.
    pub check_interval_ms: u32,
    /// `znode.container.maxPerMinute`: how many are removed.
    pub per_minute_max: u32,
    /// `znode.container.maxNeverUsedIntervalMs`: how long an empty container waits for its first child;
    /// 0 = for ever.
    pub never_used_max_ms: i64,
}

/// Data directories, transaction log and snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// `dataDir`: snapshots, myid, epochs; the files are in its `version-2`.
    pub data_dir: PathBuf,
    /// `dataLogDir`: transaction logs; equal to `data_dir` when not set.
    pub data_log_dir: PathBuf,
    /// `db.autocreate`: a member that finds no database takes part in elections with an empty one.
    pub db_auto_create: bool,
    /// `datadir.autocreate`: create missing directories; otherwise they must be there.
    pub auto_create: bool,
    /// `snapCount`: transactions between snapshots (half of it plus a random half). At least 2. Without it a
    /// snapshot is due when the log has grown by 1.5 to 2 times what the tree has.
    pub snap_count: Option<u32>,
    /// `snapSizeLimitInKb`, in bytes: log volume between snapshots; None = off.
    pub snap_size_limit_bytes: Option<u64>,
    /// `preAllocSize`, in bytes: the log file grows by this much at once; 0 = off.
    pub pre_alloc_bytes: u64,
    /// `txnLogSizeLimitInKb`, in bytes: a log file is closed past this size; None = off.
    pub txn_log_size_limit_bytes: Option<u64>,
    /// `forceSync`: fsync the log before answering. Off loses acknowledged writes at power failure.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`: a slower fsync is logged.
    pub fsync_warning_threshold_ms: u32,
    /// `snapshot.compression.method`: the form of new snapshots; all forms are read.
    pub snapshot_compression: SnapshotCompression,
    /// `snapshot.trust.empty`: start on logs without any snapshot.
    pub snapshot_trust_empty: bool,
    /// `serializeLastProcessedZxid.enabled`: write the last zxid section of snapshots.
    pub serialize_last_processed_zxid: bool,
    /// `digest.enabled`: write and verify digests of the tree.
    pub digest_enabled: bool,
    /// `commitLogCount`: transactions kept in memory for learners. At least 500.
    pub commit_log_count: u32,
    /// `snapshotSizeFactor`, in thousandths: log bytes read to bring a learner up to date, against the
    /// size of the snapshot; None = never from the log on disk.
    pub snapshot_size_factor_permille: Option<u32>,
}

/// How new snapshots are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotCompression {
    /// As they are.
    #[default]
    None,
    /// Suffix `.gz`.
    Gzip,
    /// Suffix `.snappy`.
    Snappy,
}

/// Removal of old snapshots and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeConfig {
    /// `autopurge.snapRetainCount`: snapshots that stay. At least 3.
    pub snap_retain_count: u32,
    /// `autopurge.purgeInterval`: hours between two purges; None = never.
    pub purge_interval_hours: Option<u32>,
}

/// Authentication and access control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// `skipACL`: no ACL is checked at all.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.superDigest`: `user:base64(hash)` of the super user.
    pub super_digest: Option<Secret<String>>,
    /// `DigestAuthenticationProvider.enabled`: the digest scheme is offered.
    pub digest_enabled: bool,
    /// `DigestAuthenticationProvider.digestAlg`: hash of digest ids.
    pub digest_alg: DigestAlg,
    /// `enforce.auth.schemes`, if `enforce.auth.enabled`: a client has to be known to one. Empty = off.
    pub enforced_schemes: Vec<String>,
}

/// Hash of digest ids. The others that Java knows are refused: no client library computes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DigestAlg {
    /// What every client uses.
    #[default]
    Sha1,
}

/// `4lw.commands.whitelist`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FourLetterConfig {
    /// `*`.
    All,
    /// These words, lower case, as written; `srvr` is always among them.
    Only(Vec<String>),
}

/// Who is in the ensemble, and how its members talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsembleConfig {
    /// Content of the file `myid`, if there is one.
    pub my_id: Option<ServerId>,
    /// `server.N` lines by N.
    pub servers: BTreeMap<ServerId, QuorumServer>,
    /// `group.G` lines: members by group. Empty = majority quorums.
    pub groups: BTreeMap<i64, Vec<ServerId>>,
    /// `weight.N` lines, for hierarchical quorums.
    pub weights: BTreeMap<ServerId, u64>,
    /// Version of the server list: the hex suffix of the file named by `dynamicConfigFile`, else 0.
    pub version: u64,
    /// Whether the list is in a file of its own (`dynamicConfigFile`).
    pub has_dynamic_file: bool,
    /// What was proposed to follow this list, and may be in force elsewhere: the file
    /// `<zoo.cfg>.dynamic.next`.
    pub next: Option<Members>,
    /// `initLimit` in ticks: connect and synchronisation time of a learner.
    pub init_limit_ticks: Option<u32>,
    /// `syncLimit` in ticks: longest silence between learner and leader.
    pub sync_limit_ticks: Option<u32>,
    /// `peerType`; the role in the own `server.N` line wins over it.
    pub peer_type: LearnerType,
    /// `standaloneEnabled`: false runs the quorum protocols with one server too.
    pub standalone_enabled: bool,
    /// `reconfigEnabled`: the members may be changed at run time.
    pub reconfig_enabled: bool,
    /// `quorumListenOnAllIPs`: quorum and election ports listen on every interface.
    pub listen_on_all_ips: bool,
    /// `readonlymode.enabled`: without a leader, clients that only read are served.
    pub read_only_mode_enabled: bool,
    /// `leaderServes`: a leader takes clients too.
    pub leader_serves: bool,
    /// `cnxTimeout`: how long connecting to an election port may take.
    pub cnx_timeout_ms: u32,
    /// `quorumCnxnTimeoutMs`: longest silence on an election connection; None = syncLimit ticks.
    pub quorum_cnxn_timeout_ms: Option<u32>,
    /// `electionPortBindRetry`: how often binding the election port is tried again; 0 = for ever.
    pub election_port_bind_retry: u32,
    /// `fastleader.minNotificationInterval`: the first wait for notifications of an election.
    pub fle_min_interval_ms: u32,
    /// `fastleader.maxNotificationInterval`: the longest wait. At least the first one.
    pub fle_max_interval_ms: u32,
    /// `leader.maxTimeToWaitForEpoch`: a leader without a quorum for its epoch gives up after this long;
    /// None = initLimit ticks.
    pub max_time_to_wait_for_epoch_ms: Option<u32>,
    /// `forceSnapshotSync`: learners are always brought up to date by a snapshot. For tests.
    pub force_snapshot_sync: bool,
    /// `connectToLearnerMasterLimit` in ticks: how long connecting to the leader may take; None = initLimit.
    pub connect_to_learner_master_limit_ticks: Option<u32>,
    /// `observerMasterPort`: followers serve observers there, and observers connect to followers instead of
    /// the leader; None = observers connect to the leader.
    pub observer_master_port: Option<u16>,
    /// `observer.reconnectDelayMs`: an observer waits a random part of it before it connects to the leader,
    /// or before another round of the observer masters; 0 = not.
    pub observer_reconnect_delay_ms: u32,
    /// `observer.election.DelayMs`: an observer that has lost whom it learns from waits a random part of it
    /// before it looks for a leader; 0 = not.
    pub observer_election_delay_ms: u32,
    /// `multiAddress.enabled`: a server may have several addresses, joined by `|`.
    pub is_multi_address_enabled: bool,
    /// `sync.asksQuorum` (our own key): a sync is confirmed by a quorum before it is answered.
    pub sync_asks_quorum: bool,
    /// `truncateApacheLearners` (our own key): learners that are Apache's are told to cut their log, too.
    pub truncates_apache: bool,
    /// `recovery.rejoin` (our own key): a member with damaged logs or snapshots gets a leader's snapshot.
    pub rejoins: bool,
}

/// Role of a server in the ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LearnerType {
    /// Votes.
    #[default]
    Participant,
    /// Follows without voting.
    Observer,
}

/// One `server.N` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumServer {
    /// Quorum and election addresses; more than one with the `|` form.
    pub addresses: Vec<QuorumAddress>,
    /// Its role.
    pub learner_type: LearnerType,
    /// The part after `;`: where its clients connect.
    pub client_address: Option<HostPort>,
}

/// One address of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumAddress {
    /// Host name or address as written, an IPv6 address without its brackets.
    pub host: String,
    /// Port on which the leader serves learners.
    pub quorum_port: u16,
    /// Port of the leader election.
    pub election_port: u16,
}

/// A host name or address as written, and a port. Resolved at use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What is logged, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingConfig {
    /// `log.level` (our own key): a level (`info`), or levels by module (`info,zkserver::storage=debug`).
    pub level: String,
    /// `log.format` (our own key).
    pub format: LogFormat,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl StorageConfig {
    /// Where snapshots and epoch files are: `<dataDir>/version-2`.
    pub fn snap_dir(&self) -> PathBuf {
        self.data_dir.join(VERSION_DIR)
    }

    /// Where transaction logs are: `<dataLogDir>/version-2`.
    pub fn log_dir(&self) -> PathBuf {
        self.data_log_dir.join(VERSION_DIR)
    }

    /// Snapshots and logs are in two different directories.
    pub fn is_log_dir_separate(&self) -> bool {
        self.data_dir != self.data_log_dir
    }
}

impl EnsembleConfig {
    /// Number of servers that vote.
    pub fn participants_count(&self) -> usize {
        self.servers
            .values()
            .filter(|server| server.learner_type == LearnerType::Participant)
            .count()
    }

    /// This configuration asks for the quorum protocols, by ZooKeeper's own rule.
    pub fn is_distributed(&self) -> bool {
        let participants = self.participants_count();
        participants > 1 || (participants == 1 && !self.standalone_enabled)
    }
}

impl FourLetterConfig {
    /// The word is answered. `srvr` always is: `status` depends on it.
    pub fn allows(&self, word: &str) -> bool {
        match self {
            FourLetterConfig::All => true,
            FourLetterConfig::Only(words) => word == "srvr" || words.iter().any(|allowed| allowed == word),
        }
    }
}

impl ConfigSource {
    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ConfigSource::BuiltIn | ConfigSource::Variables => None,
            ConfigSource::File(path) => Some(path),
        }
    }
}

impl Default for ClientPortConfig {
    fn default() -> Self {
        ClientPortConfig {
            port: Some(DEFAULT_CLIENT_PORT),
            host: Some("127.0.0.1".to_owned()),
            secure_port: None,
            secure_host: None,
            listen_backlog: DEFAULT_LISTEN_BACKLOG,
            max_client_cnxns: 60,
            max_cnxns: 0,
            tcp_keep_alive: false,
            sessionless_cnxn_timeout_ms: 10_000,
        }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig {
            tick_time_ms: DEFAULT_TICK_TIME_MS,
            min_session_timeout_ms: 2 * DEFAULT_TICK_TIME_MS,
            max_session_timeout_ms: 20 * DEFAULT_TICK_TIME_MS,
            local_sessions_enabled: false,
            local_sessions_upgrading_enabled: false,
        }
    }
}

impl Default for RequestConfig {
    fn default() -> Self {
        RequestConfig {
            jute_max_buffer: limits::JUTE_MAXBUFFER,
            jute_max_buffer_extra: limits::JUTE_EXTRASIZE,
            global_outstanding_limit: 1_000,
            extended_types_enabled: true,
            enforce_quota: false,
        }
    }
}

impl Default for ContainerConfig {
    fn default() -> Self {
        ContainerConfig {
            check_interval_ms: 60_000,
            per_minute_max: 10_000,
            never_used_max_ms: 0,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig {
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
            data_log_dir: PathBuf::from(DEFAULT_DATA_DIR),
            db_auto_create: true,
            auto_create: true,
            snap_count: None,
            snap_size_limit_bytes: Some(4_194_304 * 1_024),
            pre_alloc_bytes: 65_536 * 1_024,
            txn_log_size_limit_bytes: None,
            force_sync: true,
            fsync_warning_threshold_ms: 1_000,
            snapshot_compression: SnapshotCompression::None,
            snapshot_trust_empty: false,
            serialize_last_processed_zxid: true,
            digest_enabled: true,
            commit_log_count: 500,
            snapshot_size_factor_permille: Some(330),
        }
    }
}

impl Default for PurgeConfig {
    fn default() -> Self {
        PurgeConfig {
            snap_retain_count: 3,
            purge_interval_hours: Some(1),
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        AuthConfig {
            skip_acl: false,
            super_digest: None,
            digest_enabled: true,
            digest_alg: DigestAlg::Sha1,
            enforced_schemes: Vec::new(),
        }
    }
}

impl Default for FourLetterConfig {
    fn default() -> Self {
        let words = ["srvr", "ruok", "stat", "mntr", "conf", "isro"];
        FourLetterConfig::Only(words.map(str::to_owned).to_vec())
    }
}

impl Default for EnsembleConfig {
    fn default() -> Self {
        EnsembleConfig {
            my_id: None,
            servers: BTreeMap::new(),
            groups: BTreeMap::new(),
            weights: BTreeMap::new(),
            version: 0,
            has_dynamic_file: false,
            next: None,
            init_limit_ticks: None,
            sync_limit_ticks: None,
            peer_type: LearnerType::Participant,
            standalone_enabled: true,
            reconfig_enabled: false,
            listen_on_all_ips: false,
            read_only_mode_enabled: false,
            leader_serves: true,
            cnx_timeout_ms: 5_000,
            quorum_cnxn_timeout_ms: None,
            election_port_bind_retry: 3,
            fle_min_interval_ms: 200,
            fle_max_interval_ms: 60_000,
            max_time_to_wait_for_epoch_ms: None,
            force_snapshot_sync: false,
            connect_to_learner_master_limit_ticks: None,
            observer_master_port: None,
            observer_reconnect_delay_ms: 0,
            observer_election_delay_ms: 200,
            is_multi_address_enabled: false,
            sync_asks_quorum: true,
            truncates_apache: false,
            rejoins: true,
        }
    }
}

impl Default for LoggingConfig {
    fn default() -> Self {
        LoggingConfig {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// Client port of the built-in configuration.
pub const DEFAULT_CLIENT_PORT: u16 = 2181;
/// Data directory of the built-in configuration, below the working directory.
pub const DEFAULT_DATA_DIR: &str = "./data";
/// `tickTime` when it is not set.
pub const DEFAULT_TICK_TIME_MS: u32 = 3_000;
/// `clientPortListenBacklog` when it is not set.
pub const DEFAULT_LISTEN_BACKLOG: u32 = 50;
const VERSION_DIR: &str = "version-2";
