//! I13: watches fire when they should, once if they are standard, and before any reply that shows the change.

use std::collections::{BTreeMap, VecDeque};

use super::super::acl::{self, allows};
use super::super::apply::{EventType, Trigger};
use super::super::jute::Reader;
use super::super::records::{Identity, code, op};
use super::Checker;
use super::history::Reply;

const STANDARD: u8 = 1;
const PERSISTENT: u8 = 2;
const RECURSIVE: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Data,
    Child,
}

/// Event type and path.
type Event = (i32, String);

struct Due {
    zxid: i64,
    event: Event,
    /// An auth packet is under way that decides whether the client may see it.
    is_optional: bool,
}

/// The watches of a connection, as its server has them after the newest trigger looked at.
#[derive(Default)]
pub struct Watches {
    /// The first trigger not looked at.
    next: usize,
    armed: BTreeMap<(Table, String), u8>,
    due: VecDeque<Due>,
    /// Events of a setWatches whose reply is still to come.
    catch_up: Vec<Event>,
}

impl Watches {
    fn arm(&mut self, table: Table, path: &str, mode: u8) {
        *self.armed.entry((table, path.to_owned())).or_default() |= mode;
    }

    fn disarm(&mut self, table: Table, path: &str, mode: u8) {
        let key = (table, path.to_owned());
        if let Some(modes) = self.armed.get_mut(&key) {
            *modes &= !mode;
            if *modes == 0 {
                self.armed.remove(&key);
            }
        }
    }

    fn has(&self, table: Table, path: &str, modes: u8) -> bool {
        let armed = self.armed.get(&(table, path.to_owned()));
        armed.is_some_and(|armed| armed & modes != 0)
    }

    /// What addWatch, checkWatches or removeWatches comes to.
    fn perform(&mut self, opcode: i32, path: &str, kind: i32) -> i32 {
        let both = |modes: u8| vec![(Table::Data, modes), (Table::Child, modes)];
        let meant = match (opcode, kind) {
            (op::ADD_WATCH, 0) => both(PERSISTENT),
            (op::ADD_WATCH, 1) => vec![(Table::Data, RECURSIVE)],
            (op::ADD_WATCH, _) => return code::MARSHALLING,
            (_, 1) => vec![(Table::Child, STANDARD)],
            (_, 2) => vec![(Table::Data, STANDARD)],
            (_, 3) => both(u8::MAX),
            (_, 4) => both(PERSISTENT),
            (_, 5) => vec![(Table::Data, RECURSIVE)],
            _ => return code::MARSHALLING,
        };
        let is_there = meant.iter().any(|(table, modes)| self.has(*table, path, *modes));
        for (table, modes) in meant {
            match opcode {
                op::ADD_WATCH => self.arm(table, path, modes),
                op::REMOVE_WATCHES => self.disarm(table, path, modes),
                _ => {}
            }
        }
        if is_there || opcode == op::ADD_WATCH {
            code::OK
        } else {
            code::NO_WATCHER
        }
    }

    /// Takes the standard watch and tells whether any watch sees an event at the path.
    fn hit(&mut self, table: Table, path: &str) -> bool {
        let is_hit = self.armed.contains_key(&(table, path.to_owned()));
        self.disarm(table, path, STANDARD);
        is_hit || table == Table::Data && self.is_below_recursive(path)
    }

    fn is_below_recursive(&self, path: &str) -> bool {
        let is_armed = |path: &str| {
            let modes = self.armed.get(&(Table::Data, path.to_owned()));
            modes.is_some_and(|modes| modes & RECURSIVE != 0)
        };
        let slashes = path.match_indices('/').map(|(at, _)| &path[..at]);
        is_armed("/") || slashes.skip(1).any(is_armed)
    }

    /// Looks at all changes up to a zxid.
    fn advance(&mut self, triggers: &[Trigger], zxid: i64, known: &[Identity], asked: &[Identity]) {
        while let Some(trigger) = triggers.get(self.next).filter(|trigger| trigger.zxid <= zxid) {
            self.next += 1;
            if self.armed.is_empty() {
                continue;
            }
            let path = trigger.path.as_str();
            let is_hit = match trigger.event {
                EventType::ChildrenChanged => self.hit(Table::Child, path),
                EventType::Created | EventType::DataChanged => self.hit(Table::Data, path),
                EventType::Deleted => {
                    let data = self.hit(Table::Data, path);
                    self.hit(Table::Child, path) || data
                }
            };
            let may = [known, asked].map(|ids| allows(&trigger.acls, acl::READ, ids));
            if is_hit && may != [false, false] {
                self.due.push_back(Due {
                    zxid: trigger.zxid,
                    event: (trigger.event as i32, path.to_owned()),
                    is_optional: may[0] != may[1],
                });
            }
        }
    }
}

impl Checker {
    /// Looks at all changes up to a zxid with the eyes of one connection.
    fn advance(&mut self, conn: u64, zxid: i64) -> Option<&mut Watches> {
        let connection = self.connections.get_mut(&conn)?;
        let (known, asked) = (&connection.known_ids, &connection.ids);
        connection.watches.advance(&self.triggers, zxid, known, asked);
        Some(&mut connection.watches)
    }

