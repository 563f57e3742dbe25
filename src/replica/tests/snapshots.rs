//! When snapshots are due, and in which order the log and the snapshot thread hear of it.

use super::harness::{Limits, World};
use super::world::configs::replica_config;
use super::world::frames::*;
use crate::ids::ServerId;
use crate::prng::Prng;
use crate::replica::snapshots::{LOG_BYTES_MIN, SnapshotSchedule};

fn small() -> World {
    World::with(Limits {
        snap_count: Some(10),
        ..Limits::default()
    })
}

#[test]
fn the_last_entry_of_a_file_comes_before_the_roll_and_the_roll_before_the_snapshot() {
    let mut world = small();
    let client = world.session(4000);
    for _ in 0..30 {
        world.ask(client, &[create_as("/n", "", 2)]);
    }
    let first = world.done.iter().position(|line| line == "roll").unwrap();
    assert!((5..=11).contains(&first), "{first} entries");
    assert_eq!(world.done[first - 1], format!("append {first}"));
    // What the snapshot shows is applied; the entry that made it due is not even on disk.
    assert_eq!(world.done[first + 1], format!("snapshot {}", first - 1));
    assert_eq!(world.done[first + 2], format!("append {}", first + 1));
}

#[test]
fn there_is_one_snapshot_at_a_time_while_logs_go_on_rolling() {
    let mut world = small();
    let client = world.session(4000);
    let count = |world: &World, what: &str| world.done.iter().filter(|line| line.starts_with(what)).count();
    for _ in 0..60 {
        world.ask(client, &[create_as("/n", "", 2)]);
    }
    assert_eq!(count(&world, "snapshot"), 1);
    assert!(count(&world, "roll") >= 5);
    assert!(world.end_snapshot() > 0);
    for _ in 0..11 {
        world.ask(client, &[create_as("/n", "", 2)]);
    }
    assert_eq!(count(&world, "snapshot"), 2);
}

#[test]
fn much_data_makes_a_snapshot_due_as_well() {
    let mut world = World::with(Limits {
        snap_size_limit: Some(10_000),
        ..Limits::default()
    });
    let client = world.session(4000);
    let data = "x".repeat(1000);
    let mut writes = 0;
    while !world.done.contains(&"roll".to_owned()) {
        world.ask(client, &[create_as("/n", &data, 2)]);
        writes += 1;
    }
    assert!((5..=10).contains(&writes), "{writes}");
}

#[test]
fn a_snapshot_shows_the_tree_as_it_was_when_it_became_due() {
    let mut world = small();
    let client = world.session(4000);
    while !world.done.contains(&"roll".to_owned()) {
        world.ask(client, &[create_as("/n", "", 2)]);
    }
    let untouched = world.end_snapshot();
    let mut world = small();
    let client = world.session(4000);
    while !world.done.contains(&"roll".to_owned()) {
        world.ask(client, &[create_as("/n", "", 2)]);
    }
    world.ask(
        client,
        &[
            set("/n0000000000", "much longer data", -1),
            delete("/n0000000001", -1),
        ],
    );
    assert_eq!(world.end_snapshot(), untouched);
}

#[test]
fn without_a_snap_count_a_snapshot_is_due_when_the_log_has_grown_by_as_much_as_the_tree_has() {
    let limits = Limits {
        snap_count: None,
        ..Limits::default()
    };
    let config = replica_config(ServerId(1), &limits);
    for seed in 0..50 {
        for (tree_bytes, least) in [(100, LOG_BYTES_MIN), (40 << 20, 40 << 20)] {
            let mut schedule = SnapshotSchedule::new(&config, tree_bytes, Prng::new(seed));
            schedule.add(1_000_000, least + least / 2 - 1);
            assert!(!schedule.is_due(), "a tree of {tree_bytes}");
            schedule.add(1, least / 2 + 1);
            assert!(schedule.is_due(), "a tree of {tree_bytes}");
        }
    }
}
