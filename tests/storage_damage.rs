//! What becomes of a directory that is damaged, row by row: served without loss, or refused by name and
//! place. `support/dir.rs` says what the undamaged directory holds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/dir.rs"]
mod dir;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/history.rs"]
mod history;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::path::{Path, PathBuf};

use dir::Dir;
use history::{History, config, version_2};
use sim_disk::{SimDisk, Unsynced};
use zkserver::ids::{Epoch, Zxid};
use zkserver::storage::log_range::read_range;
use zkserver::storage::log_truncate::truncate;
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::record::Damage;
use zkserver::storage::recovery::recover;
use zkserver::storage::snapshot_stream::Former;
use zkserver::storage::{Compression, StorageConfig, data_dir, purge, snapshot_stream, snapshot_writer};
use zkserver::tree::DataTree;

#[test]
fn an_undamaged_directory_is_read_from_its_newest_snapshot() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let dir = Dir::with(StorageConfig {
            compression,
            ..config(Path::new("/data"))
        });
        let recovered = dir.serves(0x2a);
        assert_eq!(recovered.report.snapshot.unwrap().zxid, Zxid(0x27));
        assert_eq!(recovered.report.txns_replayed, 3);
        assert_eq!(recovered.report.warnings, [""; 0]);
        assert_eq!(recovered.report.digest_mismatches, 0);
    }
}

#[test]
fn reads_that_return_little_or_are_interrupted_change_nothing() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let dir = Dir::with(StorageConfig {
            compression,
            ..config(Path::new("/data"))
        });
        dir.disk.set_choppy();
        assert!(dir.serves(0x2a).report.warnings.is_empty());
    }
}

#[test]
fn a_log_that_is_cut_ends_before_the_cut() {
    let offsets = Dir::new().offsets("log.29");
    for (cut, last) in [
        (offsets[1] + 30, 0x29),
        (offsets[1] + 5, 0x29),
        (offsets[2] - 1, 0x29),
        (offsets[0] + 30, 0x28),
        (22, 0x28),
    ] {
        let dir = Dir::new();
        dir.edit("log.29", |content| content.truncate(cut));
        let torn = dir.serves(last).report.torn.unwrap();
        assert_eq!(torn.damage, Damage::CutShort);
    }
}

#[test]
fn a_bad_last_record_is_a_torn_tail() {
    for at in [2, 9, 11, 30, 100] {
        let dir = Dir::new();
        let last = dir.offsets("log.29")[1];
        dir.edit("log.29", |content| content[last + at] ^= 0x41);
        let torn = dir.serves(0x29).report.torn.unwrap();
        assert_eq!(torn.offset, last as u64);
        assert!(torn.bytes > 0);
    }
    let dir = Dir::new();
    let end = dir.offsets("log.29")[2];
    dir.edit("log.29", |content| content[end - 1] = 0);
    assert_eq!(dir.serves(0x29).report.torn.unwrap().damage, Damage::Mark(0));
}

#[test]
fn a_record_that_was_synced_is_never_cut() {
    for at in [2, 9, 30] {
        let dir = Dir::with(config(Path::new("/data")));
        let last = dir.offsets("log.29")[1];
        dir.edit("log.29", |content| content[last + at] ^= 0x41);
        dir.refuses("acknowledged ones would be lost");
    }
    let dir = Dir::with(config(Path::new("/data")));
    let last = dir.offsets("log.29")[1];
    dir.edit("log.29", |content| content.truncate(last));
    dir.refuses("transactions were synced up to offset");
}

#[test]
fn a_bad_record_before_a_good_one_is_refused() {
    let offsets = Dir::new().offsets("log.29");
    let (first, second) = (offsets[0], offsets[1]);
    for at in [
        first + 2,
        first + 6,
        first + 9,
        first + 11,
        first + 12,
        first + 40,
        second - 1,
    ] {
        let dir = Dir::new();
        dir.edit("log.29", |content| content[at] ^= 0x41);
        let error = dir.refuses("/data/version-2/log.29 is damaged at offset 16");
        assert!(
            error
                .to_string()
                .contains("last good transaction before it is 0x28; 0x2a is at offset")
        );
    }
    for length in [
        [0xff; 4],
        [0x7f, 0xff, 0xff, 0xff],
        [0, 0x30, 0, 0],
        [0, 0x10, 0, 0],
        [0; 4],
    ] {
        let dir = Dir::new();
        dir.edit("log.29", |content| {
            content[first + 8..][..4].copy_from_slice(&length)
        });
        dir.refuses("/data/version-2/log.29 is damaged at offset 16");
    }
    let dir = Dir::new();
    dir.edit("log.29", |content| content[first..second].fill(0));
    dir.refuses("data behind the end of the log");
}

