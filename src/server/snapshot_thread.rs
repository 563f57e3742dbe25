//! Writes snapshots while the tree goes on changing, and purges what they have made superfluous.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::clock::Clock;
use super::core_thread::CoreHandle;
use crate::replica::Input;
use crate::shared::Shared;
use crate::storage::disk::Disk;
use crate::storage::{StorageConfig, purge, snapshot_writer};
use crate::tree::{SnapshotCursor, SnapshotHead};

/// How often old files are removed, and how many snapshots stay.
#[derive(Clone, Copy, Debug)]
pub struct PurgeSchedule {
    /// `autopurge.purgeInterval`; the first purge is at the start.
    pub interval: Duration,
    /// `autopurge.snapRetainCount`.
    pub retain: usize,
}

/// Starts the thread. It ends when the sender is gone, after the snapshot it may be writing.
pub fn spawn<D: Disk>(
    disk: D,
    config: StorageConfig,
    purge: Option<PurgeSchedule>,
    core: CoreHandle,
    shared: Arc<Shared>,
    clock: Clock,
) -> io::Result<(Sender<SnapshotHead>, JoinHandle<()>)> {
    let (sender, queue) = crossbeam_channel::unbounded();
    let snapshots = Snapshots {
        disk,
        config,
        purge,
        core,
        shared,
        clock,
    };
    let thread = Builder::new()
        .name("snapshot".into())
        .spawn(move || snapshots.run(&queue))?;
    Ok((sender, thread))
}

struct Snapshots<D: Disk> {
    disk: D,
    config: StorageConfig,
    purge: Option<PurgeSchedule>,
    core: CoreHandle,
    shared: Arc<Shared>,
    clock: Clock,
}

impl<D: Disk> Snapshots<D> {
    fn run(self, queue: &Receiver<SnapshotHead>) {
        let mut next_purge = self.purge_now();
        loop {
            let received = match next_purge {
                Some(at) => queue.recv_deadline(self.clock.instant(at)),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(head) => self.take(&head),
                Err(RecvTimeoutError::Timeout) => next_purge = self.purge_now(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&self, head: &SnapshotHead) {
        let start = self.clock.now().mono;
        let mut cursor = SnapshotCursor::default();
        let written = snapshot_writer::write(&self.disk, &self.config, head, |out| {
            self.shared
                .tree
                .read()
                .snapshot_chunk(&mut cursor, out, CHUNK_BYTES)
        });
        match written {
            Ok(file) => {
                let took = (self.clock.now().mono - start).0;
                self.shared.metrics.snapshottime.record(took);
                tracing::info!(file = %file.path.display(), bytes = file.len, took_ms = took,
                    "Snapshot taken");
            }
            // Apache ends here. Nothing is lost, though: the log holds everything, and goes on.
            Err(error) => {
                self.shared.metrics.snapshot_error_count.add(1);
                tracing::error!(
                    "cannot take a snapshot: {error}. The server goes on, no log is removed meanwhile, and a \
                     restart takes longer; the next attempt is after the next snapCount transactions"
                );
            }
        }
        self.core.submit(vec![Input::SnapshotTaken]);
    }

    /// Removes old files, and says when to do it again.
    fn purge_now(&self) -> Option<crate::clock::Millis> {
        let schedule = self.purge?;
        match purge::purge(&self.disk, &self.config, schedule.retain) {
            Ok(purged) => {
                for path in purged.removed {
                    tracing::info!(file = %path.display(), "Removing file");
                }
                for (path, reason) in purged.damaged {
                    tracing::error!(file = %path.display(), %reason,
                        "a damaged snapshot does not count among those that are kept; look at the disk");
                }
            }
            Err(error) => tracing::error!(%error, "cannot remove old snapshots and logs"),
        }
        let interval = crate::clock::Millis(schedule.interval.as_millis() as u64);
        Some(self.clock.now().mono + interval)
    }
}

/// Bytes of records taken from the tree under one read guard.
const CHUNK_BYTES: usize = 256 * 1024;
