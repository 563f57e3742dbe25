//! Replies come in the order of the requests, and show the states that they have to.

use super::harness::World;
use super::world::frames::*;
use crate::proto::opcode::OpCode;

#[test]
fn a_read_with_nothing_before_it_never_reaches_the_core() {
    let mut world = World::new();
    let client = world.session(4000);
    world.send(client, &[get("/zookeeper"), ping()]);
    assert!(world.inbox.is_empty());
    assert_eq!(world.lines(client), ["1 @1  v0", "-2 @1"]);
    assert_eq!(world.outstanding(), 0);
}

#[test]
fn a_read_between_two_writes_sees_the_first_and_not_the_second() {
    let mut world = World::new();
    let client = world.session(4000);
    world.send(
        client,
        &[
            create("/a", "1"),
            get("/a"),
            set("/a", "2", -1),
            get("/a"),
            ping(),
        ],
    );
    world.core();
    assert_eq!(world.lines(client), [""; 0]);
    assert_eq!(world.outstanding(), 5);
    world.durable(1);
    world.core();
    assert_eq!(world.lines(client), ["1 @2 /a", "2 @2 1 v0"]);
    world.finish();
    assert_eq!(world.lines(client), ["3 @3 v1", "4 @3 2 v1", "-2 @3"]);
}

#[test]
fn writes_that_become_durable_together_do_not_show_through_the_reads_between() {
    let mut world = World::new();
    let client = world.session(4000);
    let asks = [create("/a", "1"), get("/a"), set("/a", "2", -1), get("/a")];
    assert_eq!(
        world.ask(client, &asks),
        ["1 @2 /a", "2 @2 1 v0", "3 @3 v1", "4 @3 2 v1"]
    );
}

#[test]
fn nobody_sees_a_write_before_it_is_on_disk() {
    let mut world = World::new();
    let (writer, reader) = (world.session(4000), world.session(4000));
    world.send(writer, &[create("/a", "1")]);
    world.core();
    assert_eq!(world.ask_now(reader, &get("/a")), ["1 @2 error -101"]);
    world.durable(1);
    world.handle(usize::MAX);
    // The core has applied it, and the writer was not even told yet.
    assert_eq!(world.ask_now(reader, &get("/a")), ["2 @3 1 v0"]);
    world.wake();
    assert_eq!(world.lines(writer), ["1 @3 /a"]);
}

#[test]
fn refused_writes_keep_their_place_and_use_up_a_zxid() {
    let mut world = World::new();
    let client = world.session(4000);
    let asks = [
        create("/a", ""),
        create("/a", ""),
        delete("/missing", -1),
        undecodable(),
        set("/a", "x", 7),
        Ask::new(OpCode::Delete, |_| {}),
        delete("/a", 0),
    ];
    let expected = [
        "1 @2 /a",
        "2 @3 error -110",
        "3 @4 error -101",
        "4 @4 error -5",
        "5 @5 error -103",
        "6 @5 error -5",
        "7 @6",
    ];
    assert_eq!(world.ask(client, &asks), expected);
    // With nothing before it, it is answered at once.
    world.send(client, &[undecodable()]);
    world.handle(1);
    world.wake();
    assert_eq!(world.lines(client), ["8 @6 error -5"]);
}

#[test]
fn a_sync_waits_for_what_others_have_proposed_before_it() {
    let mut world = World::new();
    let (writer, reader) = (world.session(4000), world.session(4000));
    world.send(writer, &[create("/a", "1"), set("/a", "2", -1)]);
    world.core();
    world.send(reader, &[sync("/any"), get("/a")]);
    world.core();
    world.send(writer, &[set("/a", "3", -1)]);
    world.core();
    world.durable(1);
    world.core();
    assert_eq!(world.lines(reader), [""; 0]);
    world.durable(1);
    world.core();
    assert_eq!(world.lines(reader), ["1 @4 /any", "2 @4 2 v1"]);
    // The third write is still on its way, and a read does not wait for it.
    assert_eq!(world.ask_now(reader, &get("/a")), ["3 @4 2 v1"]);
    world.finish();
    assert_eq!(world.lines(writer), ["1 @3 /a", "2 @4 v1", "3 @5 v2"]);
}

#[test]
fn a_sync_with_nothing_outstanding_is_answered_at_once() {
    let mut world = World::new();
    let client = world.session(4000);
    world.send(
        client,
        &[sync("/"), sync("/missing"), Ask::new(OpCode::Sync, |_| {})],
    );
    world.handle(usize::MAX);
    world.wake();
    assert_eq!(world.lines(client), ["1 @1 /", "2 @1 /missing", "3 @1 error -5"]);
}

#[test]
fn syncs_behind_writes_of_their_own_session_keep_their_place() {
    let mut world = World::new();
    let (first, second) = (world.session(4000), world.session(4000));
    world.send(first, &[sync("/0"), create("/a", ""), sync("/1"), get("/a")]);
    world.send(second, &[create("/b", "")]);
    world.core();
    assert_eq!(world.lines(first), ["1 @2 /0"]);
    world.durable(1);
    world.core();
    assert_eq!(world.lines(first), ["2 @3 /a", "3 @3 /1", "4 @3  v0"]);
    world.finish();
    assert_eq!(world.lines(second), ["1 @4 /b"]);
}

