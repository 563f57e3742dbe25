//! The tree alone: looked into and changed, under a small parent and under one with many children.
//!
//!     cargo bench --bench tree [-- FILTER]

mod support;

use std::cell::RefCell;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use support::{add_parent, apply, child, create_txn, data};
use zkserver::proto::txn::Txn;
use zkserver::tree::DataTree;

/// Children of the large parent and of the small one.
const LARGE: usize = 1_000_000;
const SMALL: usize = 1_000;
/// Transactions that are timed together.
const BATCH: usize = 1_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut tree = DataTree::new(1);
    add_parent(&mut tree, "/large", LARGE);
    add_parent(&mut tree, "/small", SMALL);
    lookup(&mut criterion, &tree);
    children(&mut criterion, &tree);
    let tree = RefCell::new(tree);
    for (parent, children) in [("/small", SMALL), ("/large", LARGE)] {
        set(&mut criterion, &tree, parent, children);
        create_and_delete(&mut criterion, &tree, parent, children);
    }
    criterion.final_summary();
}

/// Numbers of children in an order that no cache can guess.
fn scattered(children: usize) -> impl Iterator<Item = usize> {
    (0..BATCH).map(move |at| at * 7_919_993 % children)
}

fn lookup(criterion: &mut Criterion, tree: &DataTree) {
    let mut group = criterion.benchmark_group("lookup");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (parent, children) in [("/small", SMALL), ("/large", LARGE)] {
        let paths: Vec<String> = scattered(children).map(|number| child(parent, number)).collect();
        group.bench_function(format!("of 1000 below {parent}"), |bencher| {
            bencher.iter(|| {
                let found = paths.iter().filter_map(|path| tree.lookup(black_box(path)));
                found.map(|node| node.stat().data_length).sum::<i32>()
            });
        });
    }
}

fn children(criterion: &mut Criterion, tree: &DataTree) {
    let mut group = criterion.benchmark_group("children");
    group.throughput(Throughput::Elements(SMALL as u64));
    group.bench_function("1000 names", |bencher| {
        bencher.iter(|| {
            let node = tree.lookup(black_box("/small")).expect("it was created");
            node.children().map(|child| child.name().len()).sum::<usize>()
        });
    });
}

fn set(criterion: &mut Criterion, tree: &RefCell<DataTree>, parent: &str, children: usize) {
    let mut group = criterion.benchmark_group("set");
    group.throughput(Throughput::Elements(BATCH as u64));
    let data = data();
    let paths: Vec<String> = scattered(children).map(|number| child(parent, number)).collect();
    let txns = || {
        paths.iter().map(|path| Txn::SetData {
            path: path.as_str().into(),
            data: Some(data.as_bytes()),
            version: 1,
        })
    };
    group.bench_function(format!("1000 below {parent}"), |bencher| {
        bencher.iter(|| apply(&mut tree.borrow_mut(), txns()));
    });
}

fn create_and_delete(criterion: &mut Criterion, tree: &RefCell<DataTree>, parent: &str, children: usize) {
    let data = data();
    let paths: Vec<String> = (0..BATCH)
        .map(|number| child(parent, children + number))
        .collect();
    let create = || {
        apply(
            &mut tree.borrow_mut(),
            paths.iter().map(|path| create_txn(path, &data)),
        )
    };
    let delete = || {
        let path = |path: &String| Txn::Delete {
            path: path.clone().into(),
        };
        apply(&mut tree.borrow_mut(), paths.iter().map(path));
    };
    let mut group = criterion.benchmark_group("create and delete");
    group.throughput(Throughput::Elements(BATCH as u64));
    // Only what is not there is created, so each is timed in front of or behind the other.
    group.bench_function(format!("create 1000 below {parent}"), |bencher| {
        bencher.iter_batched(delete, |()| create(), BatchSize::PerIteration);
    });
    group.bench_function(format!("delete 1000 below {parent}"), |bencher| {
        bencher.iter_batched(create, |()| delete(), BatchSize::PerIteration);
    });
    delete();
}
