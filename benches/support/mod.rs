//! What benches share: znodes and requests of the usual size, and a server without its threads, sockets,
//! clocks and disk.

#![allow(dead_code, reason = "several benches use parts of it")]

#[path = "../../tests/world/configs.rs"]
#[allow(missing_docs, reason = "tests do without")]
pub mod configs;
#[path = "../../tests/world/frames.rs"]
#[allow(missing_docs, clippy::unwrap_used, reason = "tests do without")]
pub mod frames;
pub mod no_disk;
pub mod server;

use zkserver::auth::OPEN_ACL;
use zkserver::ids::{SessionId, Zxid};
use zkserver::proto::acl::RawAcls;
use zkserver::proto::jute::{Put, Reader};
use zkserver::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};
use zkserver::tree::DataTree;

use frames::Ask;

/// Bytes of a znode's data.
pub const DATA_BYTES: usize = 100;
/// Requests that a client sends without waiting, so that one read of its socket brings all of them.
pub const IN_FLIGHT: usize = 16;

/// The data of a znode.
pub fn data() -> String {
    "x".repeat(DATA_BYTES)
}

/// The path of a child of `parent`.
pub fn child(parent: &str, number: usize) -> String {
    format!("{parent}/{number:07}")
}

/// The header of a transaction that a client has asked for.
pub fn header(zxid: Zxid, txn: &Txn<'_>) -> TxnHeader {
    TxnHeader {
        client_id: SessionId(0x0100_0000_0000_0001),
        cxid: 1,
        zxid,
        time: 1_700_000_000_000,
        code: txn.code(),
    }
}

/// A persistent znode that everybody may use comes to be.
pub fn create_txn<'a>(path: &'a str, data: &'a str) -> Txn<'a> {
    Txn::Create(CreateTxn {
        kind: CreateKind::Plain,
        path: path.into(),
        data: Some(data.as_bytes()),
        acl: RawAcls::decode(&mut Reader::new(OPEN_ACL)).expect("the list of an open node"),
        ephemeral: false,
        parent_cversion: -1,
    })
}

/// Applies transactions one behind the other, beginning behind what the tree shows.
pub fn apply<'a>(tree: &mut DataTree, txns: impl IntoIterator<Item = Txn<'a>>) {
    for txn in txns {
        let header = header(tree.last_processed_zxid().next(), &txn);
        tree.process_txn(&header, &txn, &mut ());
    }
}

/// A tree with so many children of `/zkload`.
pub fn tree_of(children: usize) -> DataTree {
    let mut tree = DataTree::new(1);
    add_parent(&mut tree, "/zkload", children);
    tree
}

/// Adds a parent with so many children.
pub fn add_parent(tree: &mut DataTree, parent: &str, children: usize) {
    let data = data();
    apply(tree, [create_txn(parent, &data)]);
    for number in 0..children {
        apply(tree, [create_txn(&child(parent, number), &data)]);
    }
}

/// The frames of requests as one read of a socket brings them. Xids count from 1.
pub fn frames_of(asks: &[Ask]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (xid, ask) in (1..).zip(asks) {
        bytes.put_count(8 + ask.body.len());
        bytes.put_int(xid);
        bytes.put_int(ask.code);
        bytes.extend_from_slice(&ask.body);
    }
    bytes
}
