//! Containers and TTL nodes go by the will of who leads.

use super::harness::{Limits, START, World};
use super::world::ensemble::Ensemble;
use super::world::frames::*;
use super::world::setup::Setup;
use crate::proto::opcode::OpCode;
use crate::replica::ContainerConfig;

const NONE: [&str; 0] = [];

fn world(per_minute_max: u32, never_used_max_ms: i64) -> World {
    World::with(Limits {
        containers: ContainerConfig {
            check_interval_ms: 1000,
            per_minute_max,
            never_used_max_ms,
        },
        ..Limits::default()
    })
}

#[test]
fn a_container_goes_after_its_last_child_and_is_told_of() {
    let mut world = world(10_000, 0);
    let client = world.session(40_000);
    let asks = [
        create_container("/c"),
        create("/c/a", ""),
        watch("/c"),
        read(OpCode::GetChildren, "/", true),
        create_container("/unused"),
    ];
    let lines = world.ask(client, &asks);
    assert_eq!(lines[0], "1 @2 /c v0");
    assert_eq!(lines[4], "@4 children /");
    let root_again = read(OpCode::GetChildren, "/", true);
    world.ask(client, &[root_again]);
    world.pass_to(START + 5000);
    assert_eq!(world.lines(client), NONE);
    world.ask(client, &[delete("/c/a", -1)]);
    world.pass_to(START + 5999);
    assert_eq!(world.lines(client), NONE, "not before the next check");
    world.pass_to(START + 6000);
    assert_eq!(world.lines(client), ["@6 deleted /c", "@6 children /"]);
    world.pass_to(START + 20_000);
    assert_eq!(world.last_zxid(), 6, "nothing else goes");
}

#[test]
fn a_container_that_is_never_used_goes_only_if_that_is_wanted() {
    let mut world = world(10_000, 2500);
    let client = world.session(40_000);
    world.ask(client, &[create_container("/c")]);
    world.pass_to(START + 2999);
    assert_eq!(world.last_zxid(), 2);
    world.pass_to(START + 3000);
    assert_eq!(world.last_zxid(), 3);
    assert!(world.shared.tree.read().lookup("/c").is_none());
}

#[test]
fn a_ttl_node_goes_when_it_was_not_written_for_its_time() {
    let mut world = world(10_000, 0);
    let client = world.session(40_000);
    world.ask(client, &[create_ttl("/t", 1500), create_ttl("/u", 100)]);
    world.ask(client, &[create("/u/child", "")]);
    world.pass_to(START + 1400);
    world.ask(client, &[set("/t", "", -1)]);
    world.pass_to(START + 2999);
    assert!(world.shared.tree.read().lookup("/t").is_some());
    world.pass_to(START + 3000);
    assert!(world.shared.tree.read().lookup("/t").is_none());
    assert!(world.shared.tree.read().lookup("/u").is_some(), "it has a child");
    world.ask(client, &[delete("/u/child", -1)]);
    world.pass_to(START + 4000);
    assert!(world.shared.tree.read().lookup("/u").is_none());
}

#[test]
fn removals_are_spaced_over_time_and_those_that_lost_their_reason_are_left() {
    // One in 100 ms.
    let mut world = world(600, 0);
    let client = world.session(40_000);
    for name in ["/a", "/b", "/c"] {
        world.ask(client, &[create_ttl(name, 500)]);
    }
    let count = |world: &World| world.shared.tree.read().node_count() - 5;
    world.pass_to(START + 1000);
    assert_eq!(count(&world), 2);
    world.pass_to(START + 1099);
    assert_eq!(count(&world), 2);
    world.pass_to(START + 1100);
    assert_eq!(count(&world), 1);
    let left = ["/a", "/b", "/c"].into_iter().find(|path| {
        let tree = world.shared.tree.read();
        tree.lookup(path).is_some()
    });
    world.ask(client, &[set(left.unwrap(), "again", -1)]);
    let zxid = world.last_zxid();
    world.pass_to(START + 1999);
    assert_eq!(
        (count(&world), world.last_zxid()),
        (1, zxid),
        "found, but written since"
    );
    world.pass_to(START + 2000);
    assert_eq!(count(&world), 0);
}

#[test]
fn very_many_go_in_many_small_parts() {
    let mut world = world(6_000_000, 0);
    let client = world.session(40_000);
    for part in 0..50 {
        let asks: Vec<Ask> = (0..100)
            .map(|n| create_ttl(&format!("/{part}-{n}"), 10))
            .collect();
        world.ask(client, &[multi(&asks)]);
    }
    let before = world.last_zxid();
    world.pass_to(START + 1000);
    // A hundred in a millisecond.
    assert_eq!(world.last_zxid(), before + 100);
    world.pass_to(START + 1060);
    assert_eq!(world.last_zxid(), before + 5000);
}

#[test]
fn the_leader_removes_them_and_so_does_the_next_one() {
    let setup = Setup {
        containers: ContainerConfig {
            check_interval_ms: 1000,
            ..ContainerConfig::default()
        },
        ..Setup::default()
    };
    let mut world = Ensemble::elected(setup);
    let client = world.session(0, 40_000);
    world.ask(client, &[create_ttl("/t", 500), create_ttl("/u", 6_000)]);
    world.pass(2500);
    for at in 0..3 {
        assert!(!world.shows(at, "/t") && world.shows(at, "/u"), "server {at}");
    }
    world.agree();
    let old = world.leader();
    world.crash(old);
    world.pass(20_000);
    let others = (0..3).filter(|at| *at != old);
    for at in others {
        assert!(!world.shows(at, "/u"), "server {at}");
    }
}