#[test]
fn a_length_beyond_the_file_does_not_hide_the_rest_of_an_epoch() {
    let zxid = |epoch, counter| Zxid::new(Epoch(epoch), counter);
    let zxids = (1..=5)
        .map(|counter| zxid(1, counter))
        .chain([zxid(2, 1), zxid(2, 2)]);
    let dir = Dir::new();
    let (disk, history) = (SimDisk::default(), History::along(3, zxids));
    drop(data_dir::open(&disk, &dir.config).unwrap());
    recover(&disk, &dir.config, 7).unwrap();
    let mut log = LogWriter::new(disk.clone(), &dir.config);
    for number in 1..=history.len() {
        if number == 6 {
            log.roll();
        }
        log.append(history.zxid(number), history.txn(number));
    }
    log.close().unwrap();
    let dir = Dir { disk, history, ..dir };
    let third = dir.offsets("log.100000001")[2];
    dir.edit("log.100000001", |content| content[third + 9] |= 1);
    let error = dir.refuses("log.100000001 is damaged at offset");
    assert!(error.is_damage());
    // Without anything behind it, it is what a crash leaves, and Apache's servers do not cut.
    let end = dir.offsets("log.200000001")[0];
    assert_eq!(end, 16);
    dir.edit("log.100000001", |content| content.truncate(third + 20));
    dir.refuses("zkserver.ends");
    dir.disk.take(&dir.path("zkserver.ends"));
    assert_eq!(dir.recover().unwrap().last_zxid, zxid(2, 2));
}

#[test]
fn damage_in_an_older_log_is_refused_if_the_log_is_needed() {
    let at = Dir::new().offsets("log.1f")[4] + 20;
    let dir = Dir::new();
    dir.edit("log.1f", |content| content[at] ^= 1);
    dir.refuses("/data/version-2/log.1f is damaged");
    let dir = Dir::new();
    let end = *dir.offsets("log.1f").last().unwrap();
    dir.edit("log.1f", |content| content[end - 1] ^= 1);
    dir.refuses("/data/version-2/log.1f is damaged");
    let dir = Dir::new();
    dir.edit("log.1", |content| content[30] ^= 1);
    dir.serves(0x2a);
}

