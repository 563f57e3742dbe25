//! Opening, renewing, expiring and losing sessions.

use super::harness::{Limits, START, TICK, World};
use super::world::client::connect;
use super::world::frames::*;
use crate::clock::Millis;
use crate::ids::{SessionId, Zxid};
use crate::proto::jute::Put;
use crate::proto::opcode::OpCode;
use crate::proto::txn::{self, Txn, TxnHeader};
use crate::replica::Outputs;
use crate::session::password::password;
use crate::tree::DataTree;
use crate::zab::LogEntry;

#[test]
fn a_session_is_open_once_its_transaction_is_on_disk() {
    let mut world = World::new();
    let client = world.accept();
    world.receive(client, &connect(0, 10_000, SessionId(0), b"any password"));
    world.core();
    assert_eq!((world.lines(client), world.outstanding()), (vec![], 1));
    world.finish();
    let bytes = world.clients[client].bytes.clone();
    assert_eq!(world.lines(client), ["connected 10000"]);
    let id = world.clients[client].session;
    assert_eq!(id.0 >> 56, 1);
    let expected = [
        &[0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0x27, 0x10][..],
        &id.0.to_be_bytes(),
        &[0, 0, 0, 16],
        &password(id),
        &[0],
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!((world.last_zxid(), world.outstanding()), (1, 0));
    assert_eq!(world.shared.tree.read().sessions()[&id], 10_000);
}

#[test]
fn the_read_only_byte_is_answered_to_those_who_sent_it() {
    let mut world = World::new();
    let client = world.accept();
    let mut request = connect(0, 10_000, SessionId(0), &[0; 16]);
    request.pop();
    request[3] = 44;
    world.receive(client, &request);
    world.finish();
    assert_eq!(world.clients[client].bytes.len(), 4 + 36);
    assert_eq!(world.lines(client), ["connected 10000"]);
    let client = world.accept();
    let mut request = connect(0, 10_000, SessionId(1), &[0; 16]);
    request.pop();
    request[3] = 44;
    world.receive(client, &request);
    world.finish();
    assert_eq!(world.clients[client].bytes.len(), 4 + 36);
    assert_eq!(world.lines(client), ["refused"]);
}

#[test]
fn timeouts_are_kept_within_the_servers_limits() {
    for (asked, given) in [
        (-1, 4000),
        (0, 4000),
        (4001, 4001),
        (40_000, 40_000),
        (i32::MAX, 40_000),
    ] {
        let mut world = World::new();
        let client = world.accept();
        world.receive(client, &connect(0, asked, SessionId(0), &[]));
        world.finish();
        assert_eq!(world.lines(client), [format!("connected {given}")]);
        let id = world.clients[client].session;
        assert_eq!(world.shared.sessions.lock().timeout(id), Some(given));
        let again = world.renewal(client, asked);
        assert_eq!(world.lines(again), [format!("connected {given}")]);
    }
}

#[test]
fn a_client_that_has_seen_more_than_this_server_is_sent_away() {
    let mut world = World::new();
    let client = world.session(4000);
    let ahead = world.accept();
    world.receive(ahead, &connect(2, 4000, SessionId(0), &[]));
    assert!(world.clients[ahead].is_closed);
    assert_eq!((world.lines(ahead), world.inbox.len()), (vec![], 1));
    let level = world.accept();
    world.receive(level, &connect(1, 4000, SessionId(0), &[]));
    world.finish();
    assert_eq!(world.lines(level), ["connected 4000"]);
    assert_eq!(world.ask(client, &[ping()]), ["-2 @2"]);
}

#[test]
fn nobody_is_served_while_the_server_does_not_serve() {
    let mut world = World::new();
    world
        .shared
        .is_serving
        .store(false, std::sync::atomic::Ordering::Relaxed);
    let client = world.accept();
    world.receive(client, &connect(0, 4000, SessionId(0), &[]));
    assert!(world.clients[client].is_closed && world.clients[client].bytes.is_empty());
}

#[test]
fn a_first_frame_that_is_no_connect_request_gets_no_answer() {
    let mut world = World::new();
    let client = world.accept();
    world.receive(client, b"\0\0\0\x08\0\0\0\x01\0\0\0\x0b");
    assert!(world.clients[client].is_closed && world.clients[client].bytes.is_empty());
}

#[test]
fn a_session_that_cannot_be_renewed_is_refused_and_nobody_elses_business() {
    let mut world = World::new();
    let victim = world.session(4000);
    let id = world.clients[victim].session;
    let wrong = [
        (id, vec![0; 16]),
        (id, Vec::new()),
        (id, password(id)[..15].to_vec()),
        (SessionId(id.0 + 1), password(SessionId(id.0 + 1)).to_vec()),
    ];
    for (id, passwd) in wrong {
        let client = world.accept();
        world.receive(client, &connect(0, 40_000, id, &passwd));
        // What comes behind it is not looked at, and what goes wrong with it harms nobody.
        world.clients[client]
            .conn
            .input_buffer()
            .extend_from_slice(&[0; 100]);
        world.finish();
        assert_eq!(world.lines(client), ["refused"]);
        assert!(world.clients[client].is_closed);
        assert_eq!(world.outstanding(), 0);
    }
    assert_eq!(world.shared.sessions.lock().timeout(id), Some(4000));
    assert_eq!(world.ask(victim, &[create("/a", "")]), ["1 @2 /a"]);
}

#[test]
fn a_renewed_session_goes_on_and_its_old_connection_is_closed() {
    let mut world = World::new();
    let old = world.session(4000);
    world.ask(old, &[create_as("/e", "1", 1), watch("/e")]);
    world.send(old, &[set("/e", "2", -1), sync("/"), get("/e")]);
    world.core();
    let new = world.renewal(old, 8000);
    assert_eq!(world.lines(new), ["connected 8000"]);
    assert!(world.clients[old].is_closed);
    assert_eq!(world.clients[new].session, world.clients[old].session);
    // The old connection's write was under way; its outcome is nobody's reply.
    assert_eq!(
        world.ask(new, &[get("/e"), create("/a", "")]),
        ["1 @3 2 v1", "2 @4 /a"]
    );
    assert_eq!(world.outstanding(), 0);
    world.pass_to(START + 7000);
    assert_eq!(world.ask(new, &[ping()]), ["-2 @4"]);
    // That the old connection ends later changes nothing for the new one.
    world.pass_to(START + 14_000);
    assert_eq!(world.ask(new, &[get("/e")]), ["4 @4 2 v1"]);
}

#[test]
fn requests_of_a_connection_that_lost_its_session_are_dropped() {
    let mut world = World::new();
    let old = world.session(4000);
    let passwd = world.clients[old].passwd.clone();
    let id = world.clients[old].session;
    let new = world.accept();
    world.receive(new, &connect(0, 4000, id, &passwd));
    world.send(old, &[create("/a", "")]);
    world.finish();
    assert_eq!(
        (world.lines(new), world.lines(old)),
        (vec!["connected 4000".into()], vec![])
    );
    assert_eq!((world.outstanding(), world.last_zxid()), (0, 1));
}

#[test]
fn requests_pipelined_behind_the_connect_request_wait_for_the_session() {
    let mut world = World::new();
    let client = world.accept();
    let mut bytes = connect(0, 4000, SessionId(0), &[]);
    for ask in [create_as("/e", "", 1), ping(), get("/e")] {
        bytes.extend(world.clients[client].frame(&ask));
    }
    // In two pieces, cut within a later frame.
    let (head, tail) = bytes.split_at(60);
    world.receive(client, head);
    assert!(!world.clients[client].conn.wants_input(&world.shared));
    world.receive(client, tail);
    assert_eq!((world.inbox.len(), world.outstanding()), (1, 1));
    world.finish();
    assert_eq!(
        world.lines(client),
        ["connected 4000", "1 @2 /e", "-2 @2", "3 @2  v0"]
    );
}

#[test]
fn a_silent_session_expires_between_its_timeout_and_a_tick_later() {
    for touched_at in [0, 1, 700, 1999, 2000, 3999] {
        for ask in [ping(), get("/e")] {
            let mut world = World::new();
            let (client, other) = (world.session(4000), world.session(40_000));
            world.ask(client, &[create_as("/e", "", 1), watch("/e")]);
            world.pass_to(START + touched_at);
            // An answer that nobody but the connection knows of.
            world.send(client, &[ask]);
            assert!(world.inbox.is_empty());
            world.pass_to(START + touched_at + 3999);
            assert!(!world.clients[client].is_closed, "{touched_at}: too early");
            world.pass_to(START + touched_at + 4000 + TICK);
            assert!(world.clients[client].is_closed, "{touched_at}: too late");
            let lines = world.lines(client);
            assert_eq!(lines.last().unwrap(), "@4 deleted /e");
            assert_eq!(world.ask(other, &[get("/e")]), ["1 @4 error -101"]);
            let back = world.renewal(client, 4000);
            assert_eq!(world.lines(back), ["refused"]);
        }
    }
}

#[test]
fn credentials_do_not_keep_a_session_alive() {
    let mut world = World::new();
    let client = world.session(4000);
    world.pass_to(START + 3000);
    assert_eq!(world.ask(client, &[auth("digest", "a:b")]), ["1 @0"]);
    world.pass_to(START + 4000 + TICK);
    assert!(world.clients[client].is_closed);
}

#[test]
fn a_session_without_a_connection_expires_after_its_last_request() {
    let mut world = World::new();
    let (client, other) = (world.session(4000), world.session(40_000));
    world.ask(client, &[create_as("/e", "", 1)]);
    world.pass_to(START + 3500);
    world.send(client, &[ping()]);
    world.lines(client);
    world.hang_up(client);
    world.pass_to(START + 7499);
    assert_eq!(world.ask(other, &[get("/e")]), ["1 @3  v0"]);
    world.pass_to(START + 7500 + TICK);
    assert_eq!(world.ask(other, &[get("/e")]), ["2 @4 error -101"]);
}

#[test]
fn a_renewal_may_shorten_or_lengthen_the_timeout_from_then_on() {
    for (before, after) in [(40_000, 4000), (4000, 40_000), (40_000, 10_000)] {
        let mut world = World::new();
        let old = world.session(before);
        world.pass_to(START + 1500);
        let new = world.renewal(old, after);
        assert_eq!(world.lines(new), [format!("connected {after}")]);
        world.pass_to(START + 1500 + after as u64 - 1);
        assert!(!world.clients[new].is_closed, "{before} to {after}: too early");
        world.pass_to(START + 1500 + after as u64 + TICK);
        assert!(world.clients[new].is_closed, "{before} to {after}: too late");
    }
}

#[test]
fn writes_behind_the_proposed_end_of_their_session_do_nothing() {
    let mut world = World::new();
    let (client, other) = (world.session(4000), world.session(40_000));
    world.ask(client, &[create_as("/e", "", 1)]);
    world.now = super::world::configs::now(START + 6000);
    world.inbox.push_back(crate::replica::Input::Tick);
    world.core();
    assert_eq!(world.log.len(), 1);
    // The connection is still open: its end is not on disk yet.
    let asks = [create_as("/f", "", 1), create("/g", ""), close(), ping()];
    world.send(client, &asks);
    world.finish();
    assert_eq!(world.lines(client), [""; 0]);
    assert!(world.clients[client].is_closed);
    let children = read(OpCode::GetChildren, "/", false);
    assert_eq!(world.ask(other, &[children]), ["1 @7 [zookeeper]"]);
    assert_eq!(world.outstanding(), 0);
}

#[test]
fn a_connection_that_ends_before_its_session_is_open_leaves_one_that_expires() {
    let mut world = World::new();
    let client = world.accept();
    world.receive(client, &connect(0, 4000, SessionId(0), &[]));
    world.core();
    world.hang_up(client);
    world.finish();
    assert_eq!((world.shared.sessions.lock().len(), world.outstanding()), (1, 0));
    world.pass_to(START + 4000 + TICK);
    assert!(world.shared.sessions.lock().is_empty());
    assert_eq!(world.last_zxid(), 2);
}

#[test]
fn sessions_found_on_disk_start_a_fresh_timeout_and_orphans_end() {
    let mut tree = DataTree::new(1);
    let known = SessionId(0x0100_0000_0000_0007);
    let header = |zxid, session, code| TxnHeader {
        client_id: session,
        cxid: 0,
        zxid: Zxid(zxid),
        time: 1,
        code,
    };
    tree.process_txn(
        &header(1, known, -10),
        &Txn::CreateSession { timeout_ms: 4000 },
        &mut (),
    );
    for (zxid, path, session) in [(2, "/known", known), (3, "/orphan", SessionId(77))] {
        let create = create_txn(path);
        tree.process_txn(&header(zxid, session, 1), &create, &mut ());
    }
    let mut world = World::on(tree, Limits::default());
    let mut outputs = crate::replica::Outputs::default();
    world.replica.start(world.now, &mut outputs);
    world.execute(outputs);
    world.finish();
    let other = world.session(40_000);
    let list = read(OpCode::GetChildren, "/", false);
    assert_eq!(
        world.ask(other, std::slice::from_ref(&list)),
        ["1 @5 [known zookeeper]"]
    );
    assert_eq!(world.replica.next_deadline(), Some(Millis(START + 6000)));
    let back = world.accept();
    world.receive(back, &connect(3, 4000, known, &password(known)));
    world.finish();
    assert_eq!(world.lines(back), ["connected 4000"]);
    world.pass_to(START + 6000);
    assert_eq!(world.ask(other, &[list]), ["2 @6 [zookeeper]"]);
}

fn create_txn(path: &str) -> Txn<'_> {
    Txn::Create(crate::proto::txn::CreateTxn {
        kind: crate::proto::txn::CreateKind::Plain,
        path: path.into(),
        data: None,
        acl: crate::proto::acl::RawAcls::from_list(&[crate::proto::acl::Acl::world(31)]),
        ephemeral: true,
        parent_cversion: 1,
    })
}

