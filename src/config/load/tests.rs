use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{ClientPortPlace, Loaded, load};
use crate::config::env::Environment;
use crate::config::problem::Severity;
use crate::config::server_config::{
    ConfigSource, FourLetterConfig, LearnerType, LogFormat, ServerConfig, SnapshotCompression,
};
use crate::ids::ServerId;

/// A directory with a configuration file in it.
struct Place {
    dir: TempDir,
    name: &'static str,
}

impl Place {
    fn new(name: &'static str, text: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), text).unwrap();
        Place { dir, name }
    }

    /// A `zoo.cfg` with a data directory and a client port as its first two lines.
    fn zoo_cfg(lines: &str) -> Place {
        Place::new("zoo.cfg", &format!("dataDir=/zk\nclientPort=2181\n{lines}"))
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    fn load(&self) -> Loaded {
        self.load_with(&[])
    }

    fn load_with(&self, variables: &[(&str, &str)]) -> Loaded {
        load(
            &ConfigSource::File(self.path()),
            &Environment::from_pairs(variables),
        )
    }

    /// Texts of the problems, with `<dir>` for the directory.
    fn problems(&self, loaded: &Loaded, severity: Severity) -> Vec<String> {
        let dir = self.dir.path().display().to_string();
        let chosen = loaded
            .problems
            .iter()
            .filter(|problem| problem.severity == severity);
        chosen
            .map(|problem| problem.to_string().replace(&dir, "<dir>"))
            .collect()
    }
}

#[track_caller]
fn accepted(lines: &str) -> ServerConfig {
    let place = Place::zoo_cfg(lines);
    let loaded = place.load();
    assert_eq!(place.problems(&loaded, Severity::Error), [""; 0], "{lines}");
    loaded.config
}

#[test]
fn nothing_named_and_nothing_found_is_the_default() {
    let loaded = load(&ConfigSource::BuiltIn, &Environment::from_pairs(&[]));
    assert_eq!(loaded.config, ServerConfig::default());
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.client_port_place, ClientPortPlace::Key);
    assert_eq!(loaded.config.client_port.port, Some(2181));
    assert_eq!(loaded.config.client_port.host.as_deref(), Some("127.0.0.1"));
    assert_eq!(loaded.config.storage.data_dir, Path::new("./data"));
}

#[test]
fn a_minimal_file_takes_the_defaults_and_listens_everywhere() {
    let config = accepted("");
    let mut expected = ServerConfig {
        source: config.source.clone(),
        ..ServerConfig::default()
    };
    expected.client_port.host = None;
    expected.storage.data_dir = PathBuf::from("/zk");
    expected.storage.data_log_dir = PathBuf::from("/zk");
    assert_eq!(config, expected);
}

