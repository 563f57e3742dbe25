//! Quotas: how many nodes and bytes a subtree may have, and how many it has (Quotas, StatsTrack, PathTrie).
//!
//! A node `/zookeeper/quota/p/zookeeper_limits` makes a quota for `/p`. What is used of it stands in the data
//! of `zookeeper_stats` beside it, which every server keeps by itself with each transaction: the bookkeeping
//! of that node does not change and nobody is told. As long as there is no quota, nothing is done.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::DataTree;
use super::path::split_parent;

/// Numbers by name, as limits and use are written down. What is missing is -1: no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsTrack {
    /// `count`: nodes; as a limit, one that is only warned of.
    pub count: i64,
    /// `bytes`: bytes of data; as a limit, one that is only warned of.
    pub bytes: i64,
    /// All others.
    others: Vec<(String, i64)>,
}

/// The quota that a path falls under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The top of the subtree.
    pub path: String,
    /// How much it may have.
    pub limits: StatsTrack,
    /// How much it has.
    pub used: StatsTrack,
}

/// Sums over quotas. `None` where nothing says it; -1 is the limit of what has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaTotals {
    /// Nodes that there may be, by the hard limits where there are such.
    pub count_limit: Option<i64>,
    /// Bytes that there may be.
    pub bytes_limit: Option<i64>,
    /// Nodes that there are.
    pub count_used: Option<i64>,
    /// Bytes that there are.
    pub bytes_used: Option<i64>,
}

impl Default for StatsTrack {
    fn default() -> StatsTrack {
        StatsTrack {
            count: -1,
            bytes: -1,
            others: Vec::new(),
        }
    }
}

impl StatsTrack {
    /// Reads a text such as `count=3,bytes=10` or `count=-1,bytes=-1=;byteHardLimit=10`. `None` if it is
    /// none: a server of Apache's does not survive that. Decimal digits of other scripts are none here.
    pub fn parse(data: &[u8]) -> Option<StatsTrack> {
        let text = String::from_utf8_lossy(data);
        let mut stats = StatsTrack::default();
        // Java's `split` drops what is empty at the end, but not at the beginning.
        let text = text.trim_end_matches(SEPARATORS);
        if text.starts_with(SEPARATORS) {
            return None;
        }
        for pair in text.split(SEPARATORS).filter(|pair| !pair.is_empty()) {
            let (name, values) = pair.trim_end_matches('=').split_once('=')?;
            let value = match values.split('=').next().unwrap_or_default() {
                "" => -1,
                digits => digits.parse().ok()?,
            };
            stats.set(name, value);
        }
        Some(stats)
    }

    /// The text: nodes and bytes first, for old readers that know nothing else, then the others by name.
    pub fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count, self.bytes);
        if !self.others.is_empty() {
            text.push('=');
        }
        let mut others: Vec<&(String, i64)> = self.others.iter().collect();
        others.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        for (name, value) in others {
            write!(text, ";{name}={value}").expect("a string takes everything");
        }
        text
    }

    /// `countHardLimit`: nodes at most.
    pub fn count_hard_limit(&self) -> i64 {
        self.other("countHardLimit")
    }

    /// `byteHardLimit`: bytes at most.
    pub fn byte_hard_limit(&self) -> i64 {
        self.other("byteHardLimit")
    }

    fn other(&self, wanted: &str) -> i64 {
        let found = self.others.iter().find(|(name, _)| name == wanted);
        found.map_or(-1, |(_, value)| *value)
    }

    fn set(&mut self, name: &str, value: i64) {
        let slot = match name {
            "count" => &mut self.count,
            "bytes" => &mut self.bytes,
            _ => {
                let known = self.others.iter().position(|(known, _)| known == name);
                let at = known.unwrap_or_else(|| {
                    self.others.push((name.to_owned(), value));
                    self.others.len() - 1
                });
                &mut self.others[at].1
            }
        };
        *slot = value;
    }
}

/// The paths that have quotas.
#[derive(Debug, Default)]
pub(super) struct PathTrie {
    children: BTreeMap<Box<str>, PathTrie>,
    has_quota: bool,
}

impl PathTrie {
    fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The root cannot have one.
    fn add(&mut self, path: &str) {
        let mut at = self;
        for name in names(path) {
            at = at.children.entry(name.into()).or_default();
        }
        at.has_quota = true;
    }

