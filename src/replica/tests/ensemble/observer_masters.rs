//! Observers behind followers: what they serve, where they go when their follower goes, and sessions that
//! move.

use std::collections::BTreeSet;

use super::setup::Setup;
use super::world::Ensemble;
use crate::proto::quorum::PacketType;
use crate::proto::txn::{self, Txn};
use crate::replica::tests::world::frames::*;
use crate::replica::tests::world::network::Port;
use crate::shared::Mode;

/// Servers that have elected a leader, with observers behind the followers.
fn behind_followers(voters: usize, observers: usize) -> Ensemble {
    Ensemble::elected(Setup {
        voters,
        observers,
        has_observer_masters: true,
        ..Setup::default()
    })
}

/// The follower that an observer learns from.
fn master(world: &Ensemble, observer: usize) -> usize {
    let master = world.status(observer).observer_master;
    master.expect("it learns from a follower").0 as usize - 1
}

/// How often observers were told this.
fn told(world: &Ensemble, kind: PacketType) -> usize {
    world.net.seen.get(&kind).copied().unwrap_or(0)
}

#[test]
fn observers_behind_followers_serve_and_the_leader_does_not_know_them() {
    let mut world = behind_followers(3, 2);
    let leader = world.leader();
    let clients = [0, 1, 2, 3, 4].map(|at| world.session(at, 10_000));
    for (number, client) in clients.into_iter().enumerate() {
        let made = world.ask(
            client,
            &[create(&format!("/{number}"), "x"), sync("/"), get("/0")],
        );
        assert!(made[0].ends_with(&format!(" /{number}")), "{made:?}");
        assert!(made[2].contains(" x"), "{made:?}");
    }
    world.agree();
    let leading = world.status(leader).leading.expect("it leads");
    assert_eq!(
        leading.learners.len(),
        2,
        "no observer is connected to the leader"
    );
    let counts = world.followers().map(|at| world.status(at).synced_observers);
    assert_eq!(counts.into_iter().flatten().sum::<usize>(), 2);
    for observer in [3, 4] {
        let status = world.status(observer);
        assert_eq!(status.mode, Mode::Observer);
        assert_ne!(master(&world, observer), leader);
    }
}

#[test]
fn a_watch_at_an_observer_and_a_read_behind_a_sync_show_what_others_have_written() {
    let mut world = behind_followers(3, 1);
    let (leader, observer) = (world.leader(), 3);
    let (writer, reader) = (world.session(leader, 10_000), world.session(observer, 10_000));
    world.ask(writer, &[create("/a", "1")]);
    world.pass(10);
    world.ask(reader, &[watch("/a")]);
    world.ask(writer, &[set("/a", "2", -1)]);
    let lines = world.ask(reader, &[sync("/a"), get("/a")]);
    assert_eq!(lines[0], "@1.4 changed /a");
    assert!(lines[2].contains(" 2 "), "{lines:?}");
}

#[test]
fn what_is_only_proposed_does_not_reach_observers() {
    let mut world = behind_followers(3, 1);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 10_000);
    world.pass(10);
    for follower in [first, second] {
        world.nodes[follower].disk.is_held = true;
    }
    world.send(client, &[create("/a", "")]);
    world.pass(500);
    let informed = told(&world, PacketType::Inform);
    assert!(!world.shows(3, "/a") && !world.nodes[3].disk.queue.iter().any(|_| true));
    world.release_disk(first);
    world.until("it is committed", |world| world.shows(3, "/a"));
    assert_eq!(told(&world, PacketType::Inform), informed + 1);
    world.release_disk(second);
    world.agree();
}

#[test]
fn an_observer_whose_follower_dies_goes_on_at_another_and_nothing_is_lost() {
    let mut world = behind_followers(3, 2);
    for round in 0..4 {
        let client = world.session(3, 40_000);
        world.ask(client, &[create(&format!("/{round}"), "")]);
        let before = master(&world, 3);
        let epoch = world.status(3).epoch;
        world.crash(before);
        world.until("the observers have noticed", |world| !world.nodes[3].is_active());
        world.serve();
        assert_ne!(master(&world, 3), before);
        assert_eq!(
            world.status(3).epoch,
            epoch,
            "the leader goes on, and so does the epoch"
        );
        let again = world.renewal(client, 3, 40_000);
        assert_eq!(world.answered(again), ["connected 40000"]);
        assert!(world.ask(again, &[get(&format!("/{round}"))])[0].contains(" v0"));
        world.start(before);
        world.serve();
        world.agree();
        world.hang_up(again);
    }
    assert_eq!(told(&world, PacketType::Trunc), 0);
}

#[test]
fn observers_find_the_followers_of_a_new_leader() {
    let mut world = behind_followers(3, 2);
    for round in 0..3 {
        let leader = world.leader();
        let client = world.session(4, 40_000);
        world.ask(client, &[create(&format!("/{round}"), "")]);
        world.crash(leader);
        world.until("the role ends", |world| !world.nodes[4].is_active());
        world.serve();
        assert_ne!(world.leader(), leader);
        world.start(leader);
        world.serve();
        world.agree();
        assert!(world.shows(4, &format!("/{round}")));
        assert_ne!(master(&world, 4), world.leader());
    }
}

