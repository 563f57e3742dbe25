//! Tables of variables and of what they make of a configuration.

use std::fs;
use std::path::Path;

use crate::config::env::Environment;
use crate::config::load::{Loaded, load};
use crate::config::server_config::ConfigSource;
use crate::config::{ConfigRequest, Problem, Severity, locate};

fn from_variables(pairs: &[(&str, &str)]) -> Loaded {
    load(&ConfigSource::Variables, &Environment::from_pairs(pairs))
}

fn texts(problems: &[Problem], severity: Severity) -> Vec<String> {
    let chosen = problems.iter().filter(|problem| problem.severity == severity);
    chosen.map(Problem::to_string).collect()
}

/// Variables, and lines that the start log must have among what was taken.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

#[test]
fn what_was_taken_is_said_with_its_source() {
    for (variables, lines) in TAKEN {
        let loaded = from_variables(variables);
        for line in *lines {
            assert!(
                loaded.notes.iter().any(|note| note == line),
                "{variables:?}: {line} is not among {:#?}",
                loaded.notes
            );
        }
        assert_eq!(texts(&loaded.problems, Severity::Error), [""; 0], "{variables:?}");
    }
}

const TAKEN: &[Case] = &[
    (&[("ZOO_DATA_DIR", "/d")], &["dataDir=/d from ZOO_DATA_DIR"]),
    (
        &[("ZOO_DATA_LOG_DIR", "/l")],
        &["dataLogDir=/l from ZOO_DATA_LOG_DIR"],
    ),
    (&[("ZOO_TICK_TIME", "7")], &["tickTime=7 from ZOO_TICK_TIME"]),
    (&[("ZOO_INIT_LIMIT", "7")], &["initLimit=7 from ZOO_INIT_LIMIT"]),
    (&[("ZOO_SYNC_LIMIT", "7")], &["syncLimit=7 from ZOO_SYNC_LIMIT"]),
    (
        &[("ZOO_MAX_SESSION_TIMEOUT", "90000")],
        &["maxSessionTimeout=90000 from ZOO_MAX_SESSION_TIMEOUT"],
    ),
    (
        &[("ZOO_PORT_NUMBER", "2182")],
        &["clientPort=2182 from ZOO_PORT_NUMBER"],
    ),
    (
        &[("ZOO_MAX_CLIENT_CNXNS", "7")],
        &["maxClientCnxns=7 from ZOO_MAX_CLIENT_CNXNS"],
    ),
    (&[("ZOO_MAX_CNXNS", "7")], &["maxCnxns=7 from ZOO_MAX_CNXNS"]),
    (
        &[("ZOO_PRE_ALLOC_SIZE", "7")],
        &["preAllocSize=7 from ZOO_PRE_ALLOC_SIZE"],
    ),
    (&[("ZOO_SNAPCOUNT", "7")], &["snapCount=7 from ZOO_SNAPCOUNT"]),
    (
        &[("ZOO_AUTOPURGE_PURGEINTERVAL", "7")],
        &["autopurge.purgeInterval=7 from ZOO_AUTOPURGE_PURGEINTERVAL"],
    ),
    (
        &[("ZOO_AUTOPURGE_INTERVAL", "7")],
        &["autopurge.purgeInterval=7 from ZOO_AUTOPURGE_INTERVAL"],
    ),
    (
        &[("ZOO_AUTOPURGE_SNAPRETAINCOUNT", "7")],
        &["autopurge.snapRetainCount=7 from ZOO_AUTOPURGE_SNAPRETAINCOUNT"],
    ),
    (
        &[("ZOO_AUTOPURGE_RETAIN_COUNT", "7")],
        &["autopurge.snapRetainCount=7 from ZOO_AUTOPURGE_RETAIN_COUNT"],
    ),
    (
        &[("ZOO_4LW_COMMANDS_WHITELIST", "srvr, mntr")],
        &["4lw.commands.whitelist=srvr, mntr from ZOO_4LW_COMMANDS_WHITELIST"],
    ),
    (
        &[("ZOO_PEER_TYPE", "observer")],
        &["peerType=observer from ZOO_PEER_TYPE"],
    ),
    (
        &[("ZOO_STANDALONE_ENABLED", "true")],
        &["standaloneEnabled=true from ZOO_STANDALONE_ENABLED"],
    ),
    (
        &[("ZOO_RECONFIG_ENABLED", "yes")],
        &["reconfigEnabled=true from ZOO_RECONFIG_ENABLED"],
    ),
    (
        &[("ZOO_LISTEN_ALLIPS_ENABLED", "no")],
        &["quorumListenOnAllIPs=false from ZOO_LISTEN_ALLIPS_ENABLED"],
    ),
    (
        &[("ZOO_ADMINSERVER_ENABLED", "true")],
        &["admin.enableServer=true from ZOO_ADMINSERVER_ENABLED"],
    ),
    (
        &[("ZOO_ENABLE_ADMIN_SERVER", "no")],
        &["admin.enableServer=false from ZOO_ENABLE_ADMIN_SERVER"],
    ),
    (
        &[("ZOO_ENABLE_PROMETHEUS_METRICS", "yes")],
        &[
            "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider \
           from ZOO_ENABLE_PROMETHEUS_METRICS",
        ],
    ),
    (
        &[("ZOO_TLS_CLIENT_ENABLE", "true")],
        &["secureClientPort=3181 from ZOO_TLS_CLIENT_ENABLE"],
    ),
    // Defaults.
    (
        &[("ZOO_MAX_CNXNS", "0")],
        &[
            "tickTime=2000, the default in containers",
            "initLimit=5, the default in containers",
            "syncLimit=2, the default in containers",
            "dataDir=/data, the default in containers",
            "dataLogDir=/datalog, the default in containers",
            "clientPort=2181, the default in containers",
        ],
    ),
    // Lists.
    (
        &[
            (
                "ZOO_SERVERS",
                "server.1=a:2888:3888;2181 server.2=b:2888:3888:observer;2181\nserver.7=c:1:2;2181",
            ),
            ("ZOO_MY_ID", "7"),
        ],
        &[
            "server.1=a:2888:3888;2181 from ZOO_SERVERS",
            "server.2=b:2888:3888:observer;2181 from ZOO_SERVERS",
            "server.7=c:1:2;2181 from ZOO_SERVERS",
            "myid=7 from ZOO_MY_ID",
        ],
    ),
    (
        &[
            ("ZOO_SERVERS", "a:2888:3888,b:2888:3888;c:2888:3888:observer"),
            ("ZOO_SERVER_ID", "2"),
        ],
        &[
            "server.1=a:2888:3888 from ZOO_SERVERS",
            "server.2=b:2888:3888 from ZOO_SERVERS",
            "server.3=c:2888:3888:observer from ZOO_SERVERS",
            "myid=2 from ZOO_SERVER_ID",
            "clientPort=2181, the default in containers",
        ],
    ),
    (
        &[
            ("ZOO_SERVERS", "a:2888:3888::7, [::1]:1:2::9 [fe80::1]:5:6"),
            ("ZOO_MY_ID", "9"),
        ],
        &[
            "server.7=a:2888:3888 from ZOO_SERVERS",
            "server.9=[::1]:1:2 from ZOO_SERVERS",
            "server.3=[fe80::1]:5:6 from ZOO_SERVERS",
        ],
    ),
    (
        &[("SERVERS", "h1,h2,h3"), ("MYID", "3")],
        &[
            "server.1=h1:2888:3888 from SERVERS",
            "server.3=h3:2888:3888 from SERVERS",
            "myid=3 from MYID",
        ],
    ),
    (
        &[("SERVERS", " h1  h2::5 , [::1],"), ("MYID", "3")],
        &[
            "server.1=h1:2888:3888 from SERVERS",
            "server.5=h2:2888:3888 from SERVERS",
            "server.3=[::1]:2888:3888 from SERVERS",
        ],
    ),
    // Ids.
    (
        &[("ZOO_MY_ID", "1"), ("ZOO_SERVER_ID", "2"), ("MYID", "3")],
        &["myid=1 from ZOO_MY_ID"],
    ),
    (
        &[("SERVERS", "10.0.0.1,10.0.0.2"), ("HOSTNAME", "zookeeper-1")],
        &["myid=2 from the host name zookeeper-1"],
    ),
    (
        &[
            ("SERVERS", "zk-0.zk,zk-1.zk"),
            ("HOSTNAME", "x"),
            ("POD_NAME", "zk-0"),
        ],
        &["myid=1 from the host name zk-0"],
    ),
    // Any key.
    (
        &[("ZOO_CFG_EXTRA", "snapCount=9 jute.maxbuffer=4194304")],
        &[
            "snapCount=9 from ZOO_CFG_EXTRA",
            "jute.maxbuffer=4194304 from ZOO_CFG_EXTRA",
        ],
    ),
    (
        &[("ZOO_CFG_autopurge_purgeInterval", "9")],
        &["autopurge.purgeInterval=9 from ZOO_CFG_autopurge_purgeInterval"],
    ),
    (
        &[("ZOO_CFG_throttled_op_wait_time", "9")],
        &["throttled_op_wait_time=9 from ZOO_CFG_throttled_op_wait_time"],
    ),
    (
        &[("ZOO_CFG_EXTRA", "zookeeper.snapCount=9")],
        &["snapCount=9 from ZOO_CFG_EXTRA"],
    ),
    // Secrets.
    (
        &[(
            "ZOO_CFG_DigestAuthenticationProvider_superDigest",
            "super:c2VjcmV0",
        )],
        &["DigestAuthenticationProvider.superDigest=(secret) \
           from ZOO_CFG_DigestAuthenticationProvider_superDigest"],
    ),
    (
        &[("ZOO_CFG_ssl_keyStore_password", "c2VjcmV0")],
        &["ssl.keyStore.password=(secret) from ZOO_CFG_ssl_keyStore_password"],
    ),
];

