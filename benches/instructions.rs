//! Runs one path of the code, and nothing beside it, so many times: what `tests/instructions/run` counts
//! instructions of.
//!
//!     cargo run --release --example instructions -- --path read-get --count 4000
//!
//! What is done before the first operation does not depend on the count, so that the difference between two
//! counts is the operations' own.

mod support;

use std::hint::black_box;

use support::frames::{Ask, create, delete, get, read, set};
use support::server::Server;
use support::{IN_FLIGHT, add_parent, child, data, frames_of, tree_of};
use zkserver::proto::opcode::OpCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Children of `/zkload`, and the most operations that can be asked for.
const ZNODES: usize = 16_384;
/// Children of each parent that is listed.
const LISTED: usize = 10;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let value_of = |name: &str| {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1))
            .unwrap_or_else(|| panic!("{name} is missing"))
    };
    let count: usize = value_of("--count").parse().expect("--count: a number");
    assert!(
        count.is_multiple_of(IN_FLIGHT) && count <= ZNODES,
        "--count: a multiple of {IN_FLIGHT}, at most {ZNODES}"
    );
    run(value_of("--path"), count);
}

fn run(path: &str, count: usize) {
    let ask: fn(usize) -> Ask = match path {
        "read-get" => |number| get(&child("/zkload", number)),
        "read-exists" => |number| read(OpCode::Exists, &child("/zkload", number), false),
        "read-children" => |number| read(OpCode::GetChildren2, &child("/parents", number % 100), false),
        "write-set" => |number| set(&child("/zkload", number), &data(), -1),
        "write-create" => |number| create(&child("/created", number), &data()),
        "write-delete" => |number| delete(&child("/zkload", number), -1),
        _ => panic!("--path: there is no {path}"),
    };
    let mut tree = tree_of(ZNODES);
    add_parent(&mut tree, "/created", 0);
    add_parent(&mut tree, "/parents", 100);
    for number in 0..100 {
        add_children(&mut tree, &child("/parents", number));
    }
    let mut server = Server::new(tree);
    let client = server.connect();
    // Every znode is asked about once, in an order that no cache can guess.
    let numbers: Vec<usize> = (0..ZNODES).map(|at| at * 7919 % ZNODES).collect();
    let batches: Vec<Vec<u8>> = numbers
        .chunks(IN_FLIGHT)
        .map(|batch| frames_of(&batch.iter().map(|number| ask(*number)).collect::<Vec<_>>()))
        .collect();
    let run = if path.starts_with("read-") {
        Server::read
    } else {
        Server::write
    };
    for batch in &batches[..count / IN_FLIGHT] {
        black_box(run(&mut server, client, black_box(batch)));
    }
    // What is left is not to be taken down: that is no operation.
    std::process::exit(0);
}

fn add_children(tree: &mut zkserver::tree::DataTree, parent: &str) {
    let data = data();
    let paths: Vec<String> = (0..LISTED).map(|number| child(parent, number)).collect();
    support::apply(tree, paths.iter().map(|path| support::create_txn(path, &data)));
}
