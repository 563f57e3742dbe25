//! What to do about the end of the logs: a torn tail is cut, so that Apache opens the directory too; damage
//! is refused.
//!
//! A tail is torn when nothing whole comes behind it. With something whole behind it, it is damage, unless
//! the mark of what was synced says that it was never acknowledged and it looks like what a crash leaves of
//! one batch.

use super::StorageConfig;
use super::data_dir::{LogFile, log_name};
use super::disk::{Disk, DiskContext, DiskFile};
use super::log_reader::LogReader;
use super::log_writer::UNSYNCED_BYTES_MAX;
use super::record::{Damage, LOG_HEADER_BYTES, RECORD_OVERHEAD, RECORD_PREFIX_BYTES, RecordPrefix};
use super::recovery::{RecoveryError, RecoveryReport, TornTail};
use super::replay::{LogEnd, Replay};
use super::synced_mark::Synced;
use crate::ids::Zxid;
use crate::mutants::{self, Mutant};

/// Judges the ends of the newest logs and leaves nothing behind the last record. Doing it twice, or half and
/// then again, comes to the same.
pub(super) fn repair<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    logs: &[LogFile],
    replay: &Replay,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    let Replay { ends, last, .. } = replay;
    let last = *last;
    let synced = Synced::load(disk, &config.log_dir)?;
    check_newest(config, logs, last, synced)?;
    // All is judged before anything is touched: a refused directory stays as it was found.
    let mut newest = Vec::new();
    for end in ends.iter().rev() {
        if let Some(torn) = judge(disk, config, end, last, synced)? {
            if report.torn.is_some() && torn.damage != Damage::CutShort {
                return Err(refuse(end, torn.damage, last, None));
            }
            report.torn = Some(torn);
        }
        newest.push(end);
        if end.records > 0 {
            break;
        }
    }
    for end in newest {
        let path = &end.file.path;
        if end.records == 0 {
            disk.remove(path).doing("remove", path)?;
            report.removed_logs.push(path.clone());
        } else {
            settle(disk, config, end, synced)?;
        }
    }
    Ok(())
}

