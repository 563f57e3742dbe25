//! Every decoder, and what stands behind it, against bytes that nobody sane would send: nothing panics, and
//! decoding allocates no more than four times what came, and 64 KiB, or as `bytes_max` says.
//!
//! Input `n` depends on the seed and `n` alone. `FUZZ_INPUTS` sets how many there are, `FUZZ_SEED` another
//! seed, `FUZZ_FIRST` where to begin: a failure says both.

mod configs;
mod corpus;
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
mod counting;
mod files;
mod mutator;
mod pipeline;
#[allow(dead_code, clippy::unwrap_used, reason = "shared with other tests")]
#[path = "../support/sim_disk.rs"]
mod sim_disk;

use std::panic::{AssertUnwindSafe, catch_unwind};

use zkserver::prng::Prng;
use zkserver::proto::acl::RawAcls;
use zkserver::proto::connect::ConnectRequest;
use zkserver::proto::frame::{FourLetterWord, FrameSplitter, Piece};
use zkserver::proto::jute::Reader;
use zkserver::proto::opcode::OpCode;
use zkserver::proto::request::{Request, RequestHeader};
use zkserver::proto::stat::StatPersisted;
use zkserver::proto::txn::{self, Txn};
use zkserver::storage::Compression;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// A decoder, and well-formed bytes for it.
struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    run: fn(&[u8]),
}

impl Target {
    /// Decodes, and says what is wrong with how that went.
    fn problem(&self, input: &[u8]) -> Option<String> {
        let name = self.name;
        let (outcome, peak) = counting::peak_of(|| catch_unwind(AssertUnwindSafe(|| (self.run)(input))));
        if outcome.is_err() {
            return Some(format!("{name} panics on {}", hex(input)));
        }
        let peak_max = bytes_max(name, input.len())?;
        let length = input.len();
        (peak > peak_max).then(|| format!("{name} allocates {peak} bytes for {length} bytes: {}", hex(input)))
    }
}

/// How many bytes may be allocated for so many that came; `None` for any number.
fn bytes_max(name: &str, input: usize) -> Option<usize> {
    let times = match name {
        // Transactions and the entries of an ACL become values, the smallest of which have 12 bytes: only
        // servers and a disk send the former.
        "txn" => 8,
        "acl entries" => 5,
        // A decompressor holds its own tables, and one record: a few bytes may become a long one, but none is
        // longer than the configured limit. A block of snappy, besides, can be 32 times what it came from.
        "snapshot.gz" => return Some(4 * input + 4 * files::RECORD_BYTES_MAX + 192 * 1024),
        "snapshot.snappy" => return Some(40 * input + 4 * files::RECORD_BYTES_MAX + 192 * 1024),
        // A tree takes room for nodes by the thousand; a configuration is the operator's own.
        "snapshot into a tree" | "zoo.cfg" | "zoo.toml" => return None,
        // What clients send is decoded in place.
        _ => 4,
    };
    Some(times * input + 64 * 1024)
}

#[test]
fn decoders_survive_anything() {
    let targets = targets();
    let target_of = |number: u64| &targets[number as usize % targets.len()];
    for_each_input(1_000_000, |number, prng| {
        let target = target_of(number);
        let input = mutator::mutate(prng, &target.seeds);
        let problem = target.problem(&input);
        assert!(problem.is_none(), "{}", problem.unwrap_or_default());
    });
}

#[test]
fn the_corpus_is_well_formed() {
    for (op, body) in corpus::bodies() {
        assert!(Request::decode(op, &body).is_ok(), "{op:?}");
    }
    assert!(corpus::txns().iter().all(|bytes| txn::decode(bytes).is_ok()));
    assert!(
        corpus::connects()
            .iter()
            .all(|bytes| ConnectRequest::decode(bytes).is_ok())
    );
    assert!(
        corpus::acls()
            .iter()
            .all(|bytes| RawAcls::decode(&mut Reader::new(bytes)).is_ok())
    );
}

/// Random lists are seldom long and well formed at once, and those are what costs most.
#[test]
fn long_lists_of_little_cost_little() {
    let targets = targets();
    for (name, input) in corpus::long_lists(20_000) {
        let target = targets.iter().find(|target| target.name == name);
        let problem = target.expect("a target of that name").problem(&input);
        assert!(problem.is_none(), "{}", problem.unwrap_or_default());
    }
}

#[test]
fn what_is_held_is_counted() {
    let ((), peak) = counting::peak_of(|| drop(vec![0u8; 100_000]));
    assert!((100_000..101_000).contains(&peak), "{peak}");
    assert_eq!(counting::peak_of(|| ()).1, 0);
}

/// Runs inputs of a number that a debug build divides by 20.
fn for_each_input(count: u64, mut run: impl FnMut(u64, &mut Prng)) {
    let seed = number("FUZZ_SEED", 1);
    let first = number("FUZZ_FIRST", 0);
    let count = number(
        "FUZZ_INPUTS",
        if cfg!(debug_assertions) { count / 20 } else { count },
    );
    for input in first..first + count {
        let mut prng = Prng::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(input));
        let outcome = catch_unwind(AssertUnwindSafe(|| run(input, &mut prng)));
        assert!(
            outcome.is_ok(),
            "again with FUZZ_SEED={seed} FUZZ_FIRST={input} FUZZ_INPUTS=1"
        );
    }
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