#[test]
fn a_refused_operation_closes_the_connection_behind_the_earlier_replies() {
    for code in [-10, -1, 13, 20, 999, -11_000] {
        let mut world = World::new();
        let client = world.session(4000);
        let bad = Ask {
            code,
            body: Vec::new(),
        };
        world.send(client, &[create("/a", ""), bad, create("/b", "")]);
        world.core();
        assert_eq!(world.lines(client), [""; 0], "{code}");
        world.finish();
        assert_eq!(world.lines(client), ["1 @2 /a", "2 @-1 error -6"], "{code}");
        assert!(world.clients[client].is_closed);
        assert_eq!(world.last_zxid(), 2, "what stood behind it is not executed");
    }
}

#[test]
fn credentials_count_for_the_requests_behind_them_and_no_others() {
    let mut world = World::new();
    let client = world.session(4000);
    let own = [crate::proto::acl::Acl {
        perms: 31,
        id: crate::proto::acl::Id {
            scheme: "auth".into(),
            id: String::new(),
        },
    }];
    let asks = [
        create_for("/early", &own),
        auth("digest", "u:p"),
        create_for("/late", &own),
        get("/late"),
    ];
    world.send(client, &asks);
    world.core();
    assert_eq!(world.lines(client), [""; 0]);
    assert_eq!(world.outstanding(), 1, "the rest waits for the identity");
    world.finish();
    assert_eq!(
        world.lines(client),
        ["1 @2 error -114", "2 @0", "3 @3 /late", "4 @3  v0"]
    );
    let stranger = world.session(4000);
    assert_eq!(world.ask(stranger, &[get("/late")]), ["1 @4 error -102"]);
}

#[test]
fn a_failed_authentication_closes_the_connection_in_its_turn() {
    let mut world = World::new();
    let client = world.session(4000);
    world.send(client, &[create("/a", ""), auth("kerberos", "x"), ping()]);
    world.finish();
    assert_eq!(world.lines(client), ["1 @2 /a", "2 @0 error -115"]);
    assert!(world.clients[client].is_closed);
}

#[test]
fn the_end_of_a_session_is_answered_and_nothing_behind_it() {
    let mut world = World::new();
    let (client, other) = (world.session(4000), world.session(4000));
    world.send(
        client,
        &[create_as("/e", "", 1), close(), create("/b", ""), ping()],
    );
    world.core();
    assert!(!world.clients[client].is_closed);
    world.finish();
    assert_eq!(world.lines(client), ["1 @3 /e", "2 @4"]);
    assert!(world.clients[client].is_closed);
    assert_eq!(
        world.ask(other, &[get("/e"), get("/b")]),
        ["1 @4 error -101", "2 @4 error -101"]
    );
    let back = world.renewal(client, 4000);
    assert_eq!(world.lines(back), ["refused"]);
}

#[test]
fn a_multi_happens_at_once_or_not_at_all() {
    let mut world = World::new();
    let client = world.session(4000);
    let failing = [create("/a", ""), delete("/missing", -1), create("/b", "")];
    let working = [
        create("/a", "x"),
        set("/a", "y", 0),
        create("/a/b", ""),
        delete("/a/b", 0),
    ];
    let asks = [multi(&failing), get("/a"), multi(&working), get("/a"), multi(&[])];
    let expected = [
        "1 @2 [error 0, error -101, error -2]",
        "2 @2 error -101",
        "3 @3 [1 /a, 5 v1, 1 /a/b, 2]",
        "4 @3 y v1",
        "5 @4 []",
    ];
    assert_eq!(world.ask(client, &asks), expected);
}

#[test]
fn a_connection_that_ends_leaves_its_writes_and_nothing_else() {
    let mut world = World::new();
    let (client, other) = (world.session(4000), world.session(4000));
    world.send(
        client,
        &[
            create("/a", "1"),
            watch("/a"),
            sync("/"),
            set("/a", "2", -1),
            ping(),
        ],
    );
    world.core();
    assert_eq!(world.outstanding(), 5);
    world.hang_up(client);
    world.core();
    assert_eq!(world.outstanding(), 0);
    world.finish();
    assert_eq!(world.ask(other, &[get("/a")]), ["1 @4 2 v1"]);
    assert_eq!(world.shared.watches.count(), 0);
}

#[test]
fn a_connection_may_end_at_any_step_of_its_request() {
    for step in 0..4 {
        let mut world = World::new();
        let client = world.session(4000);
        world.send(client, &[create("/a", ""), undecodable(), sync("/"), get("/a")]);
        if step == 0 {
            world.hang_up(client);
        }
        world.handle(1);
        if step == 1 {
            world.hang_up(client);
        }
        world.core();
        world.durable(1);
        if step == 2 {
            world.hang_up(client);
        }
        world.handle(usize::MAX);
        world.hang_up(client);
        world.finish();
        assert_eq!((world.outstanding(), world.last_zxid()), (0, 2));
    }
}

impl World {
    /// A request that the connection answers by itself.
    fn ask_now(&mut self, at: usize, ask: &Ask) -> Vec<String> {
        let queued = self.inbox.len();
        self.send(at, std::slice::from_ref(ask));
        assert_eq!(self.inbox.len(), queued);
        self.lines(at)
    }
}