/// The log that was written last is there, if anything of it was synced: nothing but a cut or an installation
/// takes it away, and they take the mark back before.
fn check_newest(
    config: &StorageConfig,
    logs: &[LogFile],
    last: Zxid,
    synced: Option<Synced>,
) -> Result<(), RecoveryError> {
    match synced {
        Some(Synced { log, bytes })
            if bytes > LOG_HEADER_BYTES && logs.last().is_none_or(|newest| newest.zxid < log) =>
        {
            Err(RecoveryError::SyncedMissing {
                path: config.log_dir.join(log_name(log)),
                synced: bytes,
                last,
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// Cuts what is behind the last record, and makes durable what was only read: a process that was killed had
/// not synced it, and one whose sync failed may have left pages that count as written and are not. So these
/// are written again.
fn settle<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    end: &LogEnd,
    synced: Option<Synced>,
) -> Result<(), RecoveryError> {
    let path = &end.file.path;
    let mut file = disk.open_write(path).doing("open", path)?;
    // Also where nothing is to be cut: a cut whose sync failed may count as done and not be on the disk.
    file.truncate(end.offset).doing("cut", path)?;
    let known = synced.filter(|synced| synced.log == end.file.zxid);
    let mut at = known.map_or(end.offset, |synced| synced.bytes);
    let reader = LogReader::open(disk, path, config.record_bytes_max)?;
    while at < end.offset {
        let count = usize::try_from(end.offset - at).unwrap_or(usize::MAX);
        let bytes = reader.bytes_at(at, count.min(REWRITE_BYTES))?;
        if bytes.is_empty() {
            break;
        }
        file.write_all_at(&bytes, at).doing("write", path)?;
        at += bytes.len() as u64;
    }
    file.sync_all().doing("sync", path)?;
    Ok(())
}

/// What is behind the last record, if there is anything.
fn judge<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    end: &LogEnd,
    last: Zxid,
    synced: Option<Synced>,
) -> Result<Option<TornTail>, RecoveryError> {
    let trusts_end = mutants::is_on(Mutant::M16);
    if let Some(synced) = synced.filter(|synced| synced.log == end.file.zxid && synced.bytes > end.offset)
        && !trusts_end
    {
        return Err(RecoveryError::SyncedLost {
            path: end.file.path.clone(),
            offset: end.offset,
            synced: synced.bytes,
            last,
        });
    }
    let reader = LogReader::open(disk, &end.file.path, config.record_bytes_max)?;
    let Some(data_at) = reader.find_data(end.offset)? else {
        return Ok(None);
    };
    let damage = end.damage.unwrap_or(Damage::BehindEnd);
    let data_end = reader.data_end(data_at)?;
    // A bad header or a bad record may have a whole one right behind its first byte, not at it.
    let search_from = end.offset + u64::from(end.damage.is_some());
    if let Some((next_offset, next)) = reader.find_record(search_from, last)?
        && !trusts_end
        && !is_torn_batch(&reader, end, next_offset, data_end, synced)?
    {
        return Err(refuse(end, damage, last, Some((next_offset, next))));
    }
    Ok(Some(TornTail {
        path: end.file.path.clone(),
        offset: end.offset,
        damage,
        bytes: data_end - end.offset,
        head: reader.bytes_at(end.offset, EVIDENCE_BYTES)?,
    }))
}

/// Whether a crash can have left this: not known to be synced, no more than one batch, and a sector of the
/// bad record reads as it did before it was written.
fn is_torn_batch<F: DiskFile>(
    reader: &LogReader<F>,
    end: &LogEnd,
    next_offset: u64,
    data_end: u64,
    synced: Option<Synced>,
) -> Result<bool, RecoveryError> {
    let is_unsynced = synced.is_some_and(|synced| synced.log == end.file.zxid && end.offset >= synced.bytes);
    if !is_unsynced || data_end - end.offset > UNSYNCED_BYTES_MAX as u64 {
        return Ok(false);
    }
    let count = usize::try_from(next_offset - end.offset).unwrap_or(usize::MAX);
    let mut bytes = reader.bytes_at(end.offset, count)?;
    if let Some(prefix) = bytes.first_chunk::<RECORD_PREFIX_BYTES>()
        && let Ok(length) = RecordPrefix::decode(prefix).body_bytes(count)
    {
        bytes.truncate(length + RECORD_OVERHEAD as usize);
    }
    let head_bytes = (SECTOR_BYTES - end.offset % SECTOR_BYTES) as usize;
    if head_bytes < CHECKSUM_BYTES && is_head_lost(&bytes, head_bytes) {
        return Ok(true);
    }
    let mut rest = &bytes[..];
    let mut at = end.offset;
    while !rest.is_empty() {
        let to_boundary = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
        let (sector, behind) = rest.split_at(to_boundary.min(rest.len()));
        // The first bytes of a record are zero anyway; no checksum is.
        let tells = sector.len() >= CHECKSUM_BYTES || behind.is_empty();
        if tells && sector.iter().all(|&byte| byte == 0) {
            return Ok(true);
        }
        at += sector.len() as u64;
        rest = behind;
    }
    Ok(false)
}

/// Whether a record is whole but for the part of its checksum that is in the sector of the record before it.
fn is_head_lost(record: &[u8], head_bytes: usize) -> bool {
    let body = record
        .get(RECORD_PREFIX_BYTES..)
        .and_then(|rest| rest.split_last())
        .map_or(&[][..], |(_, body)| body);
    let checksum = u64::from(simd_adler32::adler32(&body)).to_be_bytes();
    let (lost, kept) = checksum.split_at(head_bytes);
    record.len() > RECORD_PREFIX_BYTES
        && record[..head_bytes].iter().all(|&byte| byte == 0)
        && lost.iter().any(|&byte| byte != 0)
        && record[head_bytes..CHECKSUM_BYTES] == *kept
}

fn refuse(end: &LogEnd, damage: Damage, last: Zxid, next: Option<(u64, Zxid)>) -> RecoveryError {
    let (next_offset, next) = next.unwrap_or((end.file.len, last.next()));
    RecoveryError::Damaged {
        path: end.file.path.clone(),
        offset: end.offset,
        damage,
        last,
        next,
        next_path: end.file.path.clone(),
        next_offset,
    }
}

/// The smallest unit that a disk writes as a whole.
const SECTOR_BYTES: u64 = 512;
/// A record begins with so many, of which the first four are zero.
const CHECKSUM_BYTES: usize = 8;
const REWRITE_BYTES: usize = 1 << 20;
/// What goes into the log line about a cut tail.
const EVIDENCE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::record::encode_record;

    #[test]
    fn a_head_is_lost_if_all_else_of_the_record_fits() {
        let mut whole = Vec::new();
        encode_record(&[0x5a; 40], &mut whole);
        for head_bytes in 1..CHECKSUM_BYTES {
            let mut record = whole.clone();
            record[..head_bytes].fill(0);
            // Four zeros are there anyway.
            assert_eq!(is_head_lost(&record, head_bytes), head_bytes > 4, "{head_bytes}");
            record[20] ^= 1;
            assert!(!is_head_lost(&record, head_bytes), "{head_bytes}");
            assert!(!is_head_lost(&whole, head_bytes) && !is_head_lost(&whole[..9], head_bytes));
        }
    }
}
