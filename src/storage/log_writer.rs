//! Appends transactions to `log.<zxid>` files: many appends, one sync (FileTxnLog, FilePadding).
//!
//! Nothing is written before `sync`, and everything appended before it is durable when it returned. Files
//! become durable in their order, so that no crash leaves a later record without the earlier ones. After an
//! error the writer refuses everything: what the disk still holds is unknown, and asking again could lie.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use super::StorageConfig;
use super::data_dir::log_name;
use super::disk::{Disk, DiskContext, DiskError, DiskFile};
use super::log_ends::{FinishedLog, LogEnds};
use super::record::{LOG_HEADER_BYTES, encode_log_header, encode_record};
use super::synced_mark::SyncedMark;
use crate::ids::Zxid;
use crate::mutants::{self, Mutant};

/// The log of one server process. A file that was there before is never appended to.
#[derive(Debug)]
pub struct LogWriter<D: Disk> {
    disk: D,
    config: StorageConfig,
    /// Oldest first; all but the last are complete and wait for their sync.
    segments: VecDeque<Segment<D::File>>,
    mark: SyncedMark<D>,
    /// The next append starts a file.
    is_rolled: bool,
    has_failed: bool,
    last_zxid: Option<Zxid>,
    txns_since_roll: u64,
    bytes_since_roll: u64,
}

#[derive(Debug)]
struct Segment<F> {
    first_zxid: Zxid,
    last_zxid: Zxid,
    path: PathBuf,
    file: Option<F>,
    /// Encoded and not yet written.
    buffered: Vec<u8>,
    written: u64,
    /// The file's length with its preallocated room.
    allocated: u64,
}

impl<D: Disk> LogWriter<D> {
    /// Writes nothing yet: the first file is created by the first sync with something to write.
    pub fn new(disk: D, config: &StorageConfig) -> LogWriter<D> {
        LogWriter {
            mark: SyncedMark::new(disk.clone(), &config.log_dir),
            disk,
            config: config.clone(),
            segments: VecDeque::new(),
            is_rolled: true,
            has_failed: false,
            last_zxid: None,
            txns_since_roll: 0,
            bytes_since_roll: 0,
        }
    }

    /// Takes an encoded transaction into the batch.
    ///
    /// Zxids increase, without a gap inside an epoch: Apache refuses to start from a log with one.
    pub fn append(&mut self, zxid: Zxid, txn: &[u8]) {
        if let Some(last) = self.last_zxid {
            assert!(zxid > last, "{zxid} is logged after {last}");
            assert!(
                zxid == last.next() || zxid.epoch() > last.epoch(),
                "{zxid} is logged after {last}: a gap"
            );
        }
        self.last_zxid = Some(zxid);
        if self.has_failed {
            // `sync` will say so.
            return;
        }
        if self.is_rolled {
            self.segments.push_back(Segment::new(&self.config.log_dir, zxid));
            self.is_rolled = false;
        }
        let segment = self
            .segments
            .back_mut()
            .expect("a segment was pushed at the roll");
        segment.last_zxid = zxid;
        let before = segment.buffered.len();
        encode_record(txn, &mut segment.buffered);
        self.txns_since_roll += 1;
        self.bytes_since_roll += (segment.buffered.len() - before) as u64;
    }

