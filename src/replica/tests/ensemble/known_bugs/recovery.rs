//! What a server makes of what it holds when a role or its process ends.

use super::super::disk::image;
use super::super::setup::Setup;
use super::*;
use crate::ids::{Epoch, Zxid};
use crate::proto::quorum::PacketType;

#[test]
fn zk_2845_an_uncommitted_transaction_does_not_come_back() {
    let mut world = Ensemble::of(3, 0);
    let leader = with_a_write_of_its_own(&mut world, "/lost");
    world.cut_off(leader);
    world.until("it is deposed", |world| !world.nodes[leader].leads());
    world.serve_without(leader);
    world.mend();
    world.serve();
    assert!(world.shows(leader, "/kept") && !world.shows(leader, "/lost"));
    restart(&mut world, leader);
    assert!(!world.shows(leader, "/lost"), "it came back");
    world.serve();
    world.agree();
}

#[test]
fn zk_5010_an_ephemeral_that_was_never_committed_is_on_no_server() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    world.pass(10);
    // Only one follower logs it; the leader dies with it in flight.
    world.silence(leader, first);
    world.silence(second, leader);
    world.nodes[leader].disk.is_held = true;
    world.send(client, &[create_as("/e", "", 1)]);
    world.pass(10);
    assert_eq!(world.nodes[second].disk.last(), Zxid(0x1_0000_0002));
    world.crash(leader);
    world.mend();
    world.cut_off(second);
    world.start(leader);
    world.serve_without(second);
    assert!(!world.shows(leader, "/e"));
    let other = world.session(leader, 40_000);
    world.ask(other, &[create("/new", "")]);
    world.pass(10);
    assert!(world.shows(second, "/e"), "it may still turn out to be committed");
    world.mend();
    world.serve();
    world.agree();
    assert!(!world.shows(second, "/e"));
    restart(&mut world, second);
    assert!(!world.shows(second, "/e"));
    world.serve();
    world.agree();
}

#[test]
fn zk_4712_nothing_of_an_old_role_is_logged_behind_the_new_one() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    world.pass(10);
    // One follower has the write in its queue, and nobody has it on disk.
    world.silence(leader, second);
    for at in [leader, first] {
        world.nodes[at].disk.is_held = true;
    }
    world.send(client, &[create("/lost", "")]);
    world.pass(10);
    world.crash(leader);
    world.start(leader);
    world.mend();
    world.serve_without(first);
    let other = world.session(world.leader(), 40_000);
    world.ask(other, &[create("/new", "")]);
    world.pass(3000);
    assert_eq!(world.status(first).leader, None, "its log is not at its end yet");
    world.release_disk(first);
    world.serve();
    world.agree();
    restart(&mut world, first);
    assert!(world.shows(first, "/new") && !world.shows(first, "/lost"));
    world.serve();
    world.agree();
}

/// A server without anything that has just received an image, while its disk still has to take it.
fn just_received() -> Ensemble {
    let mut world = Ensemble::asleep(Setup::default());
    (0..2).for_each(|at| world.start(at));
    world.serve();
    let client = world.session(1, 40_000);
    world.ask(client, &[create("/a", ""), create("/b", "")]);
    world.start(2);
    world.until("the image is there", |world| told(world, PacketType::Snap) == 1);
    world.nodes[2].disk.is_held = true;
    world.pass(10);
    world
}

#[test]
fn zk_3642_an_image_that_is_not_on_disk_is_not_voted_with() {
    for is_durable in [false, true] {
        let mut world = just_received();
        // The leader dies before NEWLEADER counts.
        world.crash(1);
        if is_durable {
            world.release_disk(2);
        }
        world.pass(1000);
        assert_eq!(world.shows(2, "/b"), is_durable, "it shows what its disk has");
        let before = world.nodes[2].last_zxid();
        restart(&mut world, 2);
        assert_eq!(world.nodes[2].last_zxid(), before);
        world.serve();
        world.agree();
        assert!(world.shows(2, "/a") && world.shows(2, "/b"));
    }
}

