use std::cell::Cell;
use std::collections::BTreeSet;

use super::*;

mod roles;

/// A server in the state that the reference server was in when its texts were taken.
struct Sample {
    is_serving: bool,
    damage: Option<&'static str>,
    metrics: Metrics,
    response_size: ResponseSize,
    connections: Vec<Connection>,
    resets: Cell<(u32, u32)>,
    role: RoleStatus,
    ensemble: Option<EnsembleConf>,
    quotas: BTreeMap<String, QuotaTotals>,
    local_sessions: Option<Vec<(i64, Vec<SessionId>)>>,
}

const SESSION: SessionId = SessionId(0x0100_000f_d47f_0076);

fn sample() -> Sample {
    Sample {
        is_serving: true,
        damage: None,
        metrics: Metrics::default(),
        response_size: ResponseSize::default(),
        connections: vec![
            Connection {
                peer: "127.0.0.1:35682".parse().unwrap(),
                interest: 1,
                queued: 0,
                received: 3,
                sent: 3,
                session: Some(SessionStats {
                    session: SESSION,
                    last_op: Some(OpCode::GetData),
                    established: 1_795_224_151_472,
                    timeout_ms: 10_000,
                    last_cxid: Some(0x4d),
                    last_zxid: Zxid(0x1bd),
                    last_response_ms: 1_793_679,
                    latency_ms: [0; 4],
                }),
            },
            Connection {
                peer: "[::1]:55452".parse().unwrap(),
                interest: 1,
                queued: 0,
                received: 0,
                sent: 0,
                session: None,
            },
        ],
        resets: Cell::default(),
        role: RoleStatus::default(),
        ensemble: None,
        quotas: BTreeMap::new(),
        local_sessions: None,
    }
}

impl ServerView for Sample {
    fn is_serving(&self) -> bool {
        self.is_serving
    }

    fn damage(&self) -> Option<String> {
        self.damage.map(Into::into)
    }

    fn environment(&self) -> Vec<(String, String)> {
        vec![
            ("zookeeper.version".into(), "3.9.5".into()),
            ("java.compiler".into(), "<NA>".into()),
        ]
    }

    fn status(&self) -> Status {
        Status {
            version: "3.9.5-0, built on 2026-02-11 20:18 UTC".into(),
            latency_ms: (0, 0.326_17, 7),
            received: 2,
            sent: 1,
            connections_count: 1,
            outstanding: 0,
            zxid: Zxid(0x1f),
            node_count: 5,
        }
    }

    fn role(&self) -> RoleStatus {
        self.role.clone()
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            watch_count: 3,
            uptime_ms: 7508,
            quotas: self.quotas.clone(),
            ..Gauges::default()
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn response_size(&self) -> &ResponseSize {
        &self.response_size
    }

    fn conf(&self) -> Conf {
        Conf {
            client_port: 22101,
            secure_client_port: -1,
            data_dir: "/var/zk/version-2".into(),
            data_log_dir: "/var/log/version-2".into(),
            tick_time: 2000,
            max_client_cnxns: 60,
            min_session_timeout: 4000,
            max_session_timeout: 40_000,
            client_port_listen_backlog: -1,
            server_id: 0,
            ensemble: self.ensemble.clone(),
        }
    }

    fn connections(&self) -> Vec<Connection> {
        self.connections.clone()
    }

    fn session_buckets(&self) -> Vec<(i64, Vec<SessionId>)> {
        vec![(1_795_224_161_000, vec![SESSION])]
    }

    fn local_session_buckets(&self) -> Option<Vec<(i64, Vec<SessionId>)>> {
        self.local_sessions.clone()
    }

    fn global_sessions(&self) -> Vec<(SessionId, i32)> {
        vec![(SessionId(-1), 4000), (SESSION, 30_000)]
    }

    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        vec![(SESSION, vec!["/dd".into()])]
    }

    fn connection_buckets(&self) -> Vec<(i64, Vec<(SocketAddr, SessionId)>)> {
        let bucket = vec![
            (self.connections[0].peer, SESSION),
            ("127.0.0.1:35740".parse().unwrap(), SessionId(0)),
        ];
        vec![(1_795_224_167_000, bucket)]
    }

    fn watch_summary(&self) -> (usize, usize, usize) {
        (1, 2, 3)
    }

    fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)> {
        vec![(SESSION, vec!["/a".into(), "/b".into()])]
    }

    fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)> {
        vec![("/a".into(), vec![SESSION, SessionId(-1)])]
    }

    fn dir_sizes(&self) -> (u64, u64) {
        (478, 67_108_880)
    }

    fn reset_connection_stats(&self) {
        let (conns, server) = self.resets.get();
        self.resets.set((conns + 1, server));
    }

    fn reset_server_stats(&self) {
        let (conns, server) = self.resets.get();
        self.resets.set((conns, server + 1));
    }
}