#[test]
fn nothing_is_assumed_that_was_said() {
    for (variables, absent) in [
        // Whoever moves the data directory has not asked for a log directory.
        (&[("ZOO_DATA_DIR", "/d")][..], "dataLogDir="),
        (&[("ZOO_CFG_EXTRA", "dataDir=/d")], "dataLogDir="),
        (&[("ZOO_CFG_tickTime", "5")], "tickTime=2000"),
        (&[("ZOO_SERVERS", "server.1=a:1:2;2181")], "clientPort="),
        (&[("ZOO_ENABLE_PROMETHEUS_METRICS", "no")], "metricsProvider."),
        (&[("ZOO_TICK_TIME", "")], "from ZOO_TICK_TIME"),
        (&[("ZOO_MAX_CNXNS", "1"), ("HOSTNAME", "zookeeper-0")], "myid="),
    ] {
        let notes = from_variables(variables).notes;
        assert!(
            !notes.iter().any(|note| note.contains(absent)),
            "{variables:?}: {notes:#?}"
        );
    }
}

#[test]
fn the_configuration_is_that_of_the_variables() {
    let loaded = from_variables(&[
        ("ZOO_DATA_DIR", "/d"),
        ("ZOO_DATA_LOG_DIR", "/l"),
        (
            "ZOO_SERVERS",
            "server.1=a:2888:3888;2181 server.2=b:2888:3888;2182 server.3=c:2888:3888;2183",
        ),
        ("ZOO_MY_ID", "2"),
    ]);
    assert_eq!(loaded.problems, []);
    let config = &loaded.config;
    assert_eq!(config.source, ConfigSource::Variables);
    assert_eq!(config.storage.data_dir, Path::new("/d"));
    assert_eq!(config.storage.data_log_dir, Path::new("/l"));
    assert_eq!(config.session.tick_time_ms, 2_000);
    assert_eq!(config.ensemble.servers.len(), 3);
    assert_eq!(config.ensemble.my_id.map(|id| id.0), Some(2));
    assert_eq!(config.client_port.port, Some(2182));
    assert_eq!(config.client_port.host.as_deref(), Some("0.0.0.0"));
    let alone = from_variables(&[("ZOO_MY_ID", "1")]).config;
    assert_eq!(
        (alone.client_port.port, alone.client_port.host),
        (Some(2181), None)
    );
}

