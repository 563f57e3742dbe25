//! Sessions: opened anywhere, renewed anywhere, ended by the leader alone.

use super::world::Ensemble;
use crate::ids::SessionId;
use crate::proto::quorum::PacketType;
use crate::proto::txn::{self, Txn};
use crate::replica::tests::world::frames::*;
use crate::session::password::password;

const NONE: [&str; 0] = [];

#[test]
fn a_session_goes_from_server_to_server_and_only_its_last_connection_stays() {
    let mut world = Ensemble::of(3, 1);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let mut client = world.session(first, 10_000);
    world.ask(client, &[create_as("/e", "", 1)]);
    for at in [second, leader, 3, first, first, leader, leader, first] {
        world.pass(10);
        let next = world.renewal(client, at, 10_000);
        assert_eq!(world.answered(next), ["connected 10000"]);
        world.pass(10);
        assert!(world.clients[client].client.is_closed, "gone to {at}");
        let lines = world.ask(next, &[set("/e", "", -1)]);
        assert!(lines[0].contains(" v"), "{lines:?}");
        client = next;
    }
    assert_eq!(world.nodes[leader].up().shared.sessions.lock().len(), 1);
    world.agree();
}

#[test]
fn a_write_that_was_under_way_when_its_session_went_elsewhere_is_not_done() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    for to in [second, leader] {
        let old = world.session(first, 10_000);
        world.silence(first, leader);
        world.send(old, &[create("/late", ""), create_as("/late", "", 1)]);
        let new = world.renewal(old, to, 10_000);
        assert_eq!(world.answered(new), ["connected 10000"]);
        world.mend();
        assert!(world.ask(new, &[create("/new", "")])[0].ends_with("/new"));
        world.pass(50);
        assert_eq!(world.lines(old), NONE);
        assert!(world.clients[old].client.is_closed);
        let refused = world.history.entries.iter().filter(|entry| {
            let logged = txn::decode(&entry.encoded).unwrap();
            logged.txn == Txn::Error(-118) && logged.header.client_id == world.clients[old].client.session
        });
        assert_eq!(refused.count(), 2);
        assert!(!world.shows(leader, "/late"));
        world.ask(new, &[delete("/new", -1)]);
    }
    world.agree();
}

#[test]
fn who_cannot_renew_a_session_is_refused_and_nobody_is_disturbed() {
    let mut world = Ensemble::of(3, 1);
    let (leader, [first, _]) = (world.leader(), world.followers());
    let owner = world.session(first, 10_000);
    let (session, unknown) = (world.clients[owner].client.session, SessionId(77));
    for at in [first, leader, 3] {
        let asked = world.net.seen.get(&PacketType::Revalidate).copied();
        let wrong = world.connect(at, 10_000, session, &[1; 16]);
        assert_eq!(world.answered(wrong), ["refused"]);
        assert_eq!(world.net.seen.get(&PacketType::Revalidate).copied(), asked);
        let stranger = world.connect(at, 10_000, unknown, &password(unknown));
        assert_eq!(world.answered(stranger), ["refused"]);
        world.pass(10);
        assert!(world.clients[wrong].client.is_closed && world.clients[stranger].client.is_closed);
    }
    assert_eq!(world.ask(owner, &[create("/a", "")]), ["1 @1.2 /a"]);
}

#[test]
fn a_session_lives_as_long_as_its_server_hears_from_it_and_ends_everywhere_at_once() {
    for at in [0, 2, 3] {
        let mut world = Ensemble::of(3, 1);
        let other = world.session(1, 40_000);
        let client = world.session(at, 4000);
        world.ask(client, &[create_as("/e", "", 1)]);
        world.pass(10);
        world.ask(other, &[watch("/e")]);
        for _ in 0..30 {
            world.pass(1000);
            world.send(client, &[ping()]);
        }
        assert_eq!(world.lines(client).len(), 30);
        assert_eq!(world.lines(other), NONE);
        world.pass(3999);
        assert!(!world.clients[client].client.is_closed, "too early at {at}");
        // One tick for the learner to say what it has heard, one for the leader's rounding.
        world.pass(4001);
        assert!(world.clients[client].client.is_closed, "too late at {at}");
        assert_eq!(world.lines(other), ["@1.4 deleted /e"]);
        for at in 0..4 {
            assert!(!world.shows(at, "/e"));
            assert_eq!(world.nodes[at].up().shared.tree.read().sessions().len(), 1);
        }
        let again = world.renewal(client, 1, 4000);
        assert_eq!(world.answered(again), ["refused"]);
        world.agree();
    }
}

