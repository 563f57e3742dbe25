//! The order in which a learner takes over a history, makes it durable, and says so.

use super::*;
use crate::ids::{Epoch, Zxid};
use crate::proto::quorum::PacketType;

/// One server logs a write alone; it and another one, which lacks the write, then begin an epoch. Stops when
/// the other one has been sent what it lacks, with its disk held.
fn about_to_join_with_a_lone_write() -> (Ensemble, [usize; 3]) {
    let mut world = Ensemble::of(3, 0);
    let [first, second] = world.followers();
    let leader = with_a_write_of_its_own(&mut world, "/b");
    for at in [first, second, leader] {
        world.crash(at);
    }
    world.mend();
    let before = told(&world, PacketType::Diff);
    world.start(first);
    world.start(leader);
    world.until("it is sent what it lacks", |world| {
        told(world, PacketType::Diff) > before
    });
    world.nodes[first].disk.is_held = true;
    (world, [first, second, leader])
}

#[test]
fn zk_3911_what_a_new_leader_serves_outlives_it() {
    let (mut world, [first, second, leader]) = about_to_join_with_a_lone_write();
    world.release_disk(first);
    world.serve();
    assert!(world.shows(leader, "/b") && world.shows(first, "/b"));
    world.crash(first);
    world.crash(leader);
    world.start(first);
    world.start(second);
    world.serve();
    world.agree();
    assert!(world.shows(second, "/b"), "it was served");
}

#[test]
fn zk_4646_nobody_serves_what_is_on_its_way_to_a_disk() {
    let (mut world, [first, second, leader]) = about_to_join_with_a_lone_write();
    world.pass(100);
    assert!(!world.nodes[leader].is_active() && !world.nodes[first].is_active());
    world.crash(first);
    world.crash(leader);
    world.start(first);
    world.start(second);
    world.serve();
    assert!(!world.shows(first, "/b"), "neither of them has it");
    world.start(leader);
    world.serve();
    world.agree();
}

#[test]
fn zk_4643_an_epoch_is_joined_behind_its_history() {
    for done in 0..3 {
        let mut world = Ensemble::of(3, 0);
        let (leader, [first, second]) = (world.leader(), world.followers());
        let client = world.session(leader, 40_000);
        world.pass(10);
        world.crash(first);
        world.ask(client, &[create("/b", "")]);
        world.pass(10);
        world.crash(second);
        world.crash(leader);
        let before = told(&world, PacketType::Diff);
        world.start(first);
        world.start(leader);
        world.until("it is sent what it lacks", |world| {
            told(world, PacketType::Diff) > before
        });
        world.nodes[first].disk.is_held = true;
        world.pass(10);
        // The power fails between any two of its steps.
        world.crash_after(first, done);
        world.crash(leader);
        let disk = &world.nodes[first].disk;
        assert!(disk.epochs.1 < Epoch(2) || disk.last() >= Zxid(0x1_0000_0002));
        world.start(first);
        world.start(second);
        world.serve();
        world.agree();
        assert!(world.shows(first, "/b") && world.shows(second, "/b"));
    }
}

#[test]
fn zk_4785_who_serves_has_applied_what_the_epoch_began_with() {
    let (mut world, [first, _, leader]) = about_to_join_with_a_lone_write();
    world.release_disk(first);
    world.until("it serves", |world| world.nodes[first].up().is_serving);
    assert!(world.shows(first, "/b"));
    let client = world.session(first, 40_000);
    assert_eq!(world.ask(client, &[get("/b")]).len(), 1);
    assert_eq!(world.nodes[first].last_zxid(), world.nodes[leader].last_zxid());
}

#[test]
fn zk_4925_what_came_while_synchronizing_is_handed_on() {
    let mut world = Ensemble::of(5, 0);
    let client = world.session(4, 40_000);
    world.pass(10);
    world.cut_off(0);
    world.ask(client, &[create("/1", "")]);
    world.pass(10);
    world.crash(1);
    world.ask(client, &[create("/2", ""), create("/3", "")]);
    world.mend();
    world.serve();
    world.crash(2);
    world.ask(client, &[create("/4", "")]);
    world.pass(10);
    // The one that was behind leads, and another one is where it was.
    world.crash(3);
    world.crash(4);
    let before = told(&world, PacketType::Diff);
    world.start(1);
    world.start(2);
    world.serve();
    assert_eq!(world.leader(), 0);
    assert_eq!(told(&world, PacketType::Diff), before + 2);
    world.agree();
    assert!(world.shows(1, "/2") && world.shows(1, "/3") && world.shows(1, "/4"));
}

