//! The program from outside: subcommands, exit codes, pid file, which text goes where, and what a server does
//! when it is told to end or cannot begin.

#![allow(
    clippy::unwrap_used,
    reason = "what helps tests is as much a test as they are"
)]

mod client;
mod container;
mod place;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use client::{Client, word};
use place::{Outcome, PROGRAM, Place, eventually, free_port, is_alive, pid_in};

#[test]
fn start_status_restart_stop() {
    let port = free_port();
    let place = Place::new(&format!("clientPort={port}\n"));
    let _stop = place.stop_at_last();
    let using = format!("Using config: {}\n", place.config().display());
    let found = format!("Client port found: {port}. Client address: localhost. Client SSL: false.\n");

    let outcome = place.run("start");
    assert_eq!(outcome.out, "Starting zookeeper ... STARTED\n");
    assert_eq!((outcome.code, outcome.err), (Some(0), using.clone()));
    let pid = pid_in(&place.pid_file()).expect("a pid file");
    assert!(is_alive(pid));
    let outcome = until_served(&place);
    assert_eq!(outcome.out, format!("{found}Mode: standalone\n"));
    assert_eq!(outcome.err, using);
    Client::connect(port).unwrap().create("/kept", b"1").unwrap();

    let outcome = place.run("start");
    let expected = format!(
        "Starting zookeeper ... already running as process {}.\n",
        pid.as_raw_nonzero()
    );
    assert_eq!((outcome.code, outcome.out), (Some(1), expected));

    let outcome = place.run("restart");
    let expected = "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED\n";
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), expected));
    assert!(!is_alive(pid));
    let pid = pid_in(&place.pid_file()).expect("a pid file");
    until_served(&place);
    let data = Client::connect(port).unwrap().data("/kept");
    assert_eq!(data.as_deref(), Some(&b"1"[..]));

    let outcome = place.run("stop");
    assert_eq!(outcome.out, "Stopping zookeeper ... STOPPED\n");
    assert_eq!((outcome.code, outcome.err), (Some(0), using));
    assert!(!is_alive(pid));
    assert!(!place.pid_file().exists());
    let outcome = place.run("status");
    let expected = format!("{found}Error contacting service. It is probably not running.\n");
    assert_eq!((outcome.code, outcome.out), (Some(1), expected));
    let outcome = place.run("stop");
    let expected = format!(
        "Stopping zookeeper ... no zookeeper to stop (could not find file {})\n",
        place.pid_file().display()
    );
    assert_eq!((outcome.code, outcome.out), (Some(0), expected));
}

/// The way of an init script: everything by environment, the process by its pid file.
#[test]
fn an_init_script_works() {
    let place = Place::new(&format!("clientPort={}\n", free_port()));
    let _stop = place.stop_at_last();
    let script = r#"
        set -eu
        served() { "$ZK" status 2>/dev/null | grep -q '^Mode: standalone$'; }
        await() { for _ in $(seq 600); do if "$@"; then return 0; fi; sleep 0.1; done; return 1; }
        gone() { ! kill -0 "$1" 2>/dev/null; }
        "$ZK" start
        await served
        pid=$(cat "$ZOOPIDFILE")
        kill -0 "$pid"
        if "$ZK" start; then echo 'started twice'; exit 1; fi
        kill -TERM "$pid"
        await gone "$pid"
        if "$ZK" status; then echo 'served by nobody'; exit 1; fi
        test -e "$ZOOPIDFILE"
        "$ZK" start
        await served
        "$ZK" restart
        await served
        "$ZK" stop
        test ! -e "$ZOOPIDFILE"
        "$ZK" stop
        ls "$ZOO_LOG_DIR"/zookeeper-operator-server-*.out
        echo done
    "#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("ZK", PROGRAM);
    command
        .env("ZOOCFGDIR", place.path("conf"))
        .env("ZOOPIDFILE", place.pid_file())
        .env("ZOO_LOG_DIR", place.path("logs"))
        .env("USER", "operator");
    let outcome = place.finish(&mut command);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.ends_with("done\n"), "{outcome:?}");
}

