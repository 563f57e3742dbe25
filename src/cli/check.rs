//! `check`: configuration, myid and data directory, in words, without starting and without changing anything.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Access, FlockOperation, access, flock, statvfs};

use super::dry_disk::DryDisk;
use super::{EXIT_ARGUMENTS, EXIT_DATA_DIR, Setup, Streams, report};
use crate::config::server_config;
use crate::config::{Origin, Problem, ServerConfig, Severity};
use crate::server;
use crate::storage::StorageConfig;
use crate::storage::data_dir::{self, LOCK_NAME};
use crate::storage::recovery::{self, Recovered};

/// Prints what is wrong and how to mend it.
/// Exit codes: 0 the server would start, 2 the configuration is wrong, 3 the data is.
pub fn check(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let config = &setup.loaded.config;
    let config_problems = setup.loaded.problems.clone();
    section(streams.out, "configuration", &config_problems)?;
    for note in &setup.loaded.notes {
        writeln!(streams.out, "{note}")?;
    }
    match config.ensemble.my_id {
        Some(id) => writeln!(streams.out, "myid: {}", id.0)?,
        None => writeln!(streams.out, "myid: none (a standalone server needs none)")?,
    }
    // Directories that a wrong configuration names say nothing about the data.
    let data = if setup.loaded.has_errors() {
        Data::default()
    } else {
        Data::check(config)
    };
    if !setup.loaded.has_errors() {
        section(streams.out, "data", &data.problems)?;
    }
    if let Some(held) = &data.held {
        writeln!(streams.out, "{held}")?;
    }
    let is_wrong = |problems: &[Problem]| problems.iter().any(|problem| problem.severity == Severity::Error);
    if is_wrong(&config_problems) {
        writeln!(streams.out, "The server would not start with this configuration.")?;
        return Ok(ExitCode::from(EXIT_ARGUMENTS));
    }
    if is_wrong(&data.problems) {
        writeln!(streams.out, "The server would not start on this data.")?;
        return Ok(ExitCode::from(EXIT_DATA_DIR));
    }
    let verdict = match data.is_in_use {
        true => "A server is running on this data; with this configuration it would start again.",
        false => "The server would start.",
    };
    writeln!(streams.out, "{verdict}")?;
    Ok(ExitCode::SUCCESS)
}

fn section(out: &mut dyn Write, name: &str, problems: &[Problem]) -> io::Result<()> {
    if problems.is_empty() {
        return writeln!(out, "{name}: nothing wrong");
    }
    writeln!(out, "{name}:")?;
    report(problems, Severity::Error, out)?;
    report(problems, Severity::Warning, out)
}

/// What there is to say about the data directories.
#[derive(Default)]
struct Data {
    problems: Vec<Problem>,
    /// A server runs on it.
    is_in_use: bool,
    /// What a start would find.
    held: Option<String>,
}

impl Data {
    fn check(config: &ServerConfig) -> Data {
        let storage = &config.storage;
        let mut data = Data::default();
        let mut dirs = vec![("dataDir", &storage.data_dir)];
        if storage.is_log_dir_separate() {
            dirs.push(("dataLogDir", &storage.data_log_dir));
        }
        for (key, dir) in dirs {
            check_dir(key, dir, storage, &mut data.problems);
            if is_locked(&dir.join(LOCK_NAME)) {
                data.is_in_use = true;
                let text = "a server is running on this directory: its files are changing and were not read";
                data.warn(dir, text.to_owned());
            }
        }
        let is_readable = data
            .problems
            .iter()
            .all(|problem| problem.severity != Severity::Error);
        if is_readable && !data.is_in_use {
            data.recover(&server::storage_config(config));
        }
        data
    }

    /// Recovers as a start would, but writes nothing.
    fn recover(&mut self, storage: &StorageConfig) {
        if let Err(error) = data_dir::check_places(&DryDisk, storage) {
            self.refuse(&storage.snap_dir, error.to_string());
        }
        match recovery::recover(&DryDisk, storage, HASH_SEED) {
            Ok(recovered) => {
                self.report(&recovered, storage);
                self.held = Some(summary(&recovered));
            }
            Err(error) => {
                self.refuse(&storage.snap_dir, error.to_string());
                let listing = data_dir::list(&DryDisk, storage).unwrap_or_default();
                for warning in listing.warnings() {
                    self.warn(&storage.snap_dir, warning);
                }
            }
        }
    }

