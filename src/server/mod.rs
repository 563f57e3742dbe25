//! Assembles the server from its parts, starts them in order, and stops them in order.

pub mod clock;
pub mod logging;
pub mod os_disk;

mod assemble;
mod client_task;
mod core_thread;
mod four_letter;
mod listen;
mod log_thread;
mod snapshot_thread;
mod workers;

use std::process::ExitCode;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::ServerConfig;
use assemble::Running;

pub use four_letter::version_text;

/// Runs a standalone server until it is told to end (SIGTERM, SIGINT).
pub fn run(config: ServerConfig) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let running = assemble::start(&config).await?;
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: shutting down");
        stop(running);
        Ok(ExitCode::SUCCESS)
    })
}

/// Accepting ends first, then the core, which takes no more requests, then the log, which syncs what it has.
/// A client whose write was not answered yet learns of it when it reconnects.
fn stop(running: Running) {
    running.accept.abort();
    running.core.stop();
    for thread in running.threads {
        join(thread);
    }
    tracing::info!("shut down");
}

fn join(thread: JoinHandle<()>) {
    let _ = thread.join();
}

/// Ends the process at once: going on could lose or corrupt what was acknowledged.
fn end_process(reason: &str) -> ! {
    end_process_with(1, reason)
}

fn end_process_with(code: i32, reason: &str) -> ! {
    tracing::error!("{reason}; the server ends");
    std::process::exit(code)
}
