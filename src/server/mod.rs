//! Assembles the server from its parts, starts them in order, and stops them in order.

pub mod clock;
pub mod logging;
pub mod os_disk;
pub mod systemd;

mod assemble;
mod client_port;
mod client_task;
mod core_thread;
mod ensemble;
mod four_letter;
mod in_force;
mod listen;
mod loading_disk;
mod log_thread;
pub mod peer_election;
pub mod peer_quorum;
mod peers;
mod report;
mod snapshot_thread;
mod start_error;
mod wakes;
mod workers;

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::ServerConfig;
use assemble::Running;
use systemd::Notifier;

pub use assemble::storage_config;
pub use four_letter::version_text;
pub use start_error::{ListenError, StartError};

/// Runs a server until it is told to end (SIGTERM, SIGINT).
pub fn run(config: &ServerConfig) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let notifier = Arc::new(Notifier::from_env());
        notifier.status("loading the database");
        let running = tokio::select! {
            started = assemble::start(config) => started?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let reports = tokio::spawn(report::run(Arc::clone(&notifier), running.report()));
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: shutting down");
        reports.abort();
        notifier.stopping();
        stop(running).await;
        Ok(())
    })
}

/// Accepting ends first, then the core, which takes no more requests and hands over what it leads, then the
/// log, which syncs what it has. A client whose write was not answered yet learns of it when it reconnects.
async fn stop(running: Running) {
    running.accept.abort();
    running.core.stop();
    // The core's last words go out over this runtime, so it must not be blocked until they have.
    let _ = running.core_task.await;
    if let Some(peers) = running.peers {
        peers.reset();
        peers.drained().await;
    }
    for thread in running.threads {
        join(thread);
    }
    tracing::info!("shut down");
}

fn join(thread: JoinHandle<()>) {
    let _ = thread.join();
}

/// Lets this thread alone, on Linux, stand back: it gets a tenth of a processor that others want whole. Where
/// that is refused, those wait a little longer.
fn stand_back() {
    let _ = rustix::process::nice(10);
}

/// Ends the process at once: going on could lose or corrupt what was acknowledged.
fn end_process(reason: &str) -> ! {
    tracing::error!("{reason}; the server ends");
    std::process::exit(1)
}
