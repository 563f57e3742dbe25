//! A connection: what it looks at, when it stops to look, and when it ends.

use crate::ids::SessionId;
use crate::limits::{READS_PER_GUARD, UNSENT_BYTES_MAX, UNSENT_EVENT_BYTES_MAX};
use crate::proto::frame::FourLetterWord;
use crate::proto::jute::Put;
use crate::proto::opcode::OpCode;
use crate::replica::tests::harness::{Limits, World};
use crate::replica::tests::world::client::connect;
use crate::replica::tests::world::frames::*;

#[test]
fn a_word_is_recognised_however_its_bytes_arrive() {
    let mut world = World::new();
    let client = world.accept();
    for byte in b"sr" {
        world.receive(client, &[*byte]);
        assert_eq!(world.clients[client].conn.four_letter_word(), None);
    }
    world.receive(client, b"vr\nrest");
    let conn = &mut world.clients[client].conn;
    assert_eq!(conn.four_letter_word(), Some(FourLetterWord::Srvr));
    assert_eq!(conn.unread(), b"\nrest");
    conn.finish_with(b"the answer");
    assert!(conn.is_closing());
    world.advance(client);
    assert_eq!(world.clients[client].bytes, b"the answer");
    world.clients[client].bytes.clear();
}

#[test]
fn a_word_behind_the_connect_request_is_a_bad_length() {
    let mut world = World::new();
    let client = world.session(4000);
    world.receive(client, b"ruok");
    assert!(world.clients[client].is_closed && world.clients[client].bytes.is_empty());
}

#[test]
fn a_length_beyond_the_limit_closes_the_connection_and_keeps_earlier_replies() {
    let mut world = World::with(Limits {
        frame_bytes_max: 1000,
        ..Limits::default()
    });
    let client = world.session(4000);
    let mut bytes = world.clients[client].frame(&ping());
    bytes.put_int(1001);
    world.receive(client, &bytes);
    assert_eq!(world.lines(client), ["-2 @1"]);
    assert!(world.clients[client].is_closed);
}

#[test]
fn requests_arrive_byte_by_byte() {
    let mut world = World::new();
    let client = world.session(4000);
    let mut bytes = Vec::new();
    for ask in [create("/a", "1"), get("/a"), ping()] {
        bytes.extend(world.clients[client].frame(&ask));
    }
    for byte in bytes {
        world.receive(client, &[byte]);
        world.finish();
    }
    assert_eq!(world.lines(client), ["1 @2 /a", "2 @2 1 v0", "-2 @2"]);
}

#[test]
fn a_long_pipeline_gives_others_their_turn() {
    let mut world = World::new();
    let client = world.session(4000);
    let mut bytes = Vec::new();
    for _ in 0..READS_PER_GUARD + 1 {
        bytes.extend(world.clients[client].frame(&ping()));
    }
    world.clients[client]
        .conn
        .input_buffer()
        .extend_from_slice(&bytes);
    assert!(world.advance_once(client));
    assert_eq!(world.lines(client).len(), READS_PER_GUARD);
    assert!(!world.advance_once(client));
    assert_eq!(world.lines(client).len(), 1);
}

#[test]
fn large_replies_give_others_their_turn() {
    let mut world = World::new();
    let client = world.session(4000);
    world.ask(client, &[create("/big", &"x".repeat(200_000))]);
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend(world.clients[client].frame(&get("/big")));
    }
    world.clients[client]
        .conn
        .input_buffer()
        .extend_from_slice(&bytes);
    assert!(world.advance_once(client));
    assert_eq!(world.lines(client).len(), 2);
    world.advance(client);
    assert_eq!(world.lines(client).len(), 1);
}

#[test]
fn a_client_that_takes_no_replies_gets_no_more_of_them() {
    let mut world = World::new();
    let client = world.session(4000);
    let size = 1 << 20;
    world.ask(client, &[create("/big", &"x".repeat(size))]);
    world.clients[client].is_stuck = true;
    let asks = vec![get("/big"); 100];
    world.send(client, &asks);
    // Not even when it is woken for something else.
    for _ in 0..20 {
        world.advance_once(client);
    }
    let conn = &world.clients[client].conn;
    assert!(conn.is_backlogged() && !conn.wants_input(&world.shared));
    assert!(conn.output().len() < UNSENT_BYTES_MAX + 2 * size);
    // As the client takes them, the rest follows.
    world.clients[client].is_stuck = false;
    let mut replies = 0;
    while replies < 100 {
        world.advance(client);
        let count = world.lines(client).len();
        assert!(count > 0, "stopped after {replies}");
        replies += count;
    }
    assert!(world.clients[client].conn.wants_input(&world.shared));
}