#[test]
fn a_request_that_cannot_be_a_connect_request_is_not_remembered() {
    let mut world = World::new();
    let client = world.accept();
    let mut frame = Vec::new();
    frame.put_buffer(Some(&[0; 27]));
    world.receive(client, &frame);
    assert!(world.clients[client].is_closed);
    assert_eq!(world.outstanding(), 0);
}

#[test]
fn who_hears_that_the_session_has_moved_is_closed_behind_it_at_once() {
    let mut world = World::new();
    let client = world.session(10_000);
    world.send(client, &[set("/a", "here", -1)]);
    world.core();
    // In its place comes what the leader makes of it, as on a learner.
    world.log.clear();
    let header = TxnHeader {
        client_id: world.clients[client].session,
        cxid: 1,
        zxid: Zxid(2),
        time: world.now.wall_ms,
        code: -1,
    };
    let mut encoded = Vec::new();
    txn::encode(&header, &Txn::Error(-118), None, &mut encoded);
    let entry = LogEntry {
        zxid: header.zxid,
        encoded: encoded.into(),
    };
    let mut outputs = Outputs::default();
    world
        .replica
        .apply_committed(world.now, vec![entry], &mut outputs);
    world.execute(outputs);
    world.wake();
    assert_eq!(world.lines(client), ["1 @2 error -118"]);
    assert!(world.clients[client].is_closed);
}

#[test]
fn a_process_that_stood_still_takes_in_what_it_missed_before_it_expires_sessions() {
    let mut world = World::new();
    let (client, silent) = (world.session(4000), world.session(4000));
    world.now = super::world::configs::now(START + 20_000);
    world.inbox.push_back(crate::replica::Input::Tick);
    world.core();
    assert_eq!(world.log.len(), 0, "nobody expires yet");
    world.send(client, &[ping()]);
    world.pass_to(START + 20_999);
    assert_eq!(world.shared.sessions.lock().len(), 2);
    world.pass_to(START + 21_000);
    assert!(!world.clients[client].is_closed && world.clients[silent].is_closed);
    world.lines(client);
}
