//! What a client's thread does with sixteen reads that one read of its socket has brought.
//!
//!     cargo bench --bench read_path [-- FILTER]

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use support::frames::{Ask, get, ping, read};
use support::server::Server;
use support::{IN_FLIGHT, add_parent, child, frames_of, tree_of};
use zkserver::proto::opcode::OpCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The request about the znode of a number.
type AskOf = fn(usize) -> Ask;

const ZNODES: usize = 100_000;
const LISTED: usize = 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut tree = tree_of(ZNODES);
    add_parent(&mut tree, "/listed", LISTED);
    let mut server = Server::new(tree);
    let client = server.connect();
    let mut group = criterion.benchmark_group("16 in flight");
    group.throughput(Throughput::Elements(IN_FLIGHT as u64));
    let asks: [(&str, AskOf); 4] = [
        ("get", |number| get(&child("/zkload", number))),
        ("exists", |number| {
            read(OpCode::Exists, &child("/zkload", number), false)
        }),
        ("getChildren2 of 10", |_| {
            read(OpCode::GetChildren2, "/listed", false)
        }),
        ("ping", |_| ping()),
    ];
    for (name, ask) in asks {
        // More of them than a cache of the processor holds.
        let numbers: Vec<usize> = (0..ZNODES).map(|at| at * 7_919 % ZNODES).collect();
        let batches: Vec<Vec<u8>> = numbers
            .chunks(IN_FLIGHT)
            .map(|batch| frames_of(&batch.iter().map(|number| ask(*number)).collect::<Vec<_>>()))
            .collect();
        let mut next = batches.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| next.next().map(|batch| server.read(client, black_box(batch))));
        });
    }
    group.finish();
    criterion.final_summary();
}