/// One line and the field that it sets.
type Case = (&'static str, fn(&ServerConfig) -> bool);

#[test]
fn every_acting_key_sets_its_field() {
    let table: &[Case] = &[
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
        ("extendedTypesEnabled=TRUE", |c| c.request.extended_types_enabled),
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
        ("snapCount=1", |c| c.storage.snap_count == 2),
        ("snapCount=500", |c| c.storage.snap_count == 500),
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
        ("quorumListenOnAllIPs=true", |c| c.ensemble.listen_on_all_ips),
        ("electionAlg=3", |c| {
            c.ensemble == ServerConfig::default().ensemble
        }),
        ("log.level=debug", |c| c.logging.level == "debug"),
        ("log.format=JSON", |c| c.logging.format == LogFormat::Json),
    ];
    for (line, holds) in table {
        assert!(holds(&accepted(line)), "{line}");
    }
}

#[test]
fn every_wrong_value_is_refused_with_file_line_key_and_what_is_allowed() {
    for (line, text) in [
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
            "enforce.auth.enabled=true",
            "enforce.auth.enabled: cannot be honoured yet and must not be ignored: clients that do not \
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
    ] {
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
    for (line, text) in [
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
            "localSessionsEnabled=true",
            "localSessionsEnabled: known, has no effect yet",
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
            "connectionMaxTokens: has no effect in Apache either, the key that it reads is connection_throttle_tokens",
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
            "jute.maxbuffer: takes effect here; Apache reads it only as -Djute.maxbuffer=.. and ignores this line",
        ),
        (
            "clientPort=2182",
            "clientPort: already set at <dir>/zoo.cfg:2, this line counts",
        ),
        (
            "dataLogDir=/d\u{e4}ta",
            "dataLogDir: text beyond ASCII is read as ISO-8859-1, as Java does; write \\uXXXX for such characters",
        ),
        (
            "server.1=h:2888:3888 # one",
            "server.1: read as \"h:2888:3888\"; a comment needs a line of its own",
        ),
    ] {
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
        "leaderServes=yes",
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

#[test]
fn all_errors_come_at_once() {
    let place = Place::new(
        "zoo.cfg",
        "tickTime=x\nclientPortAddress=h\nforceSync=1\nserver.1=h\n",
    );
    let errors = place.problems(&place.load(), Severity::Error);
    let places: Vec<_> = errors
        .iter()
        .map(|error| error.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(
        places,
        [
            "<dir>/zoo.cfg:1:",
            "<dir>/zoo.cfg:3:",
            "<dir>/zoo.cfg:",
            "<dir>/zoo.cfg:4:",
            "<dir>/zoo.cfg:2:"
        ]
    );
    assert!(errors[2].contains("dataDir is not set"), "{errors:?}");
    assert!(
        errors[4].contains("clientPortAddress is set but clientPort is not set"),
        "{errors:?}"
    );
}

#[test]
fn a_wrong_value_is_reported_alone() {
    for text in ["dataDir=\nclientPort=2181", "dataDir=/zk\nclientPort=x"] {
        let place = Place::new("zoo.cfg", text);
        let loaded = place.load();
        assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let loaded = load(
        &ConfigSource::File(PathBuf::from("/nowhere/zoo.cfg")),
        &Environment::from_pairs(&[]),
    );
    assert!(
        loaded.problems[0]
            .to_string()
            .starts_with("/nowhere/zoo.cfg: cannot be read"),
        "{:?}",
        loaded.problems
    );
}

#[test]
fn no_secret_is_shown() {
    let lines = "DigestAuthenticationProvider.superDigest=super:hunter2\nssl.keyStore.password=hunter2\n\
                 SASLAuthenticationProvider.superPassword=hunter2\nxyzPassword=hunter2\nsuperUser=hunter2\n";
    let loaded = Place::zoo_cfg(lines).load();
    assert_eq!(
        loaded
            .config
            .auth
            .super_digest
            .as_ref()
            .map(|secret| secret.expose().as_str()),
        Some("super:hunter2")
    );
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert_eq!(loaded.problems.len(), 4);
}

#[test]
fn java_flags_give_way_to_the_file_but_for_java_properties() {
    let flags = "-Xmx1g -Dzookeeper.snapCount=10 -Dzookeeper.maxCnxns=5 -Djute.maxbuffer=3000 -DsnapCount=99 \
                 -Dzookeeper.tickTime=1 -Dzookeeper.snapCuont=1 -Dfile.encoding=UTF-8";
    let place = Place::zoo_cfg("maxCnxns=6\njute.maxbuffer=2000");
    let loaded = place.load_with(&[
        ("SERVER_JVMFLAGS", flags),
        ("JVMFLAGS", "-Dzookeeper.snapCount=20"),
    ]);
    assert_eq!(loaded.config.storage.snap_count, 20);
    assert_eq!(loaded.config.client_port.max_cnxns, 6);
    assert_eq!(loaded.config.request.jute_max_buffer, 3_000);
    assert_eq!(loaded.config.session.tick_time_ms, 3_000);
    let warnings = place.problems(&loaded, Severity::Warning);
    assert_eq!(
        warnings,
        [
            "SERVER_JVMFLAGS: -Dzookeeper.tickTime: has no effect, tickTime is read from the configuration file only",
            "SERVER_JVMFLAGS: snapCuont: unknown key, it has no effect; did you mean snapCount?",
            "<dir>/zoo.cfg:4: jute.maxbuffer: takes effect here; Apache reads it only as -Djute.maxbuffer=.. \
             and ignores this line",
        ]
    );
}

#[test]
fn the_variable_against_creation_counts() {
    let loaded = Place::zoo_cfg("").load_with(&[("ZOO_DATADIR_AUTOCREATE_DISABLE", "1")]);
    assert!(!loaded.config.storage.auto_create);
}

#[test]
fn a_toml_file_gives_the_same_structure() {
    let text = "dataDir = \"/zk\"\nclientPort = 2181\ntickTime = 2_000\n4lw.commands.whitelist = [\"ruok\", \"cons\"]\n\
                [autopurge]\npurgeInterval = 0\n";
    let place = Place::new("zoo.toml", text);
    let loaded = place.load();
    assert_eq!(loaded.problems, []);
    let properties = "tickTime=2000\n4lw.commands.whitelist=ruok,cons\nautopurge.purgeInterval=0";
    let mut expected = accepted(properties);
    expected.source = ConfigSource::File(place.path());
    assert_eq!(loaded.config, expected);
    let wrong = Place::new(
        "zoo.toml",
        "dataDir = \"/zk\"\nclientPort = 2181\n[nio]\nsessionlessCnxnTimeout = \"x\"",
    );
    let errors = wrong.problems(&wrong.load(), Severity::Error);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("<dir>/zoo.toml:4: nio.sessionlessCnxnTimeout: found \"x\""),
        "{errors:?}"
    );
}

/// A `zoo.cfg` whose data directory is beside it and holds this `myid`.
fn with_my_id(my_id: Option<&str>, lines: &str) -> Place {
    let place = Place::new("zoo.cfg", "");
    let data_dir = place.dir.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    if let Some(my_id) = my_id {
        fs::write(data_dir.join("myid"), my_id).unwrap();
    }
    fs::write(place.path(), format!("dataDir={}\n{lines}", data_dir.display())).unwrap();
    place
}

const ENSEMBLE: &str = "clientPort=2181\ninitLimit=10\nsyncLimit=5\nserver.1=a:2888:3888\nserver.2=b:2888:3888:observer\n\
                        server.3=c:2888:3888;2181\nserver.4=d:2888:3888\n";

#[test]
fn an_ensemble_is_read_in_full() {
    let place = with_my_id(Some("3\n"), ENSEMBLE);
    let loaded = place.load();
    assert_eq!(loaded.problems, []);
    let ensemble = &loaded.config.ensemble;
    assert_eq!(ensemble.my_id, Some(ServerId(3)));
    assert_eq!((ensemble.servers.len(), ensemble.participants_count()), (4, 3));
    assert!(ensemble.is_distributed());
    assert_eq!(loaded.config.client_port.host.as_deref(), Some("0.0.0.0"));
}

#[test]
fn rules_between_members_are_checked() {
    for (my_id, lines, text) in [
        (None, ENSEMBLE, "<dir>/zoo.cfg:1: myid file is missing"),
        (Some("9"), ENSEMBLE, "<dir>/zoo.cfg: My id 9 not in the peer list"),
        (Some("x"), ENSEMBLE, "<dir>/data/myid: found \"x\""),
        (Some(""), ENSEMBLE, "<dir>/data/myid: is empty"),
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=b:1:2\nsyncLimit=1",
            "<dir>/zoo.cfg: initLimit is not set",
        ),
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=b:1:2\ninitLimit=1",
            "<dir>/zoo.cfg: syncLimit is not set",
        ),
        (
            Some("1"),
            "server.1=a:1:2:observer",
            "<dir>/zoo.cfg: observers need an ensemble",
        ),
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=a:1:2:observer",
            "<dir>/zoo.cfg: observers need an ensemble",
        ),
        (
            Some("3"),
            "group.1=1:3\ngroup.2=3:4\n@",
            "<dir>/zoo.cfg:2: server 3 is in more than one group",
        ),
        (
            Some("3"),
            "group.1=1:3:4:5\n@",
            "<dir>/zoo.cfg:2: server 5 is in a group, but there is no line server.5",
        ),
        (
            Some("3"),
            "group.1=1:3\n@",
            "<dir>/zoo.cfg:2: server 4 does not belong to a group",
        ),
        (
            Some("1"),
            "clientPort=1\nserver.1=a:1:2;2",
            "<dir>/zoo.cfg:2: client address for this server",
        ),
        (
            Some("1"),
            "clientPort=2\nclientPortAddress=x\nserver.1=a:1:2;y:2",
            "<dir>/zoo.cfg:2: client address for this server in the configuration file is x:2",
        ),
    ] {
        let place = with_my_id(my_id, &lines.replace('@', ENSEMBLE));
        let errors = place.problems(&place.load(), Severity::Error);
        assert_eq!(errors.len(), 1, "{lines}: {errors:?}");
        assert!(errors[0].starts_with(text), "{lines}: {errors:?}");
    }
}

#[test]
fn doubtful_members_are_warned_about() {
    for (my_id, lines, text) in [
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=b:1:2",
            "No server failure will be tolerated",
        ),
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=b:1:2\nserver.3=b:3:4\nserver.4=b:5:6",
            "consider an odd number",
        ),
        (Some("300"), "", "/data/myid: the id 300 is above 255"),
        (
            Some("not a number"),
            "",
            "a standalone server does without, but Apache does not start on this file",
        ),
        (
            Some("1"),
            "peerType=observer\nserver.1=a:1:2",
            "peerType: differs from the role",
        ),
    ] {
        let place = with_my_id(
            my_id,
            &format!("initLimit=1\nsyncLimit=1\nclientPort=2181\n{lines}"),
        );
        let loaded = place.load();
        assert!(!loaded.has_errors(), "{lines}: {:?}", loaded.problems);
        let warnings = place.problems(&loaded, Severity::Warning);
        assert_eq!(warnings.len(), 1, "{lines}: {warnings:?}");
        assert!(warnings[0].contains(text), "{lines}: {warnings:?}");
    }
}