    fn remove(&mut self, path: &str) {
        remove_below(self, &mut names(path));
    }

    /// The longest beginning of a path that has a quota (`findMaxPrefix`).
    fn longest_prefix(&self, path: &str) -> Option<String> {
        let (mut at, mut depth) = (self, 0);
        for (above, name) in names(path).enumerate() {
            let Some(child) = at.children.get(name) else { break };
            at = child;
            if child.has_quota {
                depth = above + 1;
            }
        }
        let join = |joined: String, name: &str| joined + "/" + name;
        (depth > 0).then(|| names(path).take(depth).fold(String::new(), join))
    }
}

fn remove_below<'a>(at: &mut PathTrie, names: &mut impl Iterator<Item = &'a str>) {
    let Some(name) = names.next() else {
        at.has_quota = false;
        return;
    };
    if let Some(child) = at.children.get_mut(name) {
        remove_below(child, names);
        if child.is_empty() && !child.has_quota {
            at.children.remove(name);
        }
    }
}

/// The parts of a path. As in Apache's trie, blank names do not count.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.chars().all(|c| c <= ' '))
}

/// For which path a node below `/zookeeper/quota` is about, and its name.
fn quota_node(path: &str) -> Option<(&str, &str)> {
    let (quota_path, name) = split_parent(path.strip_prefix(QUOTA_PATH)?);
    let is_below = path.as_bytes().get(QUOTA_PATH.len()) == Some(&b'/');
    is_below.then_some((quota_path, name))
}

impl DataTree {
    /// The quota that applies to a path, if it has limits and statistics that can be read.
    pub fn quota(&self, path: &str) -> Option<Quota> {
        if self.quotas.is_empty() {
            return None;
        }
        let path = self.quotas.longest_prefix(path)?;
        let read = |name: &str| {
            let node = self.lookup(&format!("{QUOTA_PATH}{path}/{name}"))?;
            StatsTrack::parse(node.data()?)
        };
        let (limits, used) = (read(LIMITS)?, read(STATS)?);
        Some(Quota { path, limits, used })
    }

    /// The quotas below each node of the first level, summed up (QuotaMetricsUtils). What cannot be read does
    /// not count.
    pub fn quota_totals(&self) -> BTreeMap<String, QuotaTotals> {
        let mut totals: BTreeMap<String, QuotaTotals> = BTreeMap::new();
        for path in self.quota_nodes() {
            let read = |(quota_path, name)| {
                let data = self.lookup(&path)?.data()?;
                Some((quota_path, name, StatsTrack::parse(data)?))
            };
            let Some((quota_path, name, stats)) = quota_node(&path).and_then(read) else {
                continue;
            };
            let Some(namespace) = names(quota_path).next() else {
                continue;
            };
            let total = totals.entry(namespace.to_owned()).or_default();
            let add = |sum: &mut Option<i64>, value| *sum = Some(sum.unwrap_or(0).wrapping_add(value));
            if name == LIMITS {
                let harder = |hard, soft| if hard > -1 { hard } else { soft };
                add(
                    &mut total.count_limit,
                    harder(stats.count_hard_limit(), stats.count),
                );
                add(
                    &mut total.bytes_limit,
                    harder(stats.byte_hard_limit(), stats.bytes),
                );
            } else {
                add(&mut total.count_used, stats.count);
                add(&mut total.bytes_used, stats.bytes);
            }
        }
        totals
    }

    /// A node has come to be.
    pub(super) fn count_created(&mut self, path: &str, data_len: usize) {
        match quota_node(path) {
            Some((quota_path, LIMITS)) => {
                // Limits for the root, or for what Apache takes for it, are no quota.
                if names(quota_path).next().is_some() {
                    self.quotas.add(quota_path);
                }
            }
            Some((quota_path, STATS)) => self.measure(quota_path),
            Some(_) | None => {}
        }
        self.charge(path, data_len as i64, 1);
    }

    /// A node is gone.
    pub(super) fn count_deleted(&mut self, path: &str, data_len: usize) {
        if let Some((quota_path, LIMITS)) = quota_node(path) {
            self.quotas.remove(quota_path);
        }
        self.charge(path, -(data_len as i64), -1);
    }

