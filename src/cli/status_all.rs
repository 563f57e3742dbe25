//! `status --all`: every server of the configuration at once, as a table and a verdict.

mod probe;
mod table;
mod verdict;

use std::net::IpAddr;
use std::process::ExitCode;

use super::{EXIT_UNEXPECTED, Setup, Streams, report};
use crate::config::server_config::{HostPort, LearnerType, QuorumServer};
use crate::config::{ServerConfig, Severity, members};
use crate::ids::ServerId;
use crate::quorum::members::Members;

use probe::{Figures, Trouble};
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
    let answers = probe::ask_all(&targets)?;
    let rows: Vec<Row> = targets
        .into_iter()
        .zip(answers)
        .map(|(target, answer)| Row { target, answer })
        .collect();
    let verdict = verdict::judge(&rows, members.as_ref());
    Ok((rows, verdict))
}

/// A server and what it said.
struct Row {
    target: Target,
    answer: Result<Figures, Trouble>,
}

/// A server as the configuration knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// `None` for one that is alone.
    id: Option<ServerId>,
    /// `None` for one that is alone.
    role: Option<LearnerType>,
    /// Where its clients connect; each is tried.
    hosts: Vec<String>,
    /// `None` where nothing says so.
    port: Option<u16>,
}

impl Target {
    fn address(&self) -> String {
        let address = |host: &String| match self.port {
            Some(port) => HostPort {
                host: host.clone(),
                port,
            }
            .to_string(),
            None => host.clone(),
        };
        let addresses: Vec<String> = self.hosts.iter().map(address).collect();
        addresses.join("|")
    }

    fn name(&self) -> String {
        self.id
            .map_or("the server".to_owned(), |id| format!("server {}", id.0))
    }
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
    let own_port = config.client_port.port.filter(|port| *port != 0);
    let own_host = config.client_port.host.clone().filter(|host| !is_wildcard(host));
    if !ensemble.is_distributed() {
        return vec![Target {
            id: None,
            role: None,
            hosts: vec![own_host.unwrap_or_else(|| "localhost".to_owned())],
            port: own_port,
        }];
    }
    let target = |id: ServerId, server: &QuorumServer| {
        let is_own = ensemble.my_id == Some(id);
        let listed = server.client_address.as_ref();
        let host = match listed {
            Some(address) => Some(address.host.clone()).filter(|host| !is_wildcard(host)),
            None => own_host.clone().filter(|_| is_own),
        };
        Target {
            id: Some(id),
            role: Some(server.learner_type),
            hosts: host.map_or_else(|| hosts_of(server), |host| vec![host]),
            port: match listed {
                Some(address) => Some(address.port),
                None if is_own => own_port,
                // Two servers on one host do not share a port: whose it is cannot be guessed.
                None => own_port.filter(|_| is_alone_on_its_hosts(id, server, config)),
            },
        }
    };
    let servers = ensemble.servers.iter();
    servers.map(|(id, server)| target(*id, server)).collect()
}

fn is_alone_on_its_hosts(id: ServerId, server: &QuorumServer, config: &ServerConfig) -> bool {
    let hosts = hosts_of(server);
    let mut others = config.ensemble.servers.iter().filter(|(other, _)| **other != id);
    !others.any(|(_, other)| hosts_of(other).iter().any(|host| hosts.contains(host)))
}

fn hosts_of(server: &QuorumServer) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for address in &server.addresses {
        if !hosts.contains(&address.host) {
            hosts.push(address.host.clone());
        }
    }
    hosts
}

/// Where a server listens on every interface, its clients need one of them.
fn is_wildcard(host: &str) -> bool {
    host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified())
}

#[cfg(test)]
mod tests;
