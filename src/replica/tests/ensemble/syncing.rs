//! How learners come to the leader's history: by what they lack, by a cut, or by an image.

use super::disk::image;
use super::setup::Setup;
use super::world::Ensemble;
use crate::ids::Zxid;
use crate::proto::quorum::PacketType;
use crate::replica::tests::world::frames::*;

/// How often learners were told this.
fn told(world: &Ensemble, kind: PacketType) -> usize {
    world.net.seen.get(&kind).copied().unwrap_or(0)
}

/// A server that has a log now, and that more is written without than memory holds.
fn left_behind(setup: Setup, writes: usize) -> (Ensemble, usize) {
    let mut world = Ensemble::elected(setup);
    let [behind, _] = world.followers();
    let client = world.session(world.leader(), 40_000);
    world.ask(client, &[create("/a", "")]);
    world.pass(10);
    world.cut_off(behind);
    let asks: Vec<Ask> = (0..writes).map(|n| create_as("/n", &n.to_string(), 2)).collect();
    for asks in asks.chunks(100) {
        world.ask(client, asks);
    }
    world.until("it has lost its role", |world| !world.nodes[behind].is_active());
    (world, behind)
}

#[test]
fn a_server_that_missed_a_little_is_sent_what_it_lacks() {
    let (mut world, behind) = left_behind(Setup::default(), 30);
    let before = told(&world, PacketType::Diff);
    world.mend();
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Diff), before + 1);
    assert!(world.shows(behind, "/n0000000030"));
}

#[test]
fn a_server_that_missed_much_is_sent_it_from_the_log() {
    let (mut world, behind) = left_behind(Setup::default(), 700);
    let before = told(&world, PacketType::Diff);
    world.mend();
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Diff), before + 1);
    assert_eq!(told(&world, PacketType::Snap), 0);
    assert!(world.shows(behind, "/n0000000700"));
}

#[test]
fn a_server_without_anything_gets_an_image() {
    let mut world = Ensemble::asleep(Setup::default());
    (0..2).for_each(|at| world.start(at));
    world.serve();
    let client = world.session(0, 40_000);
    world.ask(client, &[create("/a", "1"), create_as("/e", "", 1)]);
    world.start(2);
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Snap), 1);
    assert!(world.shows(2, "/e"));
    // What was installed is what a restart finds.
    world.crash(2);
    world.start(2);
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Snap), 1);
}

/// A leader that is busy with a snapshot of its own while a new server waits for an image and clients write.
#[test]
fn an_image_waits_for_a_snapshot_and_shows_what_came_meanwhile() {
    for observers in [0, 1] {
        let mut world = Ensemble::asleep(Setup {
            observers,
            snap_count: 20,
            chunk_bytes: 50,
            ..Setup::default()
        });
        (0..2).for_each(|at| world.start(at));
        world.serve();
        let leader = world.leader();
        let client = world.session(0, 40_000);
        world.hold_walk(leader, client);
        let new = 2 + observers;
        world.start(new);
        world.pass(1000);
        world.ask(client, &[set("/n0000000001", "y", -1), create("/b", "")]);
        world.send(client, &[set("/n0000000002", "z", -1)]);
        world.release_walks(leader);
        world.serve();
        world.ask(client, &[create("/c", "")]);
        world.agree();
        let joined = told(&world, PacketType::FollowerInfo) + told(&world, PacketType::ObserverInfo);
        assert_eq!(joined, 2, "no role has ended");
        assert_eq!(told(&world, PacketType::Snap), 1);
        assert!(world.shows(new, "/b") && world.shows(new, "/c"));
    }
}

/// A server that gets an image while its own tree is still being walked.
fn walked_and_behind() -> (Ensemble, usize) {
    let setup = Setup {
        may_read_log: false,
        snap_count: 600,
        chunk_bytes: 50,
        ..Setup::default()
    };
    let mut world = Ensemble::elected(setup);
    let [behind, _] = world.followers();
    world.nodes[behind].are_walks_held = true;
    let client = world.session(world.leader(), 40_000);
    let asks: Vec<Ask> = (0..100).map(|n| create_as("/n", &n.to_string(), 2)).collect();
    while world.nodes[behind].up().walks.is_empty() {
        world.ask(client, &asks);
        world.pass(10);
    }
    world.cut_off(behind);
    (0..7).for_each(|_| drop(world.ask(client, &asks)));
    world.until("it has lost its role", |world| !world.nodes[behind].is_active());
    (world, behind)
}

#[test]
fn a_tree_that_is_being_walked_is_replaced_when_the_walk_is_over() {
    let (mut world, behind) = walked_and_behind();
    let before = world.nodes[behind].last_zxid();
    world.mend();
    world.until("the image is there", |world| told(world, PacketType::Snap) == 1);
    world.pass(1000);
    assert_eq!(world.nodes[behind].last_zxid(), before);
    assert_eq!(world.nodes[behind].up().walks.len(), 1);
    world.release_walks(behind);
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Snap), 1);
    assert!(world.nodes[behind].last_zxid() > before);
}