#[test]
fn the_client_port_may_be_in_the_server_line() {
    for (line, host) in [
        ("server.1=localhost:2888:3888;2181", "0.0.0.0"),
        ("server.1=h:1:2;[::1]:2181", "::1"),
    ] {
        let loaded = with_my_id(Some("1"), line).load();
        assert_eq!(loaded.problems, []);
        assert_eq!(loaded.client_port_place, ClientPortPlace::ServerLine);
        assert_eq!(loaded.config.client_port.port, Some(2181));
        assert_eq!(loaded.config.client_port.host.as_deref(), Some(host));
        assert!(!loaded.config.ensemble.is_distributed());
    }
}

#[test]
fn no_client_port_is_legal_but_warned_about() {
    let place = Place::new("zoo.cfg", "dataDir=/zk");
    let loaded = place.load();
    assert!(!loaded.has_errors());
    assert_eq!(loaded.client_port_place, ClientPortPlace::Missing);
    assert!(place.problems(&loaded, Severity::Warning)[0].contains("clientPort is not set"));
}

#[test]
fn no_plain_port_opens_beside_a_secure_one_unasked() {
    let loaded = Place::new("zoo.cfg", "dataDir=/zk\nclientPort=0\nsecureClientPort=2281").load();
    assert_eq!(loaded.config.client_port.port, None);
    assert_eq!(loaded.config.client_port.secure_port, Some(2281));
}

