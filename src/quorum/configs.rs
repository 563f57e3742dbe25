//! The configuration in force, and one that was proposed to follow it (QuorumPeer.getQuorumVerifier,
//! getLastSeenQuorumVerifier).
//!
//! Invariant: while one is proposed, whatever needs a quorum needs one of each. Two leaders, one of whom
//! knows that it was committed and one who does not, so have a server in common.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::members::{MemberAddress, Members, MembersError};
use super::verifier::{AckSet, QuorumVerifier};
use crate::ids::ServerId;

/// One configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    members: Members,
    verifier: QuorumVerifier,
    text: Bytes,
}

/// The configuration in force and the last one seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configs {
    committed: Arc<Config>,
    /// Always of a higher version than the one in force.
    proposed: Option<Arc<Config>>,
}

impl Config {
    /// There must be a participant.
    pub fn new(members: Members) -> Config {
        Config {
            verifier: members.verifier(),
            text: Bytes::from(members.to_text()),
            members,
        }
    }

    /// Reads what a leader says or a transaction holds, and keeps it as it is.
    pub fn parse(text: &[u8]) -> Result<Config, MembersError> {
        let members = Members::parse(&String::from_utf8_lossy(text))?;
        Ok(Config {
            verifier: members.verifier(),
            text: Bytes::copy_from_slice(text),
            members,
        })
    }

    /// All members.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Which of them are enough.
    pub fn verifier(&self) -> &QuorumVerifier {
        &self.verifier
    }

    /// What `/zookeeper/config` and NEWLEADER show.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The zxid of the reconfiguration that made it, or of the NEWLEADER that established it; 0 for one that
    /// comes from a file and was not established yet.
    pub fn version(&self) -> i64 {
        self.members.version as i64
    }
}

impl Configs {
    /// A configuration that nothing is proposed to follow.
    pub fn new(committed: Members) -> Configs {
        Configs {
            committed: Arc::new(Config::new(committed)),
            proposed: None,
        }
    }

    /// The same, with what was proposed last, if that is newer.
    pub fn recovered(committed: Members, last_seen: Option<Members>) -> Configs {
        let mut configs = Configs::new(committed);
        if let Some(last_seen) = last_seen {
            configs.propose(Config::new(last_seen));
        }
        configs
    }

    /// The configuration in force.
    pub fn committed(&self) -> &Config {
        &self.committed
    }

    /// The one that is proposed to follow it.
    pub fn proposed(&self) -> Option<&Config> {
        self.proposed.as_deref()
    }

    /// The newest one that is known, in force or not (`lastSeenQuorumVerifier`).
    pub fn last_seen(&self) -> &Config {
        self.proposed.as_ref().unwrap_or(&self.committed)
    }

    /// This is what was proposed last, instead of what was before it; nothing if it is not newer than what is
    /// in force.
    pub fn propose(&mut self, config: Config) {
        let is_newer = config.version() > self.committed.version();
        self.proposed = is_newer.then(|| Arc::new(config));
    }

    /// This is in force from now on, unless what is in force is as new. True if it changes anything.
    pub fn commit(&mut self, config: Config) -> bool {
        if config.version() <= self.committed.version() {
            return false;
        }
        let version = config.version();
        self.proposed = self.proposed.take().filter(|it| it.version() > version);
        self.committed = Arc::new(config);
        true
    }

    /// Whether those who acknowledged are a quorum of every configuration that counts.
    pub fn contains_quorum(&self, acks: &AckSet) -> bool {
        self.all().all(|config| config.verifier.contains_quorum(acks))
    }

    /// Whether the server has a vote in any of them.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.all().any(|config| config.verifier.is_voter(server))
    }

    /// Whether the server is a member of any of them.
    pub fn is_member(&self, server: ServerId) -> bool {
        self.all()
            .any(|config| config.members.servers.contains_key(&server))
    }

    /// How much the server's vote weighs where it weighs most; 0 for who has none.
    pub fn weight(&self, server: ServerId) -> u64 {
        let weights = self.all().map(|config| config.verifier.weight(server));
        weights.max().unwrap_or(0)
    }

    /// Who has a vote in any of them, in ascending order.
    pub fn voters(&self) -> BTreeSet<ServerId> {
        self.all().flat_map(|config| config.verifier.voters()).collect()
    }

    /// Where the server is: as the one in force says, and then as the proposed one does.
    pub fn addresses(&self, server: ServerId) -> Vec<MemberAddress> {
        let mut all: Vec<MemberAddress> = Vec::new();
        for config in self.all() {
            let member = config.members.servers.get(&server);
            for address in member.into_iter().flat_map(|member| &member.addresses) {
                if !all.contains(address) {
                    all.push(address.clone());
                }
            }
        }
        all
    }

    /// Where all members are.
    pub fn all_addresses(&self) -> BTreeMap<ServerId, Vec<MemberAddress>> {
        let servers = self.all().flat_map(|config| config.members.servers.keys());
        servers.map(|server| (*server, self.addresses(*server))).collect()
    }

    /// Whether the server follows without a vote: it is in the configuration in force, as an observer, and no
    /// other one is proposed that needs its vote to come into force. Who is in none follows as a participant
    /// whose vote does not count.
    pub fn is_observer(&self, server: ServerId) -> bool {
        let member = self.committed.members.servers.get(&server);
        member.is_some_and(|member| member.is_observer) && !self.is_voter(server)
    }

    /// Those that count, the one in force first.
    pub fn all(&self) -> impl Iterator<Item = &Config> {
        std::iter::once(&self.committed)
            .chain(&self.proposed)
            .map(|config| &**config)
    }
}

