//! Every kind of damage at every place of a data directory: what is served is all of the history, or what is
//! missing was damaged and can have been torn, and what is refused is refused by name and leaves everything
//! as it was. A mark of what was synced leaves no room for the second.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/dir.rs"]
mod dir;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/history.rs"]
mod history;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::ops::Range;
use std::path::{Path, PathBuf};

use dir::Dir;
use history::{config, version_2};
use sim_disk::{SimDisk, Unsynced};
use zkserver::ids::{Epoch, Zxid};
use zkserver::prng::Prng;
use zkserver::storage::epochs::{self, Epochs};
use zkserver::storage::recovery::recover;
use zkserver::storage::{Compression, StorageConfig, data_dir};

/// What happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip {
        at: usize,
        bit: u8,
    },
    Zeros(Range<usize>),
    /// A block that belongs somewhere else, or that was there before.
    Stale {
        at: Range<usize>,
        from: usize,
    },
    Cut(usize),
    Missing,
}

impl Damage {
    /// Everything that may happen to a file of this length: flips all over, blocks of either size wherever
    /// they begin, and cuts.
    fn all(len: usize, prng: &mut Prng) -> Vec<Damage> {
        let mut all = vec![Damage::Missing];
        for at in 0..len {
            let bit = prng.below(8) as u8;
            // Heads, record by record, are short: nothing is left out there.
            if at < 64 || prng.below(12) == 0 {
                all.push(Damage::Flip { at, bit });
            }
            if prng.below(40) == 0 {
                all.push(Damage::Cut(at));
            }
        }
        for block in [512, 4096] {
            for at in (0..len).step_by(block) {
                let at = at..len.min(at + block);
                all.push(Damage::Zeros(at.clone()));
                for _ in 0..3 {
                    let from = prng.below(len.div_ceil(512) as u64) as usize * 512;
                    let at = at.clone();
                    all.push(Damage::Stale { at, from });
                }
            }
        }
        all
    }

    /// Does it; the bytes that are not what they were.
    fn apply(&self, disk: &SimDisk, path: &Path) -> Option<Range<usize>> {
        let before = disk.content(path);
        let mut after = before.clone();
        match self {
            Damage::Flip { at, bit } => after[*at] ^= 1 << bit,
            Damage::Zeros(at) => after[at.clone()].fill(0),
            Damage::Stale { at, from } => {
                for (to, from) in at.clone().zip(*from..before.len()) {
                    after[to] = before[from];
                }
            }
            Damage::Cut(at) => after.truncate(*at),
            Damage::Missing => {
                disk.take(path);
                return Some(0..before.len());
            }
        }
        let len = before.len().max(after.len());
        let differs = |at: &usize| before.get(*at) != after.get(*at);
        let first = (0..len).find(differs)?;
        let last = (0..len).rfind(differs)?;
        disk.put(path, after);
        Some(first..last + 1)
    }
}

/// How often there was which end.
#[derive(Debug, Default)]
struct Counts {
    whole: usize,
    torn: usize,
    refused: usize,
}