#[test]
fn wrong_variables_are_named() {
    for (variables, severity, text) in WRONG {
        let loaded = from_variables(variables);
        let found = texts(&loaded.problems, *severity);
        assert!(
            found.iter().any(|problem| problem.starts_with(text)),
            "{variables:?}: {text} is not among {found:#?}"
        );
    }
}

/// Variables, and how the text of one problem begins.
type WrongCase = (&'static [(&'static str, &'static str)], Severity, &'static str);

const WRONG: &[WrongCase] = &[
    (
        &[("ZOO_TICK_TIME", "2s")],
        Severity::Error,
        "ZOO_TICK_TIME: tickTime: found \"2s\", it must be a whole number",
    ),
    (
        &[("ZOO_RECONFIG_ENABLED", "maybe")],
        Severity::Error,
        "ZOO_RECONFIG_ENABLED: reconfigEnabled: found \"maybe\"",
    ),
    (
        &[("ZOO_MY_ID", "1"), ("ZOO_SERVERS", "a:1,b:1:2")],
        Severity::Error,
        "ZOO_SERVERS: server.1: found \"a:1\", it must be host:quorumPort",
    ),
    (
        &[("ZOO_MY_ID", "1"), ("ZOO_SERVERS", "a:1:2::x,b:1:2,c:1:2")],
        Severity::Error,
        "ZOO_SERVERS: server.x: the part after the dot must be a whole number",
    ),
    (
        &[("ZOO_SERVERS", "server.1=a:1:2;2181 b")],
        Severity::Error,
        "ZOO_SERVERS: found \"b\" among server.N=",
    ),
    (
        &[("SERVERS", "a,b::1,c"), ("MYID", "1")],
        Severity::Error,
        "SERVERS: server.1: server 1 is already at SERVERS",
    ),
    (
        &[("SERVERS", "a,b,c"), ("MYID", "one")],
        Severity::Error,
        "MYID: found \"one\"",
    ),
    (
        &[("SERVERS", "a,b,c"), ("MYID", "4")],
        Severity::Error,
        "SERVERS: My id 4 not in the peer list: MYID says 4, \
         and the server.N lines here have the numbers 1, 2, 3",
    ),
    (
        &[("SERVERS", "a,b,c"), ("HOSTNAME", "3f2a")],
        Severity::Error,
        "myid file is missing",
    ),
    (
        &[("ZOO_CFG_EXTRA", "tickTime=5 x")],
        Severity::Error,
        "ZOO_CFG_EXTRA: found \"x\", it must be key=value",
    ),
    (
        &[("ZOO_ENABLE_AUTH", "yes")],
        Severity::Error,
        "ZOO_ENABLE_AUTH: cannot be honoured yet and must not be ignored",
    ),
    (
        &[("SERVERS", "a,b"), ("MYID", "1")],
        Severity::Warning,
        "SERVERS: No server failure will be tolerated",
    ),
    (
        &[("MYID", "x")],
        Severity::Warning,
        "MYID: found \"x\", the first line must be a number (usually 1 to 255) without any blanks; \
         a standalone server does without",
    ),
    (
        &[("ZOO_TICK_TIME", "5"), ("ZOO_CFG_tickTime", "6")],
        Severity::Warning,
        "ZOO_CFG_tickTime: tickTime: already set at ZOO_TICK_TIME, this variable counts",
    ),
    (
        &[("ZOO_SERVERS", "a"), ("SERVERS", "b")],
        Severity::Warning,
        "SERVERS: has no effect beside ZOO_SERVERS",
    ),
    (
        &[("ZOO_SEVERS", "a")],
        Severity::Warning,
        "ZOO_SEVERS: unknown variable, it has no effect; did you mean ZOO_SERVERS?",
    ),
    (
        &[("ZOO_SOMETHING_ELSE", "a")],
        Severity::Warning,
        "ZOO_SOMETHING_ELSE: unknown variable, it has no effect; no known one",
    ),
    (
        &[("ZOO_CLIENT_PASSWORD", "c2VjcmV0")],
        Severity::Warning,
        "ZOO_CLIENT_PASSWORD: known, has no effect yet",
    ),
    (
        &[("ZOO_CFG_tickTimes", "5")],
        Severity::Warning,
        "ZOO_CFG_tickTimes: tickTimes: unknown key",
    ),
];

