//! The order in which a learner takes over a history, makes it durable, and says so.

use super::*;
use crate::proto::quorum::PacketType;

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