#[test]
fn zk_1549_a_cut_reaches_behind_every_snapshot() {
    let mut world = Ensemble::of(3, 0);
    let leader = with_a_write_of_its_own(&mut world, "/lost");
    world.crash(leader);
    // Before there is any quorum, a snapshot is taken of all that was logged.
    let (mut tree, _) = world.nodes[leader].disk.recover();
    let last = tree.last_processed_zxid();
    world.nodes[leader].disk.put_snapshot(last, image(&mut tree));
    world.mend();
    world.serve();
    let other = world.session(world.leader(), 40_000);
    world.ask(other, &[create("/new", "")]);
    world.start(leader);
    world.serve();
    assert_eq!(told(&world, PacketType::Trunc), 1);
    world.agree();
    assert!(!world.shows(leader, "/lost"));
    restart(&mut world, leader);
    assert!(!world.shows(leader, "/lost"));
    world.serve();
    world.agree();
}

#[test]
fn zk_1549_no_snapshot_is_taken_of_what_may_yet_be_taken_back() {
    let mut world = Ensemble::elected(Setup {
        snap_count: 20,
        ..Setup::default()
    });
    let [first, _] = world.followers();
    let client = world.session(world.leader(), 40_000);
    world.pass(10);
    world.crash(first);
    for n in 0..45 {
        world.ask(client, &[create(&format!("/{n}"), "")]);
    }
    world.pass(100);
    let before = world.nodes[first].disk.newest_snapshot();
    world.net.tamper = Some(swallow_up_to_date);
    world.start(first);
    world.until("it has the history", |world| world.shows(first, "/44"));
    world.pass(1000);
    assert!(world.nodes[first].up().walks.is_empty());
    assert_eq!(world.nodes[first].disk.newest_snapshot(), before);
    world.cut_off(first);
    world.net.tamper = None;
    world.mend();
    world.serve();
    world.agree();
}

#[test]
fn zk_3127_a_snapshot_holds_a_multi_whole_or_not_at_all() {
    let mut world = Ensemble::elected(Setup {
        snap_count: 20,
        chunk_bytes: 50,
        ..Setup::default()
    });
    let leader = world.leader();
    let client = world.session(leader, 40_000);
    world.hold_walk(leader, client);
    // Some of the list falls where the walk has been, some where it has yet to come.
    world.nodes[leader].are_walks_held = false;
    world.release_walks(leader);
    let mut count = 0;
    while !world.nodes[leader].up().walks.is_empty() {
        let path = format!("/m{count}");
        let list = [
            set("/n0000000000", &path, -1),
            set("/n0000000019", &path, -1),
            create(&path, ""),
        ];
        world.ask(client, &[multi(&list)]);
        count += 1;
    }
    assert!(count > 3, "{count} lists in one walk");
    for at in 0..3 {
        world.crash(at);
    }
    // Every transaction behind the snapshot leads to the digest that it says.
    (0..3).for_each(|at| world.start(at));
    world.serve();
    world.agree();
    assert!(world.shows(leader, &format!("/m{}", count - 1)));
}

#[test]
fn zk_1653_a_history_that_is_ahead_of_its_epoch_is_no_reason_to_stay_out() {
    let mut world = Ensemble::of(3, 0);
    let [first, _] = world.followers();
    let client = world.session(world.leader(), 40_000);
    world.ask(client, &[create("/old", "")]);
    world.pass(10);
    world.crash(first);
    restart_the_leader(&mut world);
    let client = world.session(world.leader(), 40_000);
    world.ask(client, &[create("/new", "")]);
    let before = told(&world, PacketType::Diff);
    world.start(first);
    world.until("it is sent what it lacks", |world| {
        told(world, PacketType::Diff) > before
    });
    world.nodes[first].disk.is_held = true;
    world.pass(10);
    // The power fails between the history and the epoch.
    world.crash_after(first, 2);
    let disk = &world.nodes[first].disk;
    assert_eq!((disk.last().epoch(), disk.epochs.1), (Epoch(2), Epoch(1)));
    world.start(first);
    assert!(world.shows(first, "/new"));
    world.serve();
    world.agree();
}

fn restart_the_leader(world: &mut Ensemble) {
    let leader = world.leader();
    world.crash(leader);
    world.start(leader);
    world.serve();
}