#[test]
fn variables_of_other_programs_are_left_alone() {
    let loaded = from_variables(&[
        ("ZOO_DATA_DIR", "/d"),
        ("ZOO_LOG_LEVEL", "debug"),
        ("ZOO_LOG_DIR", "/logs"),
        ("ZOO_HEAP_SIZE", "1024"),
        ("ZOO_CONF_DIR", "/conf"),
        ("ZOO_PORT", "tcp://10.0.0.1:2181"),
        ("ZOO_PORT_2181_TCP_ADDR", "10.0.0.1"),
        ("ZOO_SERVICE_HOST", "10.0.0.1"),
        ("ZOO_SERVICE_PORT_CLIENT", "2181"),
        ("PATH", "/bin"),
        ("ZOOKEEPER_HOME", "/opt"),
    ]);
    assert_eq!(loaded.problems, []);
}

/// A file beside variables: what the warnings say, with `<dir>` for its directory.
fn beside_file(lines: &str, my_id: Option<&str>, variables: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zoo.cfg");
    fs::write(&path, lines.replace("<dir>", &dir.path().display().to_string())).unwrap();
    if let Some(my_id) = my_id {
        fs::write(dir.path().join("myid"), my_id).unwrap();
    }
    let loaded = load(&ConfigSource::File(path), &Environment::from_pairs(variables));
    let problems = loaded.problems.iter();
    problems
        .map(|problem| {
            problem
                .to_string()
                .replace(&dir.path().display().to_string(), "<dir>")
        })
        .collect()
}

