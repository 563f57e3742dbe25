//! Members that come, go and change their roles, while there is a leader and clients.

use super::setup::{Setup, member};
use super::world::Ensemble;
use crate::ids::ServerId;
use crate::proto::quorum::PacketType;
use crate::quorum::configs::Configs;
use crate::quorum::members::Members;
use crate::quorum::reconfig::Rules;
use crate::replica::tests::world::frames::*;
use crate::zab::Zab;

mod crashes;

const RULES: Rules = Rules {
    standalone_enabled: true,
    is_multi_address_enabled: false,
};

fn setup(voters: usize, observers: usize, strangers: usize) -> Setup {
    Setup {
        voters,
        observers,
        strangers,
        reconfig: Some(RULES),
        ..Setup::default()
    }
}

fn ensemble(voters: usize, observers: usize, strangers: usize) -> Ensemble {
    Ensemble::elected(setup(voters, observers, strangers))
}

/// A server as a request names it: `p` for a participant, `o` for an observer.
fn line(at: usize, role: char) -> String {
    let mut member = member(at, role == 'o');
    member.client_address = Some(("0.0.0.0".into(), 4000 + at as u16));
    format!("server.{}={member}", at + 1)
}

fn lines(servers: &[(usize, char)]) -> String {
    let lines = servers.iter().map(|(at, role)| line(*at, *role));
    lines.collect::<Vec<_>>().join(",")
}

/// What a server knows.
fn configs(world: &Ensemble, at: usize) -> Configs {
    let disk = &world.nodes[at].disk;
    disk.configs.clone().expect("it has been told")
}

/// Who is a member by what all servers that run have on their disks: `1, 2, 3 (observer)`.
fn agreed(world: &mut Ensemble) -> String {
    world.until("all know the same members", |world| {
        let up = (0..world.nodes.len()).filter(|at| world.nodes[*at].is_up());
        let known: Vec<_> = up.map(|at| world.nodes[at].disk.configs.clone()).collect();
        let is_settled = |it: &Option<Configs>| it.as_ref().is_some_and(|it| it.proposed().is_none());
        known.iter().all(is_settled) && known.windows(2).all(|two| two[0] == two[1])
    });
    let at = (0..world.nodes.len())
        .find(|at| world.nodes[*at].is_up())
        .unwrap();
    let configs = configs(world, at);
    let text = configs.committed().text().clone();
    for node in world.nodes.iter().filter(|node| node.is_up()) {
        let tree = node.up().shared.tree.read();
        let shown = tree.lookup("/zookeeper/config").unwrap().data().unwrap().to_vec();
        assert_eq!(String::from_utf8_lossy(&shown), String::from_utf8_lossy(&text));
    }
    configs.committed().members().to_string()
}

fn error(line: &str) -> Option<i32> {
    line.split(" error ").nth(1).map(|code| code.parse().unwrap())
}