fn targets() -> Vec<Target> {
    let bodies = corpus::bodies();
    let with_header =
        |(op, body): &(OpCode, Vec<u8>)| [&5_i32.to_be_bytes()[..], &op.code().to_be_bytes(), body].concat();
    let requests: Vec<Vec<u8>> = bodies.iter().map(with_header).collect();
    let lists = |wanted: OpCode| {
        let of_op = bodies.iter().filter(|(op, _)| *op == wanted);
        of_op.map(|(_, body)| body.clone()).collect::<Vec<_>>()
    };
    let target = |name, seeds, run| Target { name, seeds, run };
    let frame = |payload: &Vec<u8>| [&(payload.len() as u32).to_be_bytes()[..], payload].concat();
    let mut frames: Vec<Vec<u8>> = requests.iter().map(frame).collect();
    frames.push(frames.concat());
    frames.extend(FourLetterWord::ALL.iter().map(|word| word.bytes().to_vec()));
    vec![
        target("connect", corpus::connects(), run_connect),
        target("request", requests.clone(), run_request),
        target("request", requests, run_request),
        target("multi", lists(OpCode::Multi), |bytes| {
            drop(Request::decode(OpCode::Multi, bytes))
        }),
        target("setWatches", lists(OpCode::SetWatches2), |bytes| {
            drop(Request::decode(OpCode::SetWatches2, bytes));
        }),
        target("txn", corpus::txns(), run_txn),
        target("acl", corpus::acls(), run_acl),
        target("acl entries", corpus::acls(), run_acl_entries),
        target("frame", frames, run_frame),
        target("log", files::logs(), files::run_log),
        target("snapshot", files::snapshots(Compression::None), |bytes| {
            files::run_snapshot(Compression::None, bytes);
        }),
        target("snapshot.gz", files::snapshots(Compression::Gzip), |bytes| {
            files::run_snapshot(Compression::Gzip, bytes);
        }),
        target(
            "snapshot.snappy",
            files::snapshots(Compression::Snappy),
            |bytes| {
                files::run_snapshot(Compression::Snappy, bytes);
            },
        ),
        target(
            "snapshot into a tree",
            files::snapshots(Compression::None),
            files::run_load,
        ),
        target("zoo.cfg", configs::cfgs(), configs::run_properties),
        target("zoo.toml", configs::tomls(), configs::run_toml),
        target("stat", vec![vec![1; 60]], |bytes| {
            assert_eq!(
                StatPersisted::decode(&mut Reader::new(bytes)).is_ok(),
                bytes.len() >= 60
            )
        }),
    ]
}

fn run_connect(bytes: &[u8]) {
    drop(ConnectRequest::decode(bytes));
}

fn run_request(bytes: &[u8]) {
    if let Ok((header, body)) = RequestHeader::decode(bytes)
        && let Some(op) = OpCode::from_code(header.code)
    {
        drop(Request::decode(op, body));
    }
}

/// What is decoded is encoded to something that decodes to the same. Only the end of a session may be read in
/// two ways: with a list, or with a digest in its place.
fn run_txn(bytes: &[u8]) {
    let Ok(logged) = txn::decode(bytes) else {
        return;
    };
    if bytes.len() > 4096 || matches!(logged.txn, Txn::CloseSession { .. }) {
        return;
    }
    let mut again = Vec::new();
    txn::encode(&logged.header, &logged.txn, logged.digest, &mut again);
    let decoded = txn::decode(&again).expect("what was encoded");
    assert_eq!((decoded.header, &decoded.txn), (logged.header, &logged.txn));
}

fn run_acl(bytes: &[u8]) {
    if let Ok(raw) = RawAcls::decode(&mut Reader::new(bytes)) {
        assert!(bytes.starts_with(raw.bytes()));
    }
}

fn run_acl_entries(bytes: &[u8]) {
    if let Ok(raw) = RawAcls::decode(&mut Reader::new(bytes)) {
        assert_eq!(raw.to_list().is_none(), raw.bytes() == [0xff; 4]);
    }
}

/// The bytes come in three parts; frames are found in order, inside the buffer and within the bound.
fn run_frame(bytes: &[u8]) {
    const BYTES_MAX: usize = 1000;
    let mut splitter = FrameSplitter::new(BYTES_MAX);
    let mut consumed = 0;
    for end in [bytes.len() / 3, bytes.len() / 2, bytes.len()] {
        let buffer = &bytes[consumed..end];
        let mut previous = 0;
        while let Ok(Some(piece)) = splitter.next(buffer) {
            let Piece::Frame(range) = piece else {
                break;
            };
            assert!(range.start == previous + 4);
            assert!(range.len() <= BYTES_MAX);
            assert!(buffer.get(range.clone()).is_some());
            previous = range.end;
        }
        assert!(splitter.bytes_wanted(buffer) <= buffer.len() + 4 + BYTES_MAX);
        consumed += splitter.take_consumed();
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(400)];
    shown.iter().map(|byte| format!("{byte:02x}")).collect()
}
