use std::process::ExitCode;

use super::*;
use crate::config::server_config::{HostPort, QuorumAddress, QuorumServer};
use crate::ids::ServerId;

fn server(host: &str, client_address: Option<(&str, u16)>) -> QuorumServer {
    QuorumServer {
        addresses: vec![QuorumAddress {
            host: host.into(),
            quorum_port: 2888,
            election_port: 3888,
        }],
        learner_type: LearnerType::Participant,
        client_address: client_address.map(|(host, port)| HostPort {
            host: host.into(),
            port,
        }),
    }
}

fn config(servers: Vec<QuorumServer>) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.client_port.port = Some(2181);
    config.client_port.host = Some("0.0.0.0".into());
    config.ensemble.my_id = Some(ServerId(1));
    config.ensemble.servers = (1..).map(ServerId).zip(servers).collect();
    config
}

fn addresses(config: &ServerConfig) -> Vec<String> {
    targets(config).iter().map(Target::address).collect()
}

#[test]
fn clients_connect_where_the_lines_say() {
    let mut several = server("a", Some(("::", 7)));
    several.addresses.extend(server("b", None).addresses);
    several.addresses.extend(server("a", None).addresses);
    let lines = vec![
        server("h", Some(("c", 5))),
        server("::1", Some(("0.0.0.0", 6))),
        several,
    ];
    assert_eq!(addresses(&config(lines)), ["c:5", "[::1]:6", "a:7|b:7"]);
}

#[test]
fn without_a_client_address_the_own_port_is_taken_for_all() {
    let plain = |host| server(host, None);
    let mut config = config(vec![plain("a"), plain("b"), plain("c")]);
    assert_eq!(addresses(&config), ["a:2181", "b:2181", "c:2181"]);
    config.client_port.host = Some("own".into());
    assert_eq!(addresses(&config), ["own:2181", "b:2181", "c:2181"]);
    config.ensemble.servers.insert(ServerId(3), plain("a"));
    assert_eq!(addresses(&config), ["own:2181", "b:2181", "a"], "two on one host");
    config.client_port.port = Some(0);
    assert_eq!(addresses(&config), ["own", "b", "a"], "a port that is not known");
}

#[test]
fn whose_of_two_servers_on_one_host_a_port_is_cannot_be_told() {
    let members = Members::parse("server.1=a:1:2\nserver.2=a:3:4\nserver.3=b:1:2").unwrap();
    let known = [("a", 5), ("b", 6)].map(|(host, port)| (host.to_owned(), port));
    let own = target::Own {
        known: known.into(),
        ..target::Own::default()
    };
    let targets = target::of_members(&members, &own);
    let addresses: Vec<String> = targets.iter().map(Target::address).collect();
    assert_eq!(addresses, ["a", "a", "b:6"]);
}

#[test]
fn one_that_is_alone_is_asked_where_it_listens() {
    let mut config = config(Vec::new());
    assert_eq!(addresses(&config), ["localhost:2181"]);
    config.client_port.host = Some("::1".into());
    assert_eq!(addresses(&config), ["[::1]:2181"]);
}

#[test]
fn groups_decide_what_a_quorum_is() {
    let mut config = config((1..=6).map(|id| server(&format!("h{id}"), None)).collect());
    let group = |ids: [i64; 2]| ids.map(ServerId).to_vec();
    config.ensemble.groups = [(1, group([1, 2])), (2, group([3, 4])), (3, group([5, 6]))].into();
    let members = ensemble(&config).unwrap().unwrap();
    let judged = |serving: &[i64]| {
        let rows: Vec<Row> = targets(&config)
            .into_iter()
            .map(|target| {
                let id = target.id.unwrap().0;
                let mode = if id == 1 { "leader" } else { "follower" }.to_owned();
                let figures = Figures {
                    mode,
                    ..Figures::default()
                };
                let is_serving = serving.contains(&id);
                let answer = is_serving.then_some(figures).ok_or(Trouble::Timeout);
                Row { target, answer }
            })
            .collect();
        verdict::judge(&rows, Some(&members)).exit_code()
    };
    assert_eq!(judged(&[1, 2, 3, 4]), ExitCode::SUCCESS);
    assert_eq!(
        judged(&[1, 2, 3, 5]),
        ExitCode::from(1),
        "four of six, but one group"
    );
    assert_eq!(judged(&[2, 3, 4, 5, 6]), ExitCode::from(1), "nobody leads");
}

#[test]
fn a_list_without_quorums_is_an_error() {
    let mut config = config(vec![server("a", None), server("b", None)]);
    config.ensemble.groups = [(1, vec![ServerId(1)])].into();
    assert!(ensemble(&config).is_err());
}
