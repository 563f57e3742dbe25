//! Who is elected, and who hears of it.

use super::super::setup::Setup;
use super::*;
use crate::ids::{Epoch, ServerId};
use crate::proto::vote::{Notification, PeerState};
use crate::replica::Input;
use bytes::Bytes;

#[test]
fn zk_1732_settled_servers_name_the_epoch_they_are_in() {
    let mut world = Ensemble::asleep(Setup::default());
    (1..3).for_each(|at| world.start(at));
    world.serve();
    // The same leader is elected again, for another epoch than it was voted for with.
    restart(&mut world, 2);
    world.serve();
    assert_eq!((world.leader(), world.status(1).epoch), (2, Epoch(2)));
    world.start(0);
    world.serve();
    // The last that was said to it is now of servers that have their leader, and of a later round than its
    // own.
    restart(&mut world, 0);
    world.serve();
    assert_eq!(
        world.status(0).epoch,
        Epoch(2),
        "it has joined, and nothing began anew"
    );
}

#[test]
fn zk_2959_observers_begin_no_epoch() {
    let mut world = Ensemble::asleep(Setup {
        observers: 2,
        ..Setup::default()
    });
    for at in [2, 3, 4] {
        world.start(at);
    }
    world.pass(60_000);
    assert!([2, 3, 4].iter().all(|at| !world.nodes[*at].is_active()));
    assert_eq!(world.nodes[2].disk.epochs, (Epoch(0), Epoch(0)));
    world.start(0);
    world.serve();
    // A quorum that is lost is lost, whoever else follows.
    world.crash(0);
    world.until("it gives up", |world| !world.nodes[2].leads());
    world.pass(60_000);
    assert!([2, 3, 4].iter().all(|at| !world.nodes[*at].is_active()));
    world.start(0);
    world.serve();
    world.agree();
}

#[test]
fn zk_3769_no_message_makes_a_server_deaf() {
    let mut world = Ensemble::asleep(Setup::default());
    (0..2).for_each(|at| world.start(at));
    let whole = Notification {
        state: PeerState::Looking,
        leader: ServerId(3),
        zxid: crate::ids::Zxid(9),
        election_epoch: 1,
        peer_epoch: 1,
        version: 2,
        config: Some(String::new()),
        proposed: None,
    };
    let mut bodies: Vec<Bytes> = (0..40).map(|length| whole.encode().slice(..length)).collect();
    for config in [
        "",
        "server.1=",
        "server.1=h:1:2\nserver.1=h:1:2",
        "group.1=1",
        "weight.7=x",
    ] {
        let config = Some(config.to_owned());
        let state = PeerState::Observing;
        bodies.push(
            Notification {
                config,
                state,
                ..whole.clone()
            }
            .encode(),
        );
    }
    for at in [0, 1] {
        for body in &bodies {
            let (from, body) = (ServerId(3), body.clone());
            let server = world.nodes[at].server.as_mut().unwrap();
            server.inbox.push_back(Input::Notification { from, body });
        }
    }
    world.serve();
    assert_eq!(world.leader(), 1);
    world.start(2);
    world.serve();
    world.agree();
}
