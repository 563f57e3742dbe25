//! `status --all`: every server of the configuration at once, as a table and a verdict.

pub(in crate::cli) mod probe;
pub(in crate::cli) mod table;
pub(in crate::cli) mod target;
pub(in crate::cli) mod verdict;

use std::process::ExitCode;

use super::{EXIT_UNEXPECTED, Setup, Streams, report};
use crate::config::server_config::LearnerType;
use crate::config::{ServerConfig, Severity, members};
use crate::quorum::members::Members;

use probe::{Figures, Trouble};
use target::{Own, Target};
use verdict::Verdict;

/// Prints a line for each server and a verdict; succeeds when a quorum serves under one leader.
pub fn table(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let (rows, verdict) = look(setup, streams)?;
    streams.out.write_all(table::text(&rows, &verdict).as_bytes())?;
    for line in verdict.lines() {
        writeln!(streams.out, "{line}")?;
    }
    Ok(verdict.exit_code())
}

/// The same as one JSON object.
pub fn json(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let (rows, verdict) = look(setup, streams)?;
    writeln!(streams.out, "{:#}", table::json(&rows, &verdict))?;
    Ok(verdict.exit_code())
}

fn look(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<(Vec<Row>, Verdict)> {
    report(&setup.loaded.problems, Severity::Error, streams.err)?;
    let config = &setup.loaded.config;
    let members = ensemble(config)?;
    let targets = targets(config);
    let rows = ask(targets)?;
    let verdict = verdict::judge(&rows, members.as_ref());
    Ok((rows, verdict))
}

/// Asks all of them.
pub(in crate::cli) fn ask(targets: Vec<Target>) -> anyhow::Result<Vec<Row>> {
    let answers = probe::ask_all(&targets)?;
    let rows = targets.into_iter().zip(answers);
    Ok(rows.map(|(target, answer)| Row { target, answer }).collect())
}

/// A server and what it said.
pub(in crate::cli) struct Row {
    pub(in crate::cli) target: Target,
    pub(in crate::cli) answer: Result<Figures, Trouble>,
}

/// The members; `None` for a server that is alone.
fn ensemble(config: &ServerConfig) -> anyhow::Result<Option<Members>> {
    if !config.ensemble.is_distributed() {
        return Ok(None);
    }
    // Read back for its checks: a list that no server would start with has no quorums to count.
    let members = Members::parse(&members(&config.ensemble).to_text())?;
    Ok(Some(members))
}

fn targets(config: &ServerConfig) -> Vec<Target> {
    let ensemble = &config.ensemble;
    let own = Own::of(config);
    if !ensemble.is_distributed() {
        return vec![Target {
            id: None,
            role: None,
            hosts: vec![own.host.unwrap_or_else(|| "localhost".to_owned())],
            port: own.port,
        }];
    }
    target::of_members(&members(ensemble), &own)
}

#[cfg(test)]
mod tests;
