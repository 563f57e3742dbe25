//! Names of children that are collected in pieces, while others come and go.

use std::collections::BTreeSet;

use super::super::*;
use crate::ids::ConnId;
use crate::prng::Prng;
use crate::proto::acl::{Acl, Id, RawAcls};
use crate::proto::jute::Reader;
use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

struct World {
    tree: DataTree,
    zxid: i64,
    prng: Prng,
}

impl World {
    fn new(seed: u64, children: u64) -> World {
        let (tree, prng) = (DataTree::new(seed), Prng::new(seed));
        let mut world = World { tree, zxid: 0, prng };
        world.create("/p");
        world.create("/other");
        for number in 0..children {
            world.create(&format!("/p/{number}"));
        }
        world
    }

    fn process(&mut self, txn: &Txn<'_>) {
        self.zxid += 1;
        let header = TxnHeader {
            client_id: SessionId(1),
            cxid: 0,
            zxid: Zxid(self.zxid),
            time: 0,
            code: txn.code(),
        };
        self.tree.process_txn(&header, txn, &mut ());
    }

    fn create(&mut self, path: &str) {
        self.process(&Txn::Create(CreateTxn {
            kind: CreateKind::Plain,
            path: path.into(),
            data: None,
            acl: RawAcls::from_list(&[open()]),
            ephemeral: false,
            parent_cversion: -1,
        }));
    }

    fn delete(&mut self, path: &str) {
        self.process(&Txn::Delete { path: path.into() });
    }

    /// Something happens, most of it among so many children.
    fn step(&mut self, children: u64) {
        let path = format!("/p/{}", self.prng.below(children));
        let other = format!("/other/{}", self.prng.below(20));
        match self.prng.below(20) {
            0..9 => self.delete(&path),
            9..16 => self.create(&path),
            16 => self.create(&other),
            17 => self.delete(&other),
            18 => self.tree.snapshot_end(),
            _ => {
                self.tree.snapshot_end();
                self.tree.snapshot_begin();
            }
        }
    }

    fn children(&self) -> Vec<String> {
        let parent = self.tree.lookup("/p").unwrap();
        let mut names: Vec<String> = parent.children().map(|child| child.name().into()).collect();
        names.sort_unstable();
        names
    }
}

fn open() -> Acl {
    let id = Id {
        scheme: "world".into(),
        id: "anyone".into(),
    };
    Acl { perms: 31, id }
}

fn decode(names: &[u8], count: usize) -> Vec<String> {
    let mut reader = Reader::new(names);
    let all = (0..count)
        .map(|_| reader.string().unwrap().into_owned())
        .collect();
    assert!(reader.is_empty());
    all
}

const CONN: ConnId = ConnId(7);

#[test]
fn a_list_shows_the_state_of_its_last_piece() {
    let mut sifted = 0;
    for seed in 0..400 {
        let mut world = World::new(seed, 40);
        assert!(world.tree.begin_listing(CONN, "/p"));
        let (mut names, mut count) = (Vec::new(), 0);
        let (young, gone) = loop {
            for _ in 0..world.prng.below(8) {
                world.step(50);
            }
            let count_max = 1 + world.prng.below(6) as usize;
            match world
                .tree
                .continue_listing(CONN, count_max, &mut names, &mut count)
            {
                Piece::More => {}
                Piece::All { young, gone } => break (young, gone),
                Piece::Over => panic!("the node is there"),
            }
        };
        let listed = decode(&names, count);
        let (old, young) = listed.split_at(count - young);
        let gone: BTreeSet<&str> = gone.iter().map(|name| &**name).collect();
        let mut shown: Vec<String> = old
            .iter()
            .filter(|name| !gone.contains(&***name))
            .chain(young)
            .cloned()
            .collect();
        shown.sort_unstable();
        assert_eq!(shown, world.children(), "seed {seed}");
        sifted += count - shown.len();
        assert_eq!(
            world.tree.continue_listing(CONN, 9, &mut names, &mut count),
            Piece::Over,
            "it has ended"
        );
    }
    assert!(sifted > 400, "{sifted} names had gone meanwhile");
}

#[test]
fn a_list_ends_with_its_node_though_another_one_takes_its_place() {
    let mut world = World::new(1, 3);
    assert!(world.tree.begin_listing(CONN, "/p"));
    let (mut names, mut count) = (Vec::new(), 0);
    let piece = world.tree.continue_listing(CONN, 1, &mut names, &mut count);
    assert_eq!(piece, Piece::More);
    for path in ["/p/0", "/p/1", "/p/2", "/p"] {
        world.delete(path);
    }
    for path in ["/p", "/p/3", "/p/4"] {
        world.create(path);
    }
    let piece = world.tree.continue_listing(CONN, 9, &mut names, &mut count);
    assert_eq!(piece, Piece::Over);
    assert!(!world.tree.begin_listing(CONN, "/none"));
}

#[test]
fn lists_of_several_readers_do_not_mix() {
    let mut world = World::new(1, 10);
    let (mut names, mut counts) = ([vec![], vec![]], [0, 0]);
    for conn in [0, 1] {
        assert!(world.tree.begin_listing(ConnId(conn as u64), "/p"));
        let piece = world
            .tree
            .continue_listing(ConnId(conn as u64), 4, &mut names[conn], &mut counts[conn]);
        assert_eq!(piece, Piece::More);
        world.delete(&format!("/p/{conn}"));
    }
    world.tree.end_listing(ConnId(0));
    let piece = world
        .tree
        .continue_listing(ConnId(0), 9, &mut names[0], &mut counts[0]);
    assert_eq!(piece, Piece::Over);
    let piece = world
        .tree
        .continue_listing(ConnId(1), 9, &mut names[1], &mut counts[1]);
    let gone = vec!["1".into()];
    assert_eq!(piece, Piece::All { young: 0, gone });
    assert_eq!(counts[1], 8);
}
