//! Walks through the tree while it goes on changing: to write snapshots, and to send images to learners.
//! Purges what snapshots have made superfluous.
//!
//! Nobody waits for a snapshot, but clients would wait for a processor and a disk that it keeps busy: the
//! thread stands back behind the others, and rests as long as it has worked. For an image a learner waits.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc as tokio_mpsc;

use super::clock::Clock;
use super::core_thread::CoreHandle;
use super::stand_back;
use crate::clock::Millis;
use crate::proto::quorum::{PacketType, QuorumPacket};
use crate::replica::Input;
use crate::shared::Shared;
use crate::storage::disk::Disk;
use crate::storage::{StorageConfig, purge, snapshot_stream, snapshot_writer};
use crate::tree::{DataTree, SnapshotCursor, SnapshotHead};

/// How often old files are removed, and how many snapshots stay.
#[derive(Clone, Copy, Debug)]
pub struct PurgeSchedule {
    /// `autopurge.purgeInterval`; the first purge is at the start.
    pub interval: Duration,
    /// `autopurge.snapRetainCount`.
    pub retain: usize,
}

/// What the thread is asked to do.
#[derive(Debug)]
pub enum SnapshotJob {
    /// Write a snapshot.
    Take(SnapshotHead),
    /// Send an image: the SNAP packet, the image, an empty chunk.
    Send {
        /// What it begins with.
        head: SnapshotHead,
        /// Where it goes.
        chunks: tokio_mpsc::Sender<Bytes>,
    },
    /// Free a tree.
    Drop(Box<DataTree>),
}

/// Starts the thread. It ends when the sender is gone, after the snapshot it may be writing.
pub fn spawn<D: Disk>(
    disk: D,
    config: StorageConfig,
    purge: Option<PurgeSchedule>,
    core: CoreHandle,
    shared: Arc<Shared>,
    clock: Clock,
) -> io::Result<(Sender<SnapshotJob>, JoinHandle<()>)> {
    let (sender, queue) = mpsc::channel();
    let mut snapshots = Snapshots {
        jobs: Jobs {
            queue,
            waiting: VecDeque::new(),
            clock,
        },
        disk,
        config,
        purge,
        core,
        shared,
        clock,
    };
    let thread = Builder::new().name("snapshot".into()).spawn(move || {
        // Clients have what it reads, and go first.
        stand_back();
        snapshots.run();
    })?;
    Ok((sender, thread))
}

/// What there is to do.
struct Jobs {
    queue: Receiver<SnapshotJob>,
    /// What came while the thread rested.
    waiting: VecDeque<SnapshotJob>,
    clock: Clock,
}

impl Jobs {
    fn next(&mut self, deadline: Option<Millis>) -> Result<SnapshotJob, RecvTimeoutError> {
        match (self.waiting.pop_front(), deadline) {
            (Some(job), _) => Ok(job),
            (None, Some(at)) => self.queue.recv_timeout(self.clock.until(at)),
            (None, None) => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Does nothing for a while, unless the server is to end.
    fn rest(&mut self, time: Duration) {
        if let Ok(job) = self.queue.recv_timeout(time) {
            self.waiting.push_back(job);
        }
    }
}

struct Snapshots<D: Disk> {
    jobs: Jobs,
    disk: D,
    config: StorageConfig,
    purge: Option<PurgeSchedule>,
    core: CoreHandle,
    shared: Arc<Shared>,
    clock: Clock,
}

impl<D: Disk> Snapshots<D> {
    fn run(&mut self) {
        let mut next_purge = self.purge_now();
        loop {
            match self.jobs.next(next_purge) {
                Ok(SnapshotJob::Take(head)) => self.take(&head),
                Ok(SnapshotJob::Send { head, chunks }) => self.send(&head, &chunks),
                Ok(SnapshotJob::Drop(tree)) => drop(tree),
                Err(RecvTimeoutError::Timeout) => next_purge = self.purge_now(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, head: &SnapshotHead) {
        let start = self.clock.now().mono;
        let mut cursor = SnapshotCursor::default();
        let mut began = self.clock.elapsed();
        let written = snapshot_writer::write(&self.disk, &self.config, head, |out| {
            self.jobs.rest(self.clock.elapsed() - began);
            began = self.clock.elapsed();
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

    /// A learner that goes away in the middle ends it early.
    fn send(&self, head: &SnapshotHead, chunks: &tokio_mpsc::Sender<Bytes>) {
        let start = self.clock.now().mono;
        let mut cursor = SnapshotCursor::default();
        let mut bytes = 0;
        let room = || Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        let mut chunk = room();
        QuorumPacket::new(PacketType::Snap, head.zxid, None).encode(&mut chunk);
        snapshot_stream::encode_begin(head, &mut chunk);
        loop {
            let is_last = self
                .shared
                .tree
                .read()
                .snapshot_chunk(&mut cursor, &mut chunk, CHUNK_BYTES);
            if is_last {
                snapshot_stream::encode_end(&mut chunk);
            }
            bytes += chunk.len();
            let is_there = chunks
                .blocking_send(Bytes::from(std::mem::replace(&mut chunk, room())))
                .is_ok();
            if !is_there || is_last {
                break;
            }
        }
        let is_sent = chunks.blocking_send(Bytes::new()).is_ok();
        let took = (self.clock.now().mono - start).0;
        tracing::info!(zxid = %head.zxid, bytes, took_ms = took, is_sent, "image for a learner");
        self.core.submit(vec![Input::SnapshotTaken]);
    }

    /// Removes old files, unless they are all there is left of a history, and says when to do it again.
    fn purge_now(&self) -> Option<Millis> {
        let schedule = self.purge?;
        if self.shared.damage.lock().is_none() {
            self.purge(schedule);
        }
        let interval = Millis(schedule.interval.as_millis() as u64);
        Some(self.clock.now().mono + interval)
    }

    fn purge(&self, schedule: PurgeSchedule) {
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
    }
}

/// Bytes of records taken from the tree under one read guard.
const CHUNK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_with_the_next_job_and_with_the_server() {
        let (sender, queue) = mpsc::channel();
        let mut jobs = Jobs {
            queue,
            waiting: VecDeque::new(),
            clock: Clock::start(),
        };
        let an_hour = Duration::from_secs(3600);
        sender
            .send(SnapshotJob::Drop(Box::new(DataTree::new(1))))
            .unwrap();
        jobs.rest(an_hour);
        assert!(matches!(jobs.next(None), Ok(SnapshotJob::Drop(_))));
        drop(sender);
        jobs.rest(an_hour);
        assert!(matches!(jobs.next(None), Err(RecvTimeoutError::Disconnected)));
    }
}
