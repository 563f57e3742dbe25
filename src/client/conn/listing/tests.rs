//! Long lists of children: they are one state, in their place among the replies, and never all at once.

use std::sync::atomic::Ordering::Relaxed;

use crate::ids::{SessionId, Zxid};
use crate::limits::LISTED_AT_ONCE_MAX;
use crate::proto::acl::{Acl, Id, RawAcls};
use crate::proto::jute::Put;
use crate::proto::opcode::OpCode;
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};
use crate::replica::tests::harness::{Limits, World};
use crate::replica::tests::world::frames::*;
use crate::tree::DataTree;

const CHILDREN: usize = 3 * LISTED_AT_ONCE_MAX + 100;

fn acl(scheme: &str, id: &str) -> Acl {
    let (scheme, id) = (scheme.into(), id.into());
    Acl {
        perms: 31,
        id: Id { scheme, id },
    }
}

fn tree() -> DataTree {
    let mut tree = DataTree::new(1);
    let paths = (0..CHILDREN).map(|number| format!("/p/{number:05}"));
    for (zxid, path) in (1..).zip(["/p".to_owned()].into_iter().chain(paths)) {
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Plain,
            path: path.into(),
            data: Some(b""),
            acl: RawAcls::from_list(&[acl("world", "anyone")]),
            ephemeral: false,
            parent_cversion: -1,
        });
        let header = TxnHeader {
            client_id: SessionId(1),
            cxid: 0,
            zxid: Zxid(zxid),
            time: 0,
            code: txn.code(),
        };
        tree.process_txn(&header, &txn, &mut ());
    }
    tree
}

fn world() -> World {
    World::on(tree(), Limits::default())
}

/// Bytes that arrive while nothing of the connection goes on.
fn queue(world: &mut World, at: usize, asks: &[Ask]) {
    for ask in asks {
        let frame = world.clients[at].frame(ask);
        world.clients[at].conn.input_buffer().extend(frame);
    }
}

fn names(without: &[usize], with: &[&str]) -> String {
    let mut names: Vec<String> = (0..CHILDREN)
        .filter(|number| !without.contains(number))
        .map(|number| format!("{number:05}"))
        .chain(with.iter().map(|&name| name.to_owned()))
        .collect();
    names.sort_unstable();
    format!("[{}]", names.join(" "))
}

#[test]
fn what_changes_meanwhile_is_in_the_reply_and_told_before_it() {
    for op in [OpCode::GetChildren, OpCode::GetChildren2] {
        let mut world = world();
        let (reader, writer) = (world.session(40_000), world.session(40_000));
        queue(
            &mut world,
            reader,
            &[
                read(OpCode::GetData, "/p/00007", true),
                read(op, "/p", true),
                get("/p/00009"),
                ping(),
            ],
        );
        assert!(world.advance_once(reader) && world.advance_once(reader));
        world.send(
            writer,
            &[
                delete("/p/00007", -1),
                create("/p/young", ""),
                create("/p/short", ""),
                delete("/p/short", -1),
                delete(&format!("/p/{:05}", CHILDREN - 1), -1),
                delete("/p/00008", -1),
                create("/p/00008", ""),
                set("/p", "x", -1),
            ],
        );
        world.finish();
        world.advance(reader);
        let zxid = world.last_zxid();
        let mut list = names(&[7, CHILDREN - 1], &["young"]);
        if op == OpCode::GetChildren2 {
            list += " v1";
        }
        let lines = world.lines(reader);
        let told = format!("@{} deleted /p/00007", zxid - 7);
        let expected = [
            format!("1 @{}  v0", zxid - 8),
            told,
            format!("2 @{zxid} {list}"),
            format!("3 @{zxid}  v0"),
            format!("-2 @{zxid}"),
        ];
        assert_eq!(lines.len(), expected.len());
        for (line, expected) in lines.iter().zip(&expected) {
            assert!(line == expected, "{} instead of {}", cut(line), cut(expected));
        }
        // The watch was set with the last piece.
        world.ask(writer, &[create("/p/later", "")]);
        assert_eq!(world.lines(reader), [format!("@{} children /p", zxid + 1)]);
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[test]
fn it_waits_for_the_writes_in_front_of_it() {
    let mut world = world();
    let client = world.session(40_000);
    world.send(
        client,
        &[
            create("/p/new", ""),
            read(OpCode::GetChildren, "/p", false),
            ping(),
        ],
    );
    world.core();
    assert_eq!(world.outstanding(), 1, "the core lists nothing that is long");
    world.finish();
    world.advance(client);
    let lines = world.lines(client);
    let zxid = world.last_zxid();
    assert!(lines[1] == format!("2 @{zxid} {}", names(&[], &["new"])));
    assert_eq!(lines[2], format!("-2 @{zxid}"));
}

#[test]
fn it_ends_with_the_permission_the_node_or_the_connection() {
    let secret = acl("digest", "nobody:x");
    let mut world = world();
    let (reader, writer) = (world.session(40_000), world.session(40_000));
    queue(&mut world, reader, &[read(OpCode::GetChildren, "/p", false)]);
    assert!(world.advance_once(reader));
    let body = Ask::new(OpCode::SetAcl, |out| {
        out.put_string("/p");
        out.extend_from_slice(RawAcls::from_list(&[secret]).bytes());
        out.put_int(-1);
    });
    world.ask(writer, &[body]);
    world.advance(reader);
    let zxid = world.last_zxid();
    assert_eq!(world.lines(reader), [format!("1 @{zxid} error -102")]);
    let mut world = self::world();
    let reader = world.session(40_000);
    queue(&mut world, reader, &[read(OpCode::GetChildren, "/p", false)]);
    assert!(world.advance_once(reader));
    let shared = std::sync::Arc::clone(&world.shared);
    world.clients[reader].conn.hang_up(&shared);
    let (mut out, mut count) = (Vec::new(), 0);
    let conn = world.clients[reader].conn.shared().id;
    let piece = shared.tree.read().continue_listing(conn, 1, &mut out, &mut count);
    assert_eq!(
        piece,
        crate::tree::Piece::Over,
        "nothing is noted for it any more"
    );
}

#[test]
fn replies_that_clients_may_not_take_are_counted() {
    let mut world = world();
    world.shared.large_reply_bytes.store(1000, Relaxed);
    let large = |world: &World| {
        let mut all = Vec::new();
        let sets = &world.shared.metrics.large_replies;
        sets.each(&mut |op, count| all.push(format!("{op} {}", count.value())));
        all.join(", ")
    };
    let client = world.session(40_000);
    world.ask(client, &[get("/p"), read(OpCode::GetChildren, "/p", false)]);
    world.advance(client);
    assert_eq!(large(&world), "GetChildren 1");
    world.ask(client, &[create("/big", &"x".repeat(2000)), get("/big")]);
    assert_eq!(large(&world), "GetChildren 1, GetData 1", "by the core");
    world.ask(client, &[get("/big")]);
    assert_eq!(large(&world), "GetChildren 1, GetData 2");
}
