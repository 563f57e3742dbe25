//! The one owner of what is on disk for good: the log, with group commit, and the epoch files.
//!
//! Appends are synced together: all that has queued up, one sync, one report. Everything else is done between
//! two batches, so whatever is reported comes behind what was given before it.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{Builder, JoinHandle};

use super::clock::Clock;
use super::core_thread::CoreHandle;
use super::end_process;
use crate::config::dynamic_files::DynamicFiles;
use crate::ids::Zxid;
use crate::quorum::configs::Configs;
use crate::replica::Input;
use crate::shared::Shared;
use crate::storage::disk::{Disk, DiskError};
use crate::storage::epochs::{self, Epochs};
use crate::storage::log_truncate::truncate;
use crate::storage::log_writer::LogWriter;
use crate::storage::snapshot_stream::{Former, Installed};
use crate::storage::{StorageConfig, snapshot_stream};
use crate::tree::DataTree;
use crate::zab::LogEntry;

/// What reaches the log.
#[derive(Debug)]
pub enum LogMessage {
    /// To be appended, in order.
    Append(Vec<LogEntry>),
    /// The next entry starts a new file.
    Roll,
    /// To be written to the epoch files.
    SaveEpochs(Epochs),
    /// The proposed configuration, to be written to its file.
    ConfigProposed(Configs),
    /// The configuration in force, likewise.
    ConfigCommitted(Configs),
    /// To be answered behind everything before it.
    Fence,
    /// What comes behind this transaction is to be taken back.
    Truncate(Zxid),
    /// This takes the place of logs and snapshots.
    Install(Box<DataTree>),
}

/// What the thread works with.
pub struct LogSetup<D: Disk> {
    /// Where files are.
    pub disk: D,
    /// How they are written.
    pub config: StorageConfig,
    /// What the epoch files say.
    pub epochs: Epochs,
    /// For a tree that is read again.
    pub hash_seed: u64,
    /// The logs and snapshots that are there cannot be used: what takes their place sets them aside.
    pub is_damaged: bool,
    /// Where configurations are written; `None` where they do not change.
    pub dynamic_files: Option<DynamicFiles>,
    /// A slower sync is logged.
    pub warning_threshold_ms: u64,
}

/// Starts the thread. It ends, with everything synced, when the sender is gone.
pub fn spawn<D: Disk + 'static>(
    setup: LogSetup<D>,
    core: CoreHandle,
    shared: Arc<Shared>,
    clock: Clock,
) -> std::io::Result<(Sender<LogMessage>, JoinHandle<()>)> {
    let (sender, queue) = mpsc::channel();
    let log = Log {
        writer: LogWriter::new(setup.disk.clone(), &setup.config),
        setup,
        core,
        shared,
        clock,
    };
    let thread = Builder::new().name("log".into()).spawn(move || log.run(&queue))?;
    Ok((sender, thread))
}

struct Log<D: Disk> {
    writer: LogWriter<D>,
    setup: LogSetup<D>,
    core: CoreHandle,
    shared: Arc<Shared>,
    clock: Clock,
}

impl<D: Disk> Log<D> {
    fn run(mut self, queue: &Receiver<LogMessage>) {
        while let Ok(first) = queue.recv() {
            let behind = match self.take_all(first, queue) {
                Ok(behind) => behind,
                // Nothing of the batch was acknowledged, and what is on disk is no longer known.
                Err(error) => end_process(&format!("cannot write the transaction log: {error}")),
            };
            match behind {
                None | Some(LogMessage::Append(_) | LogMessage::Roll) => {}
                Some(LogMessage::SaveEpochs(epochs)) => self.save_epochs(epochs),
                Some(LogMessage::ConfigProposed(configs)) => {
                    self.save_configs(|files| files.save_proposed(&configs));
                }
                Some(LogMessage::ConfigCommitted(configs)) => {
                    self.save_configs(|files| files.save_committed(&configs));
                }
                Some(LogMessage::Fence) => self.report(Input::LogFenced),
                Some(LogMessage::Truncate(to)) => self.truncate(to),
                Some(LogMessage::Install(tree)) => self.install(tree),
            }
        }
        if let Err(error) = self.writer.close() {
            tracing::error!("cannot give back the room that the transaction log did not use: {error}");
        }
    }