#[test]
fn observers_are_told_who_leads_next_by_their_followers() {
    let mut world = behind_followers(3, 2);
    let (leader, [_, second]) = (world.leader(), world.followers());
    let client = world.session(3, 10_000);
    world.ask(client, &[create("/a", "")]);
    world.pass(100);
    let votes = world.net.votes_count;
    world.stop(leader);
    world.until("it has ended", |world| !world.nodes[leader].is_up());
    world.serve();
    assert_eq!(world.net.votes_count, votes, "nobody has to vote");
    assert_eq!(world.leader(), second);
    assert!(world.shows(3, "/a") && world.shows(4, "/a"));
}

/// An observer that has heard of a commit before the follower that it comes to has.
#[test]
fn an_observer_that_is_ahead_of_its_follower_keeps_what_it_shows() {
    let mut world = behind_followers(3, 1);
    let (leader, observer) = (world.leader(), 3);
    let first = master(&world, observer);
    let second = 3 - leader - first;
    let client = world.session(leader, 40_000);
    world.pass(10);
    world.silence(leader, second);
    world.ask(client, &[create("/a", ""), create("/b", "")]);
    world.until("the observer shows it", |world| world.shows(observer, "/b"));
    // The leader lives on without a quorum for a moment.
    world.crash(first);
    world.until("it comes to the other", |world| {
        world.nodes[observer].is_up()
            && world
                .status(observer)
                .observer_master
                .is_some_and(|it| it.0 as usize == second + 1)
            && told(world, PacketType::AckEpoch) == 4
    });
    world.pass(100);
    assert!(world.shows(observer, "/b") && !world.shows(second, "/b"));
    assert!(!world.nodes[observer].is_active());
    world.mend();
    world.until("it serves", |world| world.nodes[observer].is_active());
    assert!(world.nodes[leader].leads());
    assert_eq!(
        told(&world, PacketType::Trunc) + told(&world, PacketType::Snap),
        0
    );
    world.start(first);
    world.serve();
    world.agree();
}

#[test]
fn an_observer_that_missed_something_gets_it_from_its_follower() {
    for (writes, may_read_log, images) in [(30, true, 0), (700, true, 0), (700, false, 1)] {
        let mut world = Ensemble::elected(Setup {
            observers: 1,
            has_observer_masters: true,
            may_read_log,
            ..Setup::default()
        });
        let client = world.session(world.leader(), 40_000);
        world.ask(client, &[create("/a", "")]);
        world.pass(10);
        world.crash(3);
        let asks: Vec<Ask> = (0..writes).map(|n| create_as("/n", &n.to_string(), 2)).collect();
        for asks in asks.chunks(100) {
            world.ask(client, asks);
        }
        let before = told(&world, PacketType::Diff);
        world.start(3);
        world.serve();
        world.agree();
        assert!(world.shows(3, &format!("/n{writes:010}")));
        let diffs = told(&world, PacketType::Diff) - before;
        assert_eq!((told(&world, PacketType::Snap), diffs), (images, 1 - images));
        // What it got is what a restart finds.
        world.crash(3);
        world.start(3);
        world.serve();
        world.agree();
        assert_eq!(told(&world, PacketType::Snap), images);
    }
}

