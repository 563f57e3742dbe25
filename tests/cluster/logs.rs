//! The one log that the members agreed on, from the log files of all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::model::log_file;
use crate::wire::{self, op};

/// zxid -> header, record, perhaps digest.
pub type Log = BTreeMap<i64, Vec<u8>>;

/// All that the log files below a folder hold. A file may be there more than once.
fn member(folder: &Path, log: &mut Log, exact: bool) -> Result<(), String> {
    let name = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(name)? {
        let path = entry.map_err(name)?.path();
        if path.is_dir() {
            member(&path, log, exact)?;
        } else if path.file_stem().is_some_and(|stem| stem == "log") {
            let bytes = fs::read(&path).map_err(name)?;
            let whole = !bytes.is_empty();
            let txns = if whole {
                log_file::read_log(&bytes)
            } else {
                Ok(Vec::new())
            };
            for txn in txns.map_err(|error| format!("{}: {error}", path.display()))? {
                put(log, zxid(&txn)?, txn, exact).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn zxid(txn: &[u8]) -> Result<i64, String> {
    let bytes = txn.get(12..20).and_then(|bytes| bytes.try_into().ok());
    Ok(i64::from_be_bytes(bytes.ok_or("a record without a header")?))
}

/// One zxid has one record. If not `exact`: of a multi that failed, Apache's servers change the operations
/// while they are applied.
fn put(log: &mut Log, zxid: i64, txn: Vec<u8>, exact: bool) -> Result<(), String> {
    match log.get(&zxid) {
        Some(known) if *known != txn && (exact || comparable(known) != comparable(&txn)) => {
            let hex = crate::history::hex;
            Err(format!("I2: zxid {zxid:x} is {} and {}", hex(known), hex(&txn)))
        }
        Some(_) => Ok(()),
        None => {
            log.insert(zxid, txn);
            Ok(())
        }
    }
}

/// A record without the operations of a multi that failed: the errors stay in the digest behind them.
fn comparable(txn: &[u8]) -> Option<Vec<u8>> {
    let (head, mut rest) = txn.split_at_checked(36)?;
    if head[28..32] != op::MULTI.to_be_bytes() {
        return Some(txn.to_vec());
    }
    let count = i32::from_be_bytes(head[32..36].try_into().ok()?);
    let mut has_failed = false;
    for _ in 0..count {
        let mut part = wire::In(rest);
        has_failed |= part.int().ok()? == -1;
        part.buffer().ok()?;
        rest = part.0;
    }
    let kept = if has_failed { rest } else { &txn[36..] };
    Some([head, kept].concat())
}

/// What was committed, and what a log holds that was not.
pub struct Merged {
    pub log: Log,
    /// Written by leaders that lost their epoch before a quorum had it.
    pub given_up: Vec<i64>,
}

/// Merges the logs of all members. `shown` are zxids of replies: each was committed. `ends` are what leaders
/// had when a quorum began to follow them: of the epoch before, that was committed. Where no leader is known
/// it decides what most of those who went on to the next epoch have.
pub fn merge(folders: &[String], shown: &[i64], ends: &[i64], exact: bool) -> Result<Merged, String> {
    let mut logs = Vec::new();
    let mut all = Log::new();
    for folder in folders {
        let mut log = Log::new();
        member(Path::new(folder), &mut log, exact)?;
        for (zxid, txn) in &log {
            put(&mut all, *zxid, txn.clone(), exact)?;
        }
        logs.push(log);
    }
    let mut epochs: Vec<i64> = all.keys().map(|zxid| zxid >> 32).collect();
    epochs.dedup();
    let mut given_up = Vec::new();
    for pair in epochs.windows(2) {
        let known = ends.iter().filter(|end| **end >> 32 == pair[0]).max();
        let last = known
            .copied()
            .unwrap_or_else(|| end_of(pair[0], pair[1], &logs, shown));
        given_up.extend(all.range(last + 1..pair[1] << 32).map(|(zxid, _)| *zxid));
    }
    for zxid in &given_up {
        all.remove(zxid);
    }
    without_holes(&all)?;
    Ok(Merged { log: all, given_up })
}

fn end_of(epoch: i64, next: i64, logs: &[Log], shown: &[i64]) -> i64 {
    let within = |zxid: &&i64| **zxid >> 32 == epoch;
    let shown = shown.iter().filter(within).max().copied().unwrap_or(epoch << 32);
    let mut votes: BTreeMap<i64, usize> = BTreeMap::new();
    for log in logs {
        let last = log.range(epoch << 32..next << 32).next_back();
        let goes_on = log
            .range(next << 32..)
            .next()
            .is_some_and(|(zxid, _)| *zxid == next << 32 | 1);
        if let Some((last, _)) = last.filter(|_| goes_on) {
            *votes.entry(*last).or_default() += 1;
        }
    }
    let most = votes
        .iter()
        .filter(|(last, _)| **last >= shown)
        .max_by_key(|(last, count)| (**count, std::cmp::Reverse(**last)));
    let longest = logs.iter().filter_map(|log| log.range(..next << 32).next_back());
    most.map(|(last, _)| *last)
        .or_else(|| longest.map(|(zxid, _)| *zxid).max())
        .unwrap_or(shown)
}

/// Inside an epoch every zxid follows the one before.
fn without_holes(log: &Log) -> Result<(), String> {
    let mut before = 0;
    for zxid in log.keys() {
        let is_first = zxid >> 32 > before >> 32 && zxid & 0xffff_ffff == 1;
        if !is_first && *zxid != before + 1 {
            return Err(format!(
                "I4: {zxid:x} follows {before:x} in the logs of all members"
            ));
        }
        before = *zxid;
    }
    Ok(())
}
