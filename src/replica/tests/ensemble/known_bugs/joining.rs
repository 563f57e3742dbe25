//! How servers come into an ensemble that goes on.

use super::super::disk::image;
use super::super::setup::Setup;
use super::*;
use crate::ids::{SessionId, Zxid};
use crate::proto::acl::{Acl, RawAcls, perms};
use crate::proto::quorum::PacketType;
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};
use crate::tree::DataTree;

#[test]
fn zk_2678_no_snapshot_stands_between_a_learner_and_its_history() {
    let mut world = Ensemble::elected(Setup {
        snap_count: 20,
        chunk_bytes: 50,
        ..Setup::default()
    });
    // A large tree: the snapshots of all servers take for ever.
    let leader = world.leader();
    for at in 0..3 {
        world.nodes[at].are_walks_held = true;
    }
    let client = world.session(leader, 40_000);
    for _ in 0..45 {
        world.ask(client, &[create_as("/n", "x", 2)]);
    }
    world.pass(10);
    assert!((0..3).all(|at| world.nodes[at].up().walks.len() == 1));
    world.crash(leader);
    let since = world.now.mono.0;
    world.serve();
    assert!(world.now.mono.0 - since < 10_000, "within syncLimit");
    let again = world.session(world.leader(), 40_000);
    world.ask(again, &[create("/a", "")]);
    for at in 0..3 {
        world.release_walks(at);
    }
    world.start(leader);
    world.serve();
    world.agree();
}

#[test]
fn zk_3104_newleader_comes_behind_the_whole_image() {
    let mut world = Ensemble::asleep(Setup {
        chunk_bytes: 50,
        ..Setup::default()
    });
    (0..2).for_each(|at| world.start(at));
    world.serve();
    let client = world.session(1, 40_000);
    for _ in 0..30 {
        world.ask(client, &[create_as("/n", "x", 2)]);
    }
    world.nodes[1].are_walks_held = true;
    let before = told(&world, PacketType::NewLeader);
    world.start(2);
    world.until("the image is begun", |world| {
        !world.nodes[1].up().walks.is_empty()
    });
    world.ask(client, &[create("/later", ""), set("/n0000000007", "y", -1)]);
    world.pass(1000);
    assert_eq!(told(&world, PacketType::NewLeader), before);
    world.release_walks(1);
    world.until("it serves", |world| world.nodes[2].is_active());
    // What it has said to have is on its disk.
    restart(&mut world, 2);
    assert!(world.shows(2, "/later") && world.shows(2, "/n0000000029"));
    world.serve();
    world.agree();
}

#[test]
fn zk_1154_what_falls_between_two_epochs_is_not_taken_for_an_old_beginning() {
    let mut world = Ensemble::of(3, 0);
    let former = deposed_with_a_write_of_its_own(&mut world);
    assert!(world.nodes[former].disk.last() < world.nodes[world.leader()].disk.last());
    world.mend();
    world.serve();
    assert_eq!(told(&world, PacketType::Trunc), 1, "not DIFF alone");
    world.agree();
    assert!(!world.shows(former, "/lost"));
    restart(&mut world, former);
    assert!(!world.shows(former, "/lost"));
    world.serve();
    world.agree();
}

#[test]
fn zk_962_what_is_under_way_goes_to_a_learner_before_its_commit() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 40_000);
    world.pass(10);
    world.crash(first);
    world.ask(client, &[create("/a", "")]);
    // It is proposed, and not committed when the learner is sent the history.
    world.nodes[second].disk.is_held = true;
    world.send(client, &[create("/b", ""), create("/c", "")]);
    let before = told(&world, PacketType::FollowerInfo);
    world.start(first);
    world.until("both are committed", |world| world.shows(leader, "/c"));
    world.serve();
    world.release_disk(second);
    world.agree();
    assert!(world.shows(first, "/b"));
    let joined = told(&world, PacketType::FollowerInfo) - before;
    assert_eq!(joined, 1, "it has never had to begin again");
}

#[test]
fn zk_1551_an_observer_misses_nothing_behind_its_image() {
    let mut world = Ensemble::asleep(Setup {
        observers: 1,
        chunk_bytes: 50,
        ..Setup::default()
    });
    (0..3).for_each(|at| world.start(at));
    world.serve();
    let leader = world.leader();
    let client = world.session(leader, 40_000);
    world.ask(client, &[create("/a", "")]);
    world.nodes[leader].are_walks_held = true;
    world.start(3);
    world.until("the image is begun", |world| {
        !world.nodes[leader].up().walks.is_empty()
    });
    world.ask(client, &[create("/b", ""), create("/c", "")]);
    world.release_walks(leader);
    world.until("it serves", |world| world.nodes[3].is_active());
    assert!(world.shows(3, "/c"));
    world.ask(client, &[create("/d", "")]);
    world.agree();
    assert_eq!(told(&world, PacketType::ObserverInfo), 1, "no role has ended");
}

