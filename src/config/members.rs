//! The ensemble of the configuration as the protocols know it.

use super::server_config::{EnsembleConfig, LearnerType, QuorumServer};
use crate::quorum::members::{Member, MemberAddress, Members};

/// The members of this ensemble. A client address is only there where the `server.N` line has one: the key
/// `clientPort` says nothing about the other servers.
pub fn members(ensemble: &EnsembleConfig) -> Members {
    let servers = ensemble.servers.iter();
    Members {
        servers: servers.map(|(id, server)| (*id, member(server))).collect(),
        groups: ensemble.groups.clone(),
        weights: ensemble.weights.clone(),
        version: ensemble.version,
    }
}

fn member(server: &QuorumServer) -> Member {
    let addresses = server.addresses.iter().map(|address| MemberAddress {
        host: address.host.clone(),
        quorum_port: address.quorum_port,
        election_port: address.election_port,
    });
    let client_address = server.client_address.as_ref();
    Member {
        addresses: addresses.collect(),
        is_observer: server.learner_type == LearnerType::Observer,
        client_address: client_address.map(|address| (address.host.clone(), address.port)),
    }
}

#[cfg(test)]
mod tests {
    use super::members;
    use crate::config::dynamic;
    use crate::config::server_config::EnsembleConfig;
    use crate::ids::ServerId;

    #[test]
    fn the_members_are_those_of_the_lines() {
        let lines = [
            (1, "a:2888:3888"),
            (2, "[::1]:1:2:observer;2181"),
            (7, "b:1:2|c:3:4;d:5"),
        ];
        let mut ensemble = EnsembleConfig {
            version: 0x1a,
            ..EnsembleConfig::default()
        };
        for (id, line) in lines {
            let server = dynamic::server(line).unwrap();
            ensemble.servers.insert(ServerId(id), server);
        }
        ensemble.groups.insert(4, vec![ServerId(1), ServerId(7)]);
        ensemble.weights.insert(ServerId(7), 3);
        let members = members(&ensemble);
        assert_eq!(members.groups[&4], [ServerId(1), ServerId(7)]);
        assert_eq!(members.weights[&ServerId(7)], 3);
        assert_eq!(members.version, 0x1a);
        assert_eq!(members.servers[&ServerId(1)].client_address, None);
        let ports = Some(("0.0.0.0".to_owned(), 2181));
        assert_eq!(members.servers[&ServerId(2)].client_address, ports);
        assert!(members.servers[&ServerId(2)].is_observer);
        assert_eq!(members.servers[&ServerId(7)].addresses[1].election_port, 4);
    }
}
