//! Servers without a leader, and clients that only read.

use super::setup::Setup;
use super::world::Ensemble;
use crate::ids::SessionId;
use crate::replica::tests::world::client::connect_read_only;
use crate::replica::tests::world::frames::*;
use crate::session::password::password;
use crate::shared::Mode;

fn world() -> Ensemble {
    Ensemble::elected(Setup {
        voters: 3,
        observers: 1,
        is_read_only_allowed: true,
        ..Setup::default()
    })
}

/// A client of a read-only server that asks for a session.
fn ask_for(world: &mut Ensemble, at: usize, zxid: i64, session: SessionId) -> usize {
    let client = world.accept(at);
    world.receive(
        client,
        &connect_read_only(zxid, 4000, session, &password(session)),
    );
    client
}

fn is_read_only(world: &Ensemble, at: usize) -> bool {
    world.status(at).mode == Mode::ReadOnly
}

/// Kills two voters. The third, a follower, is left without a leader, and so is the observer.
fn lose_quorum(world: &mut Ensemble) -> usize {
    let (leader, [first, second]) = (world.leader(), world.followers());
    world.crash(leader);
    world.crash(first);
    world.until("nobody leads", |world| world.status(second).mode == Mode::Looking);
    second
}

#[test]
fn a_member_that_finds_no_leader_serves_those_who_only_read() {
    let mut world = world();
    let client = world.session(world.leader(), 4000);
    world.ask(client, &[create("/a", "data")]);
    world.pass(10);
    let left = lose_quorum(&mut world);
    world.until("read-only", |world| {
        is_read_only(world, left) && is_read_only(world, 3)
    });
    for at in [left, 3] {
        let reader = ask_for(&mut world, at, 0, SessionId(0));
        world.pass(1);
        assert_eq!(
            world.clients[reader].client.bytes.last(),
            Some(&1),
            "the byte of read-only"
        );
        assert_eq!(world.answered(reader), ["connected 4000"]);
        let asks = [get("/a"), create("/b", ""), sync("/"), get("/b"), ping(), close()];
        let lines = world.ask(reader, &asks);
        assert_eq!(lines[0], "1 @1.2 data v0");
        assert_eq!(lines[1], "2 @1.2 error -119");
        assert_eq!(lines[2], "3 @1.2 error -119");
        assert_eq!(lines[3], "4 @1.2 error -101");
        assert_eq!(lines[4..], ["-2 @1.2", "6 @1.2"]);
        assert!(world.clients[reader].client.is_closed);
    }
}

#[test]
fn nobody_is_served_read_only_before_the_time_or_unless_it_is_allowed() {
    let mut world = world();
    let left = lose_quorum(&mut world);
    world.pass(1990);
    assert!(!is_read_only(&world, left));
    let early = ask_for(&mut world, left, 0, SessionId(0));
    assert_eq!(world.answered(early), ["closed"]);
    world.pass(20);
    assert!(is_read_only(&world, left));
    let mut world = Ensemble::of(3, 1);
    let left = lose_quorum(&mut world);
    world.pass(10_000);
    assert!(!is_read_only(&world, left));
}

#[test]
fn who_wants_more_or_has_seen_more_is_sent_away() {
    let mut world = world();
    let client = world.session(world.leader(), 40_000);
    let global = world.clients[client].client.session;
    world.pass(10);
    let left = lose_quorum(&mut world);
    world.pass(2100);
    let writer = world.connect(left, 4000, SessionId(0), &[0; 16]);
    assert_eq!(world.answered(writer), ["closed"]);
    let ahead = ask_for(&mut world, left, 1 << 32 | 2, SessionId(0));
    assert_eq!(world.answered(ahead), ["closed"]);
    let level = ask_for(&mut world, left, 1 << 32 | 1, SessionId(0));
    assert_eq!(world.answered(level), ["connected 4000"]);
    // A session of the ensemble goes on elsewhere, one that nobody knows is over.
    let moved = ask_for(&mut world, left, 0, global);
    assert_eq!(world.answered(moved), ["closed"]);
    let unknown = ask_for(&mut world, left, 0, SessionId(77));
    assert_eq!(world.answered(unknown), ["refused"]);
}