    /// What a start would mend.
    fn report(&mut self, recovered: &Recovered, storage: &StorageConfig) {
        let report = &recovered.report;
        for warning in &report.warnings {
            self.warn(&storage.snap_dir, warning.clone());
        }
        if let Some(torn) = &report.torn {
            let text = format!(
                "ends at offset {} in an unfinished write, as a crash leaves it ({}): \
                 the start cuts its {} bytes",
                torn.offset, torn.damage, torn.bytes
            );
            self.warn(&torn.path, text);
        }
        for path in &report.removed_logs {
            self.warn(path, "holds no transaction: the start removes it".to_owned());
        }
        if let Some(mismatch) = &report.first_digest_mismatch {
            let text = format!(
                "the digest of the database is not the one written with it {} time(s), first after \
                 transaction {}: compare the database with a backup or another server",
                report.digest_mismatches, mismatch.zxid
            );
            self.warn(&storage.snap_dir, text);
        }
    }

    fn warn(&mut self, path: &Path, text: String) {
        let origin = Origin::File(path.to_owned());
        self.problems.push(Problem::warning(origin, text));
    }

    fn refuse(&mut self, path: &Path, text: String) {
        let origin = Origin::File(path.to_owned());
        self.problems.push(Problem::error(origin, text));
    }
}

/// Znodes are counted as `srvr` counts them.
fn summary(recovered: &Recovered) -> String {
    let znodes = recovered.tree.node_count();
    let start = match &recovered.report.snapshot {
        Some(snapshot) => snapshot.path.display().to_string(),
        None => "nothing".to_owned(),
    };
    format!(
        "database: {znodes} znodes, last transaction {}, from {start} and {} transaction(s) behind it",
        recovered.last_zxid, recovered.report.txns_replayed
    )
}

fn check_dir(key: &str, dir: &Path, storage: &server_config::StorageConfig, problems: &mut Vec<Problem>) {
    let origin = Origin::File(dir.to_owned());
    if !dir.exists() {
        problems.push(missing_dir(key, dir, storage));
        return;
    }
    if !dir.is_dir() {
        problems.push(Problem::error(
            origin,
            format!("{key} is not a directory: name one"),
        ));
        return;
    }
    let version_dir = dir.join("version-2");
    for inner in [dir, &version_dir] {
        if inner.is_dir() && access(inner, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
            let text = "cannot be read and written by this user: chown it to the user that runs the server";
            problems.push(Problem::error(Origin::File(inner.to_owned()), text));
        }
    }
    if !version_dir.is_dir() && !storage.auto_create {
        problems.push(missing_dir(key, &version_dir, storage));
    }
    let Ok(space) = statvfs(dir) else {
        return;
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let wanted = storage.pre_alloc_bytes.saturating_mul(2).max(FREE_BYTES_MIN);
    if free < wanted {
        let text = format!(
            "only {} MiB free: make room, or name a larger disk in {key}",
            free >> 20
        );
        problems.push(Problem::warning(origin, text));
    }
}

fn missing_dir(key: &str, dir: &Path, storage: &server_config::StorageConfig) -> Problem {
    let origin = Origin::File(dir.to_owned());
    if !storage.auto_create {
        let text = format!(
            "{key} is missing and may not be created (datadir.autocreate): create it or correct {key}"
        );
        return Problem::error(origin, text);
    }
    let nearest = dir.ancestors().find(|ancestor| ancestor.exists());
    match nearest {
        Some(nearest)
            if access(nearest, Access::WRITE_OK | Access::EXEC_OK).is_err() || !nearest.is_dir() =>
        {
            let text = format!(
                "{key} is missing and cannot be created in {}: create it",
                nearest.display()
            );
            Problem::error(origin, text)
        }
        Some(_) | None => Problem::warning(origin, format!("{key} is missing and will be created, empty")),
    }
}

/// Another process holds the lock file. Looking takes a shared lock for an instant; a server that runs is not
/// disturbed by that.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = fs::File::open(path) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared)
        .is_err_and(|error| error == rustix::io::Errno::WOULDBLOCK)
}

/// Nobody chooses names to make a check slow.
const HASH_SEED: u64 = 0;
const FREE_BYTES_MIN: u64 = 64 << 20;
