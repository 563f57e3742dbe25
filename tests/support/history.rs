//! A history of transactions with the state after each, and a data directory to keep it in.

use std::path::{Path, PathBuf};

use zkserver::ids::{SessionId, Zxid};
use zkserver::prng::Prng;
use zkserver::proto::acl::{Acl, RawAcls};
use zkserver::proto::txn::{self, CreateKind, CreateTxn, Txn, TxnDigest, TxnHeader};
use zkserver::storage::{Compression, StorageConfig};
use zkserver::tree::{DataTree, NodeRef};

/// Transactions as they are logged.
#[derive(Clone)]
pub struct History {
    zxids: Vec<Zxid>,
    txns: Vec<Vec<u8>>,
    /// `states[n]` is the tree after n of them.
    states: Vec<Vec<String>>,
}

impl History {
    /// With zxids 1, 2, …; the same for the same seed.
    pub fn new(seed: u64, count: usize) -> History {
        History::along(seed, (1..=count).map(|number| Zxid(number as i64)))
    }

    /// With these zxids.
    pub fn along(seed: u64, zxids: impl IntoIterator<Item = Zxid>) -> History {
        let nothing = History {
            zxids: Vec::new(),
            txns: Vec::new(),
            states: vec![describe(&DataTree::new(7))],
        };
        nothing.fork(0, seed, zxids)
    }

    /// One that is the same for so many transactions, and then goes on with these zxids.
    pub fn fork(&self, kept: usize, seed: u64, zxids: impl IntoIterator<Item = Zxid>) -> History {
        let mut prng = Prng::new(seed);
        let mut tree = self.tree(kept);
        let mut history = self.clone();
        history.zxids.truncate(kept);
        history.txns.truncate(kept);
        history.states.truncate(kept + 1);
        for zxid in zxids {
            let number = history.txns.len() + 1;
            let data: Vec<u8> = (0..prng.below(900)).map(|i| (i as u8) | 1).collect();
            let txn = random_txn(&mut prng, &tree, number, &data);
            let header = TxnHeader {
                client_id: SESSION,
                cxid: number as i32,
                zxid,
                time: 1_795_223_253_000 + number as i64,
                code: txn.code(),
            };
            tree.process_txn(&header, &txn, &mut ());
            let digest = TxnDigest {
                version: 2,
                digest: tree.digest(),
            };
            let digest = (!matches!(txn, Txn::Error(_))).then_some(digest);
            let mut encoded = Vec::new();
            txn::encode(&header, &txn, digest, &mut encoded);
            history.zxids.push(zxid);
            history.txns.push(encoded);
            history.states.push(describe(&tree));
        }
        history
    }

    /// The transaction with this number, counted from 1.
    pub fn txn(&self, number: usize) -> &[u8] {
        &self.txns[number - 1]
    }

    /// Its zxid; that of nothing for 0.
    pub fn zxid(&self, number: usize) -> Zxid {
        number.checked_sub(1).map_or(Zxid::ZERO, |at| self.zxids[at])
    }

    /// The number of the transaction with this zxid.
    pub fn number_of(&self, zxid: Zxid) -> Option<usize> {
        match zxid {
            Zxid::ZERO => Some(0),
            _ => self.zxids.binary_search(&zxid).ok().map(|at| at + 1),
        }
    }

    pub fn len(&self) -> usize {
        self.txns.len()
    }

    /// The tree after `number` transactions.
    pub fn tree(&self, number: usize) -> DataTree {
        let mut tree = DataTree::new(7);
        for encoded in &self.txns[..number] {
            let txn = txn::decode(encoded).unwrap();
            tree.process_txn(&txn.header, &txn.txn, &mut ());
        }
        tree
    }

    /// Whether a tree is in the state after `number` transactions.
    pub fn has_state(&self, tree: &DataTree, number: usize) -> bool {
        describe(tree) == self.states[number]
    }

    /// Compares a tree with the state after `number` transactions.
    pub fn assert_state(&self, tree: &DataTree, number: usize, context: &dyn Fn() -> String) {
        assert!(
            self.has_state(tree, number),
            "wrong state after {number}: {}",
            context()
        );
    }
}

/// Everything in a tree, in words, sorted.
pub fn describe(tree: &DataTree) -> Vec<String> {
    fn visit(tree: &DataTree, node: NodeRef<'_>, lines: &mut Vec<String>) {
        let acl = tree.acl(node.acl_id()).raw.to_list();
        lines.push(format!(
            "{} {:?} {acl:?} {:?}",
            node.path(),
            node.data(),
            node.persisted()
        ));
        node.children().for_each(|child| visit(tree, child, lines));
    }
    let mut lines = Vec::new();
    visit(tree, tree.lookup("/").unwrap(), &mut lines);
    lines.sort();
    lines.push(format!(
        "{:?} {:?}",
        tree.sessions(),
        tree.sessions_with_ephemerals()
    ));
    lines.push(format!("{} {}", tree.last_processed_zxid(), tree.digest()));
    lines
}

/// Small enough that every path through preallocation is taken.
pub fn config(dir: &Path) -> StorageConfig {
    StorageConfig {
        snap_dir: version_2(dir),
        log_dir: version_2(dir),
        prealloc_bytes: 8192,
        force_sync: true,
        compression: Compression::None,
        trust_empty_snapshot: false,
        digest_enabled: true,
        log_size_limit: None,
        record_bytes_max: 1 << 20,
        autocreate: true,
        may_begin_empty: true,
    }
}

pub fn version_2(dir: &Path) -> PathBuf {
    dir.join("version-2")
}

fn random_txn<'a>(prng: &mut Prng, tree: &DataTree, number: usize, data: &'a [u8]) -> Txn<'a> {
    if number == 1 {
        return Txn::CreateSession { timeout_ms: 30_000 };
    }
    let path = format!("/n{}", prng.below(12));
    let create = |path: String, ephemeral, data: Option<&'a [u8]>| {
        Txn::Create(CreateTxn {
            kind: CreateKind::WithStat,
            path: path.into(),
            data,
            acl: RawAcls::from_list(&[Acl::world(1 + (number % 3) as i32)]),
            ephemeral,
            parent_cversion: -1,
        })
    };
    match prng.below(9) {
        0 | 1 => create(path, false, Some(data)),
        2 => create(format!("{path}/child{}", prng.below(3)), true, None),
        // As every leader sees to it: a node with children stays.
        3 if tree.lookup(&path).is_none_or(|node| node.num_children() == 0) => {
            Txn::Delete { path: path.into() }
        }
        3 => Txn::Error(-111),
        4 => Txn::Error(-101),
        5 => Txn::SetAcl {
            path: path.into(),
            acl: RawAcls::from_list(&[Acl::world(31), Acl::world(1)]),
            version: number as i32,
        },
        6 => Txn::Multi(vec![
            create(format!("/m{number}"), false, Some(&data[..data.len() / 2])),
            Txn::Check {
                path: "/".into(),
                version: 0,
            },
            Txn::SetData {
                path: path.into(),
                data: Some(data),
                version: number as i32,
            },
        ]),
        _ => Txn::SetData {
            path: path.into(),
            data: Some(data),
            version: number as i32,
        },
    }
}

const SESSION: SessionId = SessionId(0x1_0000_0d06_7f00);
