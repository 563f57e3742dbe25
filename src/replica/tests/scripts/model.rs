//! A tree that does one thing after another, and remembers every state it has been in.

use std::collections::{BTreeMap, BTreeSet};

use super::Op;

/// The body of a reply in words, or its error.
pub(super) type Outcome = Result<String, i32>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Data,
    Child,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Created(String),
    Deleted(String),
    Changed(String),
}

impl Change {
    /// The events for one client with these watches, which are used up.
    pub fn events(&self, watches: &mut BTreeSet<(Table, String)>) -> Vec<(i32, String)> {
        let mut has = |table, path: &str| watches.remove(&(table, path.to_owned()));
        let mut events = Vec::new();
        match self {
            Change::Changed(path) => events.extend(has(Table::Data, path).then(|| (3, path.clone()))),
            Change::Created(path) => {
                events.extend(has(Table::Data, path).then(|| (1, path.clone())));
                events.extend(has(Table::Child, parent(path)).then(|| (4, parent(path).into())));
            }
            Change::Deleted(path) => {
                let by_data = has(Table::Data, path);
                let by_child = has(Table::Child, path);
                events.extend((by_data || by_child).then(|| (2, path.clone())));
                events.extend(has(Table::Child, parent(path)).then(|| (4, parent(path).into())));
            }
        }
        events
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    data: String,
    version: i32,
    owner: Option<usize>,
    created: i32,
}

#[derive(Clone, Debug)]
struct State(BTreeMap<String, Node>);

pub(super) struct Model {
    /// By zxid.
    states: Vec<State>,
    changes: Vec<(i64, Change)>,
}

impl Model {
    /// A tree in which nothing has happened up to this zxid.
    pub fn new(zxid: i64) -> Model {
        let nodes = ["/", "/zookeeper"].map(|path| (path.to_owned(), Node::default()));
        Model {
            states: vec![State(BTreeMap::from(nodes)); zxid as usize + 1],
            changes: Vec::new(),
        }
    }

    pub fn last_zxid(&self) -> i64 {
        self.states.len() as i64 - 1
    }

    pub fn changes(&self, after: i64, upto: i64) -> impl Iterator<Item = (i64, &Change)> {
        self.changes
            .iter()
            .filter(move |(zxid, _)| after < *zxid && *zxid <= upto)
            .map(|(zxid, change)| (*zxid, change))
    }

    /// Executes a write, as the next transaction.
    pub fn execute(&mut self, client: usize, op: &Op) -> Outcome {
        let before = self.states.last().expect("there is always one");
        let mut state = before.clone();
        let mut changes = Vec::new();
        let outcome = if let Op::Multi(ops) = op {
            let results: Vec<Outcome> = run_until_error(ops, |op| state.execute(client, op, &mut changes));
            if results.iter().any(Result::is_err) {
                (state, changes) = (before.clone(), Vec::new());
            }
            Ok(multi_words(ops, &results))
        } else {
            state.execute(client, op, &mut changes)
        };
        self.states.push(state);
        let zxid = self.last_zxid();
        self.changes
            .extend(changes.into_iter().map(|change| (zxid, change)));
        outcome
    }

    /// What a read shows at this zxid.
    pub fn read(&self, op: &Op, zxid: i64) -> Outcome {
        let nodes = &self.states[zxid as usize].0;
        let find = |path: &str| nodes.get(path).ok_or(-101);
        match op {
            Op::Get(path, _) => find(path).map(|node| format!("{} v{}", node.data, node.version)),
            Op::Exists(path, _) => find(path).map(|node| format!("v{}", node.version)),
            Op::Children(path, _) => find(path).map(|_| {
                let children = nodes
                    .keys()
                    .filter(|child| *child != "/" && parent(child) == path);
                let names: Vec<&str> = children.filter_map(|child| child.rsplit('/').next()).collect();
                format!("[{}]", names.join(" "))
            }),
            Op::Sync => Ok("/".into()),
            Op::Ping => Ok(String::new()),
            Op::Undecodable => Err(-5),
            Op::Create { .. } | Op::Delete { .. } | Op::Set { .. } | Op::Multi(_) | Op::Close => {
                panic!("{op:?} is no read")
            }
        }
    }
}

impl State {
    fn execute(&mut self, client: usize, op: &Op, changes: &mut Vec<Change>) -> Outcome {
        let nodes = &mut self.0;
        match op {
            Op::Create { path, data, flags } => {
                let above = nodes.get_mut(parent(path)).ok_or(-101)?;
                let mut path = path.clone();
                if *flags == 2 {
                    path = format!("{path}{:010}", above.created);
                }
                let is_ephemeral = above.owner.is_some();
                if nodes.contains_key(&path) {
                    return Err(-110);
                }
                if is_ephemeral {
                    return Err(-108);
                }
                nodes.entry(parent(&path).into()).or_default().created += 1;
                let node = Node {
                    data: data.clone(),
                    owner: (*flags == 1).then_some(client),
                    ..Node::default()
                };
                nodes.insert(path.clone(), node);
                changes.push(Change::Created(path.clone()));
                Ok(path)
            }
            Op::Delete { path, version } => {
                nodes.get(parent(path)).ok_or(-101)?;
                let node = nodes.get(path).ok_or(-101)?;
                check_version(node, *version)?;
                if nodes.keys().any(|other| parent(other) == path) {
                    return Err(-111);
                }
                nodes.remove(path);
                changes.push(Change::Deleted(path.clone()));
                Ok(String::new())
            }
            Op::Set { path, data, version } => {
                let node = nodes.get_mut(path).ok_or(-101)?;
                check_version(node, *version)?;
                node.data.clone_from(data);
                node.version += 1;
                changes.push(Change::Changed(path.clone()));
                Ok(format!("v{}", node.version))
            }
            Op::Close => {
                let owned = nodes.extract_if(.., |_, node| node.owner == Some(client));
                changes.extend(owned.map(|(path, _)| Change::Deleted(path)));
                Ok(String::new())
            }
            Op::Multi(_)
            | Op::Undecodable
            | Op::Get(..)
            | Op::Exists(..)
            | Op::Children(..)
            | Op::Sync
            | Op::Ping => panic!("{op:?} is no single write"),
        }
    }
}

fn check_version(node: &Node, version: i32) -> Result<(), i32> {
    if version != -1 && version != node.version {
        return Err(-103);
    }
    Ok(())
}

fn run_until_error(ops: &[Op], mut run: impl FnMut(&Op) -> Outcome) -> Vec<Outcome> {
    let mut results = Vec::new();
    for op in ops {
        results.push(run(op));
        if results.last().is_some_and(Result::is_err) {
            break;
        }
    }
    results
}

/// One result for each operation: all their own, or all errors.
fn multi_words(ops: &[Op], results: &[Outcome]) -> String {
    let has_failed = results.iter().any(Result::is_err);
    let word = |(at, op): (usize, &Op)| match results.get(at) {
        None => "error -2".to_owned(),
        Some(Err(error)) => format!("error {error}"),
        Some(Ok(_)) if has_failed => "error 0".to_owned(),
        Some(Ok(words)) => format!("{} {words}", op.ask().code).trim().to_owned(),
    };
    let words: Vec<String> = ops.iter().enumerate().map(word).collect();
    format!("[{}]", words.join(", "))
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}
