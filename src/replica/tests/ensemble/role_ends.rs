//! What is left when a role ends, and what the next one makes of it.

use super::disk::image;
use super::setup::Setup;
use super::world::Ensemble;
use crate::ids::{Epoch, SessionId, Zxid};
use crate::proto::acl::{Acl, RawAcls, perms};
use crate::proto::quorum::{PacketType, QuorumPacket, leader_info};
use crate::proto::txn::{self, CreateKind, CreateTxn, Txn, TxnHeader};
use crate::replica::tests::world::frames::*;
use crate::tree::DataTree;

const NONE: [&str; 0] = [];

/// Everything that a connection can wait for.
fn wait_for_everything(world: &mut Ensemble, at: usize, other: usize) -> Vec<usize> {
    let client = world.session(at, 20_000);
    let elsewhere = world.session(other, 20_000);
    world.pass(10);
    let leader = world.leader();
    for follower in 0..world.setup.voters {
        if follower != leader {
            world.silence(follower, leader);
        }
    }
    let asks = [
        create("/w", ""),
        sync("/"),
        get("/w"),
        undecodable(),
        create_as("/e", "", 1),
    ];
    world.send(client, &asks);
    let renewing = world.renewal(elsewhere, at, 20_000);
    let opening = world.connect(at, 20_000, SessionId(0), &[0; 16]);
    world.pass(100);
    assert_eq!(world.lines(client), NONE);
    vec![client, renewing, opening]
}

#[test]
fn a_server_without_its_quorum_sends_its_clients_away_and_owes_nobody_anything() {
    for at in [0, 2, 3] {
        let mut world = Ensemble::of(3, 1);
        let clients = wait_for_everything(&mut world, at, 1);
        world.cut_off(at);
        world.until("it has no role", |world| !world.nodes[at].is_active());
        world.pass(10);
        let server = world.nodes[at].up();
        assert!(!server.is_serving && server.replica.conns.is_empty());
        assert_eq!(
            server
                .shared
                .outstanding
                .load(std::sync::atomic::Ordering::Relaxed),
            0
        );
        for client in clients {
            assert!(world.clients[client].client.is_closed);
        }
        let late = world.connect(at, 20_000, SessionId(0), &[0; 16]);
        assert_eq!(world.answered(late), ["closed"]);
        world.mend();
        world.serve();
        world.agree();
    }
}

#[test]
fn a_leader_that_hears_of_nobody_gives_up_within_its_limit() {
    let mut world = Ensemble::of(3, 0);
    let leader = world.leader();
    let client = world.session(leader, 40_000);
    for other in world.followers() {
        world.silence(leader, other);
        world.silence(other, leader);
    }
    world.send(client, &[create("/lost", "")]);
    let since = world.now.mono.0;
    world.until("it has given up", |world| !world.nodes[leader].leads());
    // syncLimit, and two ticks for the rounding of both sides.
    assert!(world.now.mono.0 - since <= 14_000);
    assert!(world.clients[client].client.is_closed);
    world.serve_without(leader);
    let new = world.leader();
    let client = world.session(new, 40_000);
    world.ask(client, &[create("/new", "")]);
    world.mend();
    world.serve();
    world.agree();
    assert!(world.shows(leader, "/new") && !world.shows(leader, "/lost"));
    assert_eq!(world.net.seen[&PacketType::Trunc], 1);
}

#[test]
fn what_only_a_dead_leader_has_logged_is_cut_when_it_comes_back() {
    let mut world = Ensemble::of(3, 0);
    let leader = world.leader();
    let client = world.session(leader, 10_000);
    world.ask(client, &[create("/kept", "")]);
    world.pass(10);
    for follower in world.followers() {
        world.silence(leader, follower);
    }
    world.send(client, &[create("/lost", ""), create("/lost/too", "")]);
    world.pass(10);
    assert_eq!(world.nodes[leader].disk.last(), Zxid(0x1_0000_0004));
    world.crash(leader);
    world.mend();
    world.serve();
    let other = world.session(world.leader(), 10_000);
    world.ask(other, &[create("/new", "")]);
    world.start(leader);
    assert!(world.shows(leader, "/lost/too"), "it is in its log");
    world.serve();
    world.agree();
    assert_eq!(world.net.seen[&PacketType::Trunc], 1);
    assert!(world.shows(leader, "/kept") && !world.shows(leader, "/lost"));
}

#[test]
fn what_a_quorum_has_logged_outlives_its_leader() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 10_000);
    world.pass(10);
    world.silence(first, leader);
    world.silence(second, leader);
    world.send(client, &[create("/a", "")]);
    world.pass(10);
    assert_eq!(world.lines(client), NONE);
    world.crash(leader);
    world.mend();
    world.serve();
    assert!(world.shows(first, "/a"));
    world.start(leader);
    world.serve();
    world.agree();
    assert!(world.shows(leader, "/a"));
}

