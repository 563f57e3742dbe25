//! Assembles and runs the server.

pub mod logging;
pub mod os_disk;

use std::process::ExitCode;

use crate::config::ServerConfig;

/// Runs a server until it ends.
pub fn run(config: ServerConfig) -> anyhow::Result<ExitCode> {
    anyhow::bail!("no server yet for {:?}", config.client_port)
}
