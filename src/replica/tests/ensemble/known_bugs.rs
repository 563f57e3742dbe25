//! What has gone wrong in ZooKeeper, each under its number, told step by step to ours. The world checks the
//! general laws all the while; a test checks what its bug would have broken. `tests/KNOWN_BUGS.md` is the
//! index, also of the bugs that are tested elsewhere.

use super::world::Ensemble;
use crate::proto::quorum::{PacketType, QuorumPacket};
use crate::replica::tests::world::frames::*;

mod broadcast;
mod elections;
mod joining;
mod recovery;
mod requests;
mod synchronization;

/// How often packets of this kind have arrived.
fn told(world: &Ensemble, kind: PacketType) -> usize {
    world.net.seen.get(&kind).copied().unwrap_or(0)
}

/// A leader with a write that nobody else has ever heard of. Its followers hear nothing from it any more.
fn with_a_write_of_its_own(world: &mut Ensemble, path: &str) -> usize {
    let leader = world.leader();
    let client = world.session(leader, 40_000);
    world.ask(client, &[create("/kept", "")]);
    world.pass(10);
    for follower in world.followers() {
        world.silence(leader, follower);
    }
    let before = world.nodes[leader].disk.last();
    world.send(client, &[create(path, "")]);
    world.pass(10);
    assert_eq!(world.nodes[leader].disk.last(), before.next(), "it has logged it");
    leader
}

/// The same, and then the others begin an epoch without it, with one write of theirs.
fn deposed_with_a_write_of_its_own(world: &mut Ensemble) -> usize {
    let leader = with_a_write_of_its_own(world, "/lost");
    world.cut_off(leader);
    world.until("it is deposed", |world| !world.nodes[leader].leads());
    world.serve_without(leader);
    let other = world.session(world.leader(), 40_000);
    world.ask(other, &[create("/new", "")]);
    leader
}

/// The process dies and starts again.
fn restart(world: &mut Ensemble, at: usize) {
    world.crash(at);
    world.start(at);
}

/// A packet that says nothing to a learner, in the place of one that is held up for ever.
fn swallow(packet: &mut QuorumPacket) {
    *packet = QuorumPacket::new(PacketType::Ping, packet.zxid, None);
}

fn swallow_new_leader(packet: &mut QuorumPacket) {
    if packet.kind == PacketType::NewLeader {
        swallow(packet);
    }
}

fn swallow_up_to_date(packet: &mut QuorumPacket) {
    if packet.kind == PacketType::UpToDate {
        swallow(packet);
    }
}
