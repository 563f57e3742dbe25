//! The task that owns the replica: it takes what has queued up, lets the replica decide, and passes on what
//! the replica says.
//!
//! Its thread is the one with the sockets of the other servers: what they bring reaches it, and what it says
//! to them leaves, without a wake-up in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Sender;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::client_port::ClientPortHandle;
use super::clock::Clock;
use super::in_force::InForce;
use super::log_thread::LogMessage;
use super::peers::Peers;
use super::snapshot_thread::SnapshotJob;
use super::wakes::Wakes;
use crate::clock::Now;
use crate::replica::{Input, Output, Outputs, Replica};
use crate::storage::epochs::Epochs;
use crate::zab::LogEntry;

/// How the other threads reach the core.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    inbox: UnboundedSender<Vec<Input>>,
}

impl CoreHandle {
    /// Hands inputs over. After the core has stopped they are dropped: nobody is left to be answered.
    pub fn submit(&self, inputs: Vec<Input>) {
        let _ = self.inbox.send(inputs);
    }

    /// Asks the core to stop behind what it has got so far. A leader hands over first.
    pub fn stop(&self) {
        self.submit(vec![Input::Stop]);
    }
}

/// What reaches the core, in batches.
pub type Inbox = UnboundedReceiver<Vec<Input>>;

/// The core's inbox.
pub fn channel() -> (CoreHandle, Inbox) {
    let (sender, receiver) = unbounded_channel();
    (CoreHandle { inbox: sender }, receiver)
}

/// Whom the core tells what to do.
pub struct CoreLinks {
    /// The log thread, which ends when this is dropped.
    pub log: Sender<LogMessage>,
    /// The snapshot thread, likewise.
    pub snapshots: Sender<SnapshotJob>,
    /// The other servers; `None` alone.
    pub peers: Option<Peers>,
    /// Whether clients are served.
    pub serving: watch::Sender<bool>,
    /// Where clients are served.
    pub client_port: ClientPortHandle,
    /// What is shown of the configuration.
    pub in_force: InForce,
    /// Wakes connections.
    pub wakes: Arc<Wakes>,
    /// Counts what the core has taken: an empty batch shows that it is alive.
    pub beats: Arc<AtomicU64>,
}

/// Starts the core on this runtime. It ends when the replica has stopped.
pub fn spawn(replica: Replica, inbox: Inbox, links: CoreLinks, clock: Clock) -> JoinHandle<()> {
    tokio::spawn(Core { replica, links }.run(inbox, clock))
}

struct Core {
    replica: Replica,
    links: CoreLinks,
}

impl Core {
    async fn run(mut self, mut inbox: Inbox, clock: Clock) {
        let mut outputs = Outputs::default();
        self.replica.start(clock.now(), &mut outputs);
        let mut is_busy = false;
        while self.execute(&mut outputs) {
            // Under load those who fill the inbox have their turn first: what they bring is taken together,
            // without a wake-up for each. Some are other threads, some are tasks of this one.
            if is_busy {
                std::thread::yield_now();
            }
            if !inbox.is_empty() {
                tokio::task::yield_now().await;
            }
            let first = match self.replica.next_deadline() {
                Some(deadline) => timeout_at(clock.instant(deadline).into(), inbox.recv()).await,
                None => Ok(inbox.recv().await),
            };
            let now = clock.now();
            self.links.beats.fetch_add(1, Relaxed);
            match first {
                Ok(Some(inputs)) => {
                    self.take(now, inputs, &mut outputs);
                    is_busy = self.drain(now, &mut inbox, &mut outputs);
                }
                Ok(None) => return,
                Err(_) => self.replica.handle(now, Input::Tick, &mut outputs),
            }
        }
    }

    /// Takes what queued up meanwhile, so that one log write and one wake-up serve all of it. True if it
    /// was a lot.
    fn drain(&mut self, now: Now, inbox: &mut Inbox, outputs: &mut Outputs) -> bool {
        let mut taken = 1;
        while taken < MESSAGES_PER_BATCH {
            let Ok(inputs) = inbox.try_recv() else { break };
            self.take(now, inputs, outputs);
            taken += 1;
        }
        if self
            .replica
            .next_deadline()
            .is_some_and(|deadline| deadline <= now.mono)
        {
            self.replica.handle(now, Input::Tick, outputs);
        }
        taken >= BUSY_MESSAGES
    }