#[test]
fn the_file_wins_and_every_variable_that_says_other_is_warned_of() {
    for (lines, my_id, variables, expected) in SHADOWED {
        let found = beside_file(lines, *my_id, variables);
        assert_eq!(found, *expected, "{lines} {my_id:?} {variables:?}");
    }
}

/// Lines of the file, the file myid, variables, and all warnings.
type ShadowedCase = (
    &'static str,
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const PLAIN: &str = "dataDir=<dir>\nclientPort=1\ntickTime=3000";
const LIST: &str = "dataDir=<dir>\nclientPort=1\ninitLimit=1\nsyncLimit=1\nserver.1=a:2888:3888\n\
                    server.2=b:2888:3888\nserver.3=c:2888:3888";
const SHADOWED: &[ShadowedCase] = &[
    (PLAIN, None, &[("ZOO_TICK_TIME", "3000")], &[]),
    (
        PLAIN,
        None,
        &[("ZOO_TICK_TIME", "2000")],
        &["ZOO_TICK_TIME: tickTime=2000 has no effect: <dir>/zoo.cfg:3 counts, which says tickTime=3000"],
    ),
    (
        PLAIN,
        None,
        &[("ZOO_SNAPCOUNT", "7")],
        &["ZOO_SNAPCOUNT: snapCount=7 has no effect: <dir>/zoo.cfg counts, which does not set it"],
    ),
    (
        PLAIN,
        None,
        &[("ZOO_CFG_ssl_keyStore_password", "c2VjcmV0")],
        &[
            "ZOO_CFG_ssl_keyStore_password: ssl.keyStore.password=(secret) has no effect: \
           <dir>/zoo.cfg counts, which does not set it",
        ],
    ),
    (
        PLAIN,
        None,
        &[("ZOO_ENABLE_AUTH", "yes")],
        &["ZOO_ENABLE_AUTH: has no effect: <dir>/zoo.cfg counts, which does not set it"],
    ),
    (
        PLAIN,
        None,
        &[("SERVERS", "a,b")],
        &[
            "SERVERS: server.1=a:2888:3888 server.2=b:2888:3888 has no effect: <dir>/zoo.cfg counts, \
           which says nothing about servers",
        ],
    ),
    (PLAIN, Some("1"), &[("ZOO_MY_ID", "1")], &[]),
    (
        PLAIN,
        Some("1"),
        &[("ZOO_MY_ID", "2")],
        &["ZOO_MY_ID: 2 has no effect: <dir>/myid counts, which says 1"],
    ),
    (LIST, Some("1"), &[("SERVERS", "a,b,c")], &[]),
    (
        LIST,
        Some("1"),
        &[("ZOO_SERVERS", "a:2888:3888:participant,b,c")],
        &[],
    ),
    (
        LIST,
        Some("1"),
        &[("ZOO_SERVERS", "b,a,c")],
        &[
            "ZOO_SERVERS: server.1=b:2888:3888 server.2=a:2888:3888 server.3=c:2888:3888 has no effect: \
           <dir>/zoo.cfg counts, which says server.1=a:2888:3888 server.2=b:2888:3888 \
           server.3=c:2888:3888",
        ],
    ),
    // Without the file myid the other sources count here, too.
    (LIST, None, &[("ZOO_MY_ID", "3")], &[]),
    (LIST, None, &[("HOSTNAME", "b")], &[]),
    (LIST, None, &[("HOSTNAME", "zookeeper-2")], &[]),
];

#[test]
fn values_may_be_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("servers");
    fs::write(&path, "a,b,c\n").unwrap();
    let path = path.display().to_string();
    let digest = dir.path().join("digest");
    fs::write(&digest, "super:x=").unwrap();
    let digest = digest.display().to_string();
    let mut environment = Environment::from_pairs(&[
        ("ZOO_SERVERS_FILE", &path),
        ("ZOO_SERVERS", "x"),
        ("ZOO_CFG_DigestAuthenticationProvider_superDigest_FILE", &digest),
        ("ZOO_MY_ID_FILE", "/no/such/file"),
        ("ZOO_LOG_FILE", "/no/such/log"),
        ("MYID", "1"),
    ]);
    let located = locate(&ConfigRequest::default(), &mut environment, &[]).unwrap();
    assert_eq!(located.source, ConfigSource::Variables);
    let warnings = texts(&located.problems, Severity::Warning);
    assert_eq!(
        warnings,
        ["ZOO_SERVERS_FILE: counts; ZOO_SERVERS is set besides, and has no effect"]
    );
    let errors = texts(&located.problems, Severity::Error);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("ZOO_MY_ID_FILE: /no/such/file cannot be read: "));
    let loaded = load(&located.source, &environment);
    assert_eq!(texts(&loaded.problems, Severity::Error), [""; 0]);
    for note in [
        "server.2=b:2888:3888 from ZOO_SERVERS_FILE",
        "DigestAuthenticationProvider.superDigest=(secret) \
         from ZOO_CFG_DigestAuthenticationProvider_superDigest_FILE",
        "myid=1 from MYID",
    ] {
        assert!(
            loaded.notes.iter().any(|found| found == note),
            "{note}: {:#?}",
            loaded.notes
        );
    }
}
