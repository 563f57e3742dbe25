//! Writes that a member refuses by what it knows itself.

use super::setup::Setup;
use super::world::Ensemble;
use crate::proto::acl::{Acl, Id, perms};
use crate::replica::tests::world::frames::*;

fn acl(scheme: &str, id: &str, perms: i32) -> Acl {
    Acl {
        perms,
        id: Id {
            scheme: scheme.into(),
            id: id.into(),
        },
    }
}

#[test]
fn what_the_own_state_refuses_costs_no_transaction() {
    let mut world = Ensemble::elected(Setup {
        voters: 3,
        observers: 1,
        checks_acls_early: true,
        ..Setup::default()
    });
    let maker = world.session(0, 10_000);
    world.ask(
        maker,
        &[create_for("/closed", &[acl("world", "anyone", perms::READ)])],
    );
    world.pass(10);
    for at in 0..4 {
        let client = world.session(at, 10_000);
        world.pass(10);
        let before = world.history.last();
        for refused in [
            create("/closed/a", ""),
            set("/closed", "", -1),
            delete("/closed/a", -1),
        ] {
            let lines = world.ask(client, &[refused]);
            assert!(lines[0].ends_with(" @0 error -102"), "{at}: {lines:?}");
        }
        let lines = world.ask(client, &[create_for("/x", &[acl("nobody", "x", 31)])]);
        assert!(lines[0].ends_with(" @0 error -114"), "{at}: {lines:?}");
        assert_eq!(world.history.last(), before);
        // What it does not know, it leaves to the leader; so it does behind a write that may change it.
        for allowed in [create("/none/a", ""), create("no path", ""), set("/none", "", -1)] {
            let lines = world.ask(client, &[allowed]);
            assert!(!lines[0].contains("@0 "), "{at}: {lines:?}");
        }
        let lines = world.ask(
            client,
            &[create("/n", ""), set("/closed", "", -1), delete("/n", -1)],
        );
        assert!(
            lines[1].contains("error -102") && !lines[1].contains("@0 "),
            "{lines:?}"
        );
    }
}

#[test]
fn without_it_the_leader_refuses() {
    let mut world = Ensemble::of(3, 0);
    let client = world.session(world.followers()[0], 10_000);
    world.ask(
        client,
        &[create_for("/closed", &[acl("world", "anyone", perms::READ)])],
    );
    let before = world.history.last();
    let lines = world.ask(client, &[set("/closed", "", -1)]);
    assert_eq!(lines, ["2 @1.3 error -102"]);
    assert_ne!(world.history.last(), before);
}