#[test]
fn print_cmd_prints_what_a_shell_can_run() {
    let port = free_port();
    let place = Place::new(&format!("clientPort={port}\n"));
    fs::create_dir(place.path("data")).unwrap();
    let outcome = place.run("print-cmd");
    assert_eq!(outcome.code, Some(0));
    let line = format!("exec {}", outcome.out);
    let mut shell = Command::new("sh");
    let server = place.spawn(shell.args(["-c", &line]).env_clear());
    until_served(&place);
    assert_eq!(server.stop().code(), Some(0));
    let written = fs::read_dir(place.path("data")).unwrap();
    let is_output = |name: &str| name.starts_with("zookeeper-") && name.ends_with(".out");
    assert!(
        written
            .map(|entry| entry.unwrap().file_name())
            .any(|name| is_output(name.to_str().unwrap()))
    );
}

#[test]
fn version_needs_no_configuration() {
    let place = Place::empty();
    let outcome = place.finish(&mut place.command(&["version"]));
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
    assert!(outcome.out.contains("ZooKeeper, version 3.9."), "{outcome:?}");
    let outcome = place.finish(&mut place.command(&["begin"]));
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(2), ""));
    assert!(
        outcome
            .err
            .starts_with("Usage: zkserver [--config <conf-dir>] {start|"),
        "{outcome:?}"
    );
}

/// The port of the defaults is a fixed one and may be taken, so only the first lines count. On a machine with
/// a configuration where it is looked for, that one is taken instead.
#[test]
fn without_a_configuration_the_first_lines_say_so() {
    let place = Place::empty();
    let installed = ["/etc/zkserver/zoo.cfg", "/etc/zookeeper/conf/zoo.cfg"];
    if let Some(found) = installed.into_iter().find(|path| Path::new(path).exists()) {
        let outcome = place.finish(&mut place.command(&["print-cmd"]));
        assert!(
            outcome.err.contains(&format!("Using config: {found}\n")),
            "{outcome:?}"
        );
        return;
    }
    let server = place.spawn(&mut place.command(&[]));
    let line = server.wait_for("no configuration named or found");
    assert!(
        line.contains("built-in defaults: client port 127.0.0.1:2181, data under ./data"),
        "{line}"
    );
    let line = server.wait_for("to change them");
    for part in [
        "zkserver start-foreground /path/zoo.cfg",
        "--config DIR",
        "/etc/zkserver",
    ] {
        assert!(line.contains(part), "{line}");
    }
    let first = server.log();
    assert!(
        first.lines().next().unwrap().contains("starting, standalone"),
        "{first}"
    );
}

#[test]
fn configuration_errors_name_file_line_and_key() {
    let place = Place::new("clientPort=2181x\n# a comment\ntickTime=-5\n");
    for subcommand in ["start-foreground", "start"] {
        let outcome = place.run(subcommand);
        let (code, text) = match subcommand {
            "start" => {
                assert_eq!(outcome.out, "Starting zookeeper ... FAILED TO START\n");
                (1, output_file(&place))
            }
            _ => {
                assert_eq!(outcome.out, "");
                (2, outcome.err)
            }
        };
        assert_eq!(outcome.code, Some(code), "{text}");
        let config = place.config();
        for (line, key) in [(2, "clientPort: found \"2181x\""), (4, "tickTime: found \"-5\"")] {
            let expected = format!("error: {}:{line}: {key}", config.display());
            assert!(text.contains(&expected), "{expected}: {text}");
        }
        assert!(text.ends_with("Invalid config, exiting abnormally\n"), "{text}");
    }
    let outcome = place.finish(&mut place.command(&["start-foreground", "/nowhere/zoo.cfg"]));
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.err.contains("/nowhere/zoo.cfg file is missing"),
        "{outcome:?}"
    );
}