    fn take(&mut self, now: Now, inputs: Vec<Input>, outputs: &mut Outputs) {
        for input in inputs {
            self.replica.handle(now, input, outputs);
        }
    }

    /// False when there is nothing to do any more.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`execute_one` names them all")]
    fn execute(&mut self, outputs: &mut Outputs) -> bool {
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut goes_on = true;
        for output in outputs.list.drain(..) {
            match output {
                Output::AppendLog(entry) => entries.push(entry),
                // Written when this task gives its turn away: the own disk is busy by then.
                Output::Send(link, bytes) => self.peers().send(link, bytes),
                Output::Stopped => goes_on = false,
                other => {
                    self.append(std::mem::take(&mut entries));
                    self.execute_one(other);
                }
            }
        }
        self.append(entries);
        self.links.wakes.wake(outputs.wake.drain(..));
        goes_on
    }

    fn execute_one(&mut self, output: Output) {
        match output {
            Output::RollLog => self.log(LogMessage::Roll),
            Output::SaveEpochs { accepted, current } => {
                self.log(LogMessage::SaveEpochs(Epochs { accepted, current }));
            }
            Output::ConfigProposed(configs) => {
                self.peers().use_configs(&configs);
                self.log(LogMessage::ConfigProposed(configs));
            }
            Output::ConfigCommitted(configs) => {
                self.peers().use_configs(&configs);
                self.links.client_port.use_configs(&configs);
                self.links.in_force.use_configs(&configs);
                self.log(LogMessage::ConfigCommitted(configs));
            }
            Output::FenceLog => self.log(LogMessage::Fence),
            Output::TruncateLog { to } => self.log(LogMessage::Truncate(to)),
            Output::InstallTree(tree) => self.log(LogMessage::Install(tree)),
            Output::DropTree(tree) => self.snapshot(SnapshotJob::Drop(tree)),
            Output::TakeSnapshot(head) => self.snapshot(SnapshotJob::Take(head)),
            Output::SendImage { link, head } => {
                let chunks = self.peers().image(link);
                self.snapshot(SnapshotJob::Send { head, chunks });
            }
            Output::ReadLog {
                role,
                link,
                after,
                upto,
            } => self.peers().read_log(role, link, after, upto),
            Output::ReserveImage(link) => self.peers().reserve_image(link),
            Output::Notify { to, body } => self.peers().notify(to, body),
            Output::DialAll => self.peers().dial_all(),
            Output::Listen { role } => self.peers().listen(role),
            Output::Connect { role, leader } => self.peers().connect(role, leader),
            Output::ListenForObservers { role } => self.peers().listen_for_observers(role),
            Output::ConnectToMaster { role, master } => self.peers().connect_to_master(role, master),
            Output::ClosePeer { link, reason } => self.peers().close(link, reason),
            Output::ResetPeers => self.peers().reset(),
            Output::Serving(is_serving) => {
                match is_serving {
                    true => tracing::info!("serving clients"),
                    false => tracing::info!("no longer serving clients"),
                }
                self.links.serving.send_replace(is_serving);
            }
            Output::AppendLog(_) | Output::Send(..) | Output::Stopped => {
                unreachable!("they are done where they are said")
            }
        }
    }

    fn peers(&mut self) -> &mut Peers {
        self.links
            .peers
            .as_mut()
            .expect("a server without peers says nothing to them")
    }

    fn append(&self, entries: Vec<LogEntry>) {
        if !entries.is_empty() {
            self.log(LogMessage::Append(entries));
        }
    }

    fn log(&self, message: LogMessage) {
        // The log thread ends the process when it cannot write, so its queue outlives the core.
        let _ = self.links.log.send(message);
    }

    fn snapshot(&self, job: SnapshotJob) {
        let _ = self.links.snapshots.send(job);
    }
}

/// Messages taken before what they led to is passed on.
const MESSAGES_PER_BATCH: usize = 256;
/// Messages at once that show that more are to come. With fewer the core of an ensemble, whose fillers are
/// its peers, would give its turn away for nothing.
const BUSY_MESSAGES: usize = 12;