#[test]
fn members_may_be_in_a_dynamic_file() {
    let place = with_my_id(Some("1"), "");
    let dynamic = place.dir.path().join("zoo.cfg.dynamic.100000000");
    let main =
        fs::read_to_string(place.path()).unwrap() + &format!("dynamicConfigFile={}\n", dynamic.display());
    fs::write(place.path(), &main).unwrap();
    assert!(
        place.problems(&place.load(), Severity::Error)[0]
            .contains("zoo.cfg.dynamic.100000000 file is missing")
    );
    fs::write(&dynamic, "server.1=h:1:2:participant;2181\n").unwrap();
    let loaded = place.load();
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.config.ensemble.version, 0x1_0000_0000);
    assert_eq!(loaded.config.client_port.port, Some(2181));
    fs::write(&dynamic, "server.1=h:1:2:participant;2181\nversion=1\n").unwrap();
    assert!(place.problems(&place.load(), Severity::Error)[0].contains(":2: version: only server.N"));
    fs::write(place.path(), main + "server.1=h:1:2\n").unwrap();
    fs::write(&dynamic, "server.1=h:1:2:participant;2181\n").unwrap();
    let errors = place.problems(&place.load(), Severity::Error);
    assert!(
        errors[0].contains("parameter: server.1 must be in a separate dynamic config file"),
        "{errors:?}"
    );
}

#[test]
fn the_sample_is_without_fault_and_says_the_defaults() {
    let text = include_str!("../../../conf/zoo.cfg");
    let loaded = Place::new("zoo.cfg", text).load();
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.config.four_letter, FourLetterConfig::default());
    assert_eq!(loaded.config.purge, ServerConfig::default().purge);
    // Lines that are commented out are well-formed, too; super:.. has the form of a digest.
    let all = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.contains('=') && !setting.starts_with(' ') => format!("{setting}\n"),
        _ => format!("{line}\n"),
    });
    let loaded = Place::new("zoo.cfg", &all.collect::<String>()).load();
    assert_eq!(loaded.problems.len(), 1, "only jute.maxbuffer is doubtful: {:?}", loaded.problems);
}
