//! The files of a server: the real storage on a disk that loses, tears and refuses.

use std::path::Path;

use zkserver::ids::{Epoch, Zxid};
use zkserver::storage::data_dir::{self, DataDirLock};
use zkserver::storage::epochs::{self, Epochs};
use zkserver::storage::log_range::read_range;
use zkserver::storage::log_truncate::truncate;
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::recovery::{Recovered, recover};
use zkserver::storage::{Compression, StorageConfig, purge, snapshot_stream, snapshot_writer};
use zkserver::tree::{DataTree, SnapshotHead};
use zkserver::zab::LogEntry;

use super::sim_disk::{Fault, SimDisk, Unsynced};

pub struct Files {
    pub disk: SimDisk,
    config: StorageConfig,
    writer: Option<LogWriter<SimDisk>>,
    lock: Option<DataDirLock<SimDisk>>,
    epochs: Epochs,
    snapshots_count: u64,
}

/// What a process finds when it starts.
pub struct Found {
    pub recovered: Recovered,
    pub epochs: Epochs,
}

impl Files {
    /// Of a server whose history begins with this tree.
    pub fn new(tree: &mut DataTree) -> Files {
        let config = config();
        let disk = SimDisk::default();
        let epoch = tree.last_processed_zxid().epoch();
        let base = Epochs {
            accepted: epoch,
            current: epoch,
        };
        if tree.last_processed_zxid() > Zxid::ZERO {
            drop(data_dir::open(&disk, &config).expect("an empty disk"));
            snapshot_writer::write_tree(&disk, &config, tree).expect("an empty disk");
            epochs::save(&disk, &config.snap_dir, Epochs::default(), base).expect("an empty disk");
        }
        Files {
            disk,
            config,
            writer: None,
            lock: None,
            epochs: base,
            snapshots_count: 0,
        }
    }

    /// A process starts.
    pub fn open(&mut self) -> Result<Found, String> {
        let lock = data_dir::open(&self.disk, &self.config).map_err(|error| error.to_string())?;
        let recovered = recover(&self.disk, &self.config, 1).map_err(|error| error.to_string())?;
        let loaded = epochs::load(&self.disk, &self.config.snap_dir, recovered.last_zxid);
        let (epochs, _) = loaded.map_err(|error| error.to_string())?;
        self.writer = Some(self.new_writer());
        (self.lock, self.epochs) = (Some(lock), epochs);
        Ok(Found { recovered, epochs })
    }

    fn new_writer(&self) -> LogWriter<SimDisk> {
        LogWriter::new(self.disk.clone(), &self.config)
    }

    fn writer(&mut self) -> &mut LogWriter<SimDisk> {
        self.writer.as_mut().expect("a process runs")
    }

    /// Appends together, and syncs once.
    pub fn append(&mut self, entries: &[LogEntry]) -> Result<(), String> {
        let writer = self.writer();
        for entry in entries {
            writer.append(entry.zxid, &entry.encoded);
        }
        writer.sync().map_err(|error| error.to_string())
    }

    pub fn roll(&mut self) {
        self.writer().roll();
    }

    pub fn save_epochs(&mut self, accepted: Epoch, current: Epoch) -> Result<(), String> {
        let epochs = Epochs { accepted, current };
        let saved = epochs::save(&self.disk, &self.config.snap_dir, self.epochs, epochs);
        self.epochs = epochs;
        saved.map_err(|error| error.to_string())
    }

    /// The tree that is left, or why nothing was changed.
    pub fn truncate(&mut self, to: Zxid) -> Result<Result<DataTree, String>, String> {
        self.close_log()?;
        match truncate(&self.disk, &self.config, to, 1) {
            Ok(recovered) => Ok(Ok(recovered.tree)),
            Err(error) if error.is_untouched() => Ok(Err(error.to_string())),
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn install(&mut self, tree: &mut DataTree) -> Result<(), String> {
        self.close_log()?;
        let installed = snapshot_stream::install(&self.disk, &self.config, tree);
        installed.map(|_| ()).map_err(|error| error.to_string())
    }

    fn close_log(&mut self) -> Result<(), String> {
        let next = self.new_writer();
        let writer = self.writer.replace(next).expect("a process runs");
        writer.close().map_err(|error| error.to_string())
    }

    /// A snapshot whose records were gathered. If that fails, the server goes on.
    pub fn snapshot(&mut self, head: &SnapshotHead, records: &[u8]) -> Result<(), String> {
        let written = snapshot_writer::write(&self.disk, &self.config, head, |out| {
            out.extend_from_slice(records);
            true
        });
        written.map_err(|error| error.to_string())?;
        self.snapshots_count += 1;
        if self.snapshots_count.is_multiple_of(2) {
            // Tried again after later snapshots.
            let _ = purge::purge(&self.disk, &self.config, 3);
        }
        Ok(())
    }

    pub fn read(&self, after: Zxid, upto: Zxid) -> Option<Vec<LogEntry>> {
        read_range(&self.disk, &self.config, after, upto, 1 << 20).ok()?
    }

    /// The machine stops in this many calls to the disk, counted from the next.
    pub fn crash_in(&mut self, calls: u64) {
        self.disk.set_fault(Fault::Crash(self.disk.calls() + calls));
    }

    /// This call to the disk fails, counted from the next.
    pub fn fail_in(&mut self, calls: u64) {
        self.disk.set_fault(Fault::FailOnce(self.disk.calls() + calls));
    }

    /// It will not fail.
    pub fn repair(&mut self) {
        self.disk.set_fault(Fault::None);
    }

    /// The disk as the next process finds it.
    pub fn restart(&mut self, unsynced: Unsynced) {
        (self.writer, self.lock) = (None, None);
        self.disk = self.disk.restart(unsynced);
    }
}

/// Small enough that logs are extended and rolled in every run.
fn config() -> StorageConfig {
    let dir = Path::new("/data/version-2");
    StorageConfig {
        snap_dir: dir.into(),
        log_dir: dir.into(),
        prealloc_bytes: 2048,
        force_sync: true,
        compression: Compression::None,
        trust_empty_snapshot: false,
        digest_enabled: true,
        log_size_limit: Some(6000),
        record_bytes_max: 1 << 20,
        autocreate: true,
    }
}