#[test]
fn a_session_that_has_moved_is_not_kept_alive_by_the_server_that_had_it() {
    let mut world = Ensemble::of(3, 0);
    let [first, second] = world.followers();
    let old = world.session(first, 4000);
    world.clients[old].client.is_stuck = true;
    let new = world.renewal(old, second, 4000);
    assert_eq!(world.answered(new), ["connected 4000"]);
    for _ in 0..8 {
        world.pass(1000);
        world.send(old, &[ping()]);
    }
    assert!(world.clients[new].client.is_closed);
}

#[test]
fn the_end_of_a_session_takes_its_ephemerals_away_everywhere() {
    for at in [0, 2, 3] {
        let mut world = Ensemble::of(3, 1);
        let (client, other) = (world.session(at, 4000), world.session(1, 4000));
        let made = [create_as("/e", "", 1), create("/p", ""), create_as("/f", "", 1)];
        world.ask(client, &made);
        assert_eq!(world.ask(client, &[close()]), ["4 @1.6"]);
        assert!(world.clients[client].client.is_closed);
        world.agree();
        assert!(world.shows(1, "/p") && !world.shows(1, "/e") && !world.shows(1, "/f"));
        assert_eq!(world.ask(other, &[get("/p")]).len(), 1);
        let again = world.renewal(client, 1, 4000);
        assert_eq!(world.answered(again), ["refused"]);
    }
}

#[test]
fn writes_behind_the_proposed_end_of_a_session_do_nothing() {
    let mut world = Ensemble::of(3, 0);
    let [first, _] = world.followers();
    let client = world.session(first, 4000);
    world.send(client, &[close(), create("/late", ""), create_as("/late", "", 1)]);
    assert_eq!(world.answered(client), ["1 @1.2", "closed"]);
    // A server that is asked again, though the end has been proposed.
    let client = world.session(first, 4000);
    world.silence(world.leader(), first);
    world.send(client, &[close()]);
    world.pass(50);
    let again = world.renewal(client, world.leader(), 4000);
    assert_eq!(world.answered(again), ["refused"]);
    world.mend();
    world.agree();
    assert!(!world.shows(first, "/late"));
}

#[test]
fn a_new_leader_gives_every_session_its_time_anew() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, _]) = (world.leader(), world.followers());
    let client = world.session(leader, 4000);
    world.ask(client, &[create_as("/e", "", 1)]);
    world.pass(3000);
    world.crash(leader);
    world.serve();
    let since = world.now.mono.0;
    world.pass(3900);
    let again = world.renewal(client, first, 4000);
    assert_eq!(
        world.answered(again),
        ["connected 4000"],
        "{}",
        world.now.mono.0 - since
    );
    assert!(world.shows(first, "/e"));
    world.pass(9000);
    assert!(!world.shows(first, "/e"));
}

#[test]
fn a_session_opened_on_a_server_that_dies_goes_on_elsewhere() {
    let mut world = Ensemble::of(3, 0);
    let [first, second] = world.followers();
    let client = world.session(first, 10_000);
    world.ask(client, &[create_as("/e", "", 1)]);
    world.crash(first);
    let again = world.renewal(client, second, 10_000);
    assert_eq!(world.answered(again), ["connected 10000"]);
    assert_eq!(world.ask(again, &[create_as("/f", "", 1), close()]).len(), 2);
    world.start(first);
    world.serve();
    world.agree();
    assert!(!world.shows(first, "/e") && !world.shows(first, "/f"));
}

#[test]
fn zk_1863_what_a_closed_connection_has_forwarded_answers_nothing_of_the_next_one() {
    for observers in [0, 1] {
        let mut world = Ensemble::of(3, observers);
        let followers = world.followers();
        let at = [followers[0], 3][observers];
        let old = world.session(at, 10_000);
        for follower in followers {
            world.nodes[follower].disk.is_held = true;
        }
        world.send(old, &[create("/a", ""), create("/b", "")]);
        world.pass(10);
        world.hang_up(old);
        let new = world.renewal(old, at, 10_000);
        assert_eq!(world.answered(new), ["connected 10000"]);
        // Another process goes on with the session and counts from the beginning.
        world.clients[new].client.next_xid = 1;
        world.send(new, &[delete("/none", -1), create("/c", "")]);
        world.pass(10);
        for follower in followers {
            world.release_disk(follower);
        }
        assert_eq!(world.answered(new), ["1 @1.4 error -101", "2 @1.5 /c"]);
        world.agree();
        assert!(world.shows(at, "/b"));
    }
}

#[test]
fn a_client_that_has_seen_more_than_a_server_shows_is_sent_away() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(second, 10_000);
    world.pass(10);
    world.silence(leader, first);
    world.ask(client, &[create("/a", "")]);
    let early = world.renewal(client, first, 10_000);
    assert_eq!(world.answered(early), ["closed"]);
    assert!(!world.clients[client].client.is_closed);
    world.mend();
    world.pass(10);
    let later = world.renewal(client, first, 10_000);
    assert_eq!(world.answered(later), ["connected 10000"]);
}
