//! How far the log is known to be durable: `zkserver.synced`, beside the logs.
//!
//! A crash may keep any part of what was written after the last sync, so a bad record with good ones behind
//! it is a torn batch or damage, and the log's format cannot tell which. The mark can: it is a lower bound of
//! what was synced, written after each sync and made durable only when a log begins. Damage below it is
//! damage.

use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskContext, DiskError, DiskFile, read_if_there};
use crate::ids::Zxid;

/// Keeps the mark.
#[derive(Debug)]
pub struct SyncedMark<D: Disk> {
    disk: D,
    path: PathBuf,
    file: Option<D::File>,
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Which log, by the zxid in its name.
    pub log: Zxid,
    /// Bytes of it that were durable.
    pub bytes: u64,
}

impl<D: Disk> SyncedMark<D> {
    /// Opens nothing yet.
    pub fn new(disk: D, log_dir: &Path) -> SyncedMark<D> {
        let path = log_dir.join(MARK_NAME);
        SyncedMark {
            disk,
            path,
            file: None,
        }
    }

    /// A log is about to be created. Durable when it returns.
    pub fn begin(&mut self, log: Zxid) -> Result<(), DiskError> {
        if self.file.is_none() {
            self.file = Some(self.disk.create(&self.path).doing("create", &self.path)?);
            let dir = self.path.parent().unwrap_or(Path::new("."));
            self.disk.sync_dir(dir).doing("sync", dir)?;
        }
        let file = self.file.as_mut().expect("created above");
        let mark = Synced { log, bytes: 0 }.encode();
        file.write_all_at(&mark, 0).doing("write", &self.path)?;
        file.sync_data().doing("sync", &self.path)
    }

    /// So much of the log is durable. Best effort: an old mark only makes recovery ask fewer questions.
    pub fn advance(&mut self, log: Zxid, bytes: u64) {
        if let Some(file) = &mut self.file {
            // A failure here says nothing about the log, whose own sync succeeded.
            let _ = file.write_all_at(&Synced { log, bytes }.encode(), 0);
        }
    }
}

impl Synced {
    /// Takes the mark back, durably: less of the log is going to be there than was synced.
    pub fn forget<D: Disk>(disk: &D, log_dir: &Path) -> Result<(), DiskError> {
        let path = log_dir.join(MARK_NAME);
        if disk.exists(&path).doing("look for", &path)? {
            disk.remove(&path).doing("remove", &path)?;
            disk.sync_dir(log_dir).doing("sync", log_dir)?;
        }
        Ok(())
    }

    /// Makes the mark durable as it is read now.
    pub fn settle<D: Disk>(disk: &D, log_dir: &Path) -> Result<(), DiskError> {
        let Some(synced) = Synced::load(disk, log_dir)? else {
            return Ok(());
        };
        let path = log_dir.join(MARK_NAME);
        let mut file = disk.open_write(&path).doing("open", &path)?;
        file.write_all_at(&synced.encode(), 0).doing("write", &path)?;
        file.sync_data().doing("sync", &path)
    }

    /// What the mark beside the logs says; `None` if there is none or it is torn.
    pub fn load<D: Disk>(disk: &D, log_dir: &Path) -> Result<Option<Synced>, DiskError> {
        let bytes = read_if_there(disk, &log_dir.join(MARK_NAME), MARK_BYTES as u64)?;
        Ok(bytes.and_then(|bytes| Synced::decode(bytes.try_into().ok()?)))
    }

    fn decode(bytes: [u8; MARK_BYTES]) -> Option<Synced> {
        let (fields, sum) = bytes.split_at(16);
        let is_whole = crc32fast::hash(fields).to_be_bytes() == sum;
        let (log, end) = fields.split_at(8);
        is_whole.then_some(Synced {
            log: Zxid(i64::from_be_bytes(log.try_into().ok()?)),
            bytes: u64::from_be_bytes(end.try_into().ok()?),
        })
    }

    fn encode(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&self.log.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_be_bytes());
        let sum = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

const MARK_NAME: &str = "zkserver.synced";
const MARK_BYTES: usize = 20;
