//! The members of an ensemble, and the text that names them on the wire and in `/zookeeper/config`
//! (QuorumVerifier.toString, QuorumPeer.QuorumServer).
//!
//! Hosts stay text: they are resolved at every use, for they may move.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use super::verifier::QuorumVerifier;
use crate::ids::ServerId;

/// All members, voting or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The members by their number.
    pub servers: BTreeMap<ServerId, Member>,
    /// `group.G`: which servers are in which group. Empty for majority quorums.
    pub groups: BTreeMap<i64, Vec<ServerId>>,
    /// `weight.N`: weights that are not the default of 1.
    pub weights: BTreeMap<ServerId, u64>,
    /// The zxid of the reconfiguration that made this list; 0 for one that comes from a file.
    pub version: u64,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it listens for its peers; at least one.
    pub addresses: Vec<MemberAddress>,
    /// It follows without voting.
    pub is_observer: bool,
    /// Host and port for clients, if its `server.N` line has them.
    pub client_address: Option<(String, u16)>,
}

/// One address of a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberAddress {
    /// Host name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port on which a leader serves learners.
    pub quorum_port: u16,
    /// Port of the leader election.
    pub election_port: u16,
}

/// Why a text does not name an ensemble.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembersError {
    /// A line that cannot be understood.
    #[error("\"{line}\": {reason}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody in the list votes.
    #[error("the list has no participant")]
    NoParticipant,
    /// With groups, every participant is in exactly one of them.
    #[error("server {0} must be in exactly one group")]
    Group(i64),
}

impl Members {
    /// The text on the wire: a line for each server, group and weight, then the version without a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (server, member) in &self.servers {
            text.push_str(&format!("server.{}={member}\n", server.0));
        }
        for (group, servers) in &self.groups {
            let servers: Vec<String> = servers.iter().map(|server| server.0.to_string()).collect();
            text.push_str(&format!("group.{group}={}\n", servers.join(":")));
        }
        if !self.groups.is_empty() {
            for (server, member) in &self.servers {
                let weight = self.weights.get(server).copied();
                if let Some(weight) = weight.or((!member.is_observer).then_some(1)) {
                    text.push_str(&format!("weight.{}={weight}\n", server.0));
                }
            }
        }
        text.push_str(&format!("version={:x}", self.version));
        text
    }

    /// Reads such a text by the rules of Java properties, as far as its lines need them. Lines of other keys
    /// are passed over.
    pub fn parse(text: &str) -> Result<Members, MembersError> {
        let mut members = Members::default();
        for (key, value) in Members::lines(text) {
            members
                .add_line(&key, &value)
                .map_err(|reason| MembersError::Line {
                    line: format!("{key}={value}").chars().take(LINE_SHOWN_MAX).collect(),
                    reason,
                })?;
        }
        members.check()?;
        Ok(members)
    }

    /// The keys and values of such a text.
    pub fn lines(text: &str) -> impl Iterator<Item = (String, String)> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
        lines.map(|line| {
            let unescaped = line.replace('\\', "");
            let end = unescaped.find(|c: char| c == '=' || c == ':' || c.is_whitespace());
            let (key, rest) = unescaped.split_at(end.unwrap_or(unescaped.len()));
            let value = rest.trim_start().strip_prefix(['=', ':']).unwrap_or(rest).trim();
            (key.to_owned(), value.to_owned())
        })
    }

    /// By which rule a set of these members is a quorum. There must be a participant.
    pub fn verifier(&self) -> QuorumVerifier {
        if self.groups.is_empty() {
            return QuorumVerifier::majority(self.participants());
        }
        let voters_of = |group: &Vec<ServerId>| -> Vec<ServerId> {
            let voters = group.iter().copied();
            voters.filter(|server| self.is_participant(*server)).collect()
        };
        let groups = self.groups.values().map(voters_of).collect();
        QuorumVerifier::hierarchical(groups, self.weights.clone())
    }

    /// Whether the server is a member that votes.
    pub fn is_participant(&self, server: ServerId) -> bool {
        self.servers
            .get(&server)
            .is_some_and(|member| !member.is_observer)
    }

    /// Whether both lists have the same servers in the same roles, and count alike. Addresses may be spelt
    /// differently by each server without harm.
    pub fn is_same_ensemble(&self, other: &Members) -> bool {
        let roles = |members: &Members| -> BTreeMap<ServerId, bool> {
            let servers = members.servers.iter();
            servers
                .map(|(server, member)| (*server, member.is_observer))
                .collect()
        };
        let groups = |members: &Members| -> BTreeSet<BTreeSet<ServerId>> {
            let groups = members.groups.values();
            groups.map(|group| group.iter().copied().collect()).collect()
        };
        let weights = |members: &Members| -> BTreeMap<ServerId, u64> {
            let weights = members.weights.iter().filter(|(_, weight)| **weight != 1);
            weights.map(|(server, weight)| (*server, *weight)).collect()
        };
        roles(self) == roles(other) && groups(self) == groups(other) && weights(self) == weights(other)
    }

    fn participants(&self) -> impl Iterator<Item = ServerId> + '_ {
        let is_voting = |(server, member): (&ServerId, &Member)| (!member.is_observer).then_some(*server);
        self.servers.iter().filter_map(is_voting)
    }

    fn add_line(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        if key == "version" {
            self.version = u64::from_str_radix(value, 16).map_err(|_| "the version is not hexadecimal")?;
            return Ok(());
        }
        let Some((kind, number)) = key.split_once('.') else {
            return Ok(());
        };
        let number = number.parse::<i64>();
        let number = number.map_err(|_| "the part after the dot is not a number");
        match kind {
            "server" => {
                self.servers.insert(ServerId(number?), parse_member(value)?);
            }
            "group" => {
                let server = |text: &str| text.trim().parse().map(ServerId);
                let servers: Result<Vec<_>, _> = value.split(':').map(server).collect();
                let servers = servers.map_err(|_| "a group is server numbers joined by colons")?;
                self.groups.insert(number?, servers);
            }
            "weight" => {
                let weight = value.parse().map_err(|_| "a weight is a whole number")?;
                self.weights.insert(ServerId(number?), weight);
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), MembersError> {
        if self.participants().next().is_none() {
            return Err(MembersError::NoParticipant);
        }
        if self.groups.is_empty() {
            return Ok(());
        }
        let grouped: Vec<ServerId> = self.groups.values().flatten().copied().collect();
        let times = |server: &ServerId| grouped.iter().filter(|other| *other == server).count();
        match self.participants().find(|server| times(server) != 1) {
            Some(server) => Err(MembersError::Group(server.0)),
            None => Ok(()),
        }
    }
}

impl Member {
    /// Reads the value of a `server.N` line.
    pub fn parse(value: &str) -> Result<Member, &'static str> {
        parse_member(value)
    }

    /// Whether a leader at the one place is to be found at the other: the quorum addresses are the same.
    pub fn has_quorum_addresses_of(&self, other: &Member) -> bool {
        let quorum = |member: &Member| -> BTreeSet<(String, u16)> {
            let addresses = member.addresses.iter();
            addresses.map(|it| (it.host.clone(), it.quorum_port)).collect()
        };
        quorum(self) == quorum(other)
    }

    /// Whether this may be the same place as the other: an address in common, or one that names no host.
    pub fn may_be_at(&self, other: &Member) -> bool {
        let is_nowhere = |address: &MemberAddress| matches!(address.host.as_str(), "0.0.0.0" | "::");
        let mut all = self.addresses.iter().chain(&other.addresses);
        all.any(is_nowhere)
            || self
                .addresses
                .iter()
                .any(|address| other.addresses.contains(address))
    }
}

