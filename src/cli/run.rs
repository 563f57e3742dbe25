//! `start-foreground`, and what runs without a subcommand: checks, first log lines, then the server.

use std::path::Path;
use std::process::ExitCode;

use super::{EXIT_ARGUMENTS, EXIT_UNEXPECTED, INVALID_CONFIG, Setup, Streams, report};
use crate::config::server_config::EnsembleConfig;
use crate::config::{ConfigSource, MyId, ServerConfig, Severity};
use crate::server::{self, logging};

/// Runs the server until it ends.
pub fn run(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let loaded = &setup.loaded;
    let config = &loaded.config;
    if loaded.has_errors() {
        report(&loaded.problems, Severity::Error, streams.err)?;
        report(&loaded.problems, Severity::Warning, streams.err)?;
        writeln!(streams.err, "{INVALID_CONFIG}")?;
        return Ok(ExitCode::from(EXIT_ARGUMENTS));
    }
    if let Some(reason) = missing_version_dir(config) {
        writeln!(streams.out, "{reason}")?;
        return Ok(ExitCode::from(EXIT_UNEXPECTED));
    }
    if let Err(error) = logging::init(&config.logging, config.ensemble.my_id.map(|id| id.0)) {
        writeln!(streams.err, "error: {error}\n{INVALID_CONFIG}")?;
        return Ok(ExitCode::from(EXIT_ARGUMENTS));
    }
    for line in first_lines(setup) {
        tracing::info!("{line}");
    }
    for problem in &loaded.problems {
        tracing::warn!("{problem}");
    }
    if let Some(my_id) = loaded.my_id.as_ref().filter(|my_id| !my_id.is_in_file()) {
        keep(my_id, &config.storage.data_dir);
    }
    match server::run(config) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            // In the log for those who collect it, on standard error for who started the server.
            tracing::error!("{error}");
            writeln!(streams.err, "{error}")?;
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

/// Writes the file `myid`. A server that cannot is the same server all the same, as long as its source stays.
fn keep(my_id: &MyId, data_dir: &Path) {
    let path = data_dir.join("myid");
    match my_id.write(data_dir) {
        Ok(()) => tracing::info!("wrote {} to {}", my_id.id.0, path.display()),
        Err(error) => tracing::warn!(
            "cannot write {}: {error}; the number of this server is only known from {}",
            path.display(),
            my_id.place
        ),
    }
}

/// What is wrong when directories may not be created and are not there.
pub fn missing_version_dir(config: &ServerConfig) -> Option<String> {
    let storage = &config.storage;
    let dirs = [
        (&storage.data_dir, storage.snap_dir()),
        (&storage.data_log_dir, storage.log_dir()),
    ];
    let missing = dirs
        .into_iter()
        .find(|(_, version_dir)| !storage.auto_create && !version_dir.is_dir());
    missing.map(|(dir, _)| {
        format!(
            "ZooKeeper data directory is missing at {} fix the path or run initialize",
            dir.display()
        )
    })
}

/// What part the configuration gives to this server.
fn part(ensemble: &EnsembleConfig) -> String {
    match ensemble.my_id {
        Some(id) if ensemble.is_distributed() => {
            format!("server {} of an ensemble of {}", id.0, ensemble.servers.len())
        }
        Some(_) | None => "standalone".to_owned(),
    }
}

/// What the log opens with: version, mode, where the configuration is from and how to change it.
fn first_lines(setup: &Setup) -> Vec<String> {
    let config = &setup.loaded.config;
    let version = env!("CARGO_PKG_VERSION");
    let mut lines = vec![format!(
        "zkserver {version} starting, {}, process {}",
        part(&config.ensemble),
        std::process::id()
    )];
    let port = match (&config.client_port.host, config.client_port.port) {
        (Some(host), Some(port)) => format!("client port {host}:{port}"),
        (None, Some(port)) => format!("client port {port} on every interface"),
        (_, None) => "no client port".to_owned(),
    };
    let data = config.storage.data_dir.display();
    let searched: Vec<_> = setup
        .located
        .searched
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    match &setup.located.source {
        ConfigSource::File(path) => lines.push(format!(
            "configuration {}: {port}, data under {data}",
            path.display()
        )),
        ConfigSource::Variables => lines.push(format!(
            "no configuration file in {}: configured by variables, {port}, data under {data}",
            searched.join(", ")
        )),
        ConfigSource::BuiltIn => {
            lines.push(format!(
                "no configuration named or found, built-in defaults: {port}, data under {data}"
            ));
            lines.push(format!(
                "to change them, write a zoo.cfg (conf/zoo.cfg is a sample) and name it: \
                 zkserver start-foreground /path/zoo.cfg, or --config DIR, or ZOOCFGDIR=DIR; \
                 without a name it is looked for in {}",
                searched.join(", ")
            ));
        }
    }
    lines.extend(setup.loaded.notes.iter().cloned());
    lines
}