    /// A node has other data (`updateQuotaStat`, for the deepest quota on its way only).
    pub(super) fn charge(&mut self, path: &str, bytes: i64, count: i64) {
        if self.quotas.is_empty() {
            return;
        }
        let Some(quota_path) = self.quotas.longest_prefix(path) else {
            return;
        };
        let stats_path = format!("{QUOTA_PATH}{quota_path}/{STATS}");
        let Some(id) = self.find(&stats_path) else { return };
        let Some(mut stats) = self.nodes.get(id).data().and_then(StatsTrack::parse) else {
            return;
        };
        stats.count = stats.count.wrapping_add(count);
        stats.bytes = stats.bytes.wrapping_add(bytes);
        self.rewrite(id, stats.text().as_bytes());
    }

    /// Finds all quotas, and what is used of them (`setupQuota`). Where one counts the statistics of another,
    /// the order matters; Apache's is no particular one.
    pub(super) fn set_up_quotas(&mut self) {
        self.quotas = PathTrie::default();
        let nodes = self.quota_nodes();
        let limits = nodes.iter().filter_map(|path| match quota_node(path) {
            Some((quota_path, LIMITS)) => Some(quota_path),
            Some(_) | None => None,
        });
        let mut quota_paths: Vec<&str> = limits.filter(|path| names(path).next().is_some()).collect();
        quota_paths.sort_unstable();
        for quota_path in quota_paths {
            self.measure(quota_path);
            self.quotas.add(quota_path);
        }
    }

    /// Paths of all limits and statistics.
    fn quota_nodes(&self) -> Vec<String> {
        let Some(top) = self.find(QUOTA_PATH) else {
            return Vec::new();
        };
        let mut paths = Vec::new();
        let mut at = top;
        while let Some(next) = self.next_below(at, top) {
            at = next;
            let node = super::NodeRef::new(self, at);
            if matches!(node.name(), LIMITS | STATS) {
                paths.push(node.path());
            }
        }
        paths
    }

    /// Writes down how much is below a path, itself included (`updateQuotaForPath`).
    fn measure(&mut self, quota_path: &str) {
        let stats_path = format!("{QUOTA_PATH}{quota_path}/{STATS}");
        let Some(id) = self.find(&stats_path) else { return };
        let mut stats = StatsTrack {
            count: 0,
            bytes: 0,
            others: Vec::new(),
        };
        if let Some(top) = self.find(quota_path) {
            let mut next = Some(top);
            while let Some(at) = next {
                stats.count += 1;
                stats.bytes += self.nodes.get(at).data_len() as i64;
                next = self.next_below(at, top);
            }
        }
        self.rewrite(id, stats.text().as_bytes());
    }

    /// Replaces the data and nothing else. The node does not count in the digest.
    fn rewrite(&mut self, id: u32, data: &[u8]) {
        self.preserve(id);
        let node = self.nodes.get_mut(id);
        let before = node.data_len() as u64;
        let old = node.replace_data(Some(data));
        self.data_bytes = self.data_bytes - before + data.len() as u64;
        self.preserve_data(id, Some(old));
    }
}

