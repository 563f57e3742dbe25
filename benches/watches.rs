//! What watches cost: bytes for each, and nanoseconds of processor time to leave one, to fire one, and for a
//! change that nobody watches, with and without recursive watches.
//!
//!     cargo bench --bench watches
//!
//! Each measurement runs in a process of its own, so that memory freed by another one does not count.

#![expect(clippy::print_stdout, reason = "it says what it has measured")]

use std::fs::read_to_string;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use zkserver::ids::ConnId;
use zkserver::proto::acl::{Acl, RawAcls};
use zkserver::tree::{AclList, Change, ChangeKind};
use zkserver::watch::{WatchManager, WatchMode};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const COUNT: u64 = 1_000_000;
const CONNS: u64 = 1000;

fn main() {
    let measurements: [(&str, fn()); 6] = [
        ("one-shot", || own_paths("one-shot", WatchMode::Data)),
        ("persistent", || own_paths("persistent", WatchMode::Persistent)),
        ("recursive", || {
            own_paths("recursive", WatchMode::PersistentRecursive)
        }),
        ("one-path", one_path),
        ("unwatched", unwatched_changes),
        ("fan-out", fan_out),
    ];
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if let Some((_, measure)) = measurements.iter().find(|(name, _)| *name == wanted) {
        return measure();
    }
    let program = std::env::current_exe().expect("this program");
    for (name, _) in measurements {
        let ended = Command::new(&program).arg(name).status().expect("itself, again");
        assert!(ended.success(), "{name}");
    }
}

/// A million paths, each watched by one of a thousand connections.
fn own_paths(name: &str, mode: WatchMode) {
    let paths: Vec<String> = (0..COUNT)
        .map(|at| format!("/service/{:04}/instance-{at:07}", at % 1000))
        .collect();
    let (watches, add_ns) = filled(|watches| {
        for (at, path) in (0..).zip(&paths) {
            watches.add(mode, path, ConnId(at % CONNS));
        }
    });
    let fire_ns = each(COUNT, |at| change(&watches, &paths[at as usize]));
    println!("{name} watches of {COUNT} paths of 29 characters: {add_ns}; {fire_ns:.0} ns to fire");
    let close_ns = each(CONNS, |conn| watches.remove_conn(ConnId(conn)));
    println!(
        "  {:.0} ms to close the connections",
        close_ns * CONNS as f64 / 1e6
    );
}

/// A million connections that watch the same path.
fn one_path() {
    let (_, add_ns) = filled(|watches| {
        (0..COUNT).for_each(|conn| watches.add(WatchMode::Persistent, "/hot", ConnId(conn)));
    });
    println!("watches of one path by {COUNT} connections, each with what is kept of it: {add_ns}");
}

/// Changes nine levels down, of which nobody hears, beside a million watches.
fn unwatched_changes() {
    let watches = WatchManager::new(1);
    for at in 0..COUNT {
        watches.add(WatchMode::Data, &format!("/other/{at}"), ConnId(at % CONNS));
    }
    let path = "/a/b/c/d/e/f/g/h/i";
    let without = each(COUNT, |_| change(&watches, path));
    watches.add(WatchMode::PersistentRecursive, "/other", ConnId(1));
    let with = each(COUNT, |_| change(&watches, path));
    println!("an unwatched change nine levels down: {without:.0} ns, {with:.0} ns beside a recursive watch");
}

/// A change of which a thousand connections hear.
fn fan_out() {
    let watches = WatchManager::new(1);
    for conn in 0..CONNS {
        let path = if conn % 2 == 0 { "/" } else { "/a" };
        watches.add(WatchMode::PersistentRecursive, path, ConnId(conn));
    }
    let ns = each(COUNT / CONNS, |_| change(&watches, "/a/b")) / CONNS as f64;
    println!("a change under {CONNS} recursive watches: {ns:.0} ns for each");
}

/// A manager with a million watches, and what one of them took.
fn filled(fill: impl FnOnce(&WatchManager)) -> (WatchManager, String) {
    let watches = WatchManager::new(1);
    let (bytes, start) = (resident_bytes(), processor_ns());
    fill(&watches);
    let ns = (processor_ns() - start) as f64 / COUNT as f64;
    let bytes = (resident_bytes() - bytes) as f64 / COUNT as f64;
    (watches, format!("{bytes:.0} bytes, {ns:.0} ns each"))
}

fn each(count: u64, mut run: impl FnMut(u64)) -> f64 {
    let start = processor_ns();
    (0..count).for_each(&mut run);
    (processor_ns() - start) as f64 / count as f64
}

fn change(watches: &WatchManager, path: &str) {
    thread_local! {
        static OPEN: Arc<AclList> = {
            let list = vec![Acl::world(31)];
            Arc::new(AclList { raw: RawAcls::from_list(&list), list, world_perms: 31 })
        };
    }
    OPEN.with(|acl| {
        let change = Change {
            kind: ChangeKind::DataChanged,
            path,
            acl,
            parent_acl: None,
        };
        watches.on_change(&change, &mut |conn, _, _, _| {
            black_box(conn);
        });
    });
}

fn resident_bytes() -> i64 {
    number_in("/proc/self/statm", 1) * 4096
}

/// What this thread has run for.
fn processor_ns() -> i64 {
    number_in("/proc/thread-self/schedstat", 0)
}

fn number_in(path: &str, at: usize) -> i64 {
    let text = read_to_string(path).expect("Linux");
    let number = text.split_whitespace().nth(at);
    number.and_then(|number| number.parse().ok()).expect("a number")
}
