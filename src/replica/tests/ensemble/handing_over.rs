//! A leader that is asked to end names the next one.

use super::world::Ensemble;
use crate::ids::SessionId;
use crate::replica::tests::world::frames::*;

#[test]
fn the_named_one_leads_and_the_others_follow_without_an_election() {
    let mut world = Ensemble::of(3, 1);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(first, 10_000);
    world.ask(client, &[create("/a", "")]);
    world.pass(100);
    let votes = world.net.votes_count;
    let since = world.now.mono.0;
    world.stop(leader);
    world.until("it has ended", |world| !world.nodes[leader].is_up());
    world.serve();
    assert!(world.now.mono.0 - since < 50, "{} ms", world.now.mono.0 - since);
    assert_eq!(world.net.votes_count, votes, "nobody has to vote");
    assert_eq!(world.leader(), second);
    assert_eq!(world.status(first).epoch.0, 2);
    let again = world.renewal(client, 3, 10_000);
    assert_eq!(world.answered(again), ["connected 10000"]);
    assert_eq!(world.ask(again, &[get("/a"), create("/b", "")])[1], "3 @2.1 /b");
    world.start(leader);
    world.serve();
    world.agree();
}

#[test]
fn no_write_that_was_answered_is_lost_and_none_is_answered_that_is() {
    for pause in 0..12 {
        let mut world = Ensemble::of(3, 0);
        let (leader, [first, second]) = (world.leader(), world.followers());
        let clients = [leader, first, second].map(|at| world.session(at, 10_000));
        let mut made = Vec::new();
        for round in 0..20 {
            for client in clients {
                if !world.clients[client].client.is_closed {
                    world.send(client, &[create(&format!("/{round}.{client}"), "")]);
                }
            }
            if round == 5 {
                world.pass(pause);
                world.stop(leader);
            }
            world.pass(1);
            for client in clients {
                made.extend(world.lines(client));
            }
        }
        assert!(!world.nodes[leader].is_up());
        world.serve();
        for line in made {
            let path = line.split(' ').next_back().unwrap();
            assert!(world.shows(first, path), "{path} is lost");
        }
        world.start(leader);
        world.serve();
        world.agree();
    }
}

#[test]
fn the_one_that_is_named_has_everything() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 10_000);
    world.pass(10);
    // The greater one is not as far.
    world.nodes[second].disk.is_held = true;
    world.ask(client, &[create("/a", "")]);
    world.stop(leader);
    world.until("it has ended", |world| !world.nodes[leader].is_up());
    world.pass(10);
    world.release_disk(second);
    world.serve();
    assert_eq!(world.leader(), first);
    world.agree();
    assert!(world.shows(second, "/a"));
}

#[test]
fn who_joined_behind_the_last_write_has_everything_as_well() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    world.crash(second);
    world.ask(client, &[create("/a", "")]);
    world.start(second);
    world.serve();
    world.crash(first);
    world.pass(10);
    assert_eq!(world.leader(), leader);
    let since = world.now.mono.0;
    world.stop(leader);
    world.until("it has ended", |world| !world.nodes[leader].is_up());
    assert!(world.now.mono.0 - since < 50, "{} ms", world.now.mono.0 - since);
    world.start(first);
    world.serve();
    assert_eq!(world.leader(), second);
    world.agree();
}

#[test]
fn when_the_named_one_dies_at_once_the_rest_elect() {
    let mut world = Ensemble::of(5, 0);
    let leader = world.leader();
    let client = world.session(0, 10_000);
    world.ask(client, &[create("/a", "")]);
    world.pass(100);
    world.stop(leader);
    world.until("it has ended", |world| !world.nodes[leader].is_up());
    let named = 3;
    world.until("the other is named", |world| !world.nodes[named].is_active());
    world.crash(named);
    world.serve();
    assert_eq!(world.leader(), 2);
    assert!(world.shows(0, "/a"));
    (3..5).for_each(|at| world.start(at));
    world.serve();
    world.agree();
}

#[test]
fn who_finds_nobody_able_in_time_ends_without_naming_anyone() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 10_000);
    world.pass(10);
    for at in [first, second] {
        world.nodes[at].disk.is_held = true;
    }
    world.send(client, &[create("/a", "")]);
    world.pass(10);
    world.stop(leader);
    let since = world.now.mono.0;
    world.pass(400);
    assert!(world.nodes[leader].is_up() && !world.nodes[leader].up().is_serving);
    // It takes no more.
    let late = world.connect(leader, 10_000, SessionId(0), &[0; 16]);
    assert_eq!(world.answered(late), ["closed"]);
    world.until("it has ended", |world| !world.nodes[leader].is_up());
    assert_eq!(world.now.mono.0 - since, 500);
    for at in [first, second] {
        world.release_disk(at);
    }
    world.serve();
    world.agree();
    assert!(world.shows(first, "/a"));
}

#[test]
fn whoever_does_not_lead_or_has_nobody_ends_at_once() {
    let mut world = Ensemble::of(3, 1);
    let [first, second] = world.followers();
    for at in [3, first, second] {
        world.stop(at);
        world.settle();
        assert!(!world.nodes[at].is_up());
    }
    let mut world = Ensemble::of(1, 1);
    let client = world.session(1, 10_000);
    assert_eq!(world.ask(client, &[create("/a", ""), sync("/")]).len(), 2);
    world.stop(0);
    world.settle();
    assert!(!world.nodes[0].is_up());
    let mut world = Ensemble::asleep(super::setup::Setup::default());
    world.start(0);
    world.pass(100);
    world.stop(0);
    world.settle();
    assert!(!world.nodes[0].is_up());
}