#[test]
fn a_newest_log_without_records_is_removed() {
    let header = [0x5a, 0x4b, 0x4c, 0x47, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    for content in [vec![], header[..8].to_vec(), header.to_vec(), vec![0; 4096]] {
        let dir = Dir::new();
        dir.disk.put(&dir.path("log.2b"), content);
        let report = dir.serves(0x2a).report;
        assert_eq!(report.removed_logs, [dir.path("log.2b")]);
    }
}

#[test]
fn a_log_that_is_missing_is_a_gap() {
    let dir = Dir::new();
    dir.disk.take(&dir.path("log.1f"));
    dir.refuses("log.29 goes on with transaction 0x29 at offset 16, but the one before it is 0x27");
    let dir = Dir::new();
    dir.edit("log.1f", Vec::clear);
    dir.refuses("log.1f is damaged at offset 0: no transaction log header");
    let dir = Dir::new();
    dir.disk.take(&dir.path("log.14"));
    ["snapshot.1d", "snapshot.27"]
        .iter()
        .for_each(|name| dir.disk.take(&dir.path(name)));
    dir.refuses("log.1f goes on with transaction 0x1f at offset 16, but the one before it is 0x13");
}

#[test]
fn a_log_needs_its_magic_but_not_its_version() {
    let dir = Dir::new();
    dir.edit("log.29", |content| content[0] = 0);
    dir.refuses("/data/version-2/log.29 is damaged at offset 0: no transaction log header");
    let dir = Dir::new();
    dir.edit("log.29", |content| content[7] = 7);
    dir.serves(0x2a);
}

#[test]
fn logs_without_a_snapshot_need_a_word_of_the_operator() {
    let snapshots = [
        "snapshot.0",
        "snapshot.6",
        "snapshot.12",
        "snapshot.1d",
        "snapshot.27",
    ];
    let dir = Dir::new();
    snapshots.iter().for_each(|name| dir.disk.take(&dir.path(name)));
    dir.refuses("snapshot.trust.empty=true");
    let config = StorageConfig {
        trust_empty_snapshot: true,
        ..dir.config.clone()
    };
    let dir = Dir { config, ..dir };
    let report = dir.serves(0x2a).report;
    assert_eq!(report.txns_replayed, 0x2a);
    assert_eq!(report.snapshot_written.unwrap().path, dir.path("snapshot.2a"));
    // Logs that hold nothing need no snapshot.
    let dir = Dir::new();
    dir.disk.paths().iter().for_each(|path| dir.disk.take(path));
    dir.disk.put(&dir.path("log.1"), Vec::new());
    assert_eq!(dir.recover().unwrap().last_zxid, Zxid(0));
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before_it() {
    let len = Dir::new().disk.content(&Dir::new().path("snapshot.27")).len();
    for at in [
        0,
        7,
        17,
        60,
        len / 2,
        len - 60,
        len - 45,
        len - 20,
        len - 6,
        len - 1,
    ] {
        let dir = Dir::new();
        dir.edit("snapshot.27", |content| content[at] ^= 0x10);
        let report = dir.serves(0x2a).report;
        assert_eq!(report.snapshot.unwrap().zxid, Zxid(0x1d));
        assert_eq!(report.txns_replayed, 13);
        assert!(
            report.warnings[0].contains("snapshot.27 cannot be used"),
            "{:?}",
            report.warnings
        );
    }
    for cut in (0..len).step_by(97) {
        let dir = Dir::new();
        dir.edit("snapshot.27", |content| content.truncate(cut));
        assert_eq!(dir.serves(0x2a).report.snapshot.unwrap().zxid, Zxid(0x1d));
    }
    // The older one must lead at least as far.
    let dir = Dir::new();
    dir.edit("snapshot.27", |content| content[60] ^= 1);
    ["log.1f", "log.29"]
        .iter()
        .for_each(|name| dir.disk.take(&dir.path(name)));
    dir.refuses("transaction 0x27, with which it ends, is not in the logs");
    // And there must be one.
    let dir = Dir::new();
    for name in [
        "snapshot.0",
        "snapshot.6",
        "snapshot.12",
        "snapshot.1d",
        "snapshot.27",
    ] {
        dir.edit(name, |content| content[17] ^= 0x40);
    }
    dir.refuses("none of the snapshots in /data/version-2 can be used");
}

#[test]
fn sections_are_told_by_what_is_left() {
    let reference = Dir::new();
    let content = reference.disk.content(&reference.path("snapshot.27"));
    let bare = content.len() - 54;
    let mut only_zxid = content[..bare].to_vec();
    only_zxid.extend_from_slice(&0x27_i64.to_be_bytes());
    let sum = i64::from(simd_adler32::adler32(&only_zxid.as_slice()));
    only_zxid.extend_from_slice(&sum.to_be_bytes());
    only_zxid.extend_from_slice(&[0, 0, 0, 1, b'/']);
    for content in [
        content[..bare].to_vec(),
        content[..content.len() - 21].to_vec(),
        only_zxid,
    ] {
        let dir = Dir::new();
        dir.disk.put(&dir.path("snapshot.27"), content);
        assert_eq!(dir.serves(0x2a).report.snapshot.unwrap().zxid, Zxid(0x27));
    }
    for digest_enabled in [false, true] {
        let dir = Dir::with(StorageConfig {
            digest_enabled,
            ..reference.config.clone()
        });
        dir.serves(0x2a);
    }
}

#[test]
fn names_with_a_suffix_are_left_alone() {
    let dir = Dir::new();
    dir.disk
        .put(&dir.path("log.29.bak"), dir.disk.content(&dir.path("log.1")));
    dir.disk.put(&dir.path("log.1f.gz"), vec![0x1f, 0x8b]);
    dir.disk.put(
        &dir.path("snapshot.30.tmp"),
        dir.disk.content(&dir.path("snapshot.27")),
    );
    let report = dir.serves(0x2a).report;
    assert_eq!(report.warnings.len(), 3);
    assert!(report.warnings[0].contains("/data/version-2/log.1f.gz is not named like"));
}

#[test]
fn a_wrong_digest_is_counted_and_named() {
    let dir = Dir::new();
    let last = *dir.history.txn(0x2a).last().unwrap();
    let offsets = dir.offsets("log.29");
    dir.edit("log.29", |content| {
        content[offsets[2] - 2] = last ^ 1;
        let sum = simd_adler32::adler32(&&content[offsets[1] + 12..offsets[2] - 1]);
        content[offsets[1] + 4..][..4].copy_from_slice(&sum.to_be_bytes());
    });
    let report = dir.serves(0x2a).report;
    assert_eq!(report.digest_mismatches, 1);
    assert_eq!(report.first_digest_mismatch.unwrap().zxid, Zxid(0x2a));
}

#[test]
fn files_in_the_wrong_directory_and_a_second_server_are_refused() {
    let config = StorageConfig {
        log_dir: version_2(Path::new("/log")),
        ..config(Path::new("/data"))
    };
    let disk = SimDisk::default();
    let held = data_dir::open(&disk, &config).unwrap();
    let error = data_dir::open(&disk, &config).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("another server holds /data/zkserver.lock"),
        "{error}"
    );
    drop(held);
    disk.put(&config.snap_dir.join("log.99"), Vec::new());
    let error = data_dir::open(&disk, &config).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/data/version-2 holds log.99, which belongs into /log/version-2")
    );
    disk.take(&config.snap_dir.join("log.99"));
    disk.put(&config.log_dir.join("snapshot.99"), Vec::new());
    assert!(data_dir::open(&disk, &config).is_err());
    let missing = StorageConfig {
        autocreate: false,
        ..config
    };
    assert!(matches!(
        data_dir::open(&SimDisk::default(), &missing),
        Err(data_dir::DataDirError::Missing(_))
    ));
}