    /// Appends what has queued up, syncs once and reports. Stops at the first message of another kind, which
    /// is returned: it comes behind.
    fn take_all(
        &mut self,
        first: LogMessage,
        queue: &Receiver<LogMessage>,
    ) -> Result<Option<LogMessage>, DiskError> {
        let (mut upto, mut bytes, mut next) = (None, 0, Some(first));
        while let Some(message) = next.take() {
            match message {
                LogMessage::Append(entries) => bytes += self.append(&entries, &mut upto),
                LogMessage::Roll => self.writer.roll(),
                LogMessage::SaveEpochs(_)
                | LogMessage::ConfigProposed(_)
                | LogMessage::ConfigCommitted(_)
                | LogMessage::Fence
                | LogMessage::Truncate(_)
                | LogMessage::Install(_) => {
                    self.sync(upto)?;
                    return Ok(Some(message));
                }
            }
            if bytes < BATCH_BYTES_MAX {
                next = queue.try_recv().ok();
            }
        }
        self.sync(upto)?;
        Ok(None)
    }

    fn append(&mut self, entries: &[LogEntry], upto: &mut Option<Zxid>) -> usize {
        for entry in entries {
            self.writer.append(entry.zxid, &entry.encoded);
            *upto = Some(entry.zxid);
        }
        entries.iter().map(|entry| entry.encoded.len()).sum()
    }

    fn sync(&mut self, upto: Option<Zxid>) -> Result<(), DiskError> {
        let Some(upto) = upto else { return Ok(()) };
        let start = self.clock.now().mono;
        self.writer.sync()?;
        let took = self.clock.now().mono - start;
        self.shared.metrics.fsynctime.record(took.0);
        if took.0 > self.setup.warning_threshold_ms {
            self.shared
                .stats
                .slow_fsyncs
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::warn!(
                "fsync-ing the write ahead log took {}ms which will adversely affect operation latency",
                took.0
            );
        }
        self.report(Input::LogDurable { upto });
        Ok(())
    }

    fn save_epochs(&mut self, epochs: Epochs) {
        let LogSetup {
            disk,
            config,
            epochs: saved,
            ..
        } = &mut self.setup;
        if let Err(error) = epochs::save(disk, &config.snap_dir, *saved, epochs) {
            end_process(&format!("cannot write the epoch files: {error}"));
        }
        *saved = epochs;
        let Epochs { accepted, current } = epochs;
        self.report(Input::EpochsSaved { accepted, current });
    }

    /// What is logged behind a configuration may be acknowledged only if that is known at the next start.
    fn save_configs(&self, save: impl FnOnce(&DynamicFiles) -> std::io::Result<()>) {
        if let Some(files) = &self.setup.dynamic_files
            && let Err(error) = save(files)
        {
            end_process(&format!(
                "cannot write the files of the dynamic configuration: {error}"
            ));
        }
    }

    fn truncate(&mut self, to: Zxid) {
        self.close_log();
        let LogSetup {
            disk,
            config,
            hash_seed,
            ..
        } = &self.setup;
        match truncate(disk, config, to, *hash_seed) {
            Ok(recovered) => {
                tracing::info!("the log was cut behind {}", recovered.last_zxid);
                self.report(Input::TreeReplaced(Box::new(recovered.tree)));
            }
            Err(error) if error.is_untouched() => {
                let reason = error.to_string();
                self.report(Input::CannotTruncate { reason });
            }
            Err(error) => end_process(&format!("cannot cut the transaction log: {error}")),
        }
    }

    fn install(&mut self, mut tree: Box<DataTree>) {
        self.close_log();
        let former = match self.setup.is_damaged {
            true => Former::SetAside,
            false => Former::Removed,
        };
        match snapshot_stream::install(&self.setup.disk, &self.setup.config, &mut tree, former) {
            Ok(Installed { file, aside }) => {
                let path = file.path.display();
                tracing::info!(file = %path, bytes = file.len, "installed the leader's snapshot");
                if let Some(first) = aside.first() {
                    tracing::warn!(
                        "the damaged files are kept as {} and {} more of that form; nothing reads them: \
                         remove them when they are no longer wanted",
                        first.display(),
                        aside.len() - 1
                    );
                }
                self.setup.is_damaged = false;
                self.report(Input::TreeReplaced(tree));
            }
            Err(error) => end_process(&format!("cannot install the leader's snapshot: {error}")),
        }
    }

    /// No log is open for writing behind this; the next append begins a file.
    fn close_log(&mut self) {
        let next = LogWriter::new(self.setup.disk.clone(), &self.setup.config);
        if let Err(error) = std::mem::replace(&mut self.writer, next).close() {
            end_process(&format!("cannot write the transaction log: {error}"));
        }
    }

    fn report(&self, input: Input) {
        self.core.submit(vec![input]);
    }
}

/// Bytes appended before a sync at the latest, so that the first of them does not wait for long.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
