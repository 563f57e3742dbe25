//! Reads a part of the history for a learner that is too far behind for memory
//! (ZKDatabase.getProposalsFromTxnLog).
//!
//! Only what is proven to be without a gap is handed out; in doubt the learner gets a snapshot.

use bytes::Bytes;

use super::StorageConfig;
use super::data_dir;
use super::disk::{Disk, DiskError};
use super::log_ends::LogEnds;
use super::log_reader::{LogReader, Step};
use crate::ids::Zxid;
use crate::zab::{LogEntry, follows};

/// Every transaction behind `after` up to `upto`, both of which must be in the log; `None` if the log does
/// not hold them all, or if they are more than `bytes_max`.
///
/// A snapshot within the range whose transaction is not in the log came from elsewhere: what the log holds
/// before it may be a history that was given up. Numbers show a gap within an epoch only; where an epoch
/// ends with its file, only the file's known end shows that nothing is lost behind it.
pub fn read_range<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    after: Zxid,
    upto: Zxid,
    bytes_max: u64,
) -> Result<Option<Vec<LogEntry>>, DiskError> {
    let listing = data_dir::list(disk, config)?;
    let ends = LogEnds::load(disk, &config.log_dir)?;
    let first = listing.logs.partition_point(|log| log.zxid <= after);
    let mut entries: Vec<LogEntry> = Vec::new();
    let mut bytes = 0;
    let mut last: Option<Zxid> = None;
    let mut is_ended = true;
    for log in listing.logs.iter().skip(first.saturating_sub(1)) {
        if last == Some(upto) {
            break;
        }
        let mut reader = LogReader::open(disk, &log.path, config.record_bytes_max)?;
        let mut is_first = true;
        while let Step::Record { zxid, body, .. } = reader.next_record()? {
            let is_behind_file = std::mem::take(&mut is_first);
            if zxid < after {
                continue;
            }
            let Some(before) = last.replace(zxid) else {
                if zxid != after {
                    return Ok(None);
                }
                continue;
            };
            bytes += body.len() as u64;
            let is_proven =
                follows(before, zxid) && (!is_behind_file || is_ended || before.epoch() == zxid.epoch());
            if !is_proven || zxid > upto || bytes > bytes_max {
                return Ok(None);
            }
            let encoded = Bytes::copy_from_slice(body);
            entries.push(LogEntry { zxid, encoded });
            if zxid == upto {
                break;
            }
        }
        is_ended = ends.of(log.zxid).is_some_and(|end| Some(end.last) == last);
    }
    let is_foreign = |zxid: Zxid| {
        let is_within = zxid > after && zxid <= upto;
        is_within && entries.binary_search_by_key(&zxid, |entry| entry.zxid).is_err()
    };
    let is_whole = last == Some(upto)
        && ends
            .missing(&listing.logs, after)
            .is_none_or(|end| end.log > upto);
    let is_proven = is_whole && !listing.snapshots.iter().any(|file| is_foreign(file.zxid));
    Ok(is_proven.then_some(entries))
}