#[test]
fn replies_that_are_taken_in_pieces_come_whole_and_in_order() {
    let mut world = World::new();
    let client = world.session(4000);
    world.ask(client, &[create("/a", &"x".repeat(100))]);
    world.clients[client].is_stuck = true;
    for round in 0..200 {
        world.send(client, &[get("/a")]);
        let client = &mut world.clients[client];
        let unsent = client.conn.output();
        let count = unsent.len().min(round * 7 % 400);
        client.bytes.extend_from_slice(&unsent[..count]);
        client.conn.sent(count);
    }
    assert!(!world.clients[client].conn.output().is_empty());
    world.clients[client].is_stuck = false;
    world.advance(client);
    let lines = world.lines(client);
    assert_eq!(lines.len(), 200);
    for (xid, line) in (2..).zip(&lines) {
        assert!(line.starts_with(&format!("{xid} @2 xxx")), "{line}");
    }
}

#[test]
fn a_client_that_takes_no_events_is_given_up() {
    let mut world = World::new();
    let (writer, client) = (world.session(4000), world.session(4000));
    let path = format!("/{}", "x".repeat(500_000));
    world.ask(client, &[watch_request(OpCode::AddWatch, "/", 1)]);
    world.ask(writer, &[create(&path, "")]);
    assert_eq!(world.lines(client).len(), 1);
    world.clients[client].is_stuck = true;
    let event_bytes = path.len() + 32;
    for _ in 0..UNSENT_EVENT_BYTES_MAX / event_bytes {
        world.ask(writer, &[set(&path, "", -1)]);
        world.advance_once(client);
    }
    let unsent = |world: &World| world.clients[client].conn.output().len();
    assert!(unsent(&world) > UNSENT_EVENT_BYTES_MAX - event_bytes);
    assert!(!world.clients[client].conn.is_closing());
    world.ask(writer, &[set(&path, "", -1)]);
    world.advance_once(client);
    assert_eq!(unsent(&world), 0);
    assert!(world.clients[client].conn.is_closing());
}

#[test]
fn a_full_pipeline_stops_those_who_have_a_part_in_it() {
    let mut world = World::with(Limits {
        outstanding_max: 3,
        ..Limits::default()
    });
    let (client, other) = (world.session(4000), world.session(4000));
    world.send(client, &vec![create_as("/n", "", 2); 10]);
    assert_eq!(world.outstanding(), 4, "one more than the limit");
    let wants = |world: &World, at: usize| world.clients[at].conn.wants_input(&world.shared);
    assert!(!wants(&world, client));
    // Whoever has nothing in it may go on.
    assert!(wants(&world, other));
    world.send(other, &[get("/"), create_as("/n", "", 2), ping()]);
    assert_eq!(world.outstanding(), 5);
    assert!(!wants(&world, other));
    world.core();
    world.durable(1);
    world.core();
    assert_eq!(world.lines(client).len(), 1);
    world.finish();
    assert_eq!((world.lines(client).len(), world.lines(other).len()), (9, 3));
    assert_eq!(world.outstanding(), 0);
    assert!(wants(&world, client) && wants(&world, other));
}

#[test]
fn sasl_without_a_mechanism_is_answered_with_a_null_token_in_its_turn() {
    let mut world = World::new();
    let client = world.session(4000);
    let token = |token: Option<&[u8]>| Ask::new(OpCode::Sasl, |out| out.put_buffer(token));
    world.send(client, &[create("/a", ""), token(Some(b"")), ping()]);
    world.core();
    assert_eq!(world.outstanding(), 1);
    world.finish();
    assert_eq!(world.lines(client), ["1 @2 /a", "2 @0 None", "-2 @2"]);
    world.send(client, &[token(None), ping()]);
    assert_eq!(world.lines(client), [""; 0]);
    assert!(world.clients[client].is_closed);
}

#[test]
fn credentials_that_cannot_be_decoded_close_the_connection_without_a_reply() {
    let mut world = World::new();
    let client = world.session(4000);
    world.send(client, &[Ask::new(OpCode::Auth, |out| out.put_int(0)), ping()]);
    assert_eq!(world.lines(client), [""; 0]);
    assert!(world.clients[client].is_closed);
}

#[test]
fn a_connection_does_not_read_while_it_waits_for_its_session_or_its_end() {
    let mut world = World::new();
    let client = world.accept();
    let wants = |world: &World| world.clients[client].conn.wants_input(&world.shared);
    assert!(wants(&world) && world.clients[client].conn.is_new());
    world.receive(client, &connect(0, 4000, SessionId(0), &[]));
    assert!(!wants(&world) && !world.clients[client].conn.is_new());
    world.finish();
    assert!(wants(&world));
    world.send(client, &[close()]);
    assert!(!wants(&world));
    world.finish();
    assert_eq!(world.lines(client), ["connected 4000", "1 @2"]);
}

#[test]
fn a_stalled_connection_does_not_gather_input_without_end() {
    let mut world = World::with(Limits {
        frame_bytes_max: 1000,
        ..Limits::default()
    });
    let client = world.session(4000);
    world.send(client, &[create("/a", ""), auth("digest", "a:b")]);
    world.send(client, &vec![ping(); 200]);
    assert!(!world.clients[client].conn.wants_input(&world.shared));
    world.finish();
    assert_eq!(world.lines(client).len(), 202);
    assert!(world.clients[client].conn.wants_input(&world.shared));
}
