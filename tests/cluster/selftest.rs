//! The checks are checked: a good history passes, and each planted fault is found.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::history::{Event, What};
use crate::judged;
use crate::logs::{self, Merged};
use crate::plant;
use crate::replay::Evidence;
use crate::wgl::{self, Action, Op, Outcome, Verdict};
use crate::wire::{self, OPEN, Out, PERSISTENT, SEQUENTIAL, op};

pub fn run() -> ExitCode {
    linearizability();
    plants();
    merging();
    println!("the checks find what is planted");
    ExitCode::SUCCESS
}

fn op(called: u64, returned: u64, action: Action, outcome: Outcome) -> Op {
    Op {
        called,
        returned,
        action,
        outcome,
    }
}

fn verdict(ops: &[Op]) -> Verdict {
    wgl::check(ops, Instant::now() + Duration::from_secs(10))
}

fn linearizability() {
    use Outcome::{BadVersion, Done, NoNode, Unknown, Value, Version};
    let made = op(1, 2, Action::Create(1), Done);
    let set = op(3, 4, Action::Set(2, -1), Version(1));
    let read = |value, version| op(5, 6, Action::Read, Value(value, version));
    let wrong = |ops: &[Op]| assert_eq!(verdict(ops), Verdict::Wrong, "{ops:?}");
    let good = |ops: &[Op]| assert_eq!(verdict(ops), Verdict::Linearizable, "{ops:?}");
    good(&[]);
    good(&[made, read(1, 0)]);
    good(&[made, set, read(2, 1)]);
    let long_set = op(3, 7, Action::Set(2, -1), Version(1));
    good(&[made, long_set, read(1, 0)]);
    good(&[made, long_set, read(2, 1)]);
    // A stale read, a lost write, a write that is done twice, versions that cannot be.
    wrong(&[made, set, read(1, 0)]);
    wrong(&[made, set, op(5, 6, Action::Set(3, 0), Version(1))]);
    wrong(&[made, op(3, 4, Action::Set(2, -1), Version(2))]);
    wrong(&[made, op(3, 4, Action::Set(2, 5), Version(1))]);
    wrong(&[
        op(3, 4, Action::Read, Value(1, 0)),
        op(5, 6, Action::Create(1), Done),
    ]);
    let delete = op(3, 4, Action::Delete(-1), Done);
    wrong(&[made, delete, op(5, 6, Action::Set(1, -1), BadVersion)]);
    good(&[made, delete, op(5, 6, Action::Set(1, -1), NoNode)]);
    // Without an answer it may have been done late, or never, but not twice.
    let unknown = op(3, 0, Action::Set(2, -1), Unknown);
    let later = |value, version| op(7, 8, Action::Read, Value(value, version));
    good(&[made, unknown, read(1, 0)]);
    good(&[made, unknown, read(1, 0), later(2, 1)]);
    wrong(&[made, unknown, read(2, 1), later(1, 0)]);
    wrong(&[made, unknown, read(2, 2)]);
    assert_eq!(wgl::check(&crowd(), Instant::now()), Verdict::OutOfTime);
}

/// So many at once, with one that cannot be, that no search ends.
fn crowd() -> Vec<Op> {
    let made = op(1, 2, Action::Create(1), Outcome::Done);
    let many = (0..40).map(|value| op(3, 0, Action::Set(value + 2, -1), Outcome::Unknown));
    let odd = op(4, 5, Action::Read, Outcome::Value(99, 7));
    std::iter::once(made).chain(many).chain([odd]).collect()
}

/// A short history that a server could have made, with its log.
#[derive(Default)]
struct Script {
    events: Vec<Event>,
    log: Vec<Vec<u8>>,
}

const SESSION: i64 = 0x1_0000_0000_0001;
/// When a transaction was made, for its number.
const WALL_MS: i64 = 1_795_000_000_000;

impl Script {
    fn note(&mut self, conn: u32, what: What) {
        let at = 10 * (self.events.len() as u64 + 1);
        self.events.push(Event { at, conn, what });
    }

    /// A transaction of the first epoch; its zxid.
    fn logged(&mut self, session: i64, cxid: i32, code: i32, body: Vec<u8>) -> i64 {
        let number = self.log.len() as i64 + 1;
        let zxid = 1 << 32 | number;
        let head = Out::default()
            .long(session)
            .int(cxid)
            .long(zxid)
            .long(WALL_MS + number);
        self.log.push(head.int(code).raw(&body).0);
        zxid
    }