#[test]
fn an_image_that_was_not_installed_when_the_role_ended_is_forgotten() {
    let (mut world, behind) = walked_and_behind();
    let before = world.nodes[behind].last_zxid();
    world.mend();
    world.until("the image is there", |world| told(world, PacketType::Snap) == 1);
    world.pass(10);
    world.cut_off(behind);
    world.pass(1000);
    world.release_walks(behind);
    world.pass(5000);
    assert_eq!(world.nodes[behind].last_zxid(), before);
    assert_eq!(world.nodes[behind].disk.last(), before);
    world.mend();
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Snap), 2);
}

#[test]
fn a_role_that_ends_in_the_middle_of_an_image_leaves_everything_as_it_was() {
    let setup = Setup {
        may_read_log: false,
        ..Setup::default()
    };
    let (mut world, behind) = left_behind(setup, 700);
    let before = world.nodes[behind].last_zxid();
    let leader = world.leader();
    world.nodes[leader].are_walks_held = true;
    world.mend();
    world.until("the image is begun", |world| {
        !world.nodes[leader].up().walks.is_empty()
    });
    world.cut_off(behind);
    world.pass(5000);
    assert_eq!(world.nodes[behind].last_zxid(), before);
    assert!(world.shows(behind, "/a") && !world.shows(behind, "/n0000000001"));
    assert_eq!(told(&world, PacketType::Snap), 0);
    world.mend();
    world.release_walks(leader);
    world.serve();
    world.agree();
    assert!(world.shows(behind, "/n0000000700"));
}

#[test]
fn an_image_that_the_disk_was_given_before_the_role_ended_is_what_the_next_one_begins_with() {
    let setup = Setup {
        may_read_log: false,
        ..Setup::default()
    };
    let (mut world, behind) = left_behind(setup, 700);
    world.mend();
    world.until("the image is there", |world| told(world, PacketType::Snap) == 1);
    world.nodes[behind].disk.is_held = true;
    world.pass(100);
    assert!(!world.shows(behind, "/n0000000001"));
    world.cut_off(behind);
    world.pass(5000);
    assert!(!world.shows(behind, "/n0000000001"), "not before it is durable");
    world.release_disk(behind);
    world.pass(1000);
    assert!(world.shows(behind, "/n0000000700"));
    world.mend();
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Snap), 1);
}

/// A leader that is deposed with a write that nobody else has, while its own tree is being walked.
#[test]
fn a_log_is_cut_when_the_walk_is_over() {
    let mut world = Ensemble::elected(Setup {
        snap_count: 20,
        chunk_bytes: 50,
        ..Setup::default()
    });
    let leader = world.leader();
    let client = world.session(leader, 40_000);
    world.hold_walk(leader, client);
    world.pass(10);
    let others = world.followers();
    for other in others {
        world.silence(leader, other);
        world.silence(other, leader);
    }
    world.send(client, &[create("/lost", "")]);
    world.until("it is deposed", |world| !world.nodes[leader].leads());
    world.serve_without(leader);
    let other = world.session(others[0], 40_000);
    world.ask(other, &[create("/new", "")]);
    world.mend();
    world.until("it is to be cut", |world| told(world, PacketType::Trunc) == 1);
    world.pass(1000);
    assert!(world.shows(leader, "/lost"));
    world.release_walks(leader);
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Trunc), 1);
    assert!(!world.shows(leader, "/lost"));
    world.crash(leader);
    world.start(leader);
    assert!(!world.shows(leader, "/lost"));
    world.serve();
    world.agree();
}

#[test]
fn who_cannot_cut_its_log_asks_for_an_image() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    world.pass(10);
    for other in [first, second] {
        world.silence(leader, other);
    }
    world.send(client, &[create("/lost", "")]);
    world.pass(10);
    world.crash(leader);
    // A start has taken a snapshot of all that was logged, and the log before it is gone.
    let (mut tree, _) = world.nodes[leader].disk.recover();
    let last = tree.last_processed_zxid();
    world.nodes[leader].disk.put_snapshot(last, image(&mut tree));
    world.nodes[leader].disk.purge();
    world.mend();
    world.serve();
    let other = world.session(first, 40_000);
    world.ask(other, &[create("/new", "")]);
    world.start(leader);
    world.serve();
    world.agree();
    assert_eq!(
        (told(&world, PacketType::Trunc), told(&world, PacketType::Snap)),
        (1, 1)
    );
    assert!(!world.shows(leader, "/lost") && world.nodes[leader].last_zxid() > Zxid(0x2_0000_0000));
}
