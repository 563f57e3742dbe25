//! A server, or all of them, dies at every step of a reconfiguration.

use super::*;

/// Lets one thing after another happen while a change is under way, and has somebody die at the given step.
/// What the client was told has to be so afterwards.
fn die_at(step: usize, who: &[usize], change: &dyn Fn(usize) -> Ask, strangers: usize) -> bool {
    let mut world = ensemble(3, 0, strangers);
    let leader = world.leader();
    let at = world.followers()[0];
    let client = world.session(at, 40_000);
    world.ask(client, &[create("/before", "")]);
    let before = agreed(&mut world);
    world.send(client, &[change(leader), create("/behind", "")]);
    let end = world.now.mono + crate::clock::Millis(2_000);
    let mut is_over = false;
    for _ in 0..step {
        is_over |= !world.step_before(end);
    }
    for place in who {
        // 9 stands for who leads.
        let at = if *place == 9 { leader } else { *place };
        world.crash_after(at, step % 3);
    }
    world.pass(step as u64 % 5 * 500);
    let answers = world.lines(client);
    for at in 0..world.nodes.len() {
        if !world.nodes[at].is_up() {
            world.start(at);
        }
    }
    world.serve();
    let after = agreed(&mut world);
    if let Some(first) = answers.first() {
        assert!(error(first).is_none() && after != before, "{first}: {after}");
    }
    assert!(world.shows(0, "/before"));
    assert!(answers.len() < 2 || world.shows(0, "/behind"));
    world.agree();
    is_over
}

fn die_everywhere(who: &[usize], change: &dyn Fn(usize) -> Ask, strangers: usize) {
    for step in 0.. {
        assert!(step < 1000, "it takes too many steps");
        if die_at(step, who, change, strangers) {
            return;
        }
    }
}

fn grow(_: usize) -> Ask {
    reconfig(&lines(&[(3, 'p'), (4, 'p')]), "", "", -1)
}

fn remove_leader(leader: usize) -> Ask {
    reconfig("", &(leader + 1).to_string(), "", -1)
}

fn replace(leader: usize) -> Ask {
    let stays = (leader + 1) % 3;
    reconfig("", "", &lines(&[(stays, 'p'), (3, 'p'), (4, 'p')]), -1)
}

#[test]
fn the_leader_dies_while_an_ensemble_grows() {
    die_everywhere(&[9], &grow, 2);
}

#[test]
fn the_leader_dies_while_it_is_removed() {
    die_everywhere(&[9], &remove_leader, 0);
}

#[test]
fn everybody_dies_while_the_leader_is_removed() {
    die_everywhere(&[0, 1, 2], &remove_leader, 0);
}

#[test]
fn everybody_dies_while_most_are_replaced() {
    die_everywhere(&[0, 1, 2, 3, 4], &replace, 2);
}

#[test]
fn who_joins_dies_while_most_are_replaced() {
    die_everywhere(&[3], &replace, 2);
    die_everywhere(&[9, 4], &replace, 2);
}