fn ask(server: &Sample, word: &[u8; 4]) -> String {
    let word = FourLetterWord::from_bytes(*word).unwrap();
    respond(word, &[], &Whitelist::All, server)
}

const FIGURES: &str = "Latency min/avg/max: 0/0.3262/7\nReceived: 2\nSent: 1\nConnections: 1\n\
                       Outstanding: 0\nZxid: 0x1f\nMode: standalone\nNode count: 5\n";
const VERSION: &str = "Zookeeper version: 3.9.5-0, built on 2026-02-11 20:18 UTC\n";

#[test]
fn the_short_words_have_no_newline() {
    let server = sample();
    assert_eq!(ask(&server, b"ruok"), "imok");
    assert_eq!(ask(&server, b"isro"), "rw");
    assert_eq!(ask(&server, b"gtmk"), "306");
    assert_eq!(ask(&server, b"stmk"), "");
    assert_eq!(ask(&server, b"hash"), "");
    assert_eq!(ask(&server, b"\xff\xf4\xff\xfd"), "");
    let mask = [0, 0, 0, 0, 0, 0, 1, 0, b'\n'];
    assert_eq!(
        respond(FourLetterWord::Stmk, &mask, &Whitelist::All, &server),
        "256"
    );
}

#[test]
fn the_server_and_its_clients() {
    let server = sample();
    assert_eq!(ask(&server, b"srvr"), format!("{VERSION}{FIGURES}"));
    let clients = " /127.0.0.1:35682[1](queued=0,recved=3,sent=3)\n \
                   /[0:0:0:0:0:0:0:1]:55452[1](queued=0,recved=0,sent=0)\n";
    assert_eq!(
        ask(&server, b"stat"),
        format!("{VERSION}Clients:\n{clients}\n{FIGURES}")
    );
    let expected = " /127.0.0.1:35682[1](queued=0,recved=3,sent=3,sid=0x100000fd47f0076,lop=GETD,\
                    est=1795224151472,to=10000,lcxid=0x4d,lzxid=0x1bd,lresp=1793679,llat=0,minlat=0,avglat=0,\
                    maxlat=0)\n /[0:0:0:0:0:0:0:1]:55452[1](queued=0,recved=0,sent=0)\n\n";
    assert_eq!(ask(&server, b"cons"), expected);
}

#[test]
fn a_reset_connection_shows_what_it_does_not_know() {
    let mut server = sample();
    let stats = server.connections[0].session.as_mut().unwrap();
    (stats.last_op, stats.last_cxid, stats.last_zxid) = (None, None, Zxid(-1));
    let text = ask(&server, b"cons");
    assert!(text.contains(",lop=NA,est="), "{text}");
    assert!(
        text.contains(",to=10000,lzxid=0xffffffffffffffff,lresp="),
        "{text}"
    );
}

#[test]
fn configuration_directories_and_environment() {
    let server = sample();
    let expected = "clientPort=22101\nsecureClientPort=-1\ndataDir=/var/zk/version-2\ndataDirSize=478\n\
                    dataLogDir=/var/log/version-2\ndataLogSize=67108880\ntickTime=2000\nmaxClientCnxns=60\n\
                    minSessionTimeout=4000\nmaxSessionTimeout=40000\n\
                    clientPortListenBacklog=-1\nserverId=0\n";
    assert_eq!(ask(&server, b"conf"), expected);
    assert_eq!(
        ask(&server, b"dirs"),
        "datadir_size: 478\nlogdir_size: 67108880\n"
    );
    let expected = "Environment:\nzookeeper.version=3.9.5\njava.compiler=<NA>\n";
    assert_eq!(ask(&server, b"envi"), expected);
}

#[test]
fn a_dump_of_all_that_expires() {
    let expected = "SessionTracker dump:\nSession Sets (1)/(1):\n\
                    1 expire at Sat Nov 21 01:22:41 UTC 2026:\n\t0x100000fd47f0076\n\
                    ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x100000fd47f0076:\n\t/dd\n\
                    Connections dump:\nConnections Sets (1)/(2):\n2 expire at Sat Nov 21 01:22:47 UTC 2026:\n\
                    \tip: /127.0.0.1:35682 sessionId: 0x100000fd47f0076\n\
                    \tip: /127.0.0.1:35740 sessionId: 0x0\n";
    assert_eq!(ask(&sample(), b"dump"), expected);
}

#[test]
fn watches_in_three_ways() {
    let server = sample();
    assert_eq!(
        ask(&server, b"wchs"),
        "1 connections watching 2 paths\nTotal watches:3\n"
    );
    assert_eq!(ask(&server, b"wchc"), "0x100000fd47f0076\n\t/a\n\t/b\n\n");
    assert_eq!(
        ask(&server, b"wchp"),
        "/a\n\t0x100000fd47f0076\n\t0xffffffffffffffff\n\n"
    );
}

#[test]
fn resets_reset() {
    let server = sample();
    assert_eq!(ask(&server, b"crst"), "Connection stats reset.\n");
    assert_eq!(server.resets.get(), (1, 0));
    assert_eq!(ask(&server, b"srst"), "Server stats reset.\n");
    assert_eq!(server.resets.get(), (1, 1));
}