/// As it is, and with every line that is commented out in force.
#[test]
fn the_sample_configuration_is_understood() {
    let sample = include_str!("../../conf/zoo.cfg");
    let place = Place::new("");
    for is_full in [false, true] {
        let is_key = |line: &str| line.chars().take_while(|c| *c != '=').all(|c| !c.is_whitespace());
        let lines = sample.lines().map(|line| match line.strip_prefix('#') {
            Some(rest) if is_full && rest.contains('=') && is_key(rest) => rest,
            _ => line,
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let data = place.path("data").display().to_string();
        fs::write(place.config(), text.replace("/var/lib/zookeeper", &data)).unwrap();
        let outcome = place.run("check");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(!outcome.out.contains("unknown key"), "{outcome:?}");
        assert_eq!(
            outcome.out.contains("configuration: nothing wrong"),
            !is_full,
            "{outcome:?}"
        );
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let place = Place::new("clientPort=0\n");
    let server = place.serve();
    let port = server.port();
    let outcome = place.run("start-foreground");
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    let last = outcome.err.lines().last().unwrap();
    let expected = format!(
        "Unable to access datadir, exiting abnormally: {} is in use: another server holds {}. Stop it, or \
         give this server its own dataDir",
        place.path("data/version-2").display(),
        place.path("data/zkserver.lock").display()
    );
    assert_eq!(last, expected);
    assert!(outcome.out.contains(" ERROR ["), "{outcome:?}");
    assert!(outcome.out.trim_end().ends_with(&expected), "{outcome:?}");
    Client::connect(port).unwrap().create("/still", b"").unwrap();
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_port_in_use_is_named() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let place = Place::new(&format!(
        "clientPort={}\nclientPortAddress=127.0.0.1\n",
        address.port()
    ));
    let outcome = place.run("start-foreground");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let last = outcome.err.lines().last().unwrap();
    for part in [
        "Unexpected exception, exiting abnormally: cannot listen on ",
        &address.to_string(),
        "set clientPort to another one",
    ] {
        assert!(last.contains(part), "{last}");
    }
    let outcome = place.run("start");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_eq!(outcome.out, "Starting zookeeper ... FAILED TO START\n");
    assert!(
        outcome.err.contains("the reason is in ") && outcome.err.contains(".out"),
        "{outcome:?}"
    );
    assert!(output_file(&place).contains("cannot listen on "));
}

#[test]
fn damaged_data_is_refused_with_the_place() {
    let place = Place::new("clientPort=0\npreAllocSize=0\n");
    write_nodes(&place, 5);
    let log = place.path("data/version-2/log.1");
    let whole = fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    fs::write(&log, &damaged).unwrap();
    let expected = format!("{} is damaged at offset 16", log.display());
    let outcome = place.run("start-foreground");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let last = outcome.err.lines().last().unwrap();
    assert!(
        last.starts_with("Unexpected exception, exiting abnormally: "),
        "{last}"
    );
    assert!(last.contains(&expected), "{last}");
    assert!(last.contains("Restore the file from a backup"), "{last}");
    let outcome = place.run("check");
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.out.contains(&expected), "{outcome:?}");
    assert!(
        fs::read(&log).unwrap() == damaged,
        "a refused directory stays as it was"
    );
    fs::write(&log, whole).unwrap();
    assert_eq!(place.run("check").code, Some(0));
    assert_nodes(&place, 5);
}

#[test]
fn a_torn_tail_is_cut_and_told() {
    let place = Place::new("clientPort=0\npreAllocSize=0\n");
    write_nodes(&place, 5);
    let log = place.path("data/version-2/log.1");
    let whole = fs::read(&log).unwrap();
    let torn = [&whole[..], b"\0\0\0\0torn"].concat();
    fs::write(&log, &torn).unwrap();
    let outcome = place.run("check");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let expected = format!("warning: {}: ends at offset {}", log.display(), whole.len());
    assert!(outcome.out.contains(&expected), "{outcome:?}");
    assert!(fs::read(&log).unwrap() == torn, "check changes nothing");
    let server = place.serve();
    let line = server.wait_for("unfinished write");
    for part in [
        log.to_str().unwrap(),
        &format!("8 bytes from offset {} on", whole.len()),
        "They began 00000000746f726e",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    drop(server);
    assert_nodes(&place, 5);
}

#[test]
fn check_sees_a_running_server_and_leaves_it_alone() {
    let place = Place::new("clientPort=0\n");
    let server = place.serve();
    let outcome = place.run("check");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        outcome.out.contains("a server is running on this directory"),
        "{outcome:?}"
    );
    Client::connect(server.port()).unwrap().create("/a", b"").unwrap();
    assert_eq!(server.stop().code(), Some(0));
    let outcome = place.run("check");
    assert!(outcome.out.ends_with("The server would start.\n"), "{outcome:?}");
}

#[test]
fn sigterm_ends_with_0_and_loses_nothing_acknowledged() {
    let place = Place::new("clientPort=0\n");
    let server = place.serve();
    let mut client = Client::connect(server.port()).unwrap();
    let (sender, acknowledged) = mpsc::channel();
    let writer = thread::Builder::new().spawn(move || {
        for number in 0.. {
            if client.create(&format!("/n{number}"), b"x").is_err() || sender.send(number).is_err() {
                return;
            }
        }
    });
    let mut count = 0;
    while count < 100 {
        count = acknowledged.recv().unwrap() + 1;
    }
    assert_eq!(server.stop().code(), Some(0));
    writer.unwrap().join().unwrap();
    count = acknowledged.iter().last().map_or(count, |last| last + 1);
    let server = place.serve();
    let mut client = Client::connect(server.port()).unwrap();
    for number in 0..count {
        assert!(
            client.data(&format!("/n{number}")).is_some(),
            "/n{number} of {count}"
        );
    }
}

#[test]
fn a_snapshot_that_fails_does_not_end_the_server() {
    let place = Place::new("clientPort=0\nsnapCount=2\n");
    let server = place.serve();
    let port = server.port();
    let obstacle = place.path("data/version-2/zkserver.snapshot.tmp");
    fs::create_dir(&obstacle).unwrap();
    let mut client = Client::connect(port).unwrap();
    for number in 0..5 {
        client.create(&format!("/a{number}"), b"x").unwrap();
    }
    let line = server.wait_for("cannot take a snapshot");
    for part in [" ERROR [", obstacle.to_str().unwrap(), "The server goes on"] {
        assert!(line.contains(part), "{line}");
    }
    let errors = word(port, "mntr").unwrap();
    let errors = errors
        .lines()
        .find_map(|line| line.strip_prefix("zk_snapshot_error_count\t"));
    assert!(errors.unwrap().parse::<u32>().unwrap() >= 1);

    fs::remove_dir(&obstacle).unwrap();
    let mut number = 0;
    let taken = eventually(|| {
        client.create(&format!("/b{number}"), b"x").unwrap();
        number += 1;
        server.log().contains("Snapshot taken").then_some(())
    });
    assert!(taken.is_some(), "{}", server.log());
    assert_eq!(server.stop().code(), Some(0));
    assert!(!obstacle.exists(), "no partial file stays");
}

/// Runs `status` until it succeeds.
fn until_served(place: &Place) -> Outcome {
    let served = eventually(|| Some(place.run("status")).filter(|outcome| outcome.code == Some(0)));
    served.expect("the server serves in time")
}

/// Lets a server create `/n0` and so on, and ends it.
fn write_nodes(place: &Place, count: u32) {
    let server = place.serve();
    let mut client = Client::connect(server.port()).unwrap();
    for number in 0..count {
        client.create(&format!("/n{number}"), b"x").unwrap();
    }
    assert_eq!(server.stop().code(), Some(0));
}

fn assert_nodes(place: &Place, count: u32) {
    let server = place.serve();
    let mut client = Client::connect(server.port()).unwrap();
    for number in 0..count {
        assert!(client.data(&format!("/n{number}")).is_some(), "/n{number}");
    }
}

/// What `start` let the server write.
fn output_file(place: &Place) -> String {
    let entries = fs::read_dir(place.path("data")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "out"));
    let mut text = String::new();
    let mut file = fs::File::open(paths.next().expect("an output file")).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}