#[test]
fn sessions_of_a_read_only_server_are_its_own() {
    let mut world = world();
    let left = lose_quorum(&mut world);
    world.pass(2100);
    let reader = ask_for(&mut world, left, 0, SessionId(0));
    assert_eq!(world.answered(reader), ["connected 4000"]);
    let session = world.clients[reader].client.session;
    let again = ask_for(&mut world, left, 0, session);
    assert_eq!(world.answered(again), ["connected 4000"]);
    world.pass(10);
    assert!(world.clients[reader].client.is_closed);
    for _ in 0..10 {
        world.pass(1000);
        world.send(again, &[ping()]);
    }
    assert_eq!(world.lines(again).len(), 10);
    world.pass(6001);
    assert!(world.clients[again].client.is_closed);
    let late = ask_for(&mut world, left, 0, session);
    assert_eq!(world.answered(late), ["refused"]);
}

#[test]
fn zk_3526_sessions_of_a_read_only_server_leave_its_history_as_it_is() {
    let mut world = world();
    let client = world.session(world.leader(), 40_000);
    world.ask(client, &[create("/a", "")]);
    world.pass(10);
    let left = lose_quorum(&mut world);
    world.pass(2100);
    let before = world.nodes[left].up().shared.tree.read().last_processed_zxid();
    for _ in 0..5 {
        let reader = ask_for(&mut world, left, 0, SessionId(0));
        assert_eq!(world.answered(reader), ["connected 4000"]);
        world.ask(reader, &[create("/b", ""), close()]);
        assert!(world.clients[reader].client.is_closed);
    }
    let after = world.nodes[left].up().shared.tree.read().last_processed_zxid();
    assert_eq!(after, before, "a session has taken a zxid");
    for at in 0..3 {
        if !world.nodes[at].is_up() {
            world.start(at);
        }
    }
    world.serve();
    assert!(world.shows(left, "/a"));
    world.agree();
}

#[test]
fn when_the_quorum_is_back_all_clients_are_sent_to_it() {
    let mut world = world();
    let client = world.session(world.leader(), 40_000);
    world.ask(client, &[create("/a", "")]);
    world.pass(10);
    let left = lose_quorum(&mut world);
    world.pass(2100);
    let reader = ask_for(&mut world, left, 0, SessionId(0));
    assert_eq!(world.answered(reader), ["connected 4000"]);
    world.ask(reader, &[watch("/a")]);
    for at in 0..3 {
        if !world.nodes[at].is_up() {
            world.start(at);
        }
    }
    world.serve();
    assert!(world.clients[reader].client.is_closed);
    assert_eq!(world.nodes[left].up().shared.local_sessions.lock().len(), 0);
    let session = world.clients[reader].client.session;
    let again = ask_for(&mut world, left, 0, session);
    assert_eq!(world.answered(again), ["refused"]);
    let reader = ask_for(&mut world, left, 0, SessionId(0));
    world.pass(50);
    assert_eq!(world.clients[reader].client.bytes.last(), Some(&0));
    assert_eq!(world.answered(reader), ["connected 4000"]);
    assert!(world.ask(reader, &[create("/b", "")])[0].ends_with("/b"));
    world.agree();
}

#[test]
fn what_is_logged_and_not_committed_is_not_shown_until_there_is_a_leader() {
    let mut world = world();
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    world.pass(10);
    // The second follower logs what neither of the others has on disk.
    world.nodes[leader].disk.is_held = true;
    world.nodes[first].disk.is_held = true;
    world.send(client, &[create("/uncommitted", "")]);
    world.pass(50);
    world.crash(leader);
    world.crash(first);
    world.until("read-only", |world| is_read_only(world, second));
    let reader = ask_for(&mut world, second, 0, SessionId(0));
    assert_eq!(world.answered(reader), ["connected 4000"]);
    assert_eq!(world.ask(reader, &[get("/uncommitted")]), ["1 @1.1 error -101"]);
    world.start(first);
    world.serve();
    assert!(world.clients[reader].client.is_closed);
    assert!(world.shows(second, "/uncommitted"), "its history is the longest");
    world.start(leader);
    world.serve();
    world.agree();
}
