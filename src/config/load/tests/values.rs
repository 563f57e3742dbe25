//! Keys one by one: what they set, what is refused, what is warned about.

use std::path::Path;

use super::{Place, accepted};
use crate::config::problem::Severity;
use crate::config::server_config::{
    FourLetterConfig, LearnerType, LogFormat, ServerConfig, SnapshotCompression,
};

#[test]
fn every_acting_key_sets_its_field() {
    for (line, holds) in FIELDS {
        assert!(holds(&accepted(line)), "{line}");
    }
}

#[test]
fn every_wrong_value_is_refused_with_file_line_key_and_what_is_allowed() {
    for (line, text) in WRONG_VALUES {
        let place = Place::zoo_cfg(line);
        let loaded = place.load();
        assert!(loaded.has_errors());
        assert_eq!(
            place.problems(&loaded, Severity::Error),
            [format!("<dir>/zoo.cfg:3: {text}")],
            "{line}"
        );
    }
}

#[test]
fn warnings_say_what_has_no_effect_or_another_one() {
    for (line, text) in WARNINGS {
        let place = Place::zoo_cfg(line);
        let loaded = place.load();
        assert!(!loaded.has_errors(), "{line}");
        assert_eq!(
            place.problems(&loaded, Severity::Warning),
            [format!("<dir>/zoo.cfg:3: {text}")],
            "{line}"
        );
    }
}

#[test]
fn keys_that_ask_for_nothing_are_silent() {
    for line in [
        "admin.enableServer=false",
        "localSessionsEnabled=false",
        "closeSessionTxn.enabled=true",
        "dataLogDir=./log",
    ] {
        let place = Place::zoo_cfg(line);
        assert_eq!(
            place.problems(&place.load(), Severity::Warning),
            [""; 0],
            "{line}"
        );
    }
}