    pub(super) fn check_event(&mut self, conn: u64, reply: &Reply<'_>) {
        self.counts.events += 1;
        let mut reader = Reader::new(reply.body);
        let mut fields = || {
            let (event, _) = (reader.int()?, reader.int()?);
            Some((event, reader.text()?))
        };
        let Some(event) = fields() else {
            self.violation("I13", format!("connection {conn} received an event without path"));
            return;
        };
        let zxid = reply.zxid;
        let Some(watches) = self.advance(conn, zxid) else {
            return;
        };
        if zxid == -1 {
            watches.catch_up.push(event);
            return;
        }
        let is_it = |due: &Due| due.zxid == zxid && due.event == event;
        let Some(position) = watches.due.iter().position(is_it) else {
            let text =
                format!("connection {conn}: event {event:?} of {zxid:#x}, for which there is no watch");
            self.violation("I13", text);
            return;
        };
        let before: Vec<Due> = watches.due.drain(..=position).take(position).collect();
        self.report_missing(conn, before, zxid);
    }

    /// Every event of what the reply shows must have come.
    pub(super) fn check_nothing_due(&mut self, conn: u64, reply: &Reply<'_>) {
        if let Some(watches) = self.advance(conn, reply.zxid) {
            let due = std::mem::take(&mut watches.due);
            self.report_missing(conn, due, reply.zxid);
        }
        // An auth packet is answered at once, perhaps before the events of changes made before it.
        if let Some(connection) = self.connections.get_mut(&conn)
            && reply.zxid > 0
        {
            connection.known_ids = connection.answered_ids.clone();
        }
    }

    fn report_missing(&mut self, conn: u64, missing: impl IntoIterator<Item = Due>, shown: i64) {
        for due in missing.into_iter().filter(|due| !due.is_optional) {
            let text = format!(
                "connection {conn} was shown {shown:#x} without event {:?} of {:#x}",
                due.event, due.zxid
            );
            self.violation("I13", text);
        }
    }

    /// Reads may register a watch.
    pub(super) fn read_watch_reply(&mut self, conn: u64, index: usize, reply: &Reply<'_>) {
        let request = &self.requests[index];
        let (table, is_registered) = match request.opcode {
            op::EXISTS => (Table::Data, matches!(reply.error, code::OK | code::NO_NODE)),
            op::GET_DATA => (Table::Data, reply.error == code::OK),
            op::GET_CHILDREN | op::GET_CHILDREN2 => (Table::Child, reply.error == code::OK),
            _ => return,
        };
        let mut reader = Reader::new(&request.body);
        let (Some(path), Some(true)) = (reader.text(), reader.boolean()) else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(&conn).filter(|_| is_registered) {
            connection.watches.arm(table, &path, STANDARD);
        }
    }

    /// addWatch, checkWatches and removeWatches.
    pub(super) fn watch_reply(&mut self, conn: u64, index: usize, reply: &Reply<'_>) {
        self.counts.others += 1;
        let request = &self.requests[index];
        let opcode = request.opcode;
        let mut reader = Reader::new(&request.body);
        let (Some(path), Some(kind)) = (reader.text(), reader.int()) else {
            return;
        };
        let is_decided = matches!(reply.error, code::OK | code::NO_WATCHER | code::MARSHALLING);
        let Some(connection) = self.connections.get_mut(&conn).filter(|_| is_decided) else {
            return;
        };
        let expected = connection.watches.perform(opcode, &path, kind);
        // Where a reply may show more than its zxid tells, a watch may have fired without being known to.
        if reply.error != expected && self.options.exact_reads {
            let text = format!(
                "connection {conn}: {opcode} of {path}, {kind}, at {:#x} has error {}, not {expected}",
                reply.zxid, reply.error
            );
            self.violation("I13", text);
        }
    }

    /// The events of what changed since the client saw it have come, and the rest is watched.
    pub(super) fn set_watches_reply(&mut self, conn: u64, index: usize, reply: &Reply<'_>) {
        self.counts.others += 1;
        let request = &self.requests[index];
        let Some((since, lists)) = decode_set_watches(request.opcode, &request.body) else {
            return;
        };
        let Some(connection) = self
            .connections
            .get_mut(&conn)
            .filter(|_| reply.error == code::OK)
        else {
            return;
        };
        let watches = &mut connection.watches;
        let mut expected: Vec<Event> = Vec::new();
        for (kind, paths) in lists.into_iter().enumerate() {
            for path in paths {
                let node = self.model.node_at(reply.zxid, &path);
                let event = match (kind, node) {
                    (0 | 2, None) => Some(EventType::Deleted),
                    (0, Some(node)) => (node.mzxid > since).then_some(EventType::DataChanged),
                    (1, node) => node.map(|_| EventType::Created),
                    (2, Some(node)) => (node.pzxid > since).then_some(EventType::ChildrenChanged),
                    _ => None,
                };
                match (event, kind) {
                    (Some(event), _) => expected.push((event as i32, path)),
                    (None, 0 | 1) => watches.arm(Table::Data, &path, STANDARD),
                    (None, 2) => watches.arm(Table::Child, &path, STANDARD),
                    (None, 3) => {
                        watches.arm(Table::Data, &path, PERSISTENT);
                        watches.arm(Table::Child, &path, PERSISTENT);
                    }
                    (None, _) => watches.arm(Table::Data, &path, RECURSIVE),
                }
            }
        }
        let came = std::mem::take(&mut watches.catch_up);
        if came != expected {
            let text = format!(
                "connection {conn}: setWatches at {:#x} since {since:#x} brought {came:?}, not {expected:?}",
                reply.zxid
            );
            self.violation("I13", text);
        }
    }
}

fn decode_set_watches(opcode: i32, body: &[u8]) -> Option<(i64, Vec<Vec<String>>)> {
    let mut reader = Reader::new(body);
    let since = reader.long()?;
    let count = if opcode == op::SET_WATCHES2 { 5 } else { 3 };
    let lists = (0..count).map(|_| reader.vector(Reader::text)?);
    Some((since, lists.collect::<Option<Vec<_>>>()?))
}
