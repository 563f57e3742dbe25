//! The files of a server: the real storage on a disk that loses, tears and refuses.

use std::path::{Path, PathBuf};

use zkserver::ids::{Epoch, Zxid};
use zkserver::prng::Prng;
use zkserver::storage::data_dir::{self, DataDirLock};
use zkserver::storage::epochs::{self, Epochs};
use zkserver::storage::log_range::read_range;
use zkserver::storage::log_truncate::truncate;
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::recovery::{Recovered, recover};
use zkserver::storage::snapshot_stream::Former;
use zkserver::storage::synced_mark::Synced;
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
    is_damaged: bool,
    snapshots_count: u64,
}

/// What a process finds when it starts.
pub struct Found {
    pub recovered: Recovered,
    pub epochs: Epochs,
    /// Logs or snapshots cannot be used.
    pub is_damaged: bool,
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
            is_damaged: false,
            snapshots_count: 0,
        }
    }

    /// A process starts.
    pub fn open(&mut self) -> Result<Found, String> {
        let lock = data_dir::open(&self.disk, &self.config).map_err(|error| error.to_string())?;
        let found = self.find()?;
        self.writer = Some(self.new_writer());
        (self.lock, self.epochs, self.is_damaged) = (Some(lock), found.epochs, found.is_damaged);
        Ok(found)
    }

    fn find(&self) -> Result<Found, String> {
        let snap_dir = &self.config.snap_dir;
        match recover(&self.disk, &self.config, 1) {
            Ok(recovered) => {
                let loaded = epochs::load(&self.disk, snap_dir, recovered.last_zxid);
                Ok(Found {
                    epochs: loaded.map_err(|error| error.to_string())?.0,
                    recovered,
                    is_damaged: false,
                })
            }
            Err(error) if error.is_damage() => {
                let loaded = epochs::load_beside_damage(&self.disk, snap_dir);
                Ok(Found {
                    recovered: Recovered::nothing(1),
                    epochs: loaded.map_err(|error| error.to_string())?,
                    is_damaged: true,
                })
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Something happens to bytes of a log or a snapshot while no process runs. Says what.
    pub fn damage(&mut self, chance: &mut Prng) -> Option<String> {
        let is_history = |path: &PathBuf| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            name.starts_with("log.") || name.starts_with("snapshot.")
        };
        let paths: Vec<PathBuf> = self.disk.paths().into_iter().filter(is_history).collect();
        let path = paths.get(chance.below(paths.len().max(1) as u64) as usize)?;
        let mut content = self.disk.content(path);
        let end = match self.synced_of(path) {
            // What a crash may have torn is not told from what has gone bad.
            Some(bytes) => bytes,
            None => content.iter().rposition(|byte| *byte != 0)? as u64 + 1,
        };
        if end == 0 {
            return None;
        }
        let at = chance.below(end) as usize;
        let zeros = content.len().min(at + 512);
        match chance.below(3) {
            0 => content[at] ^= 1 << chance.below(8),
            1 => content[at..zeros].fill(0),
            _ => content.truncate(at),
        }
        let what = format!("{} from {at} on", path.display());
        self.disk.put(path, content);
        Some(what)
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
        let former = match std::mem::take(&mut self.is_damaged) {
            true => Former::SetAside,
            false => Former::Removed,
        };
        let installed = snapshot_stream::install(&self.disk, &self.config, tree, former);
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

    /// If this is the newest log, how much of it is known to be on disk.
    fn synced_of(&self, path: &Path) -> Option<u64> {
        let synced = Synced::load(&self.disk, &self.config.log_dir).expect("nothing fails now");
        let listing = data_dir::list(&self.disk, &self.config).expect("nothing fails now");
        let newest = listing.logs.last().filter(|log| log.path == path)?;
        let known = synced.filter(|synced| synced.log == newest.zxid);
        Some(known.map_or(0, |synced| synced.bytes))
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
        may_begin_empty: true,
    }
}