    fn opens(&mut self, conn: u32) -> i64 {
        let session = SESSION + i64::from(conn);
        let opening = What::Opening {
            server: 1,
            address: "127.0.0.1".to_owned(),
            frame: wire::connect_request(0, 5000, 0, &[0; 16]),
        };
        self.note(conn, opening);
        self.logged(session, 0, -10, Out::default().int(5000).0);
        let frame = Out::default().int(0).int(5000).long(session).buffer(&[7; 16]);
        let frame = frame.bool(false).0;
        self.note(conn, What::Opened { session, frame });
        session
    }

    fn asks(&mut self, conn: u32, xid: i32, code: i32, body: Vec<u8>) {
        self.note(conn, What::Asked { xid, code, body });
    }

    fn answers(&mut self, conn: u32, xid: i32, zxid: i64, body: Vec<u8>) {
        let err = 0;
        self.note(conn, What::Answered { xid, zxid, err, body });
    }

    /// The newest transaction.
    fn zxid(&self) -> i64 {
        1 << 32 | self.log.len() as i64
    }

    fn creates(&mut self, conn: u32, xid: i32, path: &str, made: &str, cversion: i32) {
        let flags = if made == path { PERSISTENT } else { SEQUENTIAL };
        self.asks(conn, xid, op::CREATE, wire::create(path, b"0", OPEN, flags));
        let acls = |out: Out| out.int(1).int(31).string("world").string("anyone");
        let txn = acls(Out::default().string(made).buffer(b"0"))
            .bool(false)
            .int(cversion);
        let zxid = self.logged(SESSION + i64::from(conn), xid, 1, txn.0);
        self.answers(conn, xid, zxid, Out::default().string(made).0);
    }

    fn sets(&mut self, conn: u32, xid: i32, node: &mut Shown, data: &[u8]) {
        self.asks(conn, xid, op::SET_DATA, wire::set_data(node.path, data, -1));
        node.version += 1;
        let txn = Out::default().string(node.path).buffer(data).int(node.version);
        node.mzxid = self.logged(SESSION + i64::from(conn), xid, 5, txn.0);
        node.data = data.to_vec();
        self.answers(conn, xid, node.mzxid, node.stat());
    }

    fn syncs_and_reads(&mut self, conn: u32, xid: i32, node: &Shown, watch: bool) {
        let zxid = self.zxid();
        self.asks(conn, xid, op::SYNC, wire::path_only(node.path));
        self.asks(conn, xid + 1, op::GET_DATA, wire::path_watch(node.path, watch));
        self.answers(conn, xid, zxid, wire::path_only(node.path));
        self.answers(
            conn,
            xid + 1,
            zxid,
            Out::default().buffer(&node.data).raw(&node.stat()).0,
        );
    }
}

/// A node as a read shows it.
struct Shown {
    path: &'static str,
    data: Vec<u8>,
    czxid: i64,
    mzxid: i64,
    version: i32,
}

impl Shown {
    fn stat(&self) -> Vec<u8> {
        let times = |zxid: i64| WALL_MS + (zxid & 0xffff_ffff);
        let out = Out::default().long(self.czxid).long(self.mzxid);
        let out = out.long(times(self.czxid)).long(times(self.mzxid));
        let out = out.int(self.version).int(0).int(0).long(0);
        out.int(self.data.len() as i32).int(0).long(self.czxid).0
    }
}

/// Two sessions: ids, a register that is read and overwritten, and a watch that fires.
fn script() -> Script {
    let mut script = Script::default();
    script.opens(1);
    script.opens(2);
    for (xid, path, cversion) in [(1, "/reg", 1), (2, "/ids", 2), (3, "/ids/a", 1)] {
        script.creates(1, xid, path, path, cversion);
    }
    script.creates(1, 4, "/ids/a/id-", "/ids/a/id-0000000000", 1);
    script.creates(2, 1, "/ids/a/id-", "/ids/a/id-0000000001", 2);
    script.creates(1, 5, "/reg/0-0", "/reg/0-0", 1);
    let mut node = Shown {
        path: "/reg/0-0",
        data: b"0".to_vec(),
        czxid: script.zxid(),
        mzxid: script.zxid(),
        version: 0,
    };
    script.syncs_and_reads(2, 2, &node, true);
    script.sets(1, 6, &mut node, b"1");
    let fired = What::Fired {
        zxid: node.mzxid,
        kind: 3,
        state: 3,
        path: node.path.to_owned(),
    };
    script.note(2, fired);
    script.syncs_and_reads(2, 4, &node, false);
    script
}