impl fmt::Display for Members {
    /// One line for people: `1, 2, 3, 4 (observer)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (server, member)) in self.servers.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let role = if member.is_observer { " (observer)" } else { "" };
            write!(f, "{separator}{}{role}", server.0)?;
        }
        Ok(())
    }
}

impl fmt::Display for Member {
    /// The value of the `server.N` line, addresses in the order of their hosts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses: Vec<&MemberAddress> = self.addresses.iter().collect();
        addresses.sort_by(|a, b| a.host.cmp(&b.host));
        for (index, address) in addresses.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { "|" };
            let host = bracketed(&address.host);
            let (quorum, election) = (address.quorum_port, address.election_port);
            write!(f, "{separator}{host}:{quorum}:{election}")?;
        }
        f.write_str(if self.is_observer {
            ":observer"
        } else {
            ":participant"
        })?;
        match &self.client_address {
            Some((host, port)) => write!(f, ";{}:{port}", bracketed(host)),
            None => Ok(()),
        }
    }
}

impl MemberAddress {
    /// `host:port` with this port, an IPv6 address in brackets.
    pub fn at_port(&self, port: u16) -> String {
        format!("{}:{port}", bracketed(&self.host))
    }

    /// `host:port` of the election port, an IPv6 address in brackets.
    pub fn election_text(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.election_port)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn parse_member(value: &str) -> Result<Member, &'static str> {
    let (servers, clients) = match value.split_once(';') {
        Some((servers, clients)) => (servers, clients.trim()),
        None => (value, ""),
    };
    let mut addresses = Vec::new();
    let mut is_observer = false;
    for part in servers.split('|') {
        let (host, fields) = split_host(part.trim()).ok_or(ADDRESS_FORM)?;
        let (quorum, election, role) = match fields[..] {
            [quorum, election] => (quorum, election, None),
            [quorum, election, role] => (quorum, election, Some(role.trim())),
            _ => return Err(ADDRESS_FORM),
        };
        addresses.push(MemberAddress {
            host: host.to_owned(),
            quorum_port: port(quorum)?,
            election_port: port(election)?,
        });
        match role.map(str::to_ascii_lowercase).as_deref() {
            Some("observer") => is_observer = true,
            Some("participant") | None => {}
            Some(_) => return Err("a role is participant or observer"),
        }
    }
    Ok(Member {
        addresses,
        is_observer,
        client_address: client_address(clients)?,
    })
}