    /// Writes the batch and makes it durable. An error is final: the process must end.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        if self.has_failed {
            let refused = io::Error::other("an earlier write failed; what is on disk is unknown");
            return Err(refused).doing("write", &self.config.log_dir);
        }
        // Set until everything succeeded, so that no path out of here forgets it.
        self.has_failed = true;
        while let Some(mut segment) = self.segments.pop_front() {
            let is_current = self.segments.is_empty() && !self.is_rolled;
            self.sync_segment(&mut segment)?;
            let is_over_limit = self
                .config
                .log_size_limit
                .is_some_and(|limit| segment.written > limit);
            if is_current && !is_over_limit {
                self.segments.push_back(segment);
                break;
            }
            self.is_rolled |= is_current;
            segment.trim()?;
            if self.config.force_sync {
                // Before the next log begins: from then on the mark does not speak of this one.
                LogEnds::add(&self.disk, &self.config, segment.end())?;
            }
        }
        self.has_failed = false;
        Ok(())
    }

    /// The next append starts a new file; what was appended stays in the old one.
    pub fn roll(&mut self) {
        self.is_rolled = true;
        self.txns_since_roll = 0;
        self.bytes_since_roll = 0;
    }

    /// Makes everything durable and gives preallocated room back. For an orderly end.
    pub fn close(mut self) -> Result<(), DiskError> {
        self.is_rolled = true;
        self.sync()
    }

    /// Whether there is something to sync.
    pub fn is_dirty(&self) -> bool {
        self.segments.iter().any(|segment| !segment.buffered.is_empty())
    }

    /// Transactions appended since the last roll: half of what decides when a snapshot is due.
    pub fn txns_since_roll(&self) -> u64 {
        self.txns_since_roll
    }

    /// Bytes appended since the last roll, without preallocated room: the other half.
    pub fn bytes_since_roll(&self) -> u64 {
        self.bytes_since_roll
    }

    /// Bytes in the current file, for the warning about a slow sync.
    pub fn file_bytes(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.written)
    }

    fn sync_segment(&mut self, segment: &mut Segment<D::File>) -> Result<(), DiskError> {
        if segment.buffered.is_empty() {
            return Ok(());
        }
        let is_new = segment.file.is_none();
        if is_new {
            if self.config.force_sync {
                self.mark.begin(segment.first_zxid)?;
            }
            let file = self.disk.create(&segment.path).doing("create", &segment.path)?;
            segment.file = Some(file);
        }
        let buffered = std::mem::take(&mut segment.buffered);
        // One write and one sync but for giant batches: recovery trusts that no more is ever unsynced.
        for chunk in buffered.chunks(UNSYNCED_BYTES_MAX) {
            segment.write(chunk, self.config.prealloc_bytes)?;
            if self.config.force_sync {
                segment.sync()?;
            }
        }
        if is_new && self.config.force_sync && !mutants::is_on(Mutant::M17) {
            self.disk
                .sync_dir(&self.config.log_dir)
                .doing("sync", &self.config.log_dir)?;
        }
        if self.config.force_sync {
            self.mark.advance(segment.first_zxid, segment.written);
        }
        segment.reuse(buffered);
        Ok(())
    }
}

impl<F: DiskFile> Segment<F> {
    fn new(dir: &std::path::Path, first_zxid: Zxid) -> Segment<F> {
        let mut buffered = Vec::new();
        encode_log_header(&mut buffered);
        Segment {
            first_zxid,
            last_zxid: first_zxid,
            path: dir.join(log_name(first_zxid)),
            file: None,
            buffered,
            written: 0,
            allocated: LOG_HEADER_BYTES,
        }
    }

    fn write(&mut self, bytes: &[u8], prealloc_bytes: u64) -> Result<(), DiskError> {
        let Segment { path, file, .. } = self;
        let file = file.as_mut().expect("the file is created before it is written");
        let end = self.written + bytes.len() as u64;
        if prealloc_bytes > 0 && end + PREALLOC_MARGIN >= self.allocated {
            let missing = end + PREALLOC_MARGIN - self.allocated;
            self.allocated += (missing / prealloc_bytes + 1) * prealloc_bytes;
            file.allocate(self.allocated).doing("preallocate room in", path)?;
        }
        file.write_all_at(bytes, self.written).doing("write", path)?;
        self.written = end;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        let file = self
            .file
            .as_mut()
            .expect("the file is created before it is synced");
        let mut synced = file.sync_data();
        if synced.is_err() && mutants::is_on(Mutant::M18) {
            synced = file.sync_data();
        }
        synced.doing("sync", &self.path)
    }

    /// Gives preallocated room back. Not synced: either length reads the same.
    fn trim(&mut self) -> Result<(), DiskError> {
        match &mut self.file {
            Some(file) if self.allocated > self.written => {
                file.truncate(self.written).doing("cut", &self.path)
            }
            _ => Ok(()),
        }
    }

    /// Where it ends, once everything is written.
    fn end(&self) -> FinishedLog {
        FinishedLog {
            log: self.first_zxid,
            last: self.last_zxid,
            offset: self.written,
        }
    }

    /// Takes the buffer back for the next batch, unless it was a giant.
    fn reuse(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_KEPT_BYTES_MAX {
            buffer.clear();
            self.buffered = buffer;
        }
    }
}

/// No more than this is written before a sync: what a crash may tear.
pub(super) const UNSYNCED_BYTES_MAX: usize = 16 << 20;
/// Room is added when less than this would be left (FilePadding).
const PREALLOC_MARGIN: u64 = 4096;
const BUFFER_KEPT_BYTES_MAX: usize = 4 << 20;
