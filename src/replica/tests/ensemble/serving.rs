//! Reads, writes and syncs, whichever server a client is with.

use super::setup::Setup;
use super::world::Ensemble;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::PacketType;
use crate::replica::tests::world::frames::*;

const NONE: [&str; 0] = [];

#[test]
fn three_servers_and_an_observer_elect_the_greatest_and_serve() {
    let mut world = Ensemble::of(3, 1);
    assert_eq!(world.leader(), 2);
    for at in 0..4 {
        assert!(world.nodes[at].up().is_serving);
    }
    for (count, at) in (0..4).enumerate() {
        let client = world.session(at, 4000);
        let path = format!("/{at}");
        let zxid = 2 * count + 2;
        assert_eq!(
            world.ask(client, &[create(&path, "x"), get(&path)]),
            [format!("1 @1.{zxid} {path}"), format!("2 @1.{zxid} x v0")]
        );
    }
    world.agree();
    for at in 0..4 {
        assert!(world.shows(at, "/3") && world.shows(at, "/0"));
    }
}

#[test]
fn what_is_pipelined_on_a_learner_is_answered_in_its_order_with_the_states_between() {
    for at in [0, 3] {
        let mut world = Ensemble::of(3, 1);
        let (client, other) = (world.session(at, 4000), world.session(1, 4000));
        let asks = [
            create("/a", "1"),
            get("/a"),
            set("/a", "2", -1),
            set("/a", "x", 7),
            get("/a"),
            delete("/none", -1),
            ping(),
        ];
        world.silence(2, at);
        world.send(client, &asks);
        world.pass(50);
        assert_eq!(world.lines(client), NONE);
        world.ask(other, &[set("/a", "9", 1)]);
        world.mend();
        let expected = [
            "1 @1.3 /a",
            "2 @1.3 1 v0",
            "3 @1.4 v1",
            "4 @1.5 error -103",
            "5 @1.5 2 v1",
            "6 @1.6 error -101",
            "-2 @1.6",
        ];
        assert_eq!(world.answered(client), expected);
        world.agree();
    }
}

#[test]
fn writes_of_all_servers_at_once_get_one_order() {
    let mut world = Ensemble::of(3, 1);
    let clients = [0, 1, 2, 3].map(|at| world.session(at, 4000));
    world.ask(clients[0], &[create("/n", "")]);
    for client in clients {
        world.send(client, &[create_as("/n/s", "", 2), create_as("/n/s", "", 2)]);
    }
    let mut made = Vec::new();
    for client in clients {
        let lines = world.answered(client);
        assert!(lines[0] < lines[1], "{lines:?}");
        made.extend(
            lines
                .iter()
                .map(|line| line.split(' ').next_back().unwrap().to_owned()),
        );
    }
    made.sort();
    let expected: Vec<String> = (0..8).map(|n| format!("/n/s{n:010}")).collect();
    assert_eq!(made, expected);
    world.agree();
}

#[test]
fn what_cannot_be_decoded_is_refused_where_it_arrives_and_keeps_its_place() {
    let mut world = Ensemble::of(3, 0);
    let [follower, _] = world.followers();
    let client = world.session(follower, 4000);
    let forwarded = world.net.seen[&PacketType::Request];
    assert_eq!(world.ask(client, &[undecodable()]), ["1 @1.1 error -5"]);
    assert_eq!(world.net.seen[&PacketType::Request], forwarded);
    let asks = [create("/a", ""), undecodable(), create("/b", "")];
    let expected = ["2 @1.2 /a", "3 @1.2 error -5", "4 @1.3 /b"];
    assert_eq!(world.ask(client, &asks), expected);
    assert_eq!(world.net.seen[&PacketType::Request], forwarded + 2);
}

#[test]
fn a_multi_through_a_follower_happens_at_once_or_not_at_all() {
    let mut world = Ensemble::of(3, 0);
    let [follower, other] = world.followers();
    let (client, watcher) = (world.session(follower, 4000), world.session(other, 4000));
    world.ask(watcher, &[read(OpCode::GetChildren, "/", true)]);
    let failing = [create("/a", ""), delete("/none", -1)];
    assert_eq!(
        world.ask(client, &[multi(&failing)]),
        ["1 @1.3 [error 0, error -101]"]
    );
    world.pass(50);
    assert_eq!(world.lines(watcher), NONE);
    let working = [create("/a", "1"), create("/a/b", ""), set("/a", "2", 0)];
    assert_eq!(
        world.ask(client, &[multi(&working), get("/a")]),
        ["2 @1.4 [1 /a, 1 /a/b, 5 v1]", "3 @1.4 2 v1"]
    );
    world.pass(50);
    assert_eq!(world.lines(watcher), ["@1.4 children /"]);
    world.agree();
}

