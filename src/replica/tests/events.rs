//! Watch events: before any reply that shows the change, and only to those who may read the node.

use super::harness::World;
use super::world::frames::*;
use crate::proto::acl::{Acl, Id, perms};
use crate::proto::jute::Put;
use crate::proto::opcode::OpCode;

/// A persistent watch, or a recursive one.
fn add_watch(path: &str, mode: i32) -> Ask {
    watch_request(OpCode::AddWatch, path, mode)
}

#[test]
fn an_event_comes_before_a_reply_that_shows_the_change() {
    let mut world = World::new();
    let (writer, reader) = (world.session(4000), world.session(4000));
    assert_eq!(world.ask(writer, &[create("/a", "1")]), ["1 @3 /a"]);
    assert_eq!(world.ask(reader, &[watch("/a")]), ["1 @3 1 v0"]);
    world.send(writer, &[set("/a", "2", -1)]);
    world.core();
    world.send(reader, &[get("/a")]);
    world.durable(1);
    world.handle(usize::MAX);
    // The reader has not been woken: the request finds the event by itself.
    world.send(reader, &[get("/a")]);
    assert_eq!(world.lines(reader), ["2 @3 1 v0", "@4 changed /a", "3 @4 2 v1"]);
}

#[test]
fn a_writer_gets_its_own_event_before_its_reply() {
    let mut world = World::new();
    let client = world.session(4000);
    let asks = [
        create("/a", ""),
        watch("/a"),
        read(OpCode::GetChildren, "/a", true),
        read(OpCode::Exists, "/b", true),
        set("/a", "", -1),
        create("/a/c", ""),
        create("/b", ""),
    ];
    let expected = [
        "1 @2 /a",
        "2 @2  v0",
        "3 @2 []",
        "4 @2 error -101",
        "@3 changed /a",
        "5 @3 v1",
        "@4 children /a",
        "6 @4 /a/c",
        "@5 created /b",
        "7 @5 /b",
    ];
    assert_eq!(world.ask(client, &asks), expected);
    assert_eq!(world.shared.watches.count(), 0, "each is for one event");
}

#[test]
fn a_watch_left_by_a_read_behind_a_write_is_registered_with_the_state_that_was_read() {
    let mut world = World::new();
    let (client, other) = (world.session(4000), world.session(4000));
    world.send(client, &[create("/a", "1"), watch("/a")]);
    world.send(other, &[set("/a", "2", -1), set("/a", "3", -1)]);
    world.finish();
    assert_eq!(world.lines(client), ["1 @3 /a", "2 @3 1 v0", "@4 changed /a"]);
}

#[test]
fn events_of_a_multi_come_in_the_order_of_its_operations() {
    let mut world = World::new();
    let client = world.session(4000);
    world.ask(client, &[create("/a", ""), create("/b", "")]);
    let watches = [
        watch("/b"),
        watch("/a"),
        read(OpCode::Exists, "/c", true),
        read(OpCode::GetChildren, "/", true),
    ];
    world.ask(client, &watches);
    let failing = [set("/a", "x", -1), delete("/c", -1)];
    assert_eq!(
        world.ask(client, &[multi(&failing)]),
        ["7 @4 [error 0, error -101]"]
    );
    let working = [set("/a", "x", -1), delete("/b", -1), create("/c", "")];
    let expected = [
        "@5 changed /a",
        "@5 deleted /b",
        "@5 children /",
        "@5 created /c",
        "8 @5 [5 v1, 2, 1 /c]",
    ];
    assert_eq!(world.ask(client, &[multi(&working)]), expected);
}

#[test]
fn cve_2024_23944_who_may_not_read_a_node_is_told_nothing_about_it() {
    let mut world = World::new();
    let (owner, stranger) = (world.session(4000), world.session(4000));
    let own = |perms| Acl {
        perms,
        id: Id {
            scheme: "auth".into(),
            id: String::new(),
        },
    };
    world.ask(owner, &[auth("digest", "o:p")]);
    let exists = read(OpCode::Exists, "/a", true);
    for at in [owner, stranger] {
        world.ask(at, std::slice::from_ref(&exists));
    }
    let acl = [own(perms::ALL), Acl::world(perms::WRITE)];
    assert_eq!(
        world.ask(owner, &[create_for("/a", &acl)]),
        ["@3 created /a", "3 @3 /a"]
    );
    assert_eq!(world.lines(stranger), [""; 0]);
    // The watch is used up all the same.
    assert_eq!(world.shared.watches.count(), 0);
    // Identities count as they are when the change happens.
    world.ask(owner, &[delete("/a", -1)]);
    for at in [owner, stranger] {
        world.ask(at, std::slice::from_ref(&exists));
    }
    world.ask(stranger, &[auth("digest", "o:p")]);
    world.ask(owner, &[create_for("/a", &acl)]);
    assert_eq!(world.lines(stranger), ["@5 created /a"]);
}