/// The log as a file that a member has written.
fn log_file(txns: &[Vec<u8>]) -> Vec<u8> {
    let head = Out::default().raw(b"ZKLG").int(2).long(0);
    let all = txns.iter().fold(head, |out, txn| {
        let checksum = crate::model::log_file::adler32(txn);
        out.long(i64::from(checksum)).buffer(txn).raw(b"B")
    });
    all.raw(&[0; 64]).0
}

/// The script passes as it is, and with none of the faults.
fn plants() {
    let script = script();
    let folder = tempfile::tempdir().expect("a folder for the log");
    fs::write(folder.path().join("log.100000001"), log_file(&script.log)).expect("the log can be written");
    let folders = [folder.path().to_string_lossy().into_owned()];
    let evidence = Evidence {
        folders: &folders,
        trees: &[],
        apache: false,
        ends: &[],
        own_epochs: &[],
    };
    let found = judged(&script.events, &evidence);
    assert_eq!(found.violations, [""; 0]);
    for name in plant::ALL {
        let mut events = script.events.clone();
        assert!(plant::plant(name, &mut events), "there is a place for {name}");
        let found = judged(&events, &evidence);
        assert!(plant::is_found(name, &found), "{name}: {:?}", found.violations);
        for trace in own_traces(name) {
            let is_told = found.violations.iter().any(|text| text.starts_with(trace));
            assert!(is_told, "{name}: {trace}: {:?}", found.violations);
        }
    }
}

/// What this program says of a planted fault by itself, without the reference model.
fn own_traces(name: &str) -> &'static [&'static str] {
    match name {
        "lost-write" => &["I5: op 5", "I8: zxid"],
        "stale-read" => &["linearizability: /reg"],
        "double-number" => &["I16: /ids/a/id-"],
        _ => &[],
    }
}

/// What members with these logs agreed on; a log is a list of zxids and marks, `epoch * 100 + counter`.
fn merged(members: &[&[(i64, u8)]], ends: &[i64]) -> Result<Merged, String> {
    let folder = tempfile::tempdir().expect("a folder for the logs");
    let mut folders = Vec::new();
    for (number, records) in members.iter().enumerate() {
        let zxid = |short: i64| ((short / 100) << 32) | (short % 100);
        let head = |short: i64| {
            Out::default()
                .long(1)
                .int(1)
                .long(zxid(short))
                .long(WALL_MS)
                .int(-1)
        };
        let txns: Vec<Vec<u8>> = records
            .iter()
            .map(|(short, mark)| head(*short).int(i32::from(*mark)).0)
            .collect();
        let own = folder.path().join(number.to_string());
        fs::create_dir(&own).expect("a folder for a log");
        fs::write(own.join("log.100000001"), log_file(&txns)).expect("a log can be written");
        folders.push(own.to_string_lossy().into_owned());
    }
    logs::merge(&folders, &[], ends, true)
}

/// Logs that agree make one; what only one member had when the epoch ended was given up.
fn merging() {
    let whole = [(101, 0), (102, 0), (201, 0), (202, 0)];
    let alone = [(101, 0), (102, 0), (103, 0), (201, 0), (202, 0)];
    let behind = [(101, 0), (102, 0)];
    let good = merged(&[&alone, &whole, &whole, &behind], &[]).expect("they agree");
    assert_eq!(good.given_up, [1 << 32 | 3]);
    assert_eq!(good.log.len(), 4);
    // What the next leader had decides, whoever else has less or more.
    let led = merged(&[&alone, &whole, &whole], &[1 << 32 | 3]).expect("they agree");
    assert_eq!((led.given_up.len(), led.log.len()), (0, 5));
    let starts = |members: &[&[(i64, u8)]], trace: &str| {
        let problem = merged(members, &[]).err().unwrap_or_default();
        assert!(problem.contains(trace), "{trace}: {problem}");
    };
    starts(&[&whole, &[(101, 0), (102, 1)]], "I2");
    starts(&[&[(101, 0), (103, 0)], &[(101, 0)]], "I4");
    starts(&[&[(102, 0)]], "I4");
}
