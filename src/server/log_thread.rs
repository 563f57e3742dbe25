//! Group commit: append all that has queued up, sync once, report how far the log is durable.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use super::clock::Clock;
use super::core_thread::CoreHandle;
use super::end_process;
use crate::ids::Zxid;
use crate::replica::Input;
use crate::shared::Shared;
use crate::storage::disk::{Disk, DiskError};
use crate::storage::log_writer::LogWriter;
use crate::zab::LogEntry;

/// What reaches the log.
#[derive(Debug)]
pub enum LogMessage {
    /// To be appended, in order.
    Append(Vec<LogEntry>),
    /// The next entry starts a new file.
    Roll,
}

/// Starts the thread. It ends, with everything synced, when the sender is gone.
pub fn spawn<D: Disk + 'static>(
    writer: LogWriter<D>,
    core: CoreHandle,
    shared: Arc<Shared>,
    clock: Clock,
    warning_threshold_ms: u64,
) -> std::io::Result<(Sender<LogMessage>, JoinHandle<()>)> {
    let (sender, queue) = crossbeam_channel::unbounded();
    let log = Log {
        writer,
        core,
        shared,
        clock,
        warning_threshold_ms,
    };
    let thread = Builder::new().name("log".into()).spawn(move || log.run(&queue))?;
    Ok((sender, thread))
}

struct Log<D: Disk> {
    writer: LogWriter<D>,
    core: CoreHandle,
    shared: Arc<Shared>,
    clock: Clock,
    warning_threshold_ms: u64,
}

impl<D: Disk> Log<D> {
    fn run(mut self, queue: &Receiver<LogMessage>) {
        while let Ok(first) = queue.recv() {
            let mut upto = None;
            if let Err(error) = self.take_all(first, queue, &mut upto) {
                // Nothing of the batch was acknowledged, and what is on disk is no longer known.
                end_process(&format!("cannot write the transaction log: {error}"));
            }
            if let Some(upto) = upto {
                self.core.submit(vec![Input::LogDurable { upto }]);
            }
        }
        if let Err(error) = self.writer.close() {
            tracing::error!("cannot give back the room that the transaction log did not use: {error}");
        }
    }

    fn take_all(
        &mut self,
        first: LogMessage,
        queue: &Receiver<LogMessage>,
        upto: &mut Option<Zxid>,
    ) -> Result<(), DiskError> {
        let mut bytes = self.take(first, upto);
        while bytes < BATCH_BYTES_MAX
            && let Ok(message) = queue.try_recv()
        {
            bytes += self.take(message, upto);
        }
        let start = self.clock.now().mono;
        self.writer.sync()?;
        let took = self.clock.now().mono - start;
        self.shared.metrics.fsynctime.record(took.0);
        if took.0 > self.warning_threshold_ms {
            self.shared
                .stats
                .slow_fsyncs
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::warn!(
                "fsync-ing the write ahead log took {}ms which will adversely affect operation latency",
                took.0
            );
        }
        Ok(())
    }

    fn take(&mut self, message: LogMessage, upto: &mut Option<Zxid>) -> usize {
        match message {
            LogMessage::Append(entries) => {
                let mut bytes = 0;
                for entry in entries {
                    self.writer.append(entry.zxid, &entry.encoded);
                    bytes += entry.encoded.len();
                    *upto = Some(entry.zxid);
                }
                bytes
            }
            LogMessage::Roll => {
                self.writer.roll();
                0
            }
        }
    }
}

/// Bytes appended before a sync at the latest, so that the first of them does not wait for long.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
