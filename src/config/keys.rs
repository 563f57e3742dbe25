//! The keys that act: their names, the rule for their values, and the field they set.
//! Invariant: a setter sees only values that its rule allows.

use std::path::PathBuf;

use super::draft::Draft;
use super::dynamic::learner_type;
use super::secret::Secret;
use super::server_config::{DEFAULT_LISTEN_BACKLOG, FourLetterConfig, LogFormat, SnapshotCompression};

/// One key.
pub(super) struct Key {
    /// Its name, without `zookeeper.` in front.
    pub name: &'static str,
    /// Where ZooKeeper looks for it.
    pub place: Place,
    /// What its value may be and do.
    pub rule: Rule,
}

/// Where ZooKeeper looks for a key. All are accepted in the file, so this only decides about `-D` flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Only in `zoo.cfg`.
    File,
    /// In `zoo.cfg`, or as `-Dzookeeper.<key>`.
    Property,
    /// Only as `-D<key>`.
    JavaProperty,
}

/// What a value may be, and what it sets.
pub(super) enum Rule {
    /// A whole number in a range, counted in a unit.
    Int(i64, i64, &'static str, fn(&mut Draft, i64)),
    /// `true` or `false`, in any case.
    Bool(fn(&mut Draft, bool)),
    /// `yes` or `no`.
    YesNo(fn(&mut Draft, bool)),
    /// A word without blanks. The setter's error says what is allowed.
    Word(fn(&mut Draft, &str) -> Result<(), String>),
    /// A path, taken literally.
    Path(fn(&mut Draft, PathBuf)),
    /// A text that is never shown. The setter's error says what is allowed.
    Secret(fn(&mut Draft, &str) -> Result<(), String>),
    /// Known, but nothing here acts on it yet. Silent at this value, which asks for nothing.
    NotYet(&'static str),
    /// As `NotYet`, but ignoring it would leave a door open: any other value stops the start.
    Required(&'static str, &'static str),
    /// Something of the Java virtual machine or of ZooKeeper's threads, without a counterpart here.
    JvmOnly,
    /// A name that is in circulation but that ZooKeeper does not read; this is the one it reads.
    Misnamed(&'static str),
}

const fn file(name: &'static str, rule: Rule) -> Key {
    Key {
        name,
        place: Place::File,
        rule,
    }
}

pub(super) const fn property(name: &'static str, rule: Rule) -> Key {
    Key {
        name,
        place: Place::Property,
        rule,
    }
}

const fn java(name: &'static str, rule: Rule) -> Key {
    Key {
        name,
        place: Place::JavaProperty,
        rule,
    }
}

/// The keys that act.
pub(super) static ACTING_KEYS: &[Key] = &[
    // Client port.
    file(
        "clientPort",
        Rule::Int(0, PORT_MAX, "a port", |d, v| d.client_port = Some(narrow(v))),
    ),
    file(
        "clientPortAddress",
        Rule::Word(|d, v| set_host(&mut d.config.client_port.host, v)),
    ),
    file(
        "secureClientPort",
        Rule::Int(0, PORT_MAX, "a port", |d, v| d.secure_port = Some(narrow(v))),
    ),
    file(
        "secureClientPortAddress",
        Rule::Word(|d, v| set_host(&mut d.config.client_port.secure_host, v)),
    ),
    file(
        "clientPortListenBacklog",
        Rule::Int(-1, INT_MAX, "connections, below 1 = default", |d, v| {
            d.config.client_port.listen_backlog = if v < 1 { DEFAULT_LISTEN_BACKLOG } else { narrow(v) };
        }),
    ),
    file(
        "maxClientCnxns",
        Rule::Int(-1, INT_MAX, NO_LIMIT, |d, v| {
            d.config.client_port.max_client_cnxns = narrow(v.max(0))
        }),
    ),
    property(
        "maxCnxns",
        Rule::Int(-1, INT_MAX, NO_LIMIT, |d, v| {
            d.config.client_port.max_cnxns = narrow(v.max(0))
        }),
    ),
    property(
        "clientTcpKeepAlive",
        Rule::Bool(|d, v| d.config.client_port.tcp_keep_alive = v),
    ),
    property(
        "nio.sessionlessCnxnTimeout",
        Rule::Int(1, INT_MAX, MILLIS, |d, v| {
            d.config.client_port.sessionless_cnxn_timeout_ms = narrow(v)
        }),
    ),
    // Sessions.
    file(
        "tickTime",
        Rule::Int(1, INT_MAX, MILLIS, |d, v| {
            d.config.session.tick_time_ms = narrow(v)
        }),
    ),
    file(
        "minSessionTimeout",
        Rule::Int(-1, INT_MAX, "milliseconds, -1 = 2 ticks", |d, v| {
            d.min_session_timeout_ms = u32::try_from(v).ok()
        }),
    ),
    file(
        "maxSessionTimeout",
        Rule::Int(-1, INT_MAX, "milliseconds, -1 = 20 ticks", |d, v| {
            d.max_session_timeout_ms = u32::try_from(v).ok()
        }),
    ),
    file(
        "localSessionsEnabled",
        Rule::Bool(|d, v| d.config.session.local_sessions_enabled = v),
    ),
    file(
        "localSessionsUpgradingEnabled",
        Rule::Bool(|d, v| d.config.session.local_sessions_upgrading_enabled = v),
    ),
    // Requests.
    java(
        "jute.maxbuffer",
        Rule::Int(1, INT_MAX, BYTES, |d, v| {
            d.config.request.jute_max_buffer = narrow(v)
        }),
    ),
    property(
        "jute.maxbuffer.extrasize",
        Rule::Int(1, INT_MAX, BYTES, |d, v| d.set_extra_size(narrow(v))),
    ),
    property(
        "globalOutstandingLimit",
        Rule::Int(1, INT_MAX, "requests", |d, v| {
            d.config.request.global_outstanding_limit = narrow(v)
        }),
    ),
    property(
        "extendedTypesEnabled",
        Rule::Bool(|d, v| d.extended_types = Some(v)),
    ),
    property(
        "enforceQuota",
        Rule::Bool(|d, v| d.config.request.enforce_quota = v),
    ),
    java(
        "znode.container.checkIntervalMs",
        Rule::Int(1, INT_MAX, MILLIS, |d, v| {
            d.config.containers.check_interval_ms = narrow(v)
        }),
    ),
    java(
        "znode.container.maxPerMinute",
        Rule::Int(1, INT_MAX, "nodes", |d, v| {
            d.config.containers.per_minute_max = narrow(v)
        }),
    ),
    java(
        "znode.container.maxNeverUsedIntervalMs",
        Rule::Int(0, i64::MAX, MILLIS, |d, v| {
            d.config.containers.never_used_max_ms = v
        }),
    ),
    property("4lw.commands.whitelist", Rule::Word(set_four_letter)),
    // Storage.
    file("dataDir", Rule::Path(|d, v| d.data_dir = Some(v))),
    file("dataLogDir", Rule::Path(|d, v| d.data_log_dir = Some(v))),
    property(
        "datadir.autocreate",
        Rule::Bool(|d, v| d.config.storage.auto_create = v),
    ),
    property(
        "db.autocreate",
        Rule::Bool(|d, v| d.config.storage.db_auto_create = v),
    ),
    property(
        "snapCount",
        Rule::Int(INT_MIN, INT_MAX, "transactions", |d, v| d.set_snap_count(v)),
    ),
    property(
        "snapSizeLimitInKb",
        Rule::Int(INT_MIN, KIB_MAX, "KiB, below 1 = off", |d, v| {
            d.config.storage.snap_size_limit_bytes = kib(v)
        }),
    ),
    property(
        "preAllocSize",
        Rule::Int(0, KIB_MAX, "KiB, 0 = off", |d, v| {
            d.config.storage.pre_alloc_bytes = kib(v).unwrap_or(0)
        }),
    ),
    property(
        "txnLogSizeLimitInKb",
        Rule::Int(INT_MIN, KIB_MAX, "KiB, below 1 = off", |d, v| {
            d.config.storage.txn_log_size_limit_bytes = kib(v)
        }),
    ),
    property("forceSync", Rule::YesNo(|d, v| d.set_force_sync(v))),
    property(
        "fsync.warningthresholdms",
        Rule::Int(0, INT_MAX, MILLIS, |d, v| {
            d.config.storage.fsync_warning_threshold_ms = narrow(v)
        }),
    ),
    property("snapshot.compression.method", Rule::Word(set_compression)),
    property(
        "snapshot.trust.empty",
        Rule::Bool(|d, v| d.config.storage.snapshot_trust_empty = v),
    ),
    property(
        "serializeLastProcessedZxid.enabled",
        Rule::Bool(|d, v| d.config.storage.serialize_last_processed_zxid = v),
    ),
    property(
        "digest.enabled",
        Rule::Bool(|d, v| d.config.storage.digest_enabled = v),
    ),
    property(
        "commitLogCount",
        Rule::Int(INT_MIN, INT_MAX, "transactions", |d, v| d.set_commit_log_count(v)),
    ),
    property(
        "snapshotSizeFactor",
        Rule::Word(|d, v| d.set_snapshot_size_factor(v)),
    ),
    file(
        "autopurge.snapRetainCount",
        Rule::Int(INT_MIN, INT_MAX, "snapshots", |d, v| d.set_snap_retain_count(v)),
    ),
    file(
        "autopurge.purgeInterval",
        Rule::Int(INT_MIN, INT_MAX, "hours, below 1 = off", |d, v| {
            d.config.purge.purge_interval_hours = (v > 0).then(|| narrow(v));
        }),
    ),
    // Authentication.
    property("skipACL", Rule::YesNo(|d, v| d.set_skip_acl(v))),
    property(
        "DigestAuthenticationProvider.superDigest",
        Rule::Secret(set_super_digest),
    ),
    property(
        "DigestAuthenticationProvider.enabled",
        Rule::Bool(|d, v| d.config.auth.digest_enabled = v),
    ),
    property(
        "DigestAuthenticationProvider.digestAlg",
        Rule::Word(set_digest_alg),
    ),
    property("enforce.auth.enabled", Rule::Bool(|d, v| d.enforces_auth = v)),
    property(
        "enforce.auth.schemes",
        Rule::Word(|d, v| {
            d.auth_schemes = v.split(',').map(|scheme| scheme.trim().to_owned()).collect();
            Ok(())
        }),
    ),
    // Ensemble.
    file(
        "initLimit",
        Rule::Int(0, INT_MAX, "ticks", |d, v| {
            d.config.ensemble.init_limit_ticks = positive(v)
        }),
    ),
    file(
        "syncLimit",
        Rule::Int(0, INT_MAX, "ticks", |d, v| {
            d.config.ensemble.sync_limit_ticks = positive(v)
        }),
    ),
    file(
        "peerType",
        Rule::Word(|d, v| learner_type(v).map(|role| d.peer_type = Some(role))),
    ),
    file(
        "standaloneEnabled",
        Rule::Bool(|d, v| d.config.ensemble.standalone_enabled = v),
    ),
    file(
        "reconfigEnabled",
        Rule::Bool(|d, v| d.config.ensemble.reconfig_enabled = v),
    ),
    file(
        "quorumListenOnAllIPs",
        Rule::Bool(|d, v| d.config.ensemble.listen_on_all_ips = v),
    ),
    file(
        "dynamicConfigFile",
        Rule::Path(|d, v| d.dynamic_config_file = Some(v)),
    ),
    file(
        "multiAddress.enabled",
        Rule::Bool(|d, v| d.config.ensemble.is_multi_address_enabled = v),
    ),
    file("electionAlg", Rule::Word(set_election_alg)),
    property(
        "leaderServes",
        Rule::YesNo(|d, v| d.config.ensemble.leader_serves = v),
    ),
    property(
        "cnxTimeout",
        Rule::Int(1, INT_MAX, MILLIS, |d, v| {
            d.config.ensemble.cnx_timeout_ms = narrow(v)
        }),
    ),
    property(
        "quorumCnxnTimeoutMs",
        Rule::Int(
            -1,
            INT_MAX,
            "milliseconds, below 1 = syncLimit times tickTime",
            |d, v| d.config.ensemble.quorum_cnxn_timeout_ms = positive(v),
        ),
    ),
    // Connections between servers have it in any case.
    property("tcpKeepAlive", Rule::Bool(|_, _| {})),
    property(
        "electionPortBindRetry",
        Rule::Int(0, INT_MAX, "times, 0 = for ever", |d, v| {
            d.config.ensemble.election_port_bind_retry = narrow(v)
        }),
    ),
    property(
        "fastleader.minNotificationInterval",
        Rule::Int(1, INT_MAX, MILLIS, |d, v| {
            d.config.ensemble.fle_min_interval_ms = narrow(v)
        }),
    ),
    property(
        "fastleader.maxNotificationInterval",
        Rule::Int(1, INT_MAX, MILLIS, |d, v| {
            d.config.ensemble.fle_max_interval_ms = narrow(v)
        }),
    ),
    property(
        "leader.maxTimeToWaitForEpoch",
        Rule::Int(-1, INT_MAX, "milliseconds, below 1 = off", |d, v| {
            d.config.ensemble.max_time_to_wait_for_epoch_ms = positive(v)
        }),
    ),
    property(
        "forceSnapshotSync",
        Rule::Bool(|d, v| d.config.ensemble.force_snapshot_sync = v),
    ),
    file(
        "connectToLearnerMasterLimit",
        Rule::Int(0, INT_MAX, "ticks, 0 = initLimit", |d, v| {
            d.config.ensemble.connect_to_learner_master_limit_ticks = positive(v)
        }),
    ),
    java(
        "readonlymode.enabled",
        Rule::Bool(|d, v| d.config.ensemble.read_only_mode_enabled = v),
    ),
    file(
        "observerMasterPort",
        Rule::Int(INT_MIN, PORT_MAX, "a port, below 1 = off", |d, v| {
            d.config.ensemble.observer_master_port = u16::try_from(v).ok().filter(|port| *port > 0);
        }),
    ),
    property(
        "observer.reconnectDelayMs",
        Rule::Int(INT_MIN, INT_MAX, DELAY, |d, v| {
            d.config.ensemble.observer_reconnect_delay_ms = positive(v).unwrap_or(0);
        }),
    ),
    property(
        "observer.election.DelayMs",
        Rule::Int(INT_MIN, INT_MAX, DELAY, |d, v| {
            d.config.ensemble.observer_election_delay_ms = positive(v).unwrap_or(0);
        }),
    ),
    // Ours.
    property(
        "sync.asksQuorum",
        Rule::Bool(|d, v| d.config.ensemble.sync_asks_quorum = v),
    ),
    property(
        "truncateApacheLearners",
        Rule::Bool(|d, v| d.config.ensemble.truncates_apache = v),
    ),
    property(
        "recovery.rejoin",
        Rule::Bool(|d, v| d.config.ensemble.rejoins = v),
    ),
    property("log.level", Rule::Word(set_log_level)),
    property("log.format", Rule::Word(set_log_format)),
];

fn set_host(field: &mut Option<String>, text: &str) -> Result<(), String> {
    let host = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text);
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(format!("found \"{text}\", it must be a host name or an address"));
    }
    *field = Some(host.to_owned());
    Ok(())
}

fn set_four_letter(draft: &mut Draft, text: &str) -> Result<(), String> {
    if text == "*" {
        draft.config.four_letter = FourLetterConfig::All;
        return Ok(());
    }
    let words: Vec<String> = text
        .split(',')
        .map(|word| word.trim().to_ascii_lowercase())
        .collect();
    match words.iter().find(|word| !word.is_empty() && word.len() != 4) {
        Some(word) => Err(format!(
            "found \"{word}\", it must be four-letter words joined by commas, or *"
        )),
        None => {
            let words = words.into_iter().filter(|word| !word.is_empty()).collect();
            draft.config.four_letter = FourLetterConfig::Only(words);
            Ok(())
        }
    }
}

fn set_compression(draft: &mut Draft, text: &str) -> Result<(), String> {
    draft.config.storage.snapshot_compression = match text {
        "" => SnapshotCompression::None,
        "gz" => SnapshotCompression::Gzip,
        "snappy" => SnapshotCompression::Snappy,
        other => return Err(format!("found \"{other}\", allowed are gz, snappy and nothing")),
    };
    Ok(())
}

/// The hash itself is compared only when a client presents it; a text without the form could never match.
fn set_super_digest(draft: &mut Draft, text: &str) -> Result<(), String> {
    match text.split_once(':') {
        Some((user, hash)) if !user.is_empty() && !hash.is_empty() => {
            draft.config.auth.super_digest = Some(Secret::new(text.to_owned()));
            Ok(())
        }
        _ => {
            Err("it must have the form user:hash, the hash being base64(SHA1(\"user:password\"))".to_owned())
        }
    }
}

fn set_digest_alg(_: &mut Draft, text: &str) -> Result<(), String> {
    if ["SHA1", "SHA-1"]
        .iter()
        .any(|name| text.eq_ignore_ascii_case(name))
    {
        return Ok(());
    }
    Err(format!("found \"{text}\", only SHA1 is supported"))
}

fn set_election_alg(_: &mut Draft, text: &str) -> Result<(), String> {
    if text == "3" {
        Ok(())
    } else {
        Err(format!("found \"{text}\", only 3 is supported"))
    }
}

fn set_log_level(draft: &mut Draft, text: &str) -> Result<(), String> {
    draft.config.logging.level = text.to_owned();
    Ok(())
}

fn set_log_format(draft: &mut Draft, text: &str) -> Result<(), String> {
    draft.config.logging.format = log_format(text)?;
    Ok(())
}

/// `text` or `json`, in any case.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("found \"{text}\", allowed are text and json")),
    }
}

/// To the type of a field. The range of the rule is within that of the field.
pub(super) fn narrow<T: TryFrom<i64>>(value: i64) -> T {
    match T::try_from(value) {
        Ok(value) => value,
        Err(_) => unreachable!("the rule of the key bounds {value}"),
    }
}

fn positive(value: i64) -> Option<u32> {
    (value > 0).then(|| narrow(value))
}

/// KiB to bytes; None = off.
fn kib(value: i64) -> Option<u64> {
    u64::try_from(value)
        .ok()
        .filter(|&kib| kib > 0)
        .map(|kib| kib * 1_024)
}

pub(super) const MILLIS: &str = "milliseconds";
const DELAY: &str = "milliseconds, below 1 = none";
pub(super) const BYTES: &str = "bytes";
const NO_LIMIT: &str = "connections, 0 = no limit";
const PORT_MAX: i64 = u16::MAX as i64;
pub(super) const INT_MIN: i64 = i32::MIN as i64;
pub(super) const INT_MAX: i64 = i32::MAX as i64;
const KIB_MAX: i64 = 1 << 40;
