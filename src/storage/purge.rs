//! Removes old snapshots and logs (PurgeTxnLog, DatadirCleanupManager).
//!
//! What stays is always enough to start from: the snapshots that are counted have been read and verified, and
//! from the oldest of them on every log stays. Files of other names are never touched.

use std::path::PathBuf;

use super::StorageConfig;
use super::data_dir;
use super::disk::{Disk, DiskContext, DiskError};
use super::snapshot_reader;

/// What a purge did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Removed, in this order.
    pub removed: Vec<PathBuf>,
    /// Snapshots that cannot be read, and why; they count for nothing.
    pub damaged: Vec<(PathBuf, String)>,
}

/// Keeps the `retain` newest good snapshots (at least 3) and the logs that go with them.
pub fn purge<D: Disk>(disk: &D, config: &StorageConfig, retain: usize) -> Result<Purged, DiskError> {
    let mut purged = Purged::default();
    let listing = data_dir::list(disk, config)?;
    let retain = retain.max(RETAIN_MIN);
    if listing.snapshots.len() <= retain {
        // Fewer snapshots than are kept: the oldest of them decides which logs stay, and none goes.
        return Ok(purged);
    }
    let mut good = 0;
    let mut oldest = None;
    for file in &listing.snapshots {
        match snapshot_reader::read(disk, file, config.record_bytes_max, &mut ()) {
            Ok(_) => {
                good += 1;
                oldest = Some(file.zxid);
            }
            Err(error) => purged.damaged.push((file.path.clone(), error.to_string())),
        }
        if good == retain {
            break;
        }
    }
    let Some(oldest) = oldest.filter(|_| good == retain) else {
        return Ok(purged);
    };
    for file in listing.snapshots.iter().rev().filter(|file| file.zxid < oldest) {
        disk.remove(&file.path).doing("remove", &file.path)?;
        purged.removed.push(file.path.clone());
    }
    let kept = listing
        .logs
        .iter()
        .rposition(|log| log.zxid <= oldest)
        .unwrap_or(0);
    for log in &listing.logs[..kept] {
        disk.remove(&log.path).doing("remove", &log.path)?;
        purged.removed.push(log.path.clone());
    }
    if !purged.removed.is_empty() {
        disk.sync_dir(&config.snap_dir).doing("sync", &config.snap_dir)?;
        disk.sync_dir(&config.log_dir).doing("sync", &config.log_dir)?;
    }
    Ok(purged)
}

/// What Apache enforces, too.
pub const RETAIN_MIN: usize = 3;