#[test]
fn what_a_follower_is_still_writing_when_its_leader_dies_belongs_to_its_history() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(leader, 10_000);
    world.pass(10);
    for follower in [first, second] {
        world.nodes[follower].disk.is_held = true;
    }
    world.send(client, &[create("/a", ""), create("/b", "")]);
    world.pass(10);
    world.crash(leader);
    world.pass(5000);
    for follower in [first, second] {
        assert!(!world.shows(follower, "/a"), "not before the disk has it");
        assert_eq!(world.status(follower).leader, None);
    }
    world.release_disk(first);
    world.pass(1000);
    assert!(world.shows(first, "/b") && !world.nodes[first].is_active());
    world.release_disk(second);
    world.serve();
    world.agree();
    assert!(world.shows(second, "/b"));
}

#[test]
fn zk_1277_when_an_epoch_has_no_zxids_left_a_new_one_begins() {
    crate::zab::tests::COUNTER_MAX.set(9);
    for is_forwarded in [false, true] {
        let mut world = Ensemble::of(3, 0);
        let (leader, [first, second]) = (world.leader(), world.followers());
        let clients = [first, leader].map(|at| world.session(at, 10_000));
        let writer = clients[usize::from(!is_forwarded)];
        for n in 3..9 {
            let path = format!("/{n}");
            assert_eq!(
                world.ask(writer, &[create(&path, "")]),
                [format!("{} @1.{n} {path}", n - 2)]
            );
        }
        assert_eq!(world.ask(writer, &[create("/lost", ""), get("/3")]), ["closed"]);
        assert!(world.clients[clients[0]].client.is_closed && world.clients[clients[1]].client.is_closed);
        world.serve();
        let again = world.renewal(writer, second, 10_000);
        assert_eq!(world.answered(again), ["connected 10000"]);
        assert!(world.ask(again, &[create("/next", "")])[0].ends_with("@2.1 /next"));
        world.agree();
        assert!(world.shows(first, "/8") && !world.shows(first, "/lost"));
    }
}

/// A tree with an ephemeral of a session that nobody knows.
fn orphaned() -> DataTree {
    let mut tree = DataTree::new(1);
    let header = TxnHeader {
        client_id: SessionId(77),
        cxid: 1,
        zxid: Zxid(0x1_0000_0005),
        time: 1,
        code: 1,
    };
    let create = CreateTxn {
        kind: CreateKind::Plain,
        path: "/orphan".into(),
        data: None,
        acl: RawAcls::from_list(&[Acl::world(perms::ALL)]),
        ephemeral: true,
        parent_cversion: 1,
    };
    tree.process_txn(&header, &Txn::Create(create), &mut ());
    tree
}

#[test]
fn ephemerals_of_sessions_that_nobody_knows_end_with_the_first_leader() {
    let mut world = Ensemble::asleep(Setup::default());
    world.history.base = Zxid(0x1_0000_0005);
    for node in &mut world.nodes {
        node.disk
            .put_snapshot(Zxid(0x1_0000_0005), image(&mut orphaned()));
        node.disk.epochs = (Epoch(1), Epoch(1));
    }
    (0..3).for_each(|at| world.start(at));
    assert!(world.shows(0, "/orphan"));
    world.serve();
    world.pass(50);
    world.agree();
    assert!((0..3).all(|at| !world.shows(at, "/orphan")));
    assert_eq!(world.nodes[0].last_zxid(), Zxid(0x2_0000_0001));
}

/// What Apache's leaders say: nothing of what we are, and now and then a digest that is not ours.
fn as_apache(packet: &mut QuorumPacket) {
    if packet.kind == PacketType::LeaderInfo {
        packet.data = Some(leader_info(false));
    }
    wrong_digest(packet);
}

fn wrong_digest(packet: &mut QuorumPacket) {
    if packet.kind == PacketType::Proposal
        && let Some(data) = &mut packet.data
    {
        let logged = txn::decode(data).unwrap();
        let digest = logged.digest.map(|digest| txn::TxnDigest {
            digest: digest.digest ^ 1,
            ..digest
        });
        let mut encoded = Vec::new();
        txn::encode(&logged.header, &logged.txn, digest, &mut encoded);
        *data = encoded.into();
    }
}

#[test]
fn a_digest_of_a_foreign_leader_that_is_not_ours_is_counted_and_no_more() {
    let mut world = Ensemble::asleep(Setup::default());
    world.net.tamper = Some(as_apache);
    world.is_compared = false;
    (0..3).for_each(|at| world.start(at));
    world.serve();
    let client = world.session(world.followers()[0], 4000);
    assert_eq!(world.ask(client, &[create("/a", "")]), ["1 @1.2 /a"]);
    world.pass(10);
    for at in world.followers() {
        let metrics = &world.nodes[at].up().shared.metrics;
        assert_eq!(metrics.digest_mismatches_count.value(), 2);
        assert!(world.nodes[at].up().is_serving);
    }
}

#[test]
#[should_panic(expected = "the tree is not what was predicted")]
fn a_digest_of_one_of_ours_that_is_wrong_ends_the_process() {
    let mut world = Ensemble::of(3, 0);
    world.net.tamper = Some(wrong_digest);
    world.is_compared = false;
    world.session(world.followers()[0], 4000);
}
