//! Bytes to types and back: requests, replies, transactions, and where frames begin and end.
//!
//!     cargo bench --bench codec [-- FILTER]

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use support::frames::{Ask, create, get, multi, set};
use support::{IN_FLIGHT, child, create_txn, data, frames_of, header};
use zkserver::ids::Zxid;
use zkserver::proto::error_code::ErrorCode;
use zkserver::proto::frame::{FrameSplitter, Piece};
use zkserver::proto::jute::Put;
use zkserver::proto::opcode::OpCode;
use zkserver::proto::request::{Request, RequestHeader};
use zkserver::proto::response::{begin_frame, finish_frame};
use zkserver::proto::txn::{self, Txn, TxnDigest};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    frames(&mut criterion);
    requests(&mut criterion);
    replies(&mut criterion);
    txns(&mut criterion);
    criterion.final_summary();
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    let bytes = frames_of(&vec![get(&child("/zkload", 123)); IN_FLIGHT]);
    group.throughput(Throughput::Elements(IN_FLIGHT as u64));
    group.bench_function("split 16 requests", |bencher| {
        bencher.iter(|| {
            let mut splitter = FrameSplitter::new(1 << 20);
            while let Ok(Some(Piece::Frame(range))) = splitter.next(black_box(&bytes)) {
                black_box(&bytes[range]);
            }
            splitter.take_consumed()
        });
    });
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("requests");
    let path = child("/zkload", 123);
    let five = multi(&vec![set(&path, &data(), -1); 5]);
    let asks = [
        ("decode get", get(&path)),
        ("decode set of 100 bytes", set(&path, &data(), -1)),
        ("decode create of 100 bytes", create(&path, &data())),
        ("decode multi of 5 sets", five),
    ];
    for (name, ask) in asks {
        let payload = frames_of(&[ask]).split_off(4);
        group.bench_function(name, |bencher| {
            bencher.iter(|| decode(black_box(&payload)));
        });
    }
    group.bench_function("encode create of 100 bytes", |bencher| {
        let (path, data) = (child("/zkload", 123), data());
        bencher.iter(|| -> Ask { create(black_box(&path), black_box(&data)) });
    });
}

/// True if the request is what its header says.
fn decode(payload: &[u8]) -> bool {
    let (header, body) = RequestHeader::decode(payload).expect("a header");
    let op = OpCode::from_code(header.code).expect("an operation");
    Request::decode(op, body).is_ok_and(|request| !matches!(black_box(request), Request::WhoAmI))
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replies");
    let tree = support::tree_of(1);
    let node = tree.lookup(&child("/zkload", 0)).expect("it was created");
    group.bench_function("encode data of 100 bytes and stat", |bencher| {
        let mut out = Vec::with_capacity(1024);
        bencher.iter(|| {
            out.clear();
            let start = begin_frame(&mut out, 1, Zxid(7), ErrorCode::Ok);
            out.put_buffer(black_box(node).data());
            black_box(node).stat().encode(&mut out);
            finish_frame(&mut out, start);
            black_box(&out);
        });
    });
}

fn txns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("txns");
    let (path, data) = (child("/zkload", 123), data());
    let set_data = Txn::SetData {
        path: path.as_str().into(),
        data: Some(data.as_bytes()),
        version: 7,
    };
    let digest = TxnDigest {
        version: 2,
        digest: 0x1234_5678,
    };
    for (name, txn) in [("set", set_data), ("create", create_txn(&path, &data))] {
        let mut encoded = Vec::new();
        let header = header(Zxid(7), &txn);
        txn::encode(&header, &txn, Some(digest), &mut encoded);
        group.bench_function(format!("encode {name} of 100 bytes"), |bencher| {
            let mut out = Vec::with_capacity(1024);
            bencher.iter(|| {
                out.clear();
                txn::encode(black_box(&header), black_box(&txn), Some(digest), &mut out);
                black_box(&out);
            });
        });
        group.bench_function(format!("decode {name} of 100 bytes"), |bencher| {
            bencher.iter(|| black_box(txn::decode(black_box(&encoded))).is_ok());
        });
    }
}