#[test]
fn a_session_goes_round_a_follower_its_observers_and_the_leader() {
    let mut world = behind_followers(2, 2);
    let (leader, [follower, _]) = (world.leader(), world.followers());
    let mut client = world.session(2, 10_000);
    world.ask(client, &[create_as("/e", "", 1)]);
    for at in [3, 2, follower, 3, follower, leader, 2, 2, 3, leader, follower, 2] {
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
    assert_eq!(world.ask(client, &[close()]).len(), 1);
    world.agree();
    assert!(!world.shows(3, "/e"));
}

#[test]
fn a_write_that_was_under_way_when_its_session_left_an_observer_is_not_done() {
    for to in ["the other observer", "their follower", "the leader"] {
        let mut world = behind_followers(2, 2);
        let (leader, [follower, _]) = (world.leader(), world.followers());
        let old = world.session(2, 10_000);
        world.silence(2, follower);
        world.send(old, &[create("/late", ""), create_as("/late", "", 1)]);
        let at = match to {
            "the other observer" => 3,
            "their follower" => follower,
            _ => leader,
        };
        let new = world.renewal(old, at, 10_000);
        assert_eq!(world.answered(new), ["connected 10000"], "{to}");
        world.mend();
        assert!(world.ask(new, &[create("/new", "")])[0].ends_with("/new"));
        world.pass(50);
        let none: [&str; 0] = [];
        assert_eq!(world.lines(old), none, "{to}");
        assert!(world.clients[old].client.is_closed, "{to}");
        let session = world.clients[old].client.session;
        let refused = world.history.entries.iter().filter(|entry| {
            let logged = txn::decode(&entry.encoded).unwrap();
            logged.txn == Txn::Error(-118) && logged.header.client_id == session
        });
        assert_eq!(refused.count(), 2, "{to}");
        assert!(!world.shows(leader, "/late"));
        world.agree();
    }
}

/// What the first observer had under way reaches their follower behind the question of the second one, before
/// the follower has heard that the session was elsewhere in between.
#[test]
fn a_write_left_at_an_observer_does_not_follow_its_session_to_the_next() {
    let mut world = behind_followers(3, 3);
    let leader = world.leader();
    let follower = master(&world, 3);
    let first = 3;
    let second = if master(&world, 4) == follower { 4 } else { 5 };
    assert_eq!(master(&world, second), follower);
    let old = world.session(first, 10_000);
    world.silence(first, follower);
    world.send(old, &[create("/late", "")]);
    // The leader takes the session and the next write, and nobody hears of it.
    for other in world.followers() {
        world.silence(leader, other);
    }
    let between = world.renewal(old, leader, 10_000);
    assert_eq!(world.answered(between), ["connected 10000"]);
    world.send(between, &[create("/new", "")]);
    world.pass(10);
    let last = world.renewal(between, second, 10_000);
    world.pass(10);
    world.mend();
    world.silence(leader, follower);
    world.pass(10);
    world.mend();
    assert_eq!(world.answered(last), ["connected 10000"]);
    assert!(world.ask(last, &[create("/newer", "")])[0].ends_with("/newer"));
    world.pass(50);
    assert!(world.shows(leader, "/new") && !world.shows(leader, "/late"));
    world.agree();
}

#[test]
fn a_session_at_an_observer_lives_as_long_as_the_observer_hears_from_it() {
    let mut world = behind_followers(3, 1);
    let client = world.session(3, 6000);
    world.ask(client, &[create_as("/e", "", 1)]);
    for _ in 0..30 {
        world.pass(1000);
        world.send(client, &[ping()]);
    }
    assert!(!world.clients[client].client.is_closed);
    // One tick to reach the follower, one to reach the leader, and one for its rounding.
    world.pass(12_001);
    assert!(world.clients[client].client.is_closed);
    for at in 0..4 {
        assert!(!world.shows(at, "/e"));
    }
    let again = world.renewal(client, 3, 6000);
    assert_eq!(world.answered(again), ["refused"]);
    // One whose password is wrong disturbs nobody.
    let owner = world.session(3, 6000);
    let wrong = world.connect(3, 6000, world.clients[owner].client.session, &[1; 16]);
    assert_eq!(world.answered(wrong), ["refused"]);
    assert_eq!(world.ask(owner, &[create("/a", "")]).len(), 1);
}

#[test]
fn a_follower_without_a_leader_takes_its_observers_with_it() {
    let mut world = behind_followers(3, 1);
    let (leader, first) = (world.leader(), master(&world, 3));
    let since = world.now.mono.0;
    for other in (0..3).filter(|at| *at != first) {
        world.silence(other, first);
        world.silence(first, other);
    }
    // To the observer, too, nothing comes from there any more: silence is as long as the leader's.
    world.silence(first, 3);
    world.until("it is given up", |world| !world.nodes[3].is_active());
    let took = world.now.mono.0 - since;
    assert!(took <= 11_000, "{took} ms, syncLimit is 10000");
    world.until("it goes on elsewhere", |world| world.nodes[3].is_active());
    assert_ne!(master(&world, 3), first);
    assert!(world.nodes[leader].leads());
    world.mend();
    world.serve();
    world.agree();
}

#[test]
fn an_observer_waits_a_moment_before_it_looks_for_a_leader() {
    for (has_observer_masters, election_delay_ms) in [(false, 0), (false, 9000), (true, 0), (true, 9000)] {
        let mut world = Ensemble::elected(Setup {
            observers: 1,
            has_observer_masters,
            observer_election_delay_ms: election_delay_ms,
            ..Setup::default()
        });
        world.crash(world.leader());
        world.until("the role ends", |world| !world.nodes[3].is_active());
        let since = world.now.mono.0;
        world.until("it serves", |world| world.nodes[3].is_active());
        let took = world.now.mono.0 - since;
        assert_eq!(took > 2500, election_delay_ms > 0, "{took} ms");
    }
}

#[test]
fn an_observer_whose_connection_breaks_comes_to_every_follower_in_turn() {
    let mut world = behind_followers(5, 1);
    let mut masters = BTreeSet::new();
    for _ in 0..4 {
        let master = master(&world, 5);
        masters.insert(master);
        world.reset(5, master, Port::Quorum);
        world.until("it has noticed", |world| !world.nodes[5].is_active());
        world.serve();
    }
    assert_eq!(masters.len(), 4, "{masters:?}");
}
