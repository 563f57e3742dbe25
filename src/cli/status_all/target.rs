//! Where clients connect to the members of an ensemble.

use std::net::IpAddr;

use crate::config::ServerConfig;
use crate::config::server_config::{HostPort, LearnerType};
use crate::ids::ServerId;
use crate::quorum::members::{Member, Members};

/// A server as the configuration knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Target {
    /// `None` for one that is alone.
    pub(in crate::cli) id: Option<ServerId>,
    /// `None` for one that is alone.
    pub(in crate::cli) role: Option<LearnerType>,
    /// Where its clients connect; each is tried.
    pub(in crate::cli) hosts: Vec<String>,
    /// `None` where nothing says so.
    pub(in crate::cli) port: Option<u16>,
}

/// What is known of one server besides its line: it says where its clients connect, and by what port those of
/// others may.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Own {
    /// Which one it is, if that is known.
    pub(in crate::cli) id: Option<ServerId>,
    /// `clientPortAddress`, unless that is every address.
    pub(in crate::cli) host: Option<String>,
    /// `clientPort`, unless the system chooses it.
    pub(in crate::cli) port: Option<u16>,
    /// Where clients connect, as somebody has said who knows.
    pub(in crate::cli) known: Vec<(String, u16)>,
}

impl Own {
    /// What its configuration file says.
    pub(in crate::cli) fn of(config: &ServerConfig) -> Own {
        Own {
            id: config.ensemble.my_id,
            host: config.client_port.host.clone().filter(|host| !is_wildcard(host)),
            port: config.client_port.port.filter(|port| *port != 0),
            known: Vec::new(),
        }
    }

    fn known_at(&self, hosts: &[String]) -> Option<u16> {
        let known = self.known.iter().find(|(host, _)| hosts.contains(host));
        known.map(|(_, port)| *port)
    }
}

impl Target {
    /// `host:port`, or all of them with bars.
    pub(in crate::cli) fn address(&self) -> String {
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

    /// For sentences.
    pub(in crate::cli) fn name(&self) -> String {
        self.id
            .map_or("the server".to_owned(), |id| format!("server {}", id.0))
    }
}

/// One for each member, in their order.
pub(in crate::cli) fn of_members(members: &Members, own: &Own) -> Vec<Target> {
    let target = |id: ServerId, member: &Member| {
        let is_own = own.id == Some(id);
        let listed = member.client_address.as_ref();
        let host = match listed {
            Some((host, _)) => Some(host.clone()).filter(|host| !is_wildcard(host)),
            None => own.host.clone().filter(|_| is_own),
        };
        Target {
            id: Some(id),
            role: Some(match member.is_observer {
                true => LearnerType::Observer,
                false => LearnerType::Participant,
            }),
            hosts: host.map_or_else(|| hosts_of(member), |host| vec![host]),
            port: match listed {
                Some((_, port)) => Some(*port),
                None if is_own => own.port,
                // Two servers on one host do not share a port: whose it is cannot be guessed.
                None if !is_alone_on_its_hosts(id, member, members) => None,
                None if let Some(port) = own.known_at(&hosts_of(member)) => Some(port),
                None => own.port,
            },
        }
    };
    let servers = members.servers.iter();
    servers.map(|(id, member)| target(*id, member)).collect()
}

fn is_alone_on_its_hosts(id: ServerId, member: &Member, members: &Members) -> bool {
    let hosts = hosts_of(member);
    let mut others = members.servers.iter().filter(|(other, _)| **other != id);
    !others.any(|(_, other)| hosts_of(other).iter().any(|host| hosts.contains(host)))
}

fn hosts_of(member: &Member) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for address in &member.addresses {
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
