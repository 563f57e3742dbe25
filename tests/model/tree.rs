//! The tree, with every version that each path ever had.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::jute::Writer;
use super::records::{Acl, Acls};

/// `ephemeralOwner` of a container, as it is stored.
pub const CONTAINER_OWNER: i64 = i64::MIN;
/// The top byte of `ephemeralOwner` of a node with a time to live, which is in the lower bits.
pub const TTL_OWNER: i64 = 0xff << 56;

/// One version of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub data: Option<Arc<[u8]>>,
    pub acls: Acls,
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    /// Children ever created. Clients are shown `2 * created - children`.
    pub created: i32,
    pub aversion: i32,
    /// As stored: a session, or one of the values of containers and nodes with a time to live.
    pub owner: i64,
    pub pzxid: i64,
    pub children: i32,
}

impl Node {
    /// A node that was there before the first transaction.
    fn built_in(perms: i32, children: i32) -> Node {
        Node {
            data: Some(Arc::from([].as_slice())),
            acls: Arc::new(vec![Acl::new(perms, "world", "anyone")]),
            czxid: 0,
            mzxid: 0,
            ctime: 0,
            mtime: 0,
            version: 0,
            created: 0,
            aversion: 0,
            owner: 0,
            pzxid: 0,
            children,
        }
    }

    pub fn is_container(&self) -> bool {
        self.owner == CONTAINER_OWNER
    }

    /// Only with extended types is this not a session's id; the model knows from how the node was created.
    pub fn ttl(&self) -> Option<i64> {
        (self.owner & TTL_OWNER == TTL_OWNER).then_some(self.owner & !TTL_OWNER)
    }

    /// The session whose end deletes the node.
    pub fn session(&self) -> Option<i64> {
        let is_ephemeral = self.owner != 0 && !self.is_container() && self.ttl().is_none();
        is_ephemeral.then_some(self.owner)
    }

    pub fn write_stat(&self, writer: &mut Writer) {
        let length = self.data.as_ref().map_or(0, |data| data.len());
        let cversion = self.created.wrapping_mul(2).wrapping_sub(self.children);
        writer
            .long(self.czxid)
            .long(self.mzxid)
            .long(self.ctime)
            .long(self.mtime);
        writer.int(self.version).int(cversion).int(self.aversion);
        writer.long(self.session().unwrap_or(0));
        writer.count(length).int(self.children).long(self.pzxid);
    }
}

const CHANGES_PER_CHECKPOINT: usize = 64;

/// All versions of one path.
#[derive(Default)]
pub struct Place {
    /// By zxid, rising. `None`: the path has no node from this zxid on.
    versions: Vec<(i64, Option<Arc<Node>>)>,
    /// Names of the children now.
    children: BTreeSet<Arc<str>>,
    /// Each change of the children: the zxid, the name, and whether it came or went.
    changes: Vec<(i64, Arc<str>, bool)>,
    /// The children before each change whose index is a multiple of [`CHANGES_PER_CHECKPOINT`].
    checkpoints: Vec<BTreeSet<Arc<str>>>,
}

/// A session as the log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub timeout: i32,
    pub opened: i64,
    pub closed: Option<i64>,
}

/// Kinds of nodes that the servers offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// `zookeeper.extendedTypesEnabled`: nodes with a time to live.
    pub ttl: bool,
}

/// The state after each transaction of a log.
pub struct Model {
    pub(super) zxid: i64,
    pub kinds: Kinds,
    places: BTreeMap<Arc<str>, Place>,
    pub(super) sessions: BTreeMap<i64, Session>,
    /// Ephemeral nodes of each open session.
    pub(super) ephemerals: BTreeMap<i64, BTreeSet<Arc<str>>>,
    /// Every path that a session ever had an ephemeral node at.
    owned: BTreeMap<i64, BTreeSet<Arc<str>>>,
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}

impl Model {
    /// The state of a server before its first transaction.
    pub fn new() -> Model {
        let mut model = Model {
            zxid: 0,
            kinds: Kinds::default(),
            places: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            owned: BTreeMap::new(),
        };
        let config = Node {
            aversion: -1,
            ..Node::built_in(1, 0)
        };
        model.set(0, "/", Some(Node::built_in(31, 1)));
        model.set(0, "/zookeeper", Some(Node::built_in(31, 2)));
        model.set(0, "/zookeeper/quota", Some(Node::built_in(31, 0)));
        model.set(0, "/zookeeper/config", Some(config));
        model
    }

    /// The zxid of the newest transaction.
    pub fn zxid(&self) -> i64 {
        self.zxid
    }

    /// What the log tells of a session.
    pub fn session(&self, session: i64) -> Option<Session> {
        self.sessions.get(&session).copied()
    }