/// Sends one request and waits for its answer: the error, or nothing.
fn ask(world: &mut Ensemble, client: usize, ask: Ask) -> Option<i32> {
    let lines = world.ask(client, &[ask]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    error(&lines[0])
}

#[test]
fn the_first_epoch_establishes_the_configuration() {
    let mut world = ensemble(3, 1, 0);
    assert_eq!(agreed(&mut world), "1, 2, 3, 4 (observer)");
    assert_eq!(configs(&world, 0).committed().version(), 0x1_0000_0000);
    let leader = world.leader();
    world.crash(leader);
    world.serve();
    world.start(leader);
    world.serve();
    // It keeps it.
    assert_eq!(agreed(&mut world), "1, 2, 3, 4 (observer)");
    assert_eq!(configs(&world, 0).committed().version(), 0x1_0000_0000);
}

#[test]
fn an_observer_behind_a_follower_asks_for_it_learns_of_it_and_stays() {
    let mut world = Ensemble::elected(Setup {
        has_observer_masters: true,
        ..setup(3, 1, 1)
    });
    let observer = 3;
    let client = world.session(observer, 40_000);
    let joining = lines(&[(4, 'p')]);
    assert_eq!(ask(&mut world, client, reconfig(&joining, "", "", -1)), None);
    assert_eq!(agreed(&mut world), "1, 2, 3, 4 (observer), 5");
    assert!(world.status(observer).observer_master.is_some());
    assert!(!world.clients[client].client.is_closed, "its role has not ended");
    assert!(world.net.seen.contains_key(&PacketType::InformAndActivate));
    world.ask(client, &[create("/after", "")]);
    world.agree();
}

#[test]
fn an_ensemble_grows_from_three_to_five_and_shrinks_again() {
    for asked_at_leader in [true, false] {
        let mut world = ensemble(3, 0, 2);
        let (leader, [first, second]) = (world.leader(), world.followers());
        let client = world.session(if asked_at_leader { leader } else { first }, 40_000);
        world.ask(client, &[create("/before", "")]);
        let joining = lines(&[(3, 'p'), (4, 'p')]);
        let answer = world.ask(client, &[reconfig(&joining, "", "", 0x1_0000_0000)]);
        let version = world.history.last();
        assert!(
            answer[0].contains("server.5=127.0.0.1:2004:3004:participant;0.0.0.0:4004")
                && answer[0].ends_with(&format!("version={:x} v-1", version.0)),
            "{answer:?}"
        );
        assert_eq!(agreed(&mut world), "1, 2, 3, 4, 5");
        assert_eq!(world.leader(), leader, "who leads goes on");
        // Now three of five are needed, and enough.
        for at in [first, second] {
            if at != world.clients[client].node {
                world.crash(at);
            }
        }
        assert_eq!(ask(&mut world, client, create("/four", "")), None);
        for at in [first, second] {
            if !world.nodes[at].is_up() {
                world.start(at);
            }
        }
        world.serve();
        assert_eq!(ask(&mut world, client, reconfig("", "4,5", "", -1)), None);
        assert_eq!(agreed(&mut world), "1, 2, 3");
        world.crash(3);
        world.crash(4);
        assert_eq!(ask(&mut world, client, create("/two", "")), None);
        world.start(3);
        world.start(4);
        world.serve();
        world.agree();
    }
}

#[test]
fn a_quorum_of_the_new_members_has_to_be_there_to_commit() {
    let mut world = ensemble(3, 0, 2);
    let leader = world.leader();
    let client = world.session(leader, 40_000);
    let joining = lines(&[(3, 'p'), (4, 'p')]);
    // They are there when it is asked for, and then no longer.
    for at in [3, 4] {
        world.silence(at, leader);
    }
    let leaving = world.followers().map(|at| (at + 1).to_string()).join(",");
    world.send(client, &[reconfig(&joining, &leaving, "", -1)]);
    world.pass(500);
    assert_eq!(
        world.lines(client).len(),
        0,
        "the old ones alone do not commit it"
    );
    world.send(client, &[create("/behind", "")]);
    world.pass(500);
    assert_eq!(world.lines(client).len(), 0, "nor what comes behind it");
    world.mend();
    world.pass(500);
    assert_eq!(world.lines(client).len(), 2);
    let names = format!("{}, 4, 5", leader + 1);
    assert_eq!(agreed(&mut world), names);
    world.agree();
}

#[test]
fn a_leader_that_is_removed_hands_over_to_who_has_everything() {
    let mut world = ensemble(3, 1, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(first, 40_000);
    world.ask(client, &[create("/before", "")]);
    let rounds = world.net.votes_count;
    world.send(client, &[reconfig("", &(leader + 1).to_string(), "", -1)]);
    let since = world.now.mono.0;
    world.until("another one leads", |world| {
        [first, second].iter().any(|at| world.nodes[*at].leads())
    });
    let took = world.now.mono.0 - since;
    assert!(took < 200, "{took} ms");
    world.serve();
    let words = world.lines(client);
    assert!(words[0].contains("version="), "{words:?}");
    assert!(world.net.votes_count - rounds < 6, "nobody has asked who leads");
    let names = [first, second].map(|at| (at + 1).to_string()).join(", ");
    assert_eq!(agreed(&mut world), format!("{names}, 4 (observer)"));
    // It follows on, and its word counts for nothing.
    assert!(matches!(world.nodes[leader].role(), Some(Zab::Learning(_))));
    let next = world.leader();
    let status = world.status(next).leading.unwrap();
    assert_eq!(
        (status.synced_followers, status.synced_non_voting_followers),
        (1, 1)
    );
    let other = if next == first { second } else { first };
    let client = world.session(next, 40_000);
    world.crash(other);
    world.send(client, &[create("/alone", "")]);
    world.pass(1000);
    assert_eq!(world.lines(client).len(), 0);
    world.start(other);
    world.serve();
    world.agree();
}

#[test]
fn servers_change_their_roles() {
    let mut world = ensemble(3, 1, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(second, 40_000);
    // A follower and an observer change places.
    let swap = lines(&[(first, 'o'), (3, 'p')]);
    assert_eq!(ask(&mut world, client, reconfig(&swap, "", "", -1)), None);
    world.serve();
    let words = |world: &mut Ensemble| agreed(world);
    assert!(words(&mut world).contains(&format!("{} (observer)", first + 1)));
    let status = world.status(leader).leading.unwrap();
    assert_eq!((status.synced_followers, status.synced_observers), (2, 1));
    world.crash(second);
    let client = world.session(3, 40_000);
    assert_eq!(ask(&mut world, client, create("/counts", "")), None);
    world.start(second);
    world.serve();
    // So does the leader.
    let client = world.session(second, 40_000);
    world.send(
        client,
        &[reconfig(&lines(&[(leader, 'o'), (first, 'p')]), "", "", -1)],
    );
    world.until("somebody else leads", |world| {
        (0..4).any(|at| at != leader && world.nodes[at].leads())
    });
    world.serve();
    assert!(words(&mut world).contains(&format!("{} (observer)", leader + 1)));
    let next = world.leader();
    let status = world.status(next).leading.unwrap();
    assert_eq!((status.synced_followers, status.synced_observers), (2, 1));
    world.agree();
}

#[test]
fn all_members_can_be_replaced_at_once() {
    let mut world = ensemble(3, 0, 3);
    let client = world.session(4, 40_000);
    world.ask(client, &[create("/kept", "")]);
    let next = lines(&[(3, 'p'), (4, 'p'), (5, 'p')]);
    world.send(client, &[reconfig("", "", &next, -1)]);
    world.until("one of the new ones leads", |world| {
        (3..6).any(|at| world.nodes[at].leads())
    });
    world.serve();
    assert_eq!(agreed(&mut world), "4, 5, 6");
    for at in 0..3 {
        world.crash(at);
    }
    let client = world.session(3, 40_000);
    assert_eq!(ask(&mut world, client, set("/kept", "x", 0)), None);
    // The old ones find nobody among themselves.
    for at in 3..6 {
        world.crash(at);
    }
    for at in 0..3 {
        world.start(at);
    }
    world.pass(20_000);
    assert!((0..6).all(|at| !world.nodes[at].leads()));
    for at in 3..6 {
        world.start(at);
    }
    world.serve();
    world.agree();
}

#[test]
fn an_ensemble_of_one_grows() {
    let mut world = Ensemble::elected(Setup {
        reconfig: Some(Rules {
            standalone_enabled: false,
            ..RULES
        }),
        ..setup(1, 0, 2)
    });
    assert_eq!(agreed(&mut world), "1");
    let client = world.session(0, 40_000);
    assert_eq!(ask(&mut world, client, reconfig(&line(1, 'p'), "", "", -1)), None);
    assert_eq!(ask(&mut world, client, reconfig(&line(2, 'p'), "", "", -1)), None);
    assert_eq!(agreed(&mut world), "1, 2, 3");
    world.crash(0);
    world.serve();
    let client = world.session(1, 40_000);
    assert_eq!(ask(&mut world, client, create("/x", "")), None);
    world.start(0);
    world.serve();
    let client = world.session(0, 40_000);
    world.send(client, &[reconfig("", "2,3", "", -1)]);
    world.until("it is alone again", |world| world.nodes[0].leads());
    world.serve();
    assert_eq!(agreed(&mut world), "1");
    world.agree();
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut world = ensemble(3, 0, 1);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    let refused = |world: &mut Ensemble, request: Ask| ask(world, client, request);
    assert_eq!(refused(&mut world, reconfig("", "4", "", 5)), Some(-103));
    assert_eq!(refused(&mut world, reconfig("", "x", "", -1)), Some(-5));
    assert_eq!(refused(&mut world, reconfig("nonsense", "", "", -1)), Some(-8));
    assert_eq!(refused(&mut world, reconfig("", "1,2", "", -1)), Some(-8));
    let elsewhere = "server.7=h:1:2;3,server.8=h:3:4;5";
    assert_eq!(refused(&mut world, reconfig(elsewhere, "1,2", "", -1)), Some(-13));
    world.silence(3, leader);
    world.silence(first, leader);
    world.silence(second, leader);
    let one = reconfig(&line(3, 'o'), "", "", -1);
    let two = reconfig(&line(3, 'p'), "", "", -1);
    world.send(client, &[one, two]);
    world.pass(200);
    world.mend();
    let answers = world.answered(client);
    assert!(
        answers[0].contains("server.4=127.0.0.1:2003:3003:observer"),
        "{answers:?}"
    );
    assert_eq!(error(&answers[1]), Some(-14));
    world.serve();
    assert_eq!(agreed(&mut world), "1, 2, 3, 4 (observer)");
    let mut disabled = Ensemble::of(3, 0);
    let client = disabled.session(0, 40_000);
    assert_eq!(ask(&mut disabled, client, reconfig("", "3", "", -1)), Some(-123));
}

#[test]
fn who_was_away_learns_of_all_that_has_changed() {
    let mut world = ensemble(3, 0, 2);
    let (leader, [first, second]) = (world.leader(), world.followers());
    world.crash(second);
    let client = world.session(first, 40_000);
    assert_eq!(ask(&mut world, client, reconfig(&line(3, 'p'), "", "", -1)), None);
    let next = reconfig(&line(4, 'p'), &(second + 1).to_string(), "", -1);
    assert_eq!(ask(&mut world, client, next), None);
    world.start(second);
    world.serve();
    let mut names = [leader + 1, first + 1, 4, 5];
    names.sort_unstable();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    assert_eq!(agreed(&mut world), names.join(", "));
    assert!(!configs(&world, second).is_voter(ServerId(second as i64 + 1)));
    world.agree();
}

/// The list that a server joins with is not taken for the one in force.
#[test]
fn a_partial_list_is_enough_to_join_with() {
    let mut world = Ensemble::asleep(setup(3, 0, 1));
    (0..3).for_each(|at| world.start(at));
    world.serve();
    let leader = world.leader();
    let partial = Members {
        servers: [
            (ServerId(leader as i64 + 1), member(leader, false)),
            (ServerId(4), member(3, false)),
        ]
        .into(),
        ..Members::default()
    };
    world.nodes[3].disk.configs = Some(Configs::new(partial));
    world.start(3);
    world.serve();
    assert_eq!(agreed(&mut world), "1, 2, 3");
    let client = world.session(3, 40_000);
    assert_eq!(ask(&mut world, client, reconfig(&line(3, 'p'), "", "", -1)), None);
    assert_eq!(agreed(&mut world), "1, 2, 3, 4");
}

/// Apache's observers would go round the one voter, which leads and serves none of them on that port.
#[test]
fn observers_of_followers_go_to_a_leader_without_any() {
    let mut world = Ensemble::elected(Setup {
        has_observer_masters: true,
        reconfig: Some(Rules {
            standalone_enabled: false,
            ..RULES
        }),
        ..setup(2, 2, 0)
    });
    let (leader, follower) = (world.leader(), world.followers()[0]);
    let behind = Some(ServerId(follower as i64 + 1));
    assert_eq!(world.status(2).observer_master, behind);
    let client = world.session(leader, 40_000);
    let leaving = (follower + 1).to_string();
    assert_eq!(ask(&mut world, client, reconfig("", &leaving, "", -1)), None);
    world.crash(follower);
    world.serve_without(follower);
    for observer in [2, 3] {
        let status = world.status(observer);
        let leads = Some(ServerId(leader as i64 + 1));
        assert_eq!((status.observer_master, status.leader), (None, leads));
    }
}

/// It comes back as an observer and acknowledges no proposal: nothing would ever be committed again.
#[test]
fn who_has_just_become_an_observer_makes_no_quorum_of_the_next_participants() {
    let mut world = Ensemble::elected(Setup {
        reconfig: Some(Rules {
            standalone_enabled: false,
            ..RULES
        }),
        ..setup(3, 0, 0)
    });
    let (leader, [first, second]) = (world.leader(), world.followers());
    let clients = [0, 1].map(|_| world.session(leader, 40_000));
    let leaving = (second + 1).to_string();
    world.send(clients[0], &[reconfig(&line(first, 'o'), &leaving, "", -1)]);
    world.until("it is in force", |world| match world.nodes[leader].role() {
        Some(Zab::Leading(leading)) => leading.configs().is_observer(ServerId(first as i64 + 1)),
        _ => false,
    });
    let again = reconfig(&line(first, 'p'), "", "", -1);
    assert_eq!(ask(&mut world, clients[1], again), Some(-13));
    world.serve();
    let made = world.ask(clients[1], &[create("/a", "x")]);
    assert!(made[0].ends_with(" /a"), "{made:?}");
}