#[test]
fn persistent_watches_see_what_comes_and_goes_in_one_transaction() {
    let mut world = World::new();
    let (writer, persistent, recursive) = (world.session(4000), world.session(4000), world.session(4000));
    assert_eq!(world.ask(persistent, &[add_watch("/a", 0)]), ["1 @3"]);
    assert_eq!(world.ask(recursive, &[add_watch("/", 1)]), ["1 @3"]);
    let ops = [
        create("/a", ""),
        create("/a/b", ""),
        set("/a/b", "x", -1),
        delete("/a/b", -1),
        delete("/a", -1),
        create("/a", ""),
    ];
    world.ask(writer, &[multi(&ops)]);
    let expected = [
        "@4 created /a",
        "@4 children /a",
        "@4 children /a",
        "@4 deleted /a",
        "@4 created /a",
    ];
    assert_eq!(world.lines(persistent), expected);
    let expected = [
        "@4 created /a",
        "@4 created /a/b",
        "@4 changed /a/b",
        "@4 deleted /a/b",
        "@4 deleted /a",
        "@4 created /a",
    ];
    assert_eq!(world.lines(recursive), expected);
    // Both on one connection: each change is told once.
    world.ask(recursive, &[add_watch("/a", 0)]);
    world.ask(writer, &[create("/a/b", "")]);
    assert_eq!(world.lines(persistent), ["@5 children /a"]);
    assert_eq!(world.lines(recursive), ["@5 created /a/b", "@5 children /a"]);
}

#[test]
fn cve_2024_23944_a_recursive_watch_shows_only_what_its_client_may_read() {
    let mut world = World::new();
    let (owner, stranger) = (world.session(4000), world.session(4000));
    world.ask(owner, &[auth("digest", "o:p"), create("/open", "")]);
    let own = Acl {
        perms: perms::ALL,
        id: Id {
            scheme: "auth".into(),
            id: String::new(),
        },
    };
    for at in [owner, stranger] {
        world.ask(at, &[add_watch("/", 1), add_watch("/open/secret", 0)]);
    }
    let asks = [
        create_for("/open/secret", &[own]),
        create("/open/secret/in", ""),
        set("/open/secret", "", -1),
        delete("/open/secret/in", -1),
        delete("/open/secret", -1),
        set("/open", "", -1),
    ];
    world.ask(owner, &asks);
    // What is below may be seen by all, and is.
    let expected = [
        "@5 created /open/secret/in",
        "@7 deleted /open/secret/in",
        "@9 changed /open",
    ];
    assert_eq!(world.lines(stranger), expected);
}

#[test]
fn watches_go_with_their_connection() {
    let mut world = World::new();
    let (writer, client) = (world.session(4000), world.session(4000));
    world.ask(writer, &[create("/a", "")]);
    world.ask(client, &[watch("/a")]);
    let again = world.renewal(client, 4000);
    world.lines(again);
    assert_eq!(world.shared.watches.count(), 0);
    assert_eq!(world.ask(writer, &[set("/a", "", -1)]), ["2 @4 v1"]);
    assert_eq!(world.lines(again), [""; 0]);
    // It asks for them again, and hears of what it has missed.
    let rewatch = Ask::new(OpCode::SetWatches, |out| {
        out.put_long(3);
        out.put_count(1);
        out.put_string("/a");
        out.put_count(1);
        out.put_string("/b");
        out.put_count(0);
    });
    assert_eq!(world.ask(again, &[rewatch]), ["@-1 changed /a", "1 @4"]);
    assert_eq!(world.shared.watches.count(), 1);
}

#[test]
fn persistent_watches_are_asked_for_again_on_a_new_connection() {
    let mut world = World::new();
    let (writer, client) = (world.session(4000), world.session(4000));
    world.ask(client, &[add_watch("/a", 0), add_watch("/", 1)]);
    assert_eq!(world.shared.watches.count(), 3);
    let again = world.renewal(client, 4000);
    world.lines(again);
    assert_eq!(world.shared.watches.count(), 0);
    world.ask(writer, &[create("/a", "")]);
    let rewatch = Ask::new(OpCode::SetWatches2, |out| {
        out.put_long(2);
        (0..3).for_each(|_| out.put_count(0));
        for path in ["/a", "/"] {
            out.put_count(1);
            out.put_string(path);
        }
    });
    assert_eq!(
        world.ask(again, &[rewatch]),
        ["1 @3"],
        "what was missed is not told"
    );
    world.ask(writer, &[create("/a/b", "")]);
    assert_eq!(world.lines(again), ["@4 created /a/b", "@4 children /a"]);
}

#[test]
fn the_end_of_a_session_is_an_event_for_those_who_watch_its_ephemerals() {
    let mut world = World::new();
    let (client, other) = (world.session(4000), world.session(40_000));
    world.ask(client, &[create_as("/e", "", 1)]);
    world.ask(other, &[watch("/e"), read(OpCode::GetChildren, "/", true)]);
    world.ask(client, &[watch("/e")]);
    assert_eq!(world.ask(client, &[close()]), ["@4 deleted /e", "3 @4"]);
    assert_eq!(world.lines(other), ["@4 deleted /e", "@4 children /"]);
}