    /// The session is open now.
    pub fn is_open(&self, session: i64) -> bool {
        self.session(session)
            .is_some_and(|session| session.closed.is_none())
    }

    /// The node at a path now.
    pub fn node(&self, path: &str) -> Option<&Arc<Node>> {
        newest(self.places.get(place_of(path))?)
    }

    /// The node at a path after the given transaction.
    pub fn node_at(&self, zxid: i64, path: &str) -> Option<&Arc<Node>> {
        let versions = &self.places.get(place_of(path))?.versions;
        let newer = versions.partition_point(|(from, _)| *from <= zxid);
        versions[..newer].last()?.1.as_ref()
    }

    /// Names of the children after the given transaction.
    pub fn children_at(&self, zxid: i64, path: &str) -> BTreeSet<Arc<str>> {
        let Some(place) = self.places.get(place_of(path)) else {
            return BTreeSet::new();
        };
        let older = place.changes.partition_point(|(from, _, _)| *from <= zxid);
        let checkpoint = older / CHANGES_PER_CHECKPOINT;
        let Some(children) = place.checkpoints.get(checkpoint) else {
            return place.children.clone();
        };
        let mut children = children.clone();
        for (_, name, came) in &place.changes[checkpoint * CHANGES_PER_CHECKPOINT..older] {
            if *came {
                children.insert(name.clone());
            } else {
                children.remove(name);
            }
        }
        children
    }

    /// How many nodes are below a path after the given transaction. Servers have the root under two names,
    /// and count it below the empty one.
    pub fn descendants_at(&self, zxid: i64, path: &str) -> usize {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let inside = self
            .places
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        inside
            .map(|(inside, _)| inside)
            .take_while(|inside| inside.starts_with(&prefix))
            .filter(|inside| inside.len() > prefix.len() && self.node_at(zxid, inside).is_some())
            .count()
            + usize::from(path.is_empty())
    }

    /// Ephemeral nodes of a session after the given transaction.
    pub fn ephemerals_at(&self, zxid: i64, session: i64) -> Vec<Arc<str>> {
        let owned = self.owned.get(&session).into_iter().flatten();
        let is_owned = |path: &&Arc<str>| {
            let node = self.node_at(zxid, path);
            node.is_some_and(|node| node.session() == Some(session))
        };
        owned.filter(is_owned).cloned().collect()
    }

    /// Zxids in `(from, to]` at which the node at a path or its children changed.
    pub fn changes_between(&self, from: i64, to: i64, path: &str) -> Vec<i64> {
        let Some(place) = self.places.get(place_of(path)) else {
            return Vec::new();
        };
        let zxids = place.versions.iter().map(|(zxid, _)| *zxid);
        zxids.filter(|zxid| from < *zxid && *zxid <= to).collect()
    }

    /// All nodes now.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Node>)> {
        let present = |(path, place)| Some((path, newest(place)?));
        self.places.iter().filter_map(present)
    }

    /// Puts or removes the node at a path, and tells its parent's place.
    pub(super) fn set(&mut self, zxid: i64, path: &str, node: Option<Node>) {
        let key: Arc<str> = Arc::from(place_of(path));
        let old = self.node(path).cloned();
        if let Some(session) = old.as_ref().and_then(|node| node.session())
            && let Some(paths) = self.ephemerals.get_mut(&session)
        {
            paths.remove(&key);
        }
        if let Some(session) = node.as_ref().and_then(Node::session) {
            self.ephemerals.entry(session).or_default().insert(key.clone());
            self.owned.entry(session).or_default().insert(key.clone());
        }
        if old.is_some() != node.is_some() && &*key != "/" {
            self.set_child(zxid, &key, node.is_some());
        }
        let versions = &mut self.places.entry(key).or_default().versions;
        if versions.last().is_some_and(|(newest, _)| *newest == zxid) {
            versions.pop();
        }
        versions.push((zxid, node.map(Arc::new)));
    }

    fn set_child(&mut self, zxid: i64, path: &str, came: bool) {
        let (parent, name) = path.rsplit_once('/').expect("every path has a slash");
        let name: Arc<str> = Arc::from(name);
        let place = self.places.entry(Arc::from(place_of(parent))).or_default();
        if place.changes.len().is_multiple_of(CHANGES_PER_CHECKPOINT) {
            place.checkpoints.push(place.children.clone());
        }
        if came {
            place.children.insert(name.clone());
        } else {
            place.children.remove(&name);
        }
        place.changes.push((zxid, name, came));
    }
}

fn newest(place: &Place) -> Option<&Arc<Node>> {
    place.versions.last()?.1.as_ref()
}

/// The empty path is another name of the root.
fn place_of(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}