#[test]
fn a_purge_keeps_three_good_snapshots_and_their_logs() {
    let names = |dir: &Dir| -> Vec<String> {
        let names = dir
            .disk
            .paths()
            .into_iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().into());
        names.filter(|name: &String| name != "zkserver.lock").collect()
    };
    let dir = Dir::new();
    let purged = purge::purge(&dir.disk, &dir.config, 0).unwrap();
    assert_eq!(
        purged.removed,
        ["snapshot.0", "snapshot.6", "log.1"].map(|name| dir.path(name))
    );
    dir.serves(0x2a);
    assert_eq!(
        purge::purge(&dir.disk, &dir.config, 3).unwrap().removed,
        [""; 0].map(PathBuf::from)
    );
    // A damaged one does not count.
    let dir = Dir::new();
    dir.edit("snapshot.1d", |content| content[70] ^= 1);
    let purged = purge::purge(&dir.disk, &dir.config, 3).unwrap();
    assert_eq!(purged.removed, [dir.path("snapshot.0")]);
    assert_eq!(purged.damaged[0].0, dir.path("snapshot.1d"));
    for name in ["snapshot.12", "snapshot.27"] {
        dir.edit(name, |content| content[70] ^= 1);
    }
    assert_eq!(dir.serves(0x2a).report.snapshot.unwrap().zxid, Zxid(6));
    let before = names(&dir);
    assert_eq!(
        purge::purge(&dir.disk, &dir.config, 3).unwrap().removed,
        [""; 0].map(PathBuf::from)
    );
    assert_eq!(names(&dir), before);
}

#[test]
fn a_tree_of_apaches_worked_example_is_written_and_read() {
    let mut tree = DataTree::new(7);
    let dir = Dir::new();
    let file = snapshot_writer::write_tree(&dir.disk, &dir.config, &mut tree).unwrap();
    // A fresh server's: 478 bytes.
    assert_eq!(dir.disk.content(&file.path).len(), 478);
}

/// How a log is finished.
#[derive(Clone, Copy, Debug)]
enum Finish {
    Roll,
    Close,
    /// The process is killed, and the next one recovers.
    Recovery,
}

/// Four transactions in each of three epochs, each epoch in a log of its own.
fn three_epochs(finish: Finish) -> Dir {
    let zxids = (0..3).flat_map(|epoch| (1..=4).map(move |counter| Zxid::new(Epoch(epoch), counter)));
    let (config, history) = (config(Path::new("/data")), History::along(9, zxids));
    let disk = SimDisk::default();
    drop(data_dir::open(&disk, &config).unwrap());
    recover(&disk, &config, 7).unwrap();
    let mut log = LogWriter::new(disk.clone(), &config);
    for number in 1..=history.len() {
        log.append(history.zxid(number), history.txn(number));
        if number % 4 == 0 {
            log.sync().unwrap();
            match finish {
                Finish::Roll => log.roll(),
                Finish::Close => {
                    log.close().unwrap();
                    log = LogWriter::new(disk.clone(), &config);
                }
                Finish::Recovery => {
                    recover(&disk, &config, 7).unwrap();
                    log = LogWriter::new(disk.clone(), &config);
                }
            }
        }
    }
    log.sync().unwrap();
    Dir {
        disk,
        config,
        history,
    }
}

