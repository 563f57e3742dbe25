//! Whole elections, message by message, and those that every tutorial tells.

use expect_test::expect;

use super::PeerState::{Following, Leading, Looking, Observing};
use super::*;

#[test]
fn three_equal_servers_start_one_after_another() {
    let mut ensemble = Ensemble::of(3);
    ensemble.boot(1, 0, 0);
    ensemble.boot(2, 0, 0);
    ensemble.deliver_all();
    expect![[r#"
        0 2->1 Looking 2 zxid 0x0 round 1 epoch 0
        0 1    Following leader 2
        0 1->2 Looking 2 zxid 0x0 round 1 epoch 0
        0 2    Leading leader 2
    "#]]
    .assert_eq(&ensemble.take_transcript());
    for id in [1, 2] {
        ensemble.input(id, Input::EpochJoined { epoch: 1 });
    }
    ensemble.now = Millis(1000);
    ensemble.boot(3, 0, 0);
    ensemble.deliver_all();
    expect![[r#"
        1000 3->1 Looking 3 zxid 0x0 round 1 epoch 0
        1000 3->2 Looking 3 zxid 0x0 round 1 epoch 0
        1000 2    leads, 3 looks
        1000 1->3 Following 2 zxid 0x0 round 1 epoch 1
        1000 2->3 Leading 2 zxid 0x0 round 1 epoch 1
        1000 3    Following leader 2
    "#]]
    .assert_eq(&ensemble.take_transcript());
}

#[test]
fn without_word_of_the_third_the_first_two_wait() {
    let mut ensemble = Ensemble::of(3);
    ensemble.boot(1, 0, 0);
    ensemble.boot(2, 0, 0);
    for id in [1, 2] {
        ensemble.input(id, Input::LinkUp(ServerId(3)));
    }
    ensemble.deliver_all();
    assert_eq!(ensemble.roles(), [(1, Looking, 2), (2, Looking, 2)]);
    ensemble.advance(199);
    assert_eq!(ensemble.roles(), [(1, Looking, 2), (2, Looking, 2)]);
    ensemble.advance(1);
    assert_eq!(ensemble.roles(), [(1, Following, 2), (2, Leading, 2)]);
}

/// Server 2 decides before it can reach 3, and 1 has voted for 2 but looked on.
#[test]
fn who_was_elected_before_the_best_was_heard_of_is_told() {
    let mut ensemble = Ensemble::of(3);
    ensemble.boot(1, 0, 0);
    ensemble.boot(2, 0, 0);
    ensemble.input(1, Input::LinkUp(ServerId(3)));
    ensemble.deliver_all();
    assert_eq!(ensemble.roles(), [(1, Looking, 2), (2, Leading, 2)]);
    ensemble.take_transcript();
    ensemble.boot(3, 0, 0);
    ensemble.deliver_all();
    expect![[r#"
        0 3->1 Looking 3 zxid 0x0 round 1 epoch 0
        0 3->2 Looking 3 zxid 0x0 round 1 epoch 0
        0 2    leads, 3 looks
        0 1->2 Looking 3 zxid 0x0 round 1 epoch 0
        0 2    is outvoted, 1 looks
        0 2    leads, 1 looks
        0 1->3 Looking 3 zxid 0x0 round 1 epoch 0
        0 2->3 Leading 2 zxid 0x0 round 1 epoch 0
        0 2->1 Leading 2 zxid 0x0 round 1 epoch 0
    "#]]
    .assert_eq(&ensemble.take_transcript());
    ensemble.input(2, Input::RoleEnded);
    ensemble.look(2, 0, 0);
    ensemble.advance(1000);
    assert_eq!(
        ensemble.roles(),
        [(1, Following, 3), (2, Following, 3), (3, Leading, 3)]
    );
}

#[test]
fn of_five_empty_servers_the_third_to_start_leads() {
    let mut ensemble = Ensemble::of(5);
    ensemble.boot(1, 0, 0);
    ensemble.advance(3000);
    ensemble.boot(2, 0, 0);
    ensemble.advance(3000);
    assert_eq!(ensemble.roles(), [(1, Looking, 2), (2, Looking, 2)]);
    ensemble.boot(3, 0, 0);
    ensemble.deliver_all();
    assert_eq!(
        ensemble.roles(),
        [(1, Following, 3), (2, Following, 3), (3, Leading, 3)]
    );
    for id in [4, 5] {
        ensemble.advance(3000);
        ensemble.boot(id, 0, 0);
        ensemble.deliver_all();
        assert_eq!((ensemble.state(id), ensemble.state(3)), (Following, Leading));
        assert_eq!(ensemble.servers[&id].vote().leader, ServerId(3));
    }
}

#[test]
fn after_the_loss_of_3_and_5_the_larger_of_the_newest_leads() {
    let zxids = [(1, 8), (2, 8), (3, 8), (4, 7), (5, 7)];
    let mut ensemble = Ensemble::of(5);
    for (id, zxid) in zxids {
        ensemble.boot(id, zxid, 1);
    }
    ensemble.advance(1000);
    assert_eq!(ensemble.roles()[2], (3, Leading, 3));
    ensemble.kill(3);
    ensemble.kill(5);
    for id in [4, 1, 2] {
        ensemble.look(id, zxids[id as usize - 1].1, 1);
    }
    ensemble.deliver_all();
    assert_eq!(
        ensemble.roles(),
        [(1, Following, 2), (2, Leading, 2), (4, Following, 2)]
    );
}

#[test]
fn the_survivors_of_a_leader_decide_without_waiting() {
    for first in [1, 2] {
        let mut ensemble = Ensemble::of(3);
        for id in 1..=3 {
            ensemble.boot(id, 5, 1);
        }
        ensemble.advance(1000);
        ensemble.kill(3);
        // The first to notice has told its vote before the other one looks.
        ensemble.look(first, 5, 1);
        ensemble.deliver_all();
        ensemble.look(3 - first, 5, 1);
        ensemble.deliver_all();
        assert_eq!(
            ensemble.roles(),
            [(1, Following, 2), (2, Leading, 2)],
            "{first} first"
        );
    }
}

#[test]
fn an_observer_finds_the_leader_and_never_votes() {
    let mut ensemble = Ensemble::new(members_of(4, &[4]));
    ensemble.boot(4, 99, 9);
    ensemble.boot(1, 0, 0);
    ensemble.advance(1000);
    assert_eq!((ensemble.state(4), ensemble.state(1)), (Looking, Looking));
    ensemble.boot(2, 0, 0);
    ensemble.advance(1000);
    assert_eq!(
        ensemble.roles(),
        [(1, Following, 2), (2, Leading, 2), (4, Observing, 2)]
    );
    ensemble.kill(4);
    ensemble.boot(4, 99, 9);
    ensemble.advance(1000);
    assert_eq!(ensemble.state(4), Observing);
}

#[test]
fn a_single_voter_elects_itself_at_once() {
    let mut ensemble = Ensemble::of(1);
    ensemble.boot(1, 3, 1);
    assert_eq!(ensemble.roles(), [(1, Leading, 1)]);
    let epochs = |ensemble: &Ensemble| ensemble.servers[&1].vote().election_epoch;
    assert_eq!(epochs(&ensemble), 1);
    ensemble.look(1, 3, 1);
    assert_eq!(epochs(&ensemble), 2);
}