/// Damages each file of a directory in every way.
fn everywhere(make: impl Fn() -> Dir, names: &[&str], is_marked: bool, counts: &mut Counts) {
    let mut prng = Prng::new(5);
    let disk = make().disk.restart(Unsynced::Kept);
    let original = make();
    let offsets = original.offsets("log.29");
    for name in names {
        let path = original.path(name);
        for damage in Damage::all(disk.content(&path).len(), &mut prng) {
            let dir = Dir {
                disk: disk.restart(Unsynced::Kept),
                ..original.clone()
            };
            let Some(range) = damage.apply(&dir.disk, &path) else {
                continue;
            };
            let context = format!("{name}: {damage:?}, marked {is_marked}");
            judge(&dir, name, &damage, range, &offsets, is_marked, &context, counts);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "all that is known of one case")]
fn judge(
    dir: &Dir,
    name: &str,
    damage: &Damage,
    range: Range<usize>,
    offsets: &[usize],
    is_marked: bool,
    context: &str,
    counts: &mut Counts,
) {
    let before = contents(&dir.disk);
    let recovered = match dir.recover() {
        Ok(recovered) => recovered,
        Err(error) => {
            let text = error.to_string();
            // Logs alone are for the operator to judge.
            let is_missing = text.contains("are missing") || text.contains("but no snapshot");
            assert!(
                error.is_damage() || text.contains("but no snapshot"),
                "{context}: {text}"
            );
            assert!(text.contains("estore"), "{context} says not what to do: {text}");
            assert!(
                text.contains(name) || is_missing,
                "{context} is not named: {text}"
            );
            assert!(contents(&dir.disk) == before, "{context}: something was changed");
            counts.refused += 1;
            return;
        }
    };
    let last = recovered.last_zxid.0 as usize;
    dir.history
        .assert_state(&recovered.tree, last, &|| context.into());
    let again = recover(&dir.disk.restart(Unsynced::Lost), &dir.config, 7).unwrap();
    assert_eq!(again.last_zxid, recovered.last_zxid, "{context}");
    if last == LAST {
        counts.whole += 1;
        return;
    }
    // The records of the newest log are 29 and 2a: each that is gone was damaged, and none behind it is
    // whole.
    assert!(!is_marked && name == "log.29", "{context}: silently {last:#x}");
    let is_missing = matches!(damage, Damage::Missing);
    for number in last + 1..=LAST {
        let record = offsets[number - 0x29]..offsets[number - 0x28];
        let is_hit = range.start < record.end && record.start < range.end;
        let is_headless = range.start < 16;
        assert!(
            is_missing || is_hit || is_headless,
            "{context}: {number:#x} was whole"
        );
    }
    counts.torn += 1;
}

fn contents(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = disk.paths().into_iter();
    paths.map(|path| (path.clone(), disk.content(&path))).collect()
}

const LOGS: [&str; 5] = ["log.1", "log.8", "log.14", "log.1f", "log.29"];

#[test]
fn no_damage_to_a_log_is_taken_for_its_end_once_it_was_synced() {
    let mut counts = Counts::default();
    everywhere(|| Dir::with(config(Path::new("/data"))), &LOGS, true, &mut counts);
    println!("{counts:?}");
    assert!(
        counts.torn == 0 && counts.refused > 500 && counts.whole > 500,
        "{counts:?}"
    );
}

#[test]
fn without_a_mark_only_the_end_of_the_newest_log_can_be_torn() {
    let mut counts = Counts::default();
    everywhere(Dir::new, &LOGS, false, &mut counts);
    println!("{counts:?}");
    assert!(counts.torn > 50 && counts.refused > 500, "{counts:?}");
}

#[test]
fn no_damage_to_a_snapshot_is_served() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let make = || {
            Dir::with(StorageConfig {
                compression,
                ..config(Path::new("/data"))
            })
        };
        let mut counts = Counts::default();
        let names = ["snapshot.27", "snapshot.1d"].map(|name| format!("{name}{}", compression.suffix()));
        everywhere(make, &names.each_ref().map(String::as_str), true, &mut counts);
        assert!(
            counts.whole > 200 && counts.torn + counts.refused == 0,
            "{counts:?}"
        );
        // Without the logs behind the older ones there is nothing else.
        let make = || {
            let dir = make();
            for name in ["snapshot.0", "snapshot.6", "snapshot.12", "snapshot.1d"] {
                dir.disk
                    .take(&dir.path(&format!("{name}{}", compression.suffix())));
            }
            dir
        };
        let mut counts = Counts::default();
        everywhere(make, &[&names[0]], true, &mut counts);
        println!("{compression:?} {counts:?}");
        assert!(counts.refused > 100, "{counts:?}");
    }
}

#[test]
fn no_damage_to_the_mark_or_the_ends_matters() {
    let mut counts = Counts::default();
    let make = || Dir::with(config(Path::new("/data")));
    everywhere(make, &["zkserver.synced", "zkserver.ends"], true, &mut counts);
    assert!(
        counts.whole > 20 && counts.torn + counts.refused == 0,
        "{counts:?}"
    );
}

#[test]
fn no_damage_to_an_epoch_file_takes_a_promise_back() {
    let dir = version_2(Path::new("/data"));
    let config = config(Path::new("/data"));
    let (mut served, mut refused) = (0, 0);
    for (accepted, current) in [(12, 12), (12, 11), (1, 0), (1000, 999)] {
        let epochs = Epochs {
            accepted: Epoch(accepted),
            current: Epoch(current),
        };
        let last = Zxid::new(Epoch(current), 7);
        let original = SimDisk::default();
        drop(data_dir::open(&original, &config).unwrap());
        epochs::load(&original, &dir, Zxid::ZERO).unwrap();
        epochs::save(&original, &dir, Epochs::default(), epochs).unwrap();
        let (loaded, _) = epochs::load(&original, &dir, last).unwrap();
        assert_eq!(loaded, epochs);
        for name in ["acceptedEpoch", "currentEpoch", "zkserver.epochs"] {
            let path = dir.join(name);
            let len = original.content(&path).len();
            let flips = (0..len).flat_map(|at| (0..8).map(move |bit| Damage::Flip { at, bit }));
            let cuts = (0..len).map(Damage::Cut);
            for damage in flips.chain(cuts).chain([Damage::Zeros(0..len), Damage::Missing]) {
                let disk = original.restart(Unsynced::Kept);
                damage.apply(&disk, &path);
                // Beside damaged logs nothing else tells what was promised.
                let beside_damage = epochs::load_beside_damage(&disk, &dir);
                let ends = [
                    epochs::load(&disk, &dir, last).map(|found| found.0),
                    beside_damage,
                ];
                for end in ends {
                    match end {
                        Ok(found) => {
                            let context = format!("{epochs:?} {name} {damage:?}: {found:?}");
                            assert!(found.accepted >= epochs.accepted, "{context}");
                            // Between a promise and its keeping a flip may look like the keeping.
                            let is_kept = found.current == found.accepted && name == "currentEpoch";
                            assert!(found.current == epochs.current || is_kept, "{context}");
                            served += 1;
                        }
                        Err(error) => {
                            assert!(error.to_string().contains(name), "{error}");
                            refused += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{served} served, {refused} refused");
    assert!(served > 100 && refused > 100);
}

const LAST: usize = 0x2a;
