//! The configuration in force, as four-letter words show it. The file says what was so at the start.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::client::four_letter::{Conf, EnsembleConf};
use crate::config::members;
use crate::config::server_config::{LearnerType, ServerConfig};
use crate::ids::ServerId;
use crate::quorum::configs::Configs;
use crate::quorum::members::Members;

/// What is shown now. Copies show the same.
#[derive(Clone, Debug)]
pub struct InForce(Arc<Mutex<Shown>>);

#[derive(Debug)]
struct Shown {
    me: Option<ServerId>,
    /// `None` for a server that is alone.
    ensemble: Option<EnsembleConf>,
    /// -1 where there is none.
    client_port: i32,
}

impl InForce {
    /// What the file says.
    pub fn new(config: &ServerConfig) -> InForce {
        let ensemble = &config.ensemble;
        let ticks = |limit: Option<u32>| limit.map_or(0, |ticks| i32::try_from(ticks).unwrap_or(i32::MAX));
        let mut shown = Shown {
            me: ensemble.my_id,
            ensemble: ensemble.is_distributed().then(|| EnsembleConf {
                init_limit: ticks(ensemble.init_limit_ticks),
                sync_limit: ticks(ensemble.sync_limit_ticks),
                is_observer: ensemble.peer_type == LearnerType::Observer,
                ..EnsembleConf::default()
            }),
            client_port: config.client_port.port.map_or(-1, i32::from),
        };
        let members = members(ensemble);
        let text = members.to_text();
        shown.take(&members, &text);
        InForce(Arc::new(Mutex::new(shown)))
    }

    /// Another configuration is in force.
    pub fn use_configs(&self, configs: &Configs) {
        let committed = configs.committed();
        let mut shown = self.0.lock();
        let is_observer = shown.me.is_some_and(|me| configs.is_observer(me));
        if let Some(ensemble) = &mut shown.ensemble {
            // Who is not in the list follows without a vote, and not as an observer.
            ensemble.is_observer = is_observer;
        }
        shown.take(committed.members(), &String::from_utf8_lossy(committed.text()));
    }

    /// Puts it where `conf` shows it.
    pub fn fill(&self, conf: &mut Conf) {
        let shown = self.0.lock();
        conf.client_port = shown.client_port;
        conf.ensemble.clone_from(&shown.ensemble);
    }
}

impl Shown {
    /// Ports stay what they were for who is not in the list.
    fn take(&mut self, members: &Members, text: &str) {
        let Some(ensemble) = &mut self.ensemble else {
            return;
        };
        if let Some(own) = self.me.and_then(|me| members.servers.get(&me)) {
            let addresses = own.addresses.iter();
            ensemble.election_ports = addresses.clone().map(|address| address.election_port).collect();
            ensemble.quorum_ports = addresses.map(|address| address.quorum_port).collect();
            ensemble.is_observer = own.is_observer;
            if let Some((_, port)) = own.client_address {
                self.client_port = i32::from(port);
            }
        }
        ensemble.quorum_size = members
            .servers
            .values()
            .filter(|member| !member.is_observer)
            .count();
        ensemble.membership = text.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server_config::{QuorumAddress, QuorumServer};
    use crate::quorum::configs::Config;

    fn server(addresses: &[(&str, u16, u16)], learner_type: LearnerType) -> QuorumServer {
        let address = |(host, quorum_port, election_port): &(&str, u16, u16)| QuorumAddress {
            host: (*host).into(),
            quorum_port: *quorum_port,
            election_port: *election_port,
        };
        QuorumServer {
            addresses: addresses.iter().map(address).collect(),
            learner_type,
            client_address: None,
        }
    }

    fn config(me: i64) -> ServerConfig {
        let mut config = ServerConfig::default();
        config.client_port.port = Some(2181);
        config.ensemble.my_id = Some(ServerId(me));
        config.ensemble.init_limit_ticks = Some(10);
        config.ensemble.sync_limit_ticks = Some(5);
        for id in 1..=3 {
            let line = server(&[("h", 2888, 3888)], LearnerType::Participant);
            config.ensemble.servers.insert(ServerId(id), line);
        }
        let own = server(&[("a", 1, 2), ("b", 3, 4)], LearnerType::Observer);
        config.ensemble.servers.insert(ServerId(4), own);
        config
    }

    fn shown(in_force: &InForce) -> Conf {
        let mut conf = Conf::default();
        in_force.fill(&mut conf);
        conf
    }

    #[test]
    fn the_own_line_gives_ports_and_part() {
        let conf = shown(&InForce::new(&config(4)));
        let expected = EnsembleConf {
            init_limit: 10,
            sync_limit: 5,
            election_ports: vec![2, 4],
            quorum_ports: vec![1, 3],
            is_observer: true,
            quorum_size: 3,
            membership: "server.1=h:2888:3888:participant\nserver.2=h:2888:3888:participant\n\
                         server.3=h:2888:3888:participant\nserver.4=a:1:2|b:3:4:observer\nversion=0"
                .into(),
        };
        assert_eq!((conf.client_port, conf.ensemble), (2181, Some(expected)));
        let conf = shown(&InForce::new(&config(1))).ensemble.unwrap();
        assert_eq!((conf.election_ports, conf.is_observer), (vec![3888], false));
        let mut alone = config(1);
        alone.ensemble.servers.clear();
        let conf = shown(&InForce::new(&alone));
        assert_eq!((conf.client_port, conf.ensemble), (2181, None));
    }

    #[test]
    fn what_is_in_force_replaces_what_the_file_says() {
        let in_force = InForce::new(&config(4));
        let mut configs = Configs::new(members(&config(4).ensemble));
        let mut commit = |lines: &str| {
            let members = Members::parse(lines).unwrap();
            let text = members.to_text();
            assert!(configs.commit(Config::new(members)));
            in_force.use_configs(&configs);
            (shown(&in_force), text)
        };
        let (conf, text) = commit("server.1=h:1:2\nserver.4=h:7:8:participant;h:9\nversion=1a");
        let ensemble = conf.ensemble.unwrap();
        assert_eq!((conf.client_port, ensemble.quorum_size), (9, 2));
        assert_eq!(
            (ensemble.quorum_ports, ensemble.election_ports),
            (vec![7], vec![8])
        );
        assert_eq!((ensemble.membership, ensemble.is_observer), (text, false));
        // Removed: its own places stay what they were.
        let (conf, text) = commit("server.1=h:1:2\nserver.2=h:1:2:observer\nversion=1b");
        let ensemble = conf.ensemble.unwrap();
        assert_eq!((conf.client_port, ensemble.quorum_size), (9, 1));
        assert_eq!((ensemble.quorum_ports, ensemble.is_observer), (vec![7], false));
        assert_eq!((ensemble.membership, ensemble.init_limit), (text, 10));
    }
}
