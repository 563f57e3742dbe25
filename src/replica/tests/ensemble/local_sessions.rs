//! Sessions that only their own server knows.

use super::setup::Setup;
use super::world::Ensemble;
use crate::ids::SessionId;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::PacketType;
use crate::replica::LocalSessions;
use crate::replica::tests::world::frames::*;
use crate::session::password::password;

const NONE: [&str; 0] = [];

/// Three voters and an observer. Places 0 to 3 are all kinds of servers.
fn world(local_sessions: LocalSessions) -> Ensemble {
    Ensemble::elected(Setup {
        voters: 3,
        observers: 1,
        local_sessions,
        ..Setup::default()
    })
}

fn global_sessions(world: &Ensemble, at: usize) -> usize {
    world.nodes[at].up().shared.tree.read().sessions().len()
}

fn local_sessions(world: &Ensemble, at: usize) -> usize {
    world.nodes[at].up().shared.local_sessions.lock().len()
}

/// A create of another kind, with the flags of an ephemeral.
fn ephemeral_as(op: OpCode, path: &str) -> Ask {
    let mut ask = create_as(path, "", 1);
    ask.code = op.code();
    ask
}

#[test]
fn a_local_session_costs_no_transaction_and_is_known_to_its_server_only() {
    let mut world = world(LocalSessions::Kept);
    for at in 0..4 {
        let before = world.history.last();
        let client = world.session(at, 4000);
        world.pass(10);
        assert_eq!(world.history.last(), before, "at {at}");
        assert_eq!(world.ask(client, &[get("/zookeeper")]).len(), 1);
        assert_eq!(local_sessions(&world, at), 1);
        assert_eq!(global_sessions(&world, at), 0);
    }
    let ids = world
        .clients
        .iter()
        .map(|it| (it.client.session.0 >> 56) as usize);
    assert_eq!(ids.collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_local_session_writes_everything_but_ephemerals() {
    let mut world = world(LocalSessions::Kept);
    for at in 0..4 {
        let client = world.session(at, 4000);
        let path = format!("/p{at}");
        let lines = world.ask(client, &[create(&path, "a"), set(&path, "b", 0), get(&path)]);
        assert!(
            lines[0].ends_with(&path) && lines[2].ends_with("b v1"),
            "{lines:?}"
        );
        let lines = world.ask(
            client,
            &[create_as("/e", "", 1), create_as("/e", "", 3), sync("/")],
        );
        assert!(lines[0].ends_with("error -120"), "{at} {lines:?}");
        assert!(lines[1].ends_with("error -120"), "{at} {lines:?}");
        let lines = world.ask(client, &[ephemeral_as(OpCode::Create2, "/e"), delete(&path, -1)]);
        assert!(lines[0].ends_with("error -120"), "{at} {lines:?}");
        assert!(
            lines[1].starts_with("5 ") || lines[1].starts_with("8 "),
            "{lines:?}"
        );
        assert_eq!(local_sessions(&world, at), 1);
    }
    world.agree();
    assert!(!world.shows(0, "/e"));
}

#[test]
fn an_ephemeral_in_a_list_fails_the_list() {
    let mut world = world(LocalSessions::Kept);
    let leader = world.leader();
    for at in 0..4 {
        let client = world.session(at, 4000);
        let list = multi(&[create("/list", ""), create_as("/e", "", 1), create("/f", "")]);
        let lines = world.ask(client, &[list]);
        // A learner's leader does not know why the session is none of its own, as in Apache's servers.
        let error = if at == leader { -120 } else { -112 };
        assert!(
            lines[0].ends_with(&format!("[error 0, error {error}, error -2]")),
            "{lines:?}"
        );
        assert!(!world.shows(at, "/list"));
    }
}

#[test]
fn the_first_ephemeral_makes_the_session_global() {
    let mut world = world(LocalSessions::Upgraded);
    for at in 0..4 {
        let client = world.session(at, 4000);
        let session = world.clients[client].client.session;
        let path = format!("/e{at}");
        let before = world.history.last();
        let lines = world.ask(
            client,
            &[create("/p", ""), create_as(&path, "", 1), delete("/p", -1)],
        );
        assert!(lines[1].ends_with(&path), "{at} {lines:?}");
        // The session, and three writes.
        assert_eq!(world.history.last().counter(), before.counter() + 4);
        world.pass(10);
        assert_eq!(local_sessions(&world, at), 0);
        assert!(
            world.nodes[at]
                .up()
                .shared
                .tree
                .read()
                .sessions()
                .contains_key(&session)
        );
        let other = world.renewal(client, (at + 1) % 4, 4000);
        assert_eq!(world.answered(other), ["connected 4000"]);
        world.pass(10);
        assert!(world.clients[client].client.is_closed);
        let lines = world.ask(other, &[create_as("/again", "", 1), delete("/again", -1)]);
        assert!(lines[0].ends_with("/again"), "{lines:?}");
        world.ask(other, &[close()]);
        world.agree();
        assert!(!world.shows(at, &path));
    }
}

#[test]
fn a_list_with_an_ephemeral_makes_the_session_global_too() {
    let mut world = world(LocalSessions::Upgraded);
    for at in 0..4 {
        let client = world.session(at, 4000);
        // A client may count its requests from zero, and the transaction that opens the session is 0, too.
        world.clients[client].client.next_xid = 0;
        let path = format!("/e{at}");
        let lines = world.ask(client, &[multi(&[create_as(&path, "", 1)]), get(&path)]);
        assert!(
            lines[0].starts_with("0 ") && lines[0].ends_with(&format!("[1 {path}]")),
            "{lines:?}"
        );
        assert!(lines[1].ends_with(" v0"), "{lines:?}");
        world.pass(10);
        assert_eq!(
            (local_sessions(&world, at), global_sessions(&world, at)),
            (0, at + 1)
        );
    }
}

#[test]
fn a_session_that_became_global_lives_and_ends_as_one() {
    let mut world = world(LocalSessions::Upgraded);
    let (leader, [follower, _]) = (world.leader(), world.followers());
    for at in [leader, follower, 3] {
        let client = world.session(at, 4000);
        world.ask(client, &[create_as("/e", "", 1)]);
        for _ in 0..10 {
            world.pass(1000);
            world.send(client, &[ping()]);
        }
        assert!(world.shows(leader, "/e"), "ended too early at {at}");
        world.pass(9000);
        assert!(world.clients[client].client.is_closed);
        assert!(!world.shows(leader, "/e"), "lives on at {at}");
    }
    world.agree();
}

#[test]
fn other_kinds_of_ephemerals_make_nothing_global() {
    let mut world = world(LocalSessions::Upgraded);
    for at in 0..4 {
        let client = world.session(at, 4000);
        let before = world.history.last();
        let lines = world.ask(client, &[ephemeral_as(OpCode::CreateContainer, "/c")]);
        assert!(lines[0].contains("error"), "{lines:?}");
        assert_eq!(world.history.last().counter(), before.counter() + 1);
        assert_eq!(local_sessions(&world, at), 1);
    }
}

#[test]
fn a_local_session_is_renewed_on_its_server_and_nowhere_else() {
    let mut world = world(LocalSessions::Kept);
    for at in 0..4 {
        let client = world.session(at, 4000);
        let again = world.renewal(client, at, 6000);
        assert_eq!(world.answered(again), ["connected 6000"]);
        world.pass(10);
        assert!(world.clients[client].client.is_closed);
        let session = world.clients[again].client.session;
        let wrong = world.connect(at, 4000, session, &[1; 16]);
        assert_eq!(world.answered(wrong), ["refused"]);
        for other in (0..4).filter(|other| *other != at) {
            let elsewhere = world.renewal(again, other, 4000);
            assert_eq!(world.answered(elsewhere), ["refused"], "{at} at {other}");
        }
        assert!(world.ask(again, &[create("/x", ""), delete("/x", -1)])[0].ends_with("/x"));
    }
}

#[test]
fn the_end_of_a_local_session_costs_no_transaction() {
    let mut world = world(LocalSessions::Kept);
    for at in 0..4 {
        let client = world.session(at, 4000);
        let lines = world.ask(client, &[create("/p", ""), delete("/p", -1), close()]);
        let zxid = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(zxid(&lines[2]), zxid(&lines[1]), "at {at}");
        assert!(world.clients[client].client.is_closed);
        assert_eq!(local_sessions(&world, at), 0);
        let again = world.renewal(client, at, 4000);
        assert_eq!(world.answered(again), ["refused"]);
        // Its connection is gone before the write in front of the end is answered.
        let client = world.session(at, 4000);
        world.send(client, &[create("/p", ""), close()]);
        world.hang_up(client);
        world.pass(50);
        assert_eq!(local_sessions(&world, at), 0);
        let other = world.session(at, 4000);
        world.ask(other, &[delete("/p", -1), close()]);
    }
}

#[test]
fn each_server_ends_its_own_silent_sessions() {
    for at in 0..4 {
        let mut world = world(LocalSessions::Kept);
        let client = world.session(at, 4000);
        let gone = world.session(at, 4000);
        world.hang_up(gone);
        for _ in 0..10 {
            world.pass(1000);
            world.send(client, &[ping()]);
        }
        assert_eq!(world.lines(client).len(), 10);
        assert_eq!(local_sessions(&world, at), 1);
        let last = world.history.last();
        world.pass(3999);
        assert!(!world.clients[client].client.is_closed);
        world.pass(2001);
        assert!(world.clients[client].client.is_closed, "too late at {at}");
        assert_eq!(local_sessions(&world, at), 0);
        assert_eq!(world.history.last(), last);
        let again = world.renewal(client, at, 4000);
        assert_eq!(world.answered(again), ["refused"]);
    }
}

#[test]
fn a_leader_is_told_only_of_sessions_that_it_knows() {
    let mut world = world(LocalSessions::Kept);
    let [follower, _] = world.followers();
    world.session(follower, 4000);
    let unknown = SessionId(0x4d << 56);
    let stranger = world.connect(follower, 4000, unknown, &password(unknown));
    assert_eq!(world.answered(stranger), ["refused"]);
    let asked = world.net.seen.get(&PacketType::Revalidate).copied();
    world.renewal(0, follower, 4000);
    world.pass(10);
    assert_eq!(world.net.seen.get(&PacketType::Revalidate).copied(), asked);
}

#[test]
fn local_sessions_end_with_the_role_of_their_server() {
    let mut world = world(LocalSessions::Kept);
    let (leader, [follower, _]) = (world.leader(), world.followers());
    let client = world.session(follower, 10_000);
    world.crash(leader);
    world.serve();
    assert!(world.clients[client].client.is_closed);
    let again = world.renewal(client, follower, 10_000);
    assert_eq!(world.answered(again), ["refused"]);
}

#[test]
fn a_write_of_a_session_that_became_global_and_ended_is_not_taken_for_one_of_a_local_session() {
    let mut world = world(LocalSessions::Upgraded);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(first, 4000);
    world.ask(client, &[create_as("/e", "", 1)]);
    world.silence(leader, first);
    let new = world.renewal(client, second, 4000);
    assert_eq!(world.answered(new), ["connected 4000"]);
    world.ask(new, &[close()]);
    world.send(client, &[create("/late", "")]);
    world.mend();
    world.pass(50);
    assert_eq!(world.lines(client), NONE);
    assert!(world.clients[client].client.is_closed);
    world.agree();
    assert!(!world.shows(leader, "/late"));
}

#[test]
fn without_local_sessions_a_session_that_nobody_knows_writes_nothing() {
    let mut world = world(LocalSessions::Off);
    let client = world.session(3, 4000);
    assert_eq!(global_sessions(&world, 3), 1);
    assert_eq!(local_sessions(&world, 3), 0);
    let lines = world.ask(client, &[create_as("/e", "", 1)]);
    assert!(lines[0].ends_with("/e"));
}
