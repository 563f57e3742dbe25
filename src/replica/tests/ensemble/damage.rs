//! Members whose logs or snapshots are damaged: they have no vote until a leader's image has replaced them.

use super::setup::Setup;
use super::world::Ensemble;
use crate::ids::Zxid;
use crate::proto::quorum::PacketType;
use crate::replica::tests::world::frames::*;
use crate::zab::Zab;

/// A server whose disk is damaged while it is down.
fn damage(world: &mut Ensemble, at: usize) {
    world.crash(at);
    world.nodes[at].disk.is_damaged = true;
}

/// Whether it has no part in anything.
fn stays_out(world: &Ensemble, at: usize) -> bool {
    let is_looking = matches!(world.nodes[at].role(), Some(Zab::Looking));
    is_looking && world.nodes[at].disk.is_damaged && !world.nodes[at].up().is_serving
}

/// Three servers with something in their logs; the leader is the last.
fn written() -> Ensemble {
    let mut world = Ensemble::elected(Setup::default());
    let client = world.session(world.leader(), 40_000);
    world.ask(client, &[create("/a", "1"), create("/b", "2")]);
    world.agree();
    world
}

#[test]
fn a_damaged_server_rejoins_by_an_image_and_votes_again() {
    let mut world = written();
    let leader = world.leader();
    let [damaged, other] = world.followers();
    damage(&mut world, damaged);
    let client = world.session(leader, 40_000);
    world.ask(client, &[create("/c", "3")]);
    world.start(damaged);
    world.serve();
    assert_eq!(world.net.seen[&PacketType::Snap], 1);
    assert!(!world.nodes[damaged].disk.is_damaged);
    world.agree();
    assert!(world.shows(damaged, "/c"));
    // It counts from now on: for commits, in elections, and for who looks for the leader.
    world.crash(other);
    world.ask(client, &[create("/d", "4")]);
    world.start(other);
    world.serve();
    world.crash(leader);
    world.serve_without(leader);
    world.start(leader);
    world.serve();
    world.agree();
    assert!(world.shows(other, "/d"));
    assert_eq!(world.net.seen[&PacketType::Snap], 1);
}

#[test]
fn an_observer_whose_disk_is_damaged_gets_an_image_too() {
    let mut world = Ensemble::of(3, 1);
    let client = world.session(world.leader(), 40_000);
    world.ask(client, &[create("/a", "1")]);
    damage(&mut world, 3);
    world.start(3);
    world.serve();
    world.agree();
    assert!(world.shows(3, "/a") && !world.nodes[3].disk.is_damaged);
}

#[test]
fn with_one_good_server_of_three_nobody_leads_and_nothing_is_lost() {
    for is_best_damaged in [false, true] {
        let mut world = written();
        let leader = world.leader();
        let [first, second] = world.followers();
        // This is in the logs of two of three.
        world.silence(leader, first);
        let client = world.session(leader, 40_000);
        world.ask(client, &[create("/committed", "")]);
        (0..3).for_each(|at| world.crash(at));
        world.mend();
        let damaged = if is_best_damaged { leader } else { second };
        world.nodes[damaged].disk.is_damaged = true;
        world.start(first);
        world.start(damaged);
        world.pass(50_000);
        assert!(stays_out(&world, damaged));
        assert!(!world.nodes[first].is_active());
        // With the third there is a quorum without it, and the best of that leads.
        let third = if is_best_damaged { second } else { leader };
        world.start(third);
        world.serve();
        assert_eq!(world.leader(), third);
        world.agree();
        assert!((0..3).all(|at| world.shows(at, "/committed")));
    }
}

#[test]
fn two_damaged_servers_of_three_stay_out() {
    let mut world = written();
    let [first, second] = world.followers();
    damage(&mut world, first);
    damage(&mut world, second);
    world.start(first);
    world.start(second);
    world.pass(60_000);
    assert!(stays_out(&world, first) && stays_out(&world, second));
    // Restored from wherever, one is enough.
    world.crash(first);
    world.nodes[first].disk.is_damaged = false;
    world.start(first);
    world.serve();
    world.agree();
}

#[test]
fn a_damaged_server_that_dies_before_the_image_is_on_disk_is_still_damaged() {
    let mut world = written();
    let [damaged, _] = world.followers();
    damage(&mut world, damaged);
    world.nodes[damaged].disk.is_held = true;
    world.start(damaged);
    world.pass(3000);
    assert!(!world.nodes[damaged].is_active(), "nothing of it is on disk");
    world.crash(damaged);
    assert!(world.nodes[damaged].disk.is_damaged);
    world.start(damaged);
    world.serve();
    world.agree();
}

#[test]
fn a_leader_whose_history_is_empty_sends_an_image_too() {
    let mut world = Ensemble::elected(Setup::default());
    let [damaged, _] = world.followers();
    assert_eq!(world.nodes[world.leader()].last_zxid(), Zxid::ZERO);
    damage(&mut world, damaged);
    world.start(damaged);
    world.serve();
    assert_eq!(world.net.seen[&PacketType::Snap], 1);
    assert!(!world.nodes[damaged].disk.is_damaged);
}

#[test]
fn no_promise_goes_back_with_the_history() {
    let mut world = written();
    let [damaged, _] = world.followers();
    let before = world.nodes[damaged].disk.epochs;
    damage(&mut world, damaged);
    world.start(damaged);
    world.serve();
    let after = world.nodes[damaged].disk.epochs;
    assert!(after >= before, "{after:?} after {before:?}");
}