#[test]
fn monitoring_finds_every_name_that_it_knows() {
    let server = sample();
    server.metrics.fsynctime.record(3);
    server.metrics.fsynctime.record(4);
    server.metrics.readlatency.record(9);
    let text = ask(&server, b"mntr");
    let names: Vec<&str> = text
        .lines()
        .map(|line| line.split('\t').next().unwrap())
        .collect();
    let expected: BTreeSet<&str> = include_str!("mntr_names.txt").lines().collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(
        names.len(),
        494,
        "as many lines as the reference server prints, none twice"
    );
    assert_eq!(names[..2], ["zk_version", "zk_server_state"]);
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in [
        "zk_version\t3.9.5-0, built on 2026-02-11 20:18 UTC",
        "zk_server_state\tstandalone",
        "zk_avg_latency\t0.3262",
        "zk_avg_fsynctime\t3.5",
        "zk_sum_fsynctime\t7",
        "zk_p99_readlatency\t9",
        "zk_watch_count\t3",
        "zk_uptime\t7508",
        "zk_last_client_response_size\t-1",
        "zk_connection_drop_probability\t0.0",
    ] {
        assert!(lines.contains(line), "{line}");
    }
}

#[test]
fn quotas_are_shown_by_their_first_names() {
    let mut server = sample();
    let limited = QuotaTotals {
        count_limit: Some(7),
        bytes_limit: Some(-1),
        ..QuotaTotals::default()
    };
    let used = QuotaTotals {
        count_used: Some(3),
        bytes_used: Some(10),
        ..QuotaTotals::default()
    };
    server.quotas = [("app".to_owned(), limited), ("a\u{a0}b".to_owned(), used)].into();
    server.metrics.quota_exceeded_error_per_namespace.add("app", 5);
    let text = ask(&server, b"mntr");
    let lines: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.contains("_per_namespace"))
        .collect();
    let expected = [
        "zk_app_quota_count_limit_per_namespace\t7",
        "zk_app_quota_bytes_limit_per_namespace\t-1",
        "zk_a_b_quota_count_usage_per_namespace\t3",
        "zk_a_b_quota_bytes_usage_per_namespace\t10",
        "zk_app_quota_exceeded_error_per_namespace\t5",
    ];
    assert_eq!(lines, expected.into());
}

#[test]
fn while_not_serving_only_the_process_is_shown() {
    let mut server = sample();
    server.is_serving = false;
    for word in FourLetterWord::ALL {
        let expected = match word.name() {
            "ruok" => "imok",
            "gtmk" => "306",
            "stmk" | "telnet close" => "",
            "isro" => "null",
            "hash" => NOT_SERVING,
            "envi" => "Environment:\nzookeeper.version=3.9.5\njava.compiler=<NA>\n",
            _ => "This ZooKeeper instance is not currently serving requests\n",
        };
        assert_eq!(
            respond(*word, &[], &Whitelist::All, &server),
            expected,
            "{word:?}"
        );
    }
    assert_eq!(server.resets.get(), (0, 0));
}

#[test]
fn a_damaged_server_says_what_is_damaged() {
    let mut server = sample();
    (server.is_serving, server.damage) = (false, Some("log.7 is damaged"));
    for word in ["srvr", "mntr", "stat"] {
        let word = FourLetterWord::ALL
            .iter()
            .find(|known| known.name() == word)
            .unwrap();
        assert_eq!(
            respond(*word, &[], &Whitelist::All, &server),
            "This ZooKeeper instance is not currently serving requests\n\
             Damaged, waits for a leader's snapshot: log.7 is damaged\n"
        );
    }
}

#[test]
fn cve_2017_5637_words_off_the_whitelist_say_so() {
    let server = sample();
    let whitelist = Whitelist::new(["ruok, mntr ,nope"]);
    for word in FourLetterWord::ALL {
        let is_allowed = matches!(word.name(), "ruok" | "mntr" | "srvr");
        assert_eq!(whitelist.allows(*word), is_allowed);
        let refusal = format!(
            "{} is not executed because it is not in the whitelist.\n",
            word.name()
        );
        assert_eq!(respond(*word, &[], &whitelist, &server) == refusal, !is_allowed);
    }
    assert_eq!(Whitelist::new([]), Whitelist::Only(vec![FourLetterWord::Srvr]));
    assert_eq!(Whitelist::new(["ruok", "*"]), Whitelist::All);
}

#[test]
fn java_names_of_operations_are_known_for_all() {
    assert_eq!(
        (op_name(OpCode::CreateTtl), op_name(OpCode::GetChildren)),
        ("CREA", "GETC")
    );
    assert_eq!(
        (op_name(OpCode::GetAllChildrenNumber), op_name(OpCode::WhoAmI)),
        ("GETACN", "HOMI")
    );
}
