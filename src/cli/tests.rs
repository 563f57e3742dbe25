use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, ExitCode, Stdio};
use std::thread;

use tempfile::TempDir;

use super::{Environment, Streams, dispatch};
use crate::ids::{SessionId, Zxid};
use crate::proto::acl::{Acl, RawAcls};
use crate::proto::txn::{self, CreateKind, CreateTxn, Txn, TxnHeader};
use crate::server::os_disk::OsDisk;
use crate::storage::log_writer::LogWriter;
use crate::storage::{Compression, StorageConfig, data_dir, recovery};

mod member;
mod status_all;

/// A configuration directory with a data directory beside it.
struct Place {
    dir: TempDir,
}

/// What a command wrote and returned.
struct Outcome {
    code: ExitCode,
    out: String,
    err: String,
}

impl Place {
    fn new(lines: &str) -> Place {
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.data_dir()).unwrap();
        place.write_config(&format!("dataDir={}\n{lines}", place.data_dir().display()));
        place
    }

    fn write_config(&self, text: &str) {
        fs::write(self.dir.path().join("zoo.cfg"), text).unwrap();
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data_dir().join("zookeeper_server.pid")
    }

    fn run(&self, words: &[&str]) -> Outcome {
        self.run_with(words, &[])
    }

    fn run_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let dir = self.dir.path().display().to_string();
        let words = ["zkserver", "--config", &dir]
            .into_iter()
            .chain(words.iter().copied());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let streams = &mut Streams {
            out: &mut out,
            err: &mut err,
        };
        let code = dispatch(words.map(Into::into), Environment::from_pairs(variables), streams).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&dir, "<dir>");
        Outcome {
            code,
            out: text(out),
            err: text(err),
        }
    }
}

/// A process that passes for a server by its command line; ended when dropped.
struct Dummy(Child);

