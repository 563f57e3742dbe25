//! Reads a part of the history for a learner that is too far behind for memory
//! (ZKDatabase.getProposalsFromTxnLog).
//!
//! Only what is proven to be without a gap is handed out; in doubt the learner gets a snapshot.

use bytes::Bytes;

use super::StorageConfig;
use super::data_dir;
use super::disk::{Disk, DiskError};
use super::log_reader::{LogReader, Step};
use crate::ids::Zxid;
use crate::zab::{LogEntry, follows};

/// Every transaction behind `after` up to `upto`, both of which must be in the log; `None` if the log does
/// not hold them all, or if they are more than `bytes_max`.
///
/// A snapshot within the range whose transaction is not in the log came from elsewhere: what the log holds
/// before it may be a history that was given up.
pub fn read_range<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    after: Zxid,
    upto: Zxid,
    bytes_max: u64,
) -> Result<Option<Vec<LogEntry>>, DiskError> {
    let listing = data_dir::list(disk, config)?;
    let first = listing.logs.partition_point(|log| log.zxid <= after);
    let mut entries: Vec<LogEntry> = Vec::new();
    let mut bytes = 0;
    let mut last = None;
    for log in listing.logs.iter().skip(first.saturating_sub(1)) {
        if last == Some(upto) {
            break;
        }
        let mut reader = LogReader::open(disk, &log.path, config.record_bytes_max)?;
        while let Step::Record { zxid, body, .. } = reader.next_record()? {
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
            if !follows(before, zxid) || zxid > upto || bytes > bytes_max {
                return Ok(None);
            }
            let encoded = Bytes::copy_from_slice(body);
            entries.push(LogEntry { zxid, encoded });
            if zxid == upto {
                break;
            }
        }
    }
    let is_foreign = |zxid: Zxid| {
        let is_within = zxid > after && zxid <= upto;
        is_within && entries.binary_search_by_key(&zxid, |entry| entry.zxid).is_err()
    };
    let is_proven = last == Some(upto) && !listing.snapshots.iter().any(|file| is_foreign(file.zxid));
    Ok(is_proven.then_some(entries))
}