/// One line and the field that it sets.
type Case = (&'static str, fn(&ServerConfig) -> bool);

static FIELDS: &[Case] = &[
    ("clientPort=2222", |c| c.client_port.port == Some(2222)),
    ("clientPort=0", |c| c.client_port.port == Some(0)),
    ("clientPortAddress=[::1]", |c| {
        c.client_port.host.as_deref() == Some("::1")
    }),
    ("clientPortListenBacklog=7", |c| c.client_port.listen_backlog == 7),
    ("clientPortListenBacklog=-1", |c| {
        c.client_port.listen_backlog == 50
    }),
    ("maxClientCnxns=0", |c| c.client_port.max_client_cnxns == 0),
    ("maxClientCnxns=-1", |c| c.client_port.max_client_cnxns == 0),
    ("maxCnxns=9", |c| c.client_port.max_cnxns == 9),
    ("clientTcpKeepAlive=true", |c| c.client_port.tcp_keep_alive),
    ("nio.sessionlessCnxnTimeout=5", |c| {
        c.client_port.sessionless_cnxn_timeout_ms == 5
    }),
    ("tickTime=2000", |c| {
        c.session.tick_time_ms == 2_000 && c.session.min_session_timeout_ms == 4_000
    }),
    ("tickTime=2000", |c| c.session.max_session_timeout_ms == 40_000),
    ("tickTime=2147483647", |c| {
        c.session.max_session_timeout_ms == i32::MAX as u32
    }),
    ("minSessionTimeout=5", |c| c.session.min_session_timeout_ms == 5),
    ("minSessionTimeout=-1", |c| {
        c.session.min_session_timeout_ms == 6_000
    }),
    ("maxSessionTimeout=90000", |c| {
        c.session.max_session_timeout_ms == 90_000
    }),
    ("jute.maxbuffer=0x400000", |c| {
        c.request.jute_max_buffer == 4_194_304
    }),
    ("jute.maxbuffer=4194304", |c| {
        c.request.jute_max_buffer_extra == 4_194_304
    }),
    ("zookeeper.jute.maxbuffer.extrasize=2000", |c| {
        c.request.jute_max_buffer_extra == 2_000
    }),
    ("jute.maxbuffer.extrasize=1", |c| {
        c.request.jute_max_buffer_extra == 1_024
    }),
    ("globalOutstandingLimit=5", |c| {
        c.request.global_outstanding_limit == 5
    }),
    ("localSessionsEnabled=true", |c| c.session.local_sessions_enabled),
    ("localSessionsUpgradingEnabled=true", |c| {
        c.session.local_sessions_upgrading_enabled
    }),
    ("readonlymode.enabled=true", |c| c.ensemble.read_only_mode_enabled),
    ("extendedTypesEnabled=TRUE", |c| c.request.extended_types_enabled),
    ("tickTime=2000", |c| c.request.extended_types_enabled),
    ("zookeeper.extendedTypesEnabled=false", |c| {
        !c.request.extended_types_enabled
    }),
    ("enforceQuota=true", |c| c.request.enforce_quota),
    ("znode.container.checkIntervalMs=5", |c| {
        c.containers.check_interval_ms == 5
    }),
    ("znode.container.maxPerMinute=7", |c| {
        c.containers.per_minute_max == 7
    }),
    ("znode.container.maxNeverUsedIntervalMs=0x10000000000", |c| {
        c.containers.never_used_max_ms == 1 << 40
    }),
    ("4lw.commands.whitelist=*", |c| {
        c.four_letter == FourLetterConfig::All
    }),
    ("4lw.commands.whitelist=ruok, Cons ,", |c| {
        c.four_letter.allows("cons") && !c.four_letter.allows("stat")
    }),
    ("4lw.commands.whitelist=", |c| {
        c.four_letter.allows("srvr") && !c.four_letter.allows("ruok")
    }),
    ("dataLogDir=/log", |c| {
        c.storage.data_log_dir == Path::new("/log") && c.storage.is_log_dir_separate()
    }),
    ("datadir.autocreate=false", |c| !c.storage.auto_create),
    ("db.autocreate=false", |c| !c.storage.db_auto_create),
    ("snapCount=1", |c| c.storage.snap_count == Some(2)),
    ("snapCount=500", |c| c.storage.snap_count == Some(500)),
    ("snapSizeLimitInKb=2", |c| {
        c.storage.snap_size_limit_bytes == Some(2_048)
    }),
    ("snapSizeLimitInKb=0", |c| {
        c.storage.snap_size_limit_bytes.is_none()
    }),
    ("snapSizeLimitInKb=-1", |c| {
        c.storage.snap_size_limit_bytes.is_none()
    }),
    ("preAllocSize=0", |c| c.storage.pre_alloc_bytes == 0),
    ("preAllocSize=100", |c| c.storage.pre_alloc_bytes == 102_400),
    ("txnLogSizeLimitInKb=1", |c| {
        c.storage.txn_log_size_limit_bytes == Some(1_024)
    }),
    ("forceSync=no", |c| !c.storage.force_sync),
    ("fsync.warningthresholdms=20", |c| {
        c.storage.fsync_warning_threshold_ms == 20
    }),
    ("snapshot.compression.method=gz", |c| {
        c.storage.snapshot_compression == SnapshotCompression::Gzip
    }),
    ("snapshot.compression.method=snappy", |c| {
        c.storage.snapshot_compression == SnapshotCompression::Snappy
    }),
    ("snapshot.compression.method=", |c| {
        c.storage.snapshot_compression == SnapshotCompression::None
    }),
    ("snapshot.trust.empty=true", |c| c.storage.snapshot_trust_empty),
    ("serializeLastProcessedZxid.enabled=false", |c| {
        !c.storage.serialize_last_processed_zxid
    }),
    ("digest.enabled=false", |c| !c.storage.digest_enabled),
    ("commitLogCount=100", |c| c.storage.commit_log_count == 500),
    ("commitLogCount=900", |c| c.storage.commit_log_count == 900),
    ("snapshotSizeFactor=0.5", |c| {
        c.storage.snapshot_size_factor_permille == Some(500)
    }),
    ("snapshotSizeFactor=-1", |c| {
        c.storage.snapshot_size_factor_permille.is_none()
    }),
    ("snapshotSizeFactor=2", |c| {
        c.storage.snapshot_size_factor_permille == Some(330)
    }),
    ("autopurge.snapRetainCount=1", |c| c.purge.snap_retain_count == 3),
    ("autopurge.snapRetainCount=10", |c| {
        c.purge.snap_retain_count == 10
    }),
    ("autopurge.purgeInterval=0", |c| {
        c.purge.purge_interval_hours.is_none()
    }),
    ("autopurge.purgeInterval=24", |c| {
        c.purge.purge_interval_hours == Some(24)
    }),
    ("skipACL=yes", |c| c.auth.skip_acl),
    ("DigestAuthenticationProvider.superDigest=super:x=", |c| {
        c.auth
            .super_digest
            .as_ref()
            .is_some_and(|digest| digest.expose() == "super:x=")
    }),
    ("DigestAuthenticationProvider.enabled=false", |c| {
        !c.auth.digest_enabled
    }),
    ("DigestAuthenticationProvider.digestAlg=sha-1", |c| {
        c.auth == ServerConfig::default().auth
    }),
    ("initLimit=10", |c| c.ensemble.init_limit_ticks == Some(10)),
    ("syncLimit=5", |c| c.ensemble.sync_limit_ticks == Some(5)),
    ("peerType=observer", |c| {
        c.ensemble.peer_type == LearnerType::Observer
    }),
    ("standaloneEnabled=true", |c| c.ensemble.standalone_enabled),
    ("reconfigEnabled=true", |c| c.ensemble.reconfig_enabled),
    ("leaderServes=no", |c| !c.ensemble.leader_serves),
    ("leaderServes=yes", |c| c.ensemble.leader_serves),
    ("cnxTimeout=700", |c| c.ensemble.cnx_timeout_ms == 700),
    ("quorumCnxnTimeoutMs=900", |c| {
        c.ensemble.quorum_cnxn_timeout_ms == Some(900)
    }),
    ("quorumCnxnTimeoutMs=-1", |c| {
        c.ensemble.quorum_cnxn_timeout_ms.is_none()
    }),
    ("electionPortBindRetry=0", |c| {
        c.ensemble.election_port_bind_retry == 0
    }),
    ("electionPortBindRetry=9", |c| {
        c.ensemble.election_port_bind_retry == 9
    }),
    ("fastleader.minNotificationInterval=50", |c| {
        c.ensemble.fle_min_interval_ms == 50 && c.ensemble.fle_max_interval_ms == 60_000
    }),
    ("fastleader.maxNotificationInterval=5000", |c| {
        c.ensemble.fle_max_interval_ms == 5_000 && c.ensemble.fle_min_interval_ms == 200
    }),
    ("fastleader.maxNotificationInterval=5", |c| {
        c.ensemble.fle_max_interval_ms == 200
    }),
    ("leader.maxTimeToWaitForEpoch=40", |c| {
        c.ensemble.max_time_to_wait_for_epoch_ms == Some(40)
    }),
    ("leader.maxTimeToWaitForEpoch=-1", |c| {
        c.ensemble.max_time_to_wait_for_epoch_ms.is_none()
    }),
    ("forceSnapshotSync=true", |c| c.ensemble.force_snapshot_sync),
    ("connectToLearnerMasterLimit=4", |c| {
        c.ensemble.connect_to_learner_master_limit_ticks == Some(4)
    }),
    ("connectToLearnerMasterLimit=0", |c| {
        c.ensemble.connect_to_learner_master_limit_ticks.is_none()
    }),
    ("observerMasterPort=2191", |c| {
        c.ensemble.observer_master_port == Some(2191)
    }),
    ("observerMasterPort=0", |c| {
        c.ensemble.observer_master_port.is_none()
    }),
    ("observerMasterPort=-1", |c| {
        c.ensemble.observer_master_port.is_none()
    }),
    ("observer.reconnectDelayMs=300", |c| {
        c.ensemble.observer_reconnect_delay_ms == 300 && c.ensemble.observer_election_delay_ms == 200
    }),
    ("observer.election.DelayMs=0", |c| {
        c.ensemble.observer_election_delay_ms == 0 && c.ensemble.observer_reconnect_delay_ms == 0
    }),
    ("observer.election.DelayMs=900", |c| {
        c.ensemble.observer_election_delay_ms == 900
    }),
    ("multiAddress.enabled=true", |c| {
        c.ensemble.is_multi_address_enabled
    }),
    ("sync.asksQuorum=false", |c| !c.ensemble.sync_asks_quorum),
    ("sync.asksQuorum=true", |c| c.ensemble.sync_asks_quorum),
    ("truncateApacheLearners=true", |c| c.ensemble.truncates_apache),
    ("recovery.rejoin=false", |c| !c.ensemble.rejoins),
    ("recovery.rejoin=true", |c| c.ensemble.rejoins),
    ("quorumListenOnAllIPs=true", |c| c.ensemble.listen_on_all_ips),
    ("electionAlg=3", |c| {
        c.ensemble == ServerConfig::default().ensemble
    }),
    ("log.level=debug", |c| c.logging.level == "debug"),
    ("log.format=JSON", |c| c.logging.format == LogFormat::Json),
];

const WRONG_VALUES: &[(&str, &str)] = &[
    (
        "clientPort=abc",
        "clientPort: found \"abc\", it must be a whole number from 0 to 65535 (a port)",
    ),
    (
        "clientPort=65536",
        "clientPort: found \"65536\", it must be a whole number from 0 to 65535 (a port)",
    ),
    (
        "clientPort=",
        "clientPort: found \"\", it must be a whole number from 0 to 65535 (a port)",
    ),
    (
        "clientPortAddress=a b",
        "clientPortAddress: found \"a b\", it must be a host name or an address",
    ),
    (
        "tickTime=0",
        "tickTime: found \"0\", it must be a whole number from 1 to 2147483647 (milliseconds)",
    ),
    (
        "tickTime=2s",
        "tickTime: found \"2s\", it must be a whole number from 1 to 2147483647 (milliseconds)",
    ),
    (
        "tickTime=0x10",
        "tickTime: found \"0x10\", it must be a whole number from 1 to 2147483647 (milliseconds)",
    ),
    (
        "globalOutstandingLimit=0",
        "globalOutstandingLimit: found \"0\", it must be a whole number from 1 to 2147483647 (requests)",
    ),
    (
        "reconfigEnabled=yes",
        "reconfigEnabled: found \"yes\", allowed are true and false",
    ),
    (
        "forceSync=false",
        "forceSync: found \"false\", allowed are yes and no",
    ),
    (
        "leaderServes=false",
        "leaderServes: found \"false\", allowed are yes and no",
    ),
    (
        "cnxTimeout=0",
        "cnxTimeout: found \"0\", it must be a whole number from 1 to 2147483647 (milliseconds)",
    ),
    ("skipACL=true", "skipACL: found \"true\", allowed are yes and no"),
    ("electionAlg=2", "electionAlg: found \"2\", only 3 is supported"),
    (
        "peerType=leader",
        "peerType: found \"leader\", allowed are participant and observer",
    ),
    (
        "snapshot.compression.method=zip",
        "snapshot.compression.method: found \"zip\", allowed are gz, snappy and nothing",
    ),
    (
        "snapshotSizeFactor=NaN",
        "snapshotSizeFactor: found \"NaN\", it must be a number from 0 to 1, as in 0.33, or negative for off",
    ),
    (
        "4lw.commands.whitelist=stat ruok",
        "4lw.commands.whitelist: found \"stat ruok\", it must be four-letter words joined by commas, or *",
    ),
    (
        "DigestAuthenticationProvider.superDigest=hunter2",
        "DigestAuthenticationProvider.superDigest: it must have the form user:hash, \
             the hash being base64(SHA1(\"user:password\"))",
    ),
    (
        "DigestAuthenticationProvider.digestAlg=MD5",
        "DigestAuthenticationProvider.digestAlg: found \"MD5\", only SHA1 is supported",
    ),
    (
        "log.format=xml",
        "log.format: found \"xml\", allowed are text and json",
    ),
    ("dataLogDir=", "dataLogDir: found nothing, it must be a path"),
    (
        "server.1=h:2888",
        "server.1: found \"h:2888\", it must be host:quorumPort:electionPort[:participant|:observer]\
             [;[clientHost:]clientPort] (several addresses joined by |, IPv6 addresses in brackets)",
    ),
    (
        "server.x=h:1:2",
        "server.x: the part after the dot must be a whole number, 0 or more",
    ),
    (
        "server.1=a:1:2|b:1:2",
        "server.1: several addresses need multiAddress.enabled=true",
    ),
    (
        "weight.1=-1",
        "weight.1: found \"-1\", it must be a whole number, 0 or more",
    ),
    (
        "sessionRequireClientSASLAuth=true",
        "sessionRequireClientSASLAuth: cannot be honoured yet and must not be ignored: clients that do not \
             authenticate would be served all the same; only false is allowed",
    ),
    (
        "a=\\u12",
        "\\u must be followed by four hexadecimal digits (write \\\\ for a backslash)",
    ),
    (
        "minSessionTimeout=99999",
        "minSessionTimeout must not be larger than maxSessionTimeout: found 99999 and 60000 ms \
             (not set, they are 2 and 20 times tickTime)",
    ),
    (
        "secureClientPortAddress=h",
        "secureClientPortAddress is set but secureClientPort is not set",
    ),
    (
        "standaloneEnabled=false",
        "standaloneEnabled = false then number of participants should be >0: add server.N lines",
    ),
];

const WARNINGS: &[(&str, &str)] = &[
    (
        "fastleader.maxNotificationInterval=5",
        "fastleader.maxNotificationInterval: 5 is less than fastleader.minNotificationInterval, 200 is used",
    ),
    (
        "tickTime=2000 #comment",
        "tickTime: read as \"2000\"; a comment needs a line of its own",
    ),
    (
        "forceSync=yes # safe",
        "forceSync: read as \"yes\"; a comment needs a line of its own",
    ),
    (
        "tickTimes=2000",
        "tickTimes: unknown key, it has no effect; did you mean tickTime?",
    ),
    (
        "foo.bar=1",
        "foo.bar: unknown key, it has no effect; no known key resembles it",
    ),
    (
        "portUnification=true",
        "portUnification: known, has no effect yet",
    ),
    (
        "ssl.keyStore.password=hunter2",
        "ssl.keyStore.password: known, has no effect yet",
    ),
    (
        "nio.numWorkerThreads=4",
        "nio.numWorkerThreads: known, concerns Apache's Java program only and has no effect here",
    ),
    (
        "connectionMaxTokens=4",
        "connectionMaxTokens: has no effect in Apache either, \
         the key that it reads is connection_throttle_tokens",
    ),
    ("snapCount=1", "snapCount: 1 is below the least, 2 is used"),
    (
        "autopurge.snapRetainCount=1",
        "autopurge.snapRetainCount: 1 is below the least, 3 is used",
    ),
    (
        "forceSync=no",
        "forceSync: acknowledged writes can be lost when the power or the system fails",
    ),
    (
        "dataLogDir=/d # x",
        "dataLogDir: the path is \"/d # x\": a comment needs a line of its own",
    ),
    (
        "dataLogDir=log",
        "dataLogDir: \"log\" is relative to the working directory; start it with ./ if that is meant",
    ),
    (
        "dataLogDir=~/log",
        "dataLogDir: the path \"~/log\" is taken literally, ~ and ${..} are not replaced",
    ),
    (
        "jute.maxbuffer=5000000",
        "jute.maxbuffer: takes effect here; \
         Apache reads it only as -Djute.maxbuffer=.. and ignores this line",
    ),
    (
        "clientPort=2182",
        "clientPort: already set at <dir>/zoo.cfg:2, this line counts",
    ),
    (
        "dataLogDir=/d\u{e4}ta",
        "dataLogDir: text beyond ASCII is read as ISO-8859-1, as Java does; \
         write \\uXXXX for such characters",
    ),
    (
        "server.1=h:2888:3888 # one",
        "server.1: read as \"h:2888:3888\"; a comment needs a line of its own",
    ),
];