impl Dummy {
    fn start(name: &str) -> Dummy {
        let mut process = Process::new("sh");
        process
            .args(["-c", "echo ready; read line", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = process.spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        Dummy(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Dummy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn wrong_arguments_print_the_usage() {
    let outcome = Place::new("").run(&["begin"]);
    assert_eq!(outcome.code, ExitCode::from(2));
    assert!(
        outcome
            .err
            .starts_with("Usage: zkserver [--config <conf-dir>] {start|start-foreground|")
    );
    assert_eq!(outcome.out, "");
}

#[test]
fn version_names_the_compatible_release() {
    let outcome = Place::new("").run(&["version"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS);
    assert!(outcome.out.contains("ZooKeeper, version 3.9."), "{}", outcome.out);
    assert_eq!(outcome.out.lines().count(), 1);
}

#[test]
fn a_missing_configuration_is_exit_code_2() {
    let outcome = Place::new("").run(&["start-foreground", "none.cfg"]);
    assert_eq!(outcome.code, ExitCode::from(2));
    assert!(
        outcome.err.starts_with("error: <dir>/none.cfg file is missing"),
        "{}",
        outcome.err
    );
    assert!(
        outcome.err.ends_with("Invalid config, exiting abnormally\n"),
        "{}",
        outcome.err
    );
}

#[test]
fn all_configuration_errors_are_printed_and_nothing_starts() {
    let outcome = Place::new("tickTime=x\nforceSync=maybe\nfoo=1\n").run(&["start-foreground"]);
    assert_eq!(outcome.code, ExitCode::from(2));
    let lines: Vec<_> = outcome.err.lines().collect();
    assert_eq!(lines[0], "Using config: <dir>/zoo.cfg");
    assert!(
        lines[1].starts_with("error: <dir>/zoo.cfg:2: tickTime: found \"x\""),
        "{}",
        outcome.err
    );
    assert!(
        lines[2].starts_with("error: <dir>/zoo.cfg:3: forceSync: found \"maybe\""),
        "{}",
        outcome.err
    );
    assert!(
        outcome.err.contains("warning: <dir>/zoo.cfg:4: foo: unknown key"),
        "{}",
        outcome.err
    );
    assert_eq!(lines.last(), Some(&"Invalid config, exiting abnormally"));
}

#[test]
fn a_myid_that_the_list_lacks_is_refused_in_one_clear_line() {
    let lines = "initLimit=1\nsyncLimit=1\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
    let place = Place::new(lines);
    fs::write(place.data_dir().join("myid"), "3").unwrap();
    assert_eq!(place.run(&["check"]).code, ExitCode::SUCCESS);
    fs::write(place.data_dir().join("myid"), "4").unwrap();
    for command in ["start-foreground", "check"] {
        let outcome = place.run(&[command]);
        assert_eq!(outcome.code, ExitCode::from(2));
        let text = outcome.out + &outcome.err;
        assert!(text.contains("My id 4 not in the peer list"), "{command}: {text}");
    }
}

#[test]
fn missing_directories_stop_the_start_when_they_may_not_be_created() {
    let place = Place::new("clientPort=0\n");
    for command in ["start-foreground", "start"] {
        let outcome = place.run_with(&[command], &[("ZOO_DATADIR_AUTOCREATE_DISABLE", "1")]);
        assert_eq!(outcome.code, ExitCode::from(1));
        let text = "ZooKeeper data directory is missing at <dir>/data fix the path or run initialize\n";
        assert_eq!(outcome.out, text);
    }
}

#[test]
fn stop_without_a_pid_file_is_no_failure() {
    let outcome = Place::new("").run(&["stop"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS);
    let text = "Stopping zookeeper ... no zookeeper to stop \
                (could not find file <dir>/data/zookeeper_server.pid)\n";
    assert_eq!(outcome.out, text);
}

#[test]
fn start_refuses_while_the_process_of_the_pid_file_lives() {
    let place = Place::new("");
    let server = Dummy::start("zkserver");
    fs::write(place.pid_file(), server.pid()).unwrap();
    let outcome = place.run(&["start"]);
    assert_eq!(outcome.code, ExitCode::from(1));
    let text = format!(
        "Starting zookeeper ... already running as process {}.\n",
        server.pid()
    );
    assert_eq!(outcome.out, text);
}

#[test]
fn stop_ends_the_process_and_removes_the_pid_file() {
    let place = Place::new("");
    let pid_file = place.dir.path().join("other.pid");
    let server = Dummy::start("org.apache.zookeeper.server.quorum.QuorumPeerMain");
    fs::write(&pid_file, server.pid()).unwrap();
    let outcome = place.run_with(&["stop"], &[("ZOOPIDFILE", &pid_file.display().to_string())]);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (ExitCode::SUCCESS, "Stopping zookeeper ... STOPPED\n")
    );
    assert!(!pid_file.exists());
    assert!(!super::pid_file::is_alive(server.pid().parse().unwrap()));
}

#[test]
fn stop_leaves_a_stranger_alone() {
    let place = Place::new("");
    let stranger = Dummy::start("something-else");
    fs::write(place.pid_file(), stranger.pid()).unwrap();
    let outcome = place.run(&["stop"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS);
    assert!(
        outcome.err.contains("is no ZooKeeper server and is left alone"),
        "{}",
        outcome.err
    );
    assert!(super::pid_file::is_alive(stranger.pid().parse().unwrap()));
    assert!(!place.pid_file().exists());
}

#[test]
fn stop_copes_with_a_stale_or_broken_pid_file() {
    let place = Place::new("");
    let ended = {
        let dummy = Dummy::start("zkserver");
        dummy.pid()
    };
    for content in [ended.as_str(), "", "abc", "-1", "0"] {
        fs::write(place.pid_file(), content).unwrap();
        let outcome = place.run(&["stop"]);
        assert_eq!(outcome.code, ExitCode::SUCCESS, "{content:?}");
        assert!(outcome.out.ends_with("STOPPED\n"), "{content:?}: {}", outcome.out);
        assert!(!place.pid_file().exists(), "{content:?}");
    }
}

#[test]
fn print_cmd_shows_program_arguments_and_output() {
    let place = Place::new("");
    let outcome = place.run_with(
        &["--log-level", "debug", "print-cmd", "zoo.cfg"],
        &[("ZOO_LOG_DIR", "/l$g")],
    );
    assert_eq!(outcome.code, ExitCode::SUCCESS);
    let end = "\"--config\" \"<dir>\" \"--log-level\" \"debug\" \
               \"start-foreground\" \"zoo.cfg\" > \"/l\\$g/zookeeper-";
    assert!(outcome.out.contains(end), "{}", outcome.out);
    assert!(
        outcome.out.ends_with(".out\" 2>&1 < /dev/null\n"),
        "{}",
        outcome.out
    );
}

/// Answers one four-letter word on a port of its own.
fn answer_once(answer: &'static str) -> (u16, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut word = vec![0; 4];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        word
    };
    let server = thread::Builder::new().spawn(serve).unwrap();
    (port, server)
}

#[test]
fn status_prints_the_mode() {
    let (port, server) = answer_once("Zookeeper version: x\nMode: standalone\nNode count: 5\n");
    let outcome = Place::new(&format!("clientPort={port}\nclientPortAddress=127.0.0.1\n")).run(&["status"]);
    let text = format!(
        "Client port found: {port}. Client address: 127.0.0.1. Client SSL: false.\nMode: standalone\n"
    );
    assert_eq!((outcome.code, outcome.out), (ExitCode::SUCCESS, text));
    assert_eq!(server.join().unwrap(), b"srvr");
}

#[test]
fn status_fails_when_nothing_serves() {
    let (port, server) = answer_once("This ZooKeeper instance is not currently serving requests\n");
    let place = Place::new(&format!("clientPort={port}\n"));
    for _ in 0..2 {
        // The second time nobody listens any more.
        let outcome = place.run(&["status"]);
        let text = format!(
            "Client port found: {port}. Client address: localhost. Client SSL: false.\n\
             Error contacting service. It is probably not running.\n"
        );
        assert_eq!((outcome.code, outcome.out), (ExitCode::from(1), text));
    }
    server.join().unwrap();
}

#[test]
fn status_looks_for_the_port_where_the_script_does() {
    let missing = "Client port not found. Looking for secureClientPort in the static config.\n\
                   Unable to find either secure or unsecure client port in any configs. Terminating.\n";
    let place = Place::new("");
    let outcome = place.run(&["status"]);
    let note = "myid could not be determined, will not able to locate clientPort in the server configs.\n";
    assert_eq!(
        (outcome.code, outcome.out),
        (ExitCode::from(1), format!("{note}{missing}"))
    );
    fs::write(place.data_dir().join("myid"), "1").unwrap();
    let note = "Client port not found in static config file. Looking in dynamic config file.\n\
                Client port not found in the server configs\n";
    assert_eq!(place.run(&["status"]).out, format!("{note}{missing}"));
    let (port, server) = answer_once("Mode: standalone\n");
    let place = Place::new(&format!("server.1=localhost:2888:3888;{port}\n"));
    fs::write(place.data_dir().join("myid"), "1").unwrap();
    let outcome = place.run(&["status"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS, "{} {}", outcome.out, outcome.err);
    server.join().unwrap();
}

#[test]
fn check_says_what_is_wrong_with_the_data() {
    let place = Place::new("clientPort=2181\n");
    let outcome = place.run(&["check"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS, "{}", outcome.out);
    assert!(
        outcome.out.contains("configuration: nothing wrong\nmyid: none"),
        "{}",
        outcome.out
    );
    assert!(
        outcome.out.ends_with("The server would start.\n"),
        "{}",
        outcome.out
    );

    let place = Place::new("clientPort=2181\n");
    let version_dir = place.data_dir().join("version-2");
    write_data(&version_dir);
    for name in ["log.2.bak", "snapshot.tmp", "currentEpoch"] {
        fs::write(version_dir.join(name), "").unwrap();
    }
    fs::remove_file(version_dir.join("snapshot.0")).unwrap();
    let before = content(&version_dir);
    let outcome = place.run(&["check"]);
    assert_eq!(outcome.code, ExitCode::from(3), "{}", outcome.out);
    for part in [
        "error: <dir>/data/version-2: there are transaction logs (<dir>/data/version-2/log.1) but no",
        "warning: <dir>/data/version-2: <dir>/data/version-2/log.2.bak is not named like a log",
        "<dir>/data/version-2/snapshot.tmp is not named like",
        "The server would not start on this data.",
    ] {
        assert!(outcome.out.contains(part), "{part}: {}", outcome.out);
    }
    assert!(!outcome.out.contains("currentEpoch"), "{}", outcome.out);
    assert!(content(&version_dir) == before);

    let lines = format!(
        "dataDir={0}\nclientPort=1\ndataLogDir={0}/log\n",
        place.data_dir().display()
    );
    place.write_config(&lines);
    let outcome = place.run(&["check"]);
    assert_eq!(outcome.code, ExitCode::from(3), "{}", outcome.out);
    for part in [
        "<dir>/data/version-2 holds log.1, which belongs into <dir>/data/log/version-2",
        "<dir>/data/log: dataLogDir is missing and will be created",
    ] {
        assert!(outcome.out.contains(part), "{part}: {}", outcome.out);
    }
}

#[test]
fn check_reads_snapshots_and_logs_and_changes_nothing() {
    let place = Place::new("clientPort=2181\n");
    let version_dir = place.data_dir().join("version-2");
    write_data(&version_dir);
    let outcome = place.run(&["check"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS, "{}", outcome.out);
    let expected = "data: nothing wrong\n\
                    database: 8 znodes, last transaction 0x3, from <dir>/data/version-2/snapshot.0 and 3 \
                    transaction(s) behind it\nThe server would start.\n";
    assert!(outcome.out.ends_with(expected), "{}", outcome.out);

    let log = version_dir.join("log.1");
    let whole = fs::read(&log).unwrap();
    let records = whole.len() - 1;
    fs::write(&log, &whole[..records]).unwrap();
    // Without what says how much was synced and where it ended, as Apache leaves a log that a crash cut.
    for name in ["zkserver.synced", "zkserver.ends"] {
        fs::remove_file(version_dir.join(name)).unwrap();
    }
    let before = content(&version_dir);
    let outcome = place.run(&["check"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS, "{}", outcome.out);
    assert!(
        outcome
            .out
            .contains("warning: <dir>/data/version-2/log.1: ends at offset"),
        "{}",
        outcome.out
    );
    assert!(outcome.out.contains("last transaction 0x2"), "{}", outcome.out);
    assert!(content(&version_dir) == before);

    let mut damaged = whole;
    damaged[40] ^= 1;
    fs::write(&log, &damaged).unwrap();
    let outcome = place.run(&["check"]);
    assert_eq!(outcome.code, ExitCode::from(3), "{}", outcome.out);
    let part = "error: <dir>/data/version-2: <dir>/data/version-2/log.1 is damaged at offset 16";
    assert!(outcome.out.contains(part), "{}", outcome.out);
}

/// What a server leaves that created /a, /b and /c.
fn write_data(version_dir: &Path) {
    let storage = StorageConfig {
        snap_dir: version_dir.to_owned(),
        log_dir: version_dir.to_owned(),
        prealloc_bytes: 0,
        force_sync: true,
        compression: Compression::None,
        trust_empty_snapshot: false,
        digest_enabled: false,
        log_size_limit: None,
        record_bytes_max: 1 << 20,
        autocreate: true,
        may_begin_empty: true,
    };
    drop(data_dir::open(&OsDisk, &storage).unwrap());
    recovery::recover(&OsDisk, &storage, 0).unwrap();
    let mut log = LogWriter::new(OsDisk, &storage);
    for (zxid, path) in [(1, "/a"), (2, "/b"), (3, "/c")] {
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Plain,
            path: path.into(),
            data: None,
            acl: RawAcls::from_list(&[Acl::world(31)]),
            ephemeral: false,
            parent_cversion: zxid,
        });
        let header = TxnHeader {
            client_id: SessionId(7),
            cxid: zxid,
            zxid: Zxid(zxid.into()),
            time: 1,
            code: txn.code(),
        };
        let mut encoded = Vec::new();
        txn::encode(&header, &txn, None, &mut encoded);
        log.append(header.zxid, &encoded);
    }
    log.close().unwrap();
}

/// Every file of a directory with its bytes.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn check_finds_a_running_server_and_a_file_in_place_of_a_directory() {
    let place = Place::new("clientPort=2181\n");
    let lock = fs::File::create(place.data_dir().join("zkserver.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let outcome = place.run(&["check"]);
    assert!(
        outcome
            .out
            .contains("<dir>/data: a server is running on this directory"),
        "{}",
        outcome.out
    );
    assert!(
        outcome.out.contains("A server is running on this data"),
        "{}",
        outcome.out
    );
    drop(lock);
    assert!(!place.run(&["check"]).out.contains("a server is running"));

    place.write_config(&format!(
        "clientPort=1\ndataDir={}/zoo.cfg\n",
        place.dir.path().display()
    ));
    let outcome = place.run(&["check"]);
    assert_eq!(outcome.code, ExitCode::from(3));
    assert!(
        outcome.out.contains("<dir>/zoo.cfg: dataDir is not a directory"),
        "{}",
        outcome.out
    );
}

#[test]
fn no_output_shows_a_secret() {
    let place = Place::new(
        "clientPort=x\nDigestAuthenticationProvider.superDigest=hunter2\nssl.x.password=hunter2\n",
    );
    for command in ["start-foreground", "check", "status", "print-cmd"] {
        let outcome = place.run(&[command]);
        assert!(!(outcome.out + &outcome.err).contains("hunter2"), "{command}");
    }
}
