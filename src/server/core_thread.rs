//! The thread that owns the replica: it takes what has queued up, lets the replica decide, and passes on what
//! the replica says.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::clock::Clock;
use super::log_thread::LogMessage;
use crate::clock::Now;
use crate::replica::{Input, Output, Outputs, Replica};
use crate::tree::SnapshotHead;
use crate::zab::LogEntry;

/// What reaches the core.
#[derive(Debug)]
pub enum CoreMessage {
    /// Things that happened, in order.
    Inputs(Vec<Input>),
    /// The server is stopping.
    Stop,
}

/// How the other threads reach the core.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    inbox: Sender<CoreMessage>,
}

impl CoreHandle {
    /// Hands inputs over. After the core has stopped they are dropped: nobody is left to be answered.
    pub fn submit(&self, inputs: Vec<Input>) {
        let _ = self.inbox.send(CoreMessage::Inputs(inputs));
    }

    /// Asks the core to stop behind what it has got so far.
    pub fn stop(&self) {
        let _ = self.inbox.send(CoreMessage::Stop);
    }
}

/// The core's inbox.
pub fn channel() -> (CoreHandle, Receiver<CoreMessage>) {
    let (sender, receiver) = crossbeam_channel::unbounded();
    (CoreHandle { inbox: sender }, receiver)
}

/// Starts the thread. It ends on `Stop`; the log thread ends when its queue is dropped here.
pub fn spawn(
    replica: Replica,
    inbox: Receiver<CoreMessage>,
    log: Sender<LogMessage>,
    snapshots: Sender<SnapshotHead>,
    clock: Clock,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name("core".into()).spawn(move || {
        Core {
            replica,
            log,
            snapshots,
        }
        .run(&inbox, clock)
    })
}

struct Core {
    replica: Replica,
    log: Sender<LogMessage>,
    snapshots: Sender<SnapshotHead>,
}

impl Core {
    fn run(&mut self, inbox: &Receiver<CoreMessage>, clock: Clock) {
        let mut outputs = Outputs::default();
        self.replica.close_orphans(clock.now(), &mut outputs);
        self.execute(&mut outputs);
        loop {
            let first = match self.replica.next_deadline() {
                Some(deadline) => inbox.recv_deadline(clock.instant(deadline)),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let now = clock.now();
            let goes_on = match first {
                Ok(message) => self.take(now, message, &mut outputs) && self.drain(now, inbox, &mut outputs),
                Err(RecvTimeoutError::Timeout) => {
                    self.replica.handle(now, Input::Tick, &mut outputs);
                    true
                }
                Err(RecvTimeoutError::Disconnected) => false,
            };
            self.execute(&mut outputs);
            if !goes_on {
                return;
            }
        }
    }

    /// Takes what queued up meanwhile, so that one log write and one wake-up serve all of it.
    fn drain(&mut self, now: Now, inbox: &Receiver<CoreMessage>, outputs: &mut Outputs) -> bool {
        for _ in 1..MESSAGES_PER_BATCH {
            match inbox.try_recv() {
                Ok(message) => {
                    if !self.take(now, message, outputs) {
                        return false;
                    }
                }
                Err(_) => break,
            }
        }
        if self
            .replica
            .next_deadline()
            .is_some_and(|deadline| deadline <= now.mono)
        {
            self.replica.handle(now, Input::Tick, outputs);
        }
        true
    }

    fn take(&mut self, now: Now, message: CoreMessage, outputs: &mut Outputs) -> bool {
        match message {
            CoreMessage::Inputs(inputs) => {
                for input in inputs {
                    self.replica.handle(now, input, outputs);
                }
                true
            }
            CoreMessage::Stop => false,
        }
    }

    fn execute(&mut self, outputs: &mut Outputs) {
        let mut entries: Vec<LogEntry> = Vec::new();
        for output in outputs.list.drain(..) {
            match output {
                Output::AppendLog(entry) => entries.push(entry),
                Output::RollLog => {
                    self.append(std::mem::take(&mut entries));
                    let _ = self.log.send(LogMessage::Roll);
                }
                Output::TakeSnapshot(head) => {
                    let _ = self.snapshots.send(head);
                }
            }
        }
        self.append(entries);
        for conn in outputs.wake.drain(..) {
            conn.outbox.wake();
            drop::<Arc<_>>(conn);
        }
    }

    fn append(&self, entries: Vec<LogEntry>) {
        if !entries.is_empty() {
            // The log thread ends the process when it cannot write, so its queue outlives this thread.
            let _ = self.log.send(LogMessage::Append(entries));
        }
    }
}

/// Messages taken before what they led to is passed on.
const MESSAGES_PER_BATCH: usize = 256;
