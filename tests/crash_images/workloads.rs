//! What servers do with their storage.

use zkserver::ids::{Epoch, Zxid};
use zkserver::prng::Prng;
use zkserver::storage::snapshot_stream::Former;
use zkserver::storage::{Compression, StorageConfig};

use crate::history::{History, version_2};
use crate::machine::{Machine, Recording};

/// A name for the command line, and what to record with a seed.
pub type Workload = (&'static str, fn(u64) -> Recording);

pub const ALL: [Workload; 5] = [
    ("alone", |seed| alone(seed, |_| {})),
    ("gzip", |seed| {
        alone(seed, |config| config.compression = Compression::Gzip)
    }),
    ("snappy", |seed| {
        alone(seed, |config| {
            config.compression = Compression::Snappy;
            config.log_dir = version_2(std::path::Path::new("/log"));
            config.log_size_limit = Some(6000);
        })
    }),
    ("member", member),
    ("epochs", epoch_changes),
];

/// A standalone server: batches, rolls, snapshots, purges, restarts in order and not.
fn alone(seed: u64, change: impl FnOnce(&mut StorageConfig)) -> Recording {
    let mut prng = Prng::new(seed);
    let mut machine = Machine::start(change, History::new(seed, 400), false);
    for _ in 0..4 {
        machine.batch(1 + prng.below(4) as usize);
        machine.roll();
        machine.batch(1 + prng.below(12) as usize);
        machine.snapshot();
        machine.batch(1);
        if prng.below(2) == 0 {
            machine.roll();
        }
        match prng.below(3) {
            0 => machine.restart(),
            1 => machine.kill(),
            _ => machine.purge(),
        }
        // A write or its sync fails.
        machine.batch(1);
        machine.fail_soon(1 + prng.below(2));
        machine.batch(1 + prng.below(3) as usize);
    }
    machine.purge();
    machine.batch(2);
    machine.restart();
    machine.finish()
}

/// The zxids of an epoch from its `first` on.
fn epoch(number: i64, first: u32, count: u32) -> impl Iterator<Item = Zxid> {
    (first..first + count).map(move |counter| Zxid::new(Epoch(number), counter))
}

/// A member of an ensemble: DIFF, broadcast, a tail that is cut, an image that replaces all, the next epochs.
fn member(seed: u64) -> Recording {
    let mut prng = Prng::new(seed);
    let mut any = |max: u64| 1 + prng.below(max) as usize;
    let separate = |config: &mut StorageConfig| config.log_dir = version_2(std::path::Path::new("/log"));
    let change = |config: &mut StorageConfig| {
        if seed.is_multiple_of(2) {
            separate(config);
        }
    };
    let mut machine = Machine::start(change, History::along(seed, epoch(1, 1, 100)), true);
    machine.epochs(1, 0);
    machine.batch(any(6));
    machine.epochs(1, 1);
    machine.batch(any(3));
    machine.roll();
    machine.batch(any(9));
    machine.snapshot();
    machine.batch(any(3));
    machine.close_log();
    // The tail was never committed: the next leader cuts it.
    machine.epochs(2, 1);
    let to = machine.length() - any(2);
    machine.truncate(to, seed + 1, epoch(2, 1, 100));
    machine.batch(any(5));
    machine.epochs(2, 2);
    machine.batch(any(4));
    machine.kill();
    // The leader after that sends an image.
    machine.epochs(3, 2);
    let other = History::along(seed + 2, epoch(1, 1, 30).chain(epoch(3, 1, 100)));
    let former = [Former::Removed, Former::SetAside][any(2) - 1];
    machine.install(other, 30 + any(5), former);
    machine.batch(any(4));
    machine.epochs(3, 3);
    machine.batch(any(3));
    machine.roll();
    machine.batch(any(3));
    let to = machine.length() - any(2);
    machine.snapshot();
    for _ in 0..2 {
        machine.roll();
        machine.batch(any(3));
    }
    machine.epochs(4, 3);
    // Two logs and a snapshot go.
    machine.truncate(to, seed + 3, epoch(4, 1, 50));
    machine.batch(any(5));
    machine.epochs(4, 4);
    machine.epochs(5, 5);
    // An image of less than what is there: all of it was never committed.
    let older = History::along(seed + 4, epoch(1, 1, 60));
    machine.install(older, 10 + any(20), Former::Removed);
    machine.batch(any(3));
    machine.restart();
    machine.finish()
}

/// One epoch after the other in the logs, rolled or not, with restarts between.
fn epoch_changes(seed: u64) -> Recording {
    let mut prng = Prng::new(seed);
    let lengths: Vec<usize> = (0..6).map(|_| 1 + prng.below(6) as usize).collect();
    let zxids = (1..)
        .zip(&lengths)
        .flat_map(|(number, length)| epoch(number, 1, *length as u32));
    // The last epoch goes on for snapshots.
    let zxids = zxids.chain(epoch(7, 1, 100));
    let mut machine = Machine::start(|_| {}, History::along(seed, zxids), true);
    for (number, length) in (1..).zip(&lengths) {
        machine.epochs(number, number - 1);
        machine.batch(*length);
        machine.epochs(number, number);
        match prng.below(4) {
            0 => machine.kill(),
            1 => machine.restart(),
            2 => machine.roll(),
            _ => machine.close_log(),
        }
    }
    machine.epochs(7, 6);
    machine.snapshot();
    machine.epochs(7, 7);
    machine.batch(2);
    machine.finish()
}
