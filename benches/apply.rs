//! What the core does once sixteen writes are durable: they are applied, watches fire, and replies and events
//! go to the outboxes. And the whole way of such a batch, from the client's bytes to the replies.
//!
//!     cargo bench --bench apply [-- FILTER]

mod support;

use std::cell::RefCell;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use support::frames::{Ask, create, delete, set};
use support::server::Server;
use support::{IN_FLIGHT, add_parent, child, data, frames_of, tree_of};
use zkserver::watch::WatchMode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ZNODES: usize = 100_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for watchers in [0, 1, 100] {
        apply_sets(&mut criterion, watchers);
    }
    whole_way(&mut criterion);
    criterion.final_summary();
}

/// A server, and a client that writes.
fn server() -> (Server, usize) {
    let mut tree = tree_of(ZNODES);
    add_parent(&mut tree, "/new", 0);
    let mut server = Server::new(tree);
    let writer = server.connect();
    (server, writer)
}

fn apply_sets(criterion: &mut Criterion, watchers: usize) {
    let (mut server, writer) = server();
    let paths: Vec<String> = (0..IN_FLIGHT)
        .map(|number| child("/zkload", number * 61))
        .collect();
    let conns: Vec<usize> = (0..watchers).map(|_| server.connect()).collect();
    for conn in &conns {
        for path in &paths {
            let id = server.conn_id(*conn);
            server.shared.watches.add(WatchMode::Persistent, path, id);
        }
    }
    let asks: Vec<Ask> = paths.iter().map(|path| set(path, &data(), -1)).collect();
    let requests = frames_of(&asks);
    let server = RefCell::new(server);
    let prepare = || {
        let mut server = server.borrow_mut();
        for conn in &conns {
            server.drain(*conn);
        }
        server.drain(writer);
        server.submit(writer, &requests);
    };
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(IN_FLIGHT as u64));
    group.bench_function(format!("16 sets, each watched by {watchers}"), |bencher| {
        bencher.iter_batched(
            prepare,
            |()| server.borrow_mut().commit(),
            BatchSize::PerIteration,
        );
    });
}

fn whole_way(criterion: &mut Criterion) {
    let (mut server, writer) = server();
    let numbers = || 0..IN_FLIGHT;
    let sets: Vec<Ask> = numbers()
        .map(|number| set(&child("/zkload", number * 61), &data(), -1))
        .collect();
    let creates = numbers().map(|number| create(&child("/new", number), &data()));
    let deletes = numbers().map(|number| delete(&child("/new", number), -1));
    let churn: Vec<Ask> = creates.chain(deletes).collect();
    let mut group = criterion.benchmark_group("write");
    for (name, asks) in [("16 sets", sets), ("16 creates and 16 deletes", churn)] {
        let requests = frames_of(&asks);
        group.throughput(Throughput::Elements(asks.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| server.write(writer, black_box(&requests)));
        });
    }
    group.finish();
}