/// A leader that sends a history with a hole: the second write never comes.
fn swallow_the_third(packet: &mut QuorumPacket) {
    let is_history = matches!(packet.kind, PacketType::Proposal | PacketType::Commit);
    if is_history && packet.zxid == Zxid(0x1_0000_0003) {
        swallow(packet);
    }
}

#[test]
fn zk_2846_a_history_with_a_hole_is_not_taken() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, _]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    world.pass(10);
    world.cut_off(first);
    world.ask(client, &[create("/2", ""), create("/3", ""), create("/4", "")]);
    world.pass(100);
    world.net.tamper = Some(swallow_the_third);
    world.mend();
    world.serve();
    assert_eq!(told(&world, PacketType::Snap), 1, "a snapshot has no hole");
    world.agree();
    assert!(world.shows(first, "/3"));
}

#[test]
fn zk_2355_a_diff_by_itself_is_no_progress() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, _]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    world.ask(client, &[create_as("/e", "", 1)]);
    world.pass(10);
    world.cut_off(first);
    world.ask(client, &[close()]);
    world.pass(100);
    // The link breaks before the proposals.
    world.net.tamper = Some(|packet| {
        if matches!(
            packet.kind,
            PacketType::Proposal | PacketType::Commit | PacketType::NewLeader
        ) {
            swallow(packet);
        }
    });
    let before = told(&world, PacketType::Diff);
    world.mend();
    world.until("it is told how", |world| told(world, PacketType::Diff) > before);
    world.pass(10);
    world.cut_off(first);
    world.pass(10);
    assert!(world.shows(first, "/e"));
    world.net.tamper = None;
    world.mend();
    world.serve();
    world.agree();
    assert!(!world.shows(first, "/e"), "it is told that the session has ended");
}

#[test]
fn zk_5094_a_cut_and_what_came_behind_it_are_one_history() {
    let mut world = Ensemble::of(3, 0);
    let former = deposed_with_a_write_of_its_own(&mut world);
    // The link breaks before NEWLEADER.
    world.net.tamper = Some(swallow_new_leader);
    world.mend();
    world.until("it is to be cut", |world| told(world, PacketType::Trunc) == 1);
    world.pass(100);
    assert!(!world.nodes[former].is_active());
    world.cut_off(former);
    world.pass(10);
    world.net.tamper = None;
    let client = world.session(world.leader(), 40_000);
    world.ask(client, &[create("/newer", "")]);
    world.mend();
    world.serve();
    world.agree();
    restart(&mut world, former);
    assert!(world.shows(former, "/new") && world.shows(former, "/newer"));
    assert!(!world.shows(former, "/lost"));
    world.serve();
    world.agree();
}

#[test]
fn row_27_what_comes_behind_a_cut_is_on_disk_before_it_is_acknowledged() {
    let mut world = Ensemble::of(3, 0);
    let former = deposed_with_a_write_of_its_own(&mut world);
    world.mend();
    world.until("it serves", |world| world.nodes[former].is_active());
    assert_eq!(told(&world, PacketType::Trunc), 1);
    restart(&mut world, former);
    assert!(world.shows(former, "/new") && !world.shows(former, "/lost"));
    world.serve();
    world.agree();
}

#[test]
fn zk_1291_an_epoch_is_on_disk_before_its_beginning_is_acknowledged() {
    let mut world = Ensemble::asleep(super::super::setup::Setup::default());
    (0..2).for_each(|at| world.start(at));
    world.serve();
    // Nobody tells the third that the epoch has begun.
    world.pass(100);
    world.net.tamper = Some(swallow_up_to_date);
    let before = told(&world, PacketType::Ack);
    world.start(2);
    world.until("it acknowledges", |world| told(world, PacketType::Ack) > before);
    assert_eq!(world.nodes[2].disk.epochs, (Epoch(1), Epoch(1)));
    assert!(!world.nodes[2].is_active());
    world.crash(2);
    world.net.tamper = None;
    world.start(2);
    world.serve();
    world.agree();
}

#[test]
fn zk_1282_no_epoch_is_offered_before_the_disk_has_it() {
    let mut world = Ensemble::with(super::super::setup::Setup::default());
    world.nodes[2].disk.is_held = true;
    world.until("a quorum has connected", |world| {
        told(world, PacketType::FollowerInfo) == 2
    });
    world.pass(1000);
    assert_eq!(told(&world, PacketType::LeaderInfo), 0);
    world.crash(2);
    world.start(2);
    world.serve();
    assert_eq!(
        world.status(0).epoch,
        Epoch(1),
        "nobody has promised the first one"
    );
}