impl fmt::Display for Configs {
    /// For log lines: `1, 2, 3 (version 100000000)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (version {:x})",
            self.committed.members, self.committed.members.version
        )?;
        match &self.proposed {
            Some(proposed) => write!(
                f,
                ", proposed {} (version {:x})",
                proposed.members, proposed.members.version
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(version: u64, servers: &[i64]) -> Members {
        let lines = servers.iter().map(|id| format!("server.{id}=h{id}:1:2\n"));
        let text = format!("{}version={version:x}", lines.collect::<String>());
        Members::parse(&text).unwrap()
    }

    fn config(version: u64, servers: &[i64]) -> Config {
        Config::new(members(version, servers))
    }

    fn acks(servers: &[i64]) -> AckSet {
        servers.iter().copied().map(ServerId).collect()
    }

    #[test]
    fn while_one_is_proposed_both_have_to_agree() {
        let mut configs = Configs::new(members(1, &[1, 2, 3]));
        assert!(configs.contains_quorum(&acks(&[1, 2])));
        configs.propose(config(7, &[3, 4, 5]));
        assert!(!configs.contains_quorum(&acks(&[1, 2])));
        assert!(!configs.contains_quorum(&acks(&[3, 4])));
        assert!(configs.contains_quorum(&acks(&[2, 3, 4])));
        assert!(configs.is_voter(ServerId(1)) && configs.is_voter(ServerId(5)));
        assert!(!configs.is_voter(ServerId(6)));
        assert_eq!(configs.voters().len(), 5);
        assert_eq!(
            configs.to_string(),
            "1, 2, 3 (version 1), proposed 3, 4, 5 (version 7)"
        );
        assert!(configs.commit(config(7, &[3, 4, 5])));
        assert!(configs.contains_quorum(&acks(&[3, 4])) && !configs.contains_quorum(&acks(&[1, 2])));
        assert_eq!((configs.proposed(), configs.is_voter(ServerId(1))), (None, false));
    }

    #[test]
    fn versions_never_go_back() {
        let mut configs = Configs::recovered(members(5, &[1, 2, 3]), Some(members(4, &[1])));
        assert_eq!(configs.last_seen().version(), 5);
        assert!(!configs.commit(config(5, &[1])) && !configs.commit(config(2, &[1])));
        configs.propose(config(9, &[1, 2, 3, 4]));
        assert!(configs.commit(config(8, &[1, 2])));
        assert_eq!(
            (configs.committed().version(), configs.last_seen().version()),
            (8, 9)
        );
        configs.propose(config(8, &[7]));
        assert_eq!(configs.last_seen().version(), 8);
    }

    #[test]
    fn a_server_may_be_at_two_places_while_it_moves() {
        let mut configs = Configs::new(members(1, &[1, 2]));
        let mut moved = members(2, &[1, 2, 3]);
        let member = moved.servers.get_mut(&ServerId(2)).unwrap();
        member.addresses[0].host = "new".into();
        member.is_observer = true;
        configs.propose(Config::new(moved.clone()));
        let hosts = |configs: &Configs, server| -> Vec<String> {
            let addresses = configs.addresses(ServerId(server)).into_iter();
            addresses.map(|address| address.host).collect()
        };
        assert_eq!(hosts(&configs, 2), ["h2", "new"]);
        assert_eq!((hosts(&configs, 1).len(), hosts(&configs, 9).len()), (1, 0));
        assert!(configs.is_member(ServerId(3)) && !configs.is_observer(ServerId(2)));
        configs.commit(Config::new(moved));
        assert_eq!(hosts(&configs, 2), ["new"]);
        assert!(configs.is_observer(ServerId(2)) && !configs.is_observer(ServerId(9)));
        assert_eq!(configs.all_addresses().len(), 3);
        // Without its vote it might never get one.
        configs.propose(config(3, &[1, 2, 3]));
        assert!(!configs.is_observer(ServerId(2)));
        configs.propose(config(4, &[1, 3]));
        assert!(configs.is_observer(ServerId(2)));
    }
}