/// A tree that came from somewhere else: it shows a node, and no transaction says so.
fn of_unknown_origin() -> DataTree {
    let mut tree = DataTree::new(1);
    let header = TxnHeader {
        client_id: SessionId(77),
        cxid: 1,
        zxid: Zxid::ZERO,
        time: 1,
        code: 1,
    };
    let create = CreateTxn {
        kind: CreateKind::Plain,
        path: "/old".into(),
        data: None,
        acl: RawAcls::from_list(&[Acl::world(perms::ALL)]),
        ephemeral: false,
        parent_cversion: 1,
    };
    tree.process_txn(&header, &Txn::Create(create), &mut ());
    tree
}

#[test]
fn zk_4352_who_has_nothing_is_sent_everything() {
    let mut world = Ensemble::asleep(Setup::default());
    for at in [0, 1] {
        let disk = &mut world.nodes[at].disk;
        disk.put_snapshot(Zxid::ZERO, image(&mut of_unknown_origin()));
    }
    (0..2).for_each(|at| world.start(at));
    world.serve();
    let client = world.session(1, 40_000);
    world.ask(client, &[create("/a", "")]);
    world.is_compared = false;
    world.start(2);
    world.serve();
    assert!(world.shows(2, "/old") && world.shows(2, "/a"));
    assert_eq!(told(&world, PacketType::Snap), 1);
    world.agree();
}

#[test]
fn zk_3829_lists_of_servers_that_come_over_the_wire_change_nothing() {
    let mut world = Ensemble::asleep(Setup::default());
    (0..2).for_each(|at| world.start(at));
    world.serve();
    let client = world.session(1, 40_000);
    world.ask(client, &[create("/before", "")]);
    let list = |world: &Ensemble, at: usize| {
        let tree = world.nodes[at].up().shared.tree.read();
        let config = tree.lookup("/zookeeper/config").unwrap();
        String::from_utf8(config.data().unwrap().to_vec()).unwrap()
    };
    let former = list(&world, 0);
    // A member is added by the files of one server after the other. This one is the first.
    world.setup.observers = 1;
    world.start(2);
    world.serve();
    assert_eq!(
        told(&world, PacketType::Snap),
        1,
        "an image shows the leader's list"
    );
    let own = list(&world, 2);
    assert!(own.contains("server.4=") && !former.contains("server.4="));
    assert_eq!([list(&world, 0), list(&world, 1)], [former.clone(), former]);
    // And whoever leads commits.
    world.crash(1);
    world.serve();
    assert_eq!(world.leader(), 2);
    let client = world.session(2, 40_000);
    assert_eq!(world.ask(client, &[create("/a", "")]).len(), 1);
    assert_eq!(list(&world, 2), own);
    world.agree();
}

#[test]
fn zk_3701_a_log_that_cannot_be_cut_ends_the_role_before_any_acknowledgement() {
    let mut world = Ensemble::of(3, 0);
    let former = deposed_with_a_write_of_its_own(&mut world);
    world.crash(former);
    // Its only snapshot is of all that was logged, and the log before it is gone.
    let (mut tree, _) = world.nodes[former].disk.recover();
    let last = tree.last_processed_zxid();
    world.nodes[former].disk.put_snapshot(last, image(&mut tree));
    world.nodes[former].disk.purge();
    world.mend();
    world.start(former);
    let before = told(&world, PacketType::Ack);
    world.until("it is to be cut", |world| told(world, PacketType::Trunc) == 1);
    world.until("its role has ended", |world| {
        world.nodes[former]
            .role()
            .is_none_or(|role| matches!(role, crate::zab::Zab::Looking))
    });
    assert_eq!(told(&world, PacketType::Ack), before);
    world.serve();
    world.agree();
    assert_eq!(told(&world, PacketType::Snap), 1);
    assert!(!world.shows(former, "/lost"));
}

#[test]
fn zk_4503_clients_are_served_between_uptodate_and_the_end_of_the_role_only() {
    let mut world = Ensemble::asleep(Setup::default());
    (0..2).for_each(|at| world.start(at));
    world.serve();
    let client = world.session(1, 40_000);
    world.ask(client, &[create("/a", "")]);
    world.pass(100);
    world.net.tamper = Some(swallow_up_to_date);
    let before = told(&world, PacketType::UpToDate);
    world.start(2);
    // It has the whole history, and still it does not know whether it is the ensemble's.
    world.until("it has the history", |world| world.shows(2, "/a"));
    world.pass(1000);
    assert_eq!(told(&world, PacketType::UpToDate), before);
    assert!(!world.nodes[2].up().is_serving);
    let early = world.connect(2, 10_000, SessionId(0), &[0; 16]);
    assert_eq!(world.answered(early), ["closed"]);
    world.cut_off(2);
    world.net.tamper = None;
    world.mend();
    world.serve();
    let client = world.session(2, 10_000);
    world.cut_off(2);
    world.until("its role has ended", |world| !world.nodes[2].is_active());
    assert!(world.clients[client].client.is_closed && !world.nodes[2].up().is_serving);
    let late = world.connect(2, 10_000, SessionId(0), &[0; 16]);
    assert_eq!(world.answered(late), ["closed"]);
    world.mend();
    world.serve();
    world.agree();
}