#[test]
fn watches_fire_on_every_server_in_front_of_what_shows_the_change() {
    let mut world = Ensemble::of(3, 1);
    let writer = world.session(0, 4000);
    world.ask(writer, &[create("/a", "1")]);
    world.pass(50);
    let watchers = [0, 1, 2, 3].map(|at| world.session(at, 4000));
    for watcher in watchers {
        let lines = world.ask(watcher, &[watch("/a")]);
        assert!(lines[0].ends_with("1 v0"), "{lines:?}");
    }
    let zxid = world.ask(writer, &[set("/a", "2", -1)])[0].replace("2 @", "");
    let zxid = zxid.trim_end_matches(" v1");
    for watcher in watchers {
        world.pass(10);
        let expected = [format!("@{zxid} changed /a"), format!("2 @{zxid} 2 v1")];
        assert_eq!(world.ask(watcher, &[get("/a")]), expected);
    }
}

#[test]
fn a_learner_is_told_of_syncs_and_commits_in_the_order_of_its_requests() {
    let mut world = Ensemble::of(3, 0);
    let client = world.session(0, 4000);
    world.net.answers.clear();
    world.ask(
        client,
        &[create("/a", "1"), sync("/"), set("/a", "2", -1), sync("/")],
    );
    let own = world.net.answers.iter().filter(|(at, _)| *at == 0);
    let told: Vec<PacketType> = own.map(|(_, kind)| *kind).collect();
    let (commit, sync) = (PacketType::Commit, PacketType::Sync);
    assert_eq!(told, [commit, sync, commit, sync]);
}

#[test]
fn behind_a_sync_everything_is_seen_that_was_answered_before_it() {
    let mut world = Ensemble::of(3, 1);
    let leader = world.leader();
    for at in [0, 3] {
        let (client, writer) = (world.session(at, 4000), world.session(1, 4000));
        world.pass(50);
        world.silence(leader, at);
        let path = format!("/{at}");
        world.ask(writer, &[create(&path, "")]);
        // It shows that it is behind.
        let stale = world.ask(client, &[get(&path)]);
        assert!(stale[0].contains("error -101"), "{stale:?}");
        world.send(client, &[sync("/"), get(&path), ping()]);
        world.pass(500);
        assert_eq!(world.lines(client), NONE);
        world.mend();
        let lines = world.answered(client);
        assert!(lines[1].ends_with(" v0"), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }
}

#[test]
fn a_sync_keeps_its_place_among_writes() {
    let mut world = Ensemble::of(3, 0);
    let leader = world.leader();
    for at in [leader, world.followers()[0]] {
        let client = world.session(at, 4000);
        let path = format!("/{at}");
        let asks = [sync("/x"), create(&path, ""), sync("/y"), sync("/z"), get(&path)];
        let lines = world.ask(client, &asks);
        let ends = ["/x", &path, "/y", "/z", " v0"];
        for (line, end) in lines.iter().zip(ends) {
            assert!(line.ends_with(end), "{lines:?}");
        }
        assert_eq!(lines.len(), 5);
    }
}

#[test]
fn a_leader_that_lost_its_quorum_never_answers_a_sync() {
    let mut world = Ensemble::of(3, 1);
    let leader = world.leader();
    let (own, observing) = (world.session(leader, 20_000), world.session(3, 20_000));
    for follower in world.followers() {
        world.silence(follower, leader);
    }
    for client in [own, observing] {
        world.send(client, &[sync("/")]);
    }
    world.pass(1000);
    for client in [own, observing] {
        assert_eq!(world.lines(client), NONE);
    }
    // What needs no proof goes on for a while.
    let reader = world.clients.len();
    world.renewal(own, leader, 20_000);
    assert_eq!(world.answered(reader), ["connected 20000"]);
    world.until("it has noticed", |world| !world.nodes[leader].leads());
    world.pass(10);
    for client in [own, observing, reader] {
        assert_eq!(world.lines(client), NONE);
        assert!(world.clients[client].client.is_closed);
    }
}

#[test]
fn a_sync_needs_no_more_than_a_quorum() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [follower, other]) = (world.leader(), world.followers());
    world.silence(other, leader);
    for at in [leader, follower] {
        let client = world.session(at, 4000);
        assert_eq!(world.ask(client, &[sync("/")]).len(), 1);
    }
}

#[test]
fn a_leader_that_does_not_serve_has_no_clients_and_serves_those_of_others() {
    let mut world = Ensemble::elected(Setup {
        leader_serves: false,
        ..Setup::default()
    });
    let (leader, [follower, other]) = (world.leader(), world.followers());
    assert!(!world.nodes[leader].up().is_serving);
    let refused = world.connect(leader, 4000, crate::ids::SessionId(0), &[0; 16]);
    assert_eq!(world.answered(refused), ["closed"]);
    let client = world.session(follower, 4000);
    assert_eq!(world.ask(client, &[create_as("/e", "", 1)]), ["1 @1.2 /e"]);
    let moved = world.renewal(client, other, 4000);
    assert_eq!(world.answered(moved), ["connected 4000"]);
    world.pass(10_000);
    assert!(!world.shows(leader, "/e"), "sessions expire all the same");
    world.agree();
}