/// How many transactions behind the first one a learner would be sent, if any.
fn handed_out(dir: &Dir) -> Option<usize> {
    let (first, last) = (dir.history.zxid(1), dir.history.zxid(dir.history.len()));
    let entries = read_range(&dir.disk, &dir.config, first, last, u64::MAX).unwrap();
    entries.map(|entries| entries.len())
}

#[test]
fn a_tail_that_is_lost_before_a_later_epoch_is_damage() {
    for finish in [Finish::Roll, Finish::Close, Finish::Recovery] {
        assert_eq!(handed_out(&three_epochs(finish)), Some(11));
        let undamaged = three_epochs(finish).recover().unwrap();
        assert_eq!(undamaged.last_zxid, Zxid::new(Epoch(2), 4));
        for name in ["log.1", "log.100000001"] {
            let offsets = three_epochs(finish).offsets(name);
            for &at in &offsets[..4] {
                let cut = |content: &mut Vec<u8>| content.truncate(at);
                let zero = |content: &mut Vec<u8>| content[at..].fill(0);
                let flip = |content: &mut Vec<u8>| content[at + 20] ^= 1;
                for damage in [&cut as &dyn Fn(&mut Vec<u8>), &zero, &flip] {
                    let dir = three_epochs(finish);
                    dir.edit(name, damage);
                    assert_eq!(handed_out(&dir), None, "{name} from {at} on");
                    let error = dir.refuses(&format!("{name} is damaged at offset {at} "));
                    let text = error.to_string();
                    assert!(error.is_damage(), "{text}");
                    let end = format!("at offset {}, as zkserver.ends", offsets[4]);
                    assert!(
                        text.contains(&end) && text.contains("remove zkserver.ends"),
                        "{text}"
                    );
                }
            }
        }
        let dir = three_epochs(finish);
        dir.disk.take(&dir.path("log.100000001"));
        assert_eq!(handed_out(&dir), None);
        let error = dir.refuses("log.100000001 is missing: it ended with transaction 0x100000004");
        assert!(error.is_damage());
    }
}

#[test]
fn logs_that_nothing_is_known_of_are_read_as_they_are() {
    // As Apache leaves them: nothing tells this hole from the end of an epoch.
    let dir = three_epochs(Finish::Roll).without_mark();
    let at = dir.offsets("log.1")[3];
    dir.edit("log.1", |content| content.truncate(at));
    assert_eq!(handed_out(&dir), None);
    let report = dir.recover().unwrap().report;
    assert_eq!(report.txns_replayed, 11);
    // From here on it is known where the newest log ends.
    let newest = "log.200000001";
    let at = dir.offsets(newest)[3];
    dir.edit(newest, |content| content.truncate(at));
    dir.refuses("zkserver.ends");
    // A line that is damaged counts for nothing.
    dir.edit("zkserver.ends", |content| content[0] ^= 1);
    assert_eq!(dir.recover().unwrap().last_zxid, Zxid::new(Epoch(2), 3));
}

#[test]
fn what_is_cut_or_replaced_on_purpose_is_not_missed() {
    for number in 1..=11 {
        let Dir {
            disk,
            config,
            history,
        } = three_epochs(Finish::Close);
        let to = history.zxid(number);
        assert_eq!(truncate(&disk, &config, to, 7).unwrap().last_zxid, to);
        let mut log = LogWriter::new(disk.clone(), &config);
        log.append(Zxid::new(Epoch(7), 1), history.txn(number + 1));
        log.close().unwrap();
        // The logs before the cut are still watched.
        let dir = Dir {
            disk: disk.restart(Unsynced::Lost),
            config,
            history,
        };
        let at = dir.offsets("log.1")[number.min(4) - 1];
        dir.edit("log.1", |content| content.truncate(at));
        dir.refuses("log.1 is damaged");
    }
    let dir = three_epochs(Finish::Close);
    let mut tree = dir.history.tree(6);
    snapshot_stream::install(&dir.disk, &dir.config, &mut tree, Former::Removed).unwrap();
    let recovered = recover(&dir.disk.restart(Unsynced::Lost), &dir.config, 7).unwrap();
    assert_eq!(recovered.last_zxid, dir.history.zxid(6));
}

#[test]
fn where_purged_logs_ended_is_forgotten() {
    let ends = |dir: &Dir| String::from_utf8(dir.disk.content(&dir.path("zkserver.ends"))).unwrap();
    let dir = Dir::with(config(Path::new("/data")));
    assert_eq!(ends(&dir).lines().count(), 4);
    purge::purge(&dir.disk, &dir.config, 3).unwrap();
    dir.serves(0x2a);
    let names: Vec<String> = ends(&dir)
        .lines()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["8", "14", "1f", "29"]);
}