const QUOTA_PATH: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";
const SEPARATORS: [char; 2] = [',', ';'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::proto::acl::RawAcls;
    use crate::proto::error_code::ErrorCode;
    use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

    fn again(text: &str) -> Option<String> {
        StatsTrack::parse(text.as_bytes()).map(|stats| stats.text())
    }

    #[test]
    fn texts_are_read_as_java_reads_them() {
        for (text, expected) in [
            ("", "count=-1,bytes=-1"),
            (",;,", "count=-1,bytes=-1"),
            ("count=3", "count=3,bytes=-1"),
            ("count=3,bytes=10", "count=3,bytes=10"),
            ("bytes=10=;,;count=+3,,", "count=3,bytes=10"),
            ("count=1,count=2", "count=2,bytes=-1"),
            ("count==7,bytes=5=6=7", "count=-1,bytes=5"),
            (
                "z=1;countHardLimit=-4;byteHardLimit=9;count=0",
                "count=0,bytes=-1=;byteHardLimit=9;countHardLimit=-4;z=1",
            ),
            ("=5", "count=-1,bytes=-1=;=5"),
            (" count=1", "count=-1,bytes=-1=; count=1"),
            ("\u{ffff}=1;😀=2", "count=-1,bytes=-1=;😀=2;\u{ffff}=1"),
            (
                "count=-9223372036854775808",
                "count=-9223372036854775808,bytes=-1",
            ),
        ] {
            assert_eq!(again(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "x",
            ",count=1",
            "count",
            "count=",
            "=",
            "count=1;x",
            "count=1 ",
            "count=9223372036854775808",
            "count=0x1",
            "count=+",
            "bytes=1.5",
        ] {
            assert_eq!(again(text), None, "{text}");
        }
        assert_eq!(StatsTrack::parse(b"count=\xff"), None);
        let limits = StatsTrack::parse(b"countHardLimit=4,byteHardLimit=5").unwrap();
        assert_eq!((limits.count_hard_limit(), limits.byte_hard_limit()), (4, 5));
        assert_eq!(StatsTrack::default().count_hard_limit(), -1);
    }

    #[test]
    fn the_deepest_quota_on_the_way_applies() {
        let mut trie = PathTrie::default();
        trie.add("/a");
        trie.add("/a/b/c");
        let prefix = |trie: &PathTrie, path: &str| trie.longest_prefix(path);
        for (path, expected) in [
            ("/", None),
            ("/b", None),
            ("/ab", None),
            ("/a", Some("/a")),
            ("/a/b", Some("/a")),
            ("/a/b/d/e", Some("/a")),
            ("/a/b/c", Some("/a/b/c")),
            ("/a/b/c/d", Some("/a/b/c")),
            ("/ /a/x", Some("/a")),
        ] {
            assert_eq!(prefix(&trie, path).as_deref(), expected, "{path}");
        }
        trie.remove("/a/b");
        trie.remove("/x/y");
        assert_eq!(prefix(&trie, "/a/b/c").as_deref(), Some("/a/b/c"));
        trie.remove("/a");
        assert_eq!(prefix(&trie, "/a/b"), None);
        assert_eq!(prefix(&trie, "/a/b/c").as_deref(), Some("/a/b/c"));
        trie.remove("/a/b/c");
        assert!(trie.is_empty(), "nothing is left behind");
    }

    fn put(tree: &mut DataTree, path: &str, data: &str) {
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Plain,
            path: path.into(),
            data: Some(data.as_bytes()),
            acl: RawAcls::from_list(&[]),
            ephemeral: false,
            parent_cversion: -1,
        });
        let header = TxnHeader {
            client_id: SessionId(1),
            cxid: 0,
            zxid: tree.last_processed_zxid().next(),
            time: 0,
            code: txn.code(),
        };
        assert_eq!(
            tree.process_txn(&header, &txn, &mut ()).error,
            ErrorCode::Ok,
            "{path}"
        );
    }

    #[test]
    fn totals_are_sums_by_first_names() {
        let mut tree = DataTree::new(1);
        for (path, data) in [
            ("/a", "12345"),
            ("/a/b", "1"),
            ("/zookeeper/quota/a", ""),
            (
                "/zookeeper/quota/a/zookeeper_limits",
                "count=9,bytes=8=;countHardLimit=3",
            ),
            ("/zookeeper/quota/a/zookeeper_stats", ""),
            ("/zookeeper/quota/a/b", ""),
            ("/zookeeper/quota/a/b/zookeeper_limits", "count=4"),
            ("/zookeeper/quota/a/b/zookeeper_stats", ""),
            ("/zookeeper/quota/c", ""),
            ("/zookeeper/quota/c/zookeeper_limits", "nothing"),
            ("/zookeeper/quota/zookeeper_stats", ""),
        ] {
            put(&mut tree, path, data);
        }
        let expected = QuotaTotals {
            count_limit: Some(7),
            bytes_limit: Some(7),
            count_used: Some(3),
            bytes_used: Some(7),
        };
        assert_eq!(tree.quota_totals(), [("a".to_owned(), expected)].into());
    }

    #[test]
    fn only_nodes_below_the_quota_node_make_quotas() {
        assert_eq!(
            quota_node("/zookeeper/quota/a/b/zookeeper_stats"),
            Some(("/a/b", STATS))
        );
        assert_eq!(
            quota_node("/zookeeper/quota/zookeeper_limits"),
            Some(("", LIMITS))
        );
        for path in ["/zookeeper/quota", "/zookeeper/quotas/zookeeper_limits", "/a"] {
            assert_eq!(quota_node(path), None, "{path}");
        }
    }
}