fn client_address(text: &str) -> Result<Option<(String, u16)>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(port) = port(text) {
        return Ok(Some(("0.0.0.0".to_owned(), port)));
    }
    match split_host(text) {
        Some((host, fields)) if fields.len() == 1 => Ok(Some((host.to_owned(), port(fields[0])?))),
        _ => Err("a client address is a port or host:port"),
    }
}

/// A host, or an IPv6 address in brackets, and what follows it between colons.
fn split_host(text: &str) -> Option<(&str, Vec<&str>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            (host, rest.strip_prefix(':')?)
        }
        None => text.split_once(':')?,
    };
    (!host.is_empty()).then(|| (host, rest.split(':').collect()))
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.trim().parse().map_err(|_| "a port is a number up to 65535")
}

const ADDRESS_FORM: &str = "an address is host:quorumPort:electionPort[:role]";
/// How much of a line an error shows.
const LINE_SHOWN_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_static_configuration_is_java_s() {
        let text = "server.1=127.0.0.1:22211:22221:participant\n\
                    server.2=127.0.0.1:22212:22222:participant\n\
                    server.3=127.0.0.1:22213:22223:participant\nversion=0";
        let members = Members::parse(text).unwrap();
        assert_eq!((members.to_text().as_str(), text.len()), (text, 138));
        assert!(members.is_participant(ServerId(3)) && !members.is_participant(ServerId(4)));
        assert_eq!(members.to_string(), "1, 2, 3");
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        let text = "# a comment\nserver.1 b:1:2|[::1]:3:4:Participant;2181\r\n\
                    server.2=h\\:5\\:6:observer;[::]:7\nserver.12: c:8:9 \ngroup.1=1\ngroup.2 = 12\n\
                    weight.1=3\nsomething=else\n\nversion=1000000ff";
        let members = Members::parse(text).unwrap();
        assert_eq!(
            members.to_text(),
            "server.1=[::1]:3:4|b:1:2:participant;0.0.0.0:2181\nserver.2=h:5:6:observer;[::]:7\n\
             server.12=c:8:9:participant\ngroup.1=1\ngroup.2=12\nweight.1=3\nweight.12=1\n\
             version=1000000ff"
        );
        let again = Members::parse(&members.to_text()).unwrap();
        assert!(again.is_same_ensemble(&members));
        assert_eq!(again.verifier().weight(ServerId(1)), 3);
        assert_eq!(members.to_string(), "1, 2 (observer), 12");
        assert_eq!(
            members.verifier().voters().collect::<Vec<_>>(),
            [ServerId(1), ServerId(12)]
        );
    }

    #[test]
    fn broken_texts_are_refused() {
        for (text, part) in [
            ("", "no participant"),
            ("version=0", "no participant"),
            ("server.1=h:1:2:observer", "no participant"),
            ("server.x=h:1:2", "not a number"),
            ("server.1=h:1", ADDRESS_FORM),
            ("server.1=:1:2", ADDRESS_FORM),
            ("server.1=[::1:1:2", ADDRESS_FORM),
            ("server.1=h:1:99999", "a port"),
            ("server.1=h:1:2:leader", "a role"),
            ("server.1=h:1:2;a:b:c", "a client address"),
            ("server.1=h:1:2\nversion=xyz", "hexadecimal"),
            ("server.1=h:1:2\ngroup.1=1,2", "a group"),
            ("server.1=h:1:2\nweight.1=-1", "a weight"),
            (
                "server.1=h:1:2\ngroup.1=2",
                "server 1 must be in exactly one group",
            ),
            (
                "server.1=h:1:2\ngroup.1=1\ngroup.2=1",
                "server 1 must be in exactly one group",
            ),
        ] {
            let error = Members::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn only_what_counts_makes_ensembles_differ() {
        let members = Members::parse("server.1=a:1:2\nserver.2=b:1:2\nversion=0").unwrap();
        for (text, expected) in [
            ("server.1=x:3:4\nserver.2=b:1:2;2181\nversion=5", true),
            ("server.1=a:1:2\nversion=0", false),
            ("server.1=a:1:2\nserver.2=b:1:2:observer", false),
            ("server.1=a:1:2\nserver.3=b:1:2", false),
            ("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2", false),
        ] {
            let other = Members::parse(text).unwrap();
            assert_eq!(members.is_same_ensemble(&other), expected, "{text}");
        }
    }
}
