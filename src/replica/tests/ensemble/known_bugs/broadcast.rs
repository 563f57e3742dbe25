//! Proposals, commits, and what stops them.

use super::*;
use crate::ids::{Epoch, Zxid};
use crate::proto::txn::{self, Txn};

/// What is forwarded gets another operation.
fn into_a_check(packet: &mut QuorumPacket) {
    change_a_request(packet, |data| data[12..16].copy_from_slice(&13i32.to_be_bytes()));
}

/// What is forwarded breaks off.
fn break_off(packet: &mut QuorumPacket) {
    change_a_request(packet, |data| data.truncate(20));
}

/// A delete is changed on its way: session, cxid, operation, path, version.
fn change_a_request(packet: &mut QuorumPacket, how: impl Fn(&mut Vec<u8>)) {
    if packet.kind == PacketType::Request
        && let Some(data) = &packet.data
        && data[12..16] == 2i32.to_be_bytes()
    {
        let mut data = data.to_vec();
        how(&mut data);
        packet.data = Some(data.into());
    }
}

/// A follower forwards a request that no leader can do anything with; nothing stops for it.
fn forward_changed(tamper: fn(&mut QuorumPacket)) -> Ensemble {
    let mut world = Ensemble::of(3, 0);
    world.net.tamper = Some(tamper);
    let [first, second] = world.followers();
    let clients = [first, second].map(|at| world.session(at, 10_000));
    world.pass(10);
    assert_eq!(world.ask(clients[0], &[create("/c", "")]), ["1 @1.3 /c"]);
    let lines = world.ask(clients[0], &[delete("/c", 0), create("/a", "")]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("2 @1.4 error"), "{lines:?}");
    assert_eq!(lines[1], "3 @1.5 /a");
    assert_eq!(world.ask(clients[1], &[create("/b", "")]), ["1 @1.6 /b"]);
    world.agree();
    let refused = world.history.get(Zxid(0x1_0000_0004)).unwrap();
    let logged = txn::decode(&refused.encoded).unwrap();
    assert!(matches!(logged.txn, Txn::Error(_)), "{:?}", logged.txn);
    // Whatever is in the logs, all can read it.
    for at in 0..3 {
        world.crash(at);
    }
    (0..3).for_each(|at| world.start(at));
    world.serve();
    world.agree();
    assert!(world.shows(first, "/b") && world.shows(first, "/c"));
    world
}

#[test]
fn zk_2623_a_check_by_itself_is_in_no_log() {
    forward_changed(into_a_check);
    let mut world = Ensemble::of(3, 0);
    for at in [world.leader(), world.followers()[0]] {
        let client = world.session(at, 10_000);
        world.ask(client, &[create(&format!("/{at}"), "")]);
        let last = world.nodes[at].last_zxid();
        let check = Ask {
            code: 13,
            ..delete(&format!("/{at}"), 0)
        };
        let lines = world.ask(client, &[check]);
        assert!(lines[0] == "closed" || lines[0].contains("error"), "{lines:?}");
        world.pass(10);
        assert!(world.nodes[at].last_zxid().epoch() == Epoch(1));
        let newer = world.history.entries.iter().filter(|entry| entry.zxid > last);
        for entry in newer {
            let logged = txn::decode(&entry.encoded).unwrap();
            assert!(!matches!(logged.txn, Txn::Check { .. }), "{:?}", logged.txn);
        }
    }
    world.agree();
}

#[test]
fn row_36_a_forwarded_request_that_cannot_be_read_has_a_zxid_of_its_own() {
    forward_changed(break_off);
}

#[test]
fn zk_2247_a_leader_whose_log_has_stopped_does_not_lead_on() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    let client = world.session(first, 40_000);
    world.pass(10);
    // A leader counts itself only by what its log has reported, so with one more disk nothing is committed.
    world.nodes[leader].disk.is_held = true;
    world.crash(second);
    world.send(client, &[create("/a", "")]);
    world.pass(3000);
    assert!(!world.shows(first, "/a") && !world.shows(leader, "/a"));
    assert_eq!(world.lines(client), [""; 0]);
    // An error ends the process, and the others go on.
    world.crash(leader);
    world.start(second);
    world.serve();
    world.agree();
    assert!(world.shows(second, "/a"));
}
