//! Names of many children, collected in pieces while transactions go on.
//!
//! A reader holds the tree for one piece at a time. Nodes are linked in front of their siblings, so that what
//! comes meanwhile is in front of where the first piece began, and is found there at the end. What goes is
//! noted: the reader takes it out of what it has. So a list shows the state that its last piece was read in.

use parking_lot::Mutex;

use super::DataTree;
use super::node::NONE;
use crate::ids::ConnId;
use crate::proto::jute::Put;

/// Lists that are being collected.
#[derive(Default)]
pub(super) struct Listings {
    // Readers change their own while they share the tree.
    open: Mutex<Vec<Open>>,
}

/// One of them. A connection has at most one.
struct Open {
    conn: ConnId,
    parent: u32,
    /// The youngest child when it began, or the next that is left.
    first: u32,
    /// The next to be read.
    at: u32,
    /// Names of children that are gone since, whether or not they were read.
    gone: Vec<Box<str>>,
    /// The parent is gone.
    is_over: bool,
}

/// What a piece has led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// There are more.
    More,
    /// All were read. The children of these names are gone, unless they were read in the last piece.
    All {
        /// How many names at the end were read in the last piece and came after the list was begun.
        young: usize,
        /// Names in no order, some of them more than once.
        gone: Vec<Box<str>>,
    },
    /// The node is gone.
    Over,
}

impl DataTree {
    /// Begins to list the children of a node. False if there is no such node.
    pub fn begin_listing(&self, conn: ConnId, path: &str) -> bool {
        let Some(node) = self.lookup(path) else {
            return false;
        };
        let first = self.nodes.get(node.id()).first_child;
        let mut open = self.listings.open.lock();
        open.retain(|other| other.conn != conn);
        open.push(Open {
            conn,
            parent: node.id(),
            first,
            at: first,
            gone: Vec::new(),
            is_over: false,
        });
        true
    }

    /// Appends the names of the next `count_max` children, and at the end of those that came meanwhile.
    /// `count` goes up by as many.
    pub fn continue_listing(
        &self,
        conn: ConnId,
        count_max: usize,
        out: &mut Vec<u8>,
        count: &mut usize,
    ) -> Piece {
        // The lock is not held while names are read: others list, too.
        let open = {
            let mut listings = self.listings.open.lock();
            let place = listings.iter().position(|open| open.conn == conn);
            place.map(|place| listings.swap_remove(place))
        };
        let Some(mut open) = open.filter(|open| !open.is_over) else {
            return Piece::Over;
        };
        open.at = self.put_names(open.at, NONE, count_max, out, count);
        if open.at != NONE {
            self.listings.open.lock().push(open);
            return Piece::More;
        }
        let before = *count;
        let youngest = self.nodes.get(open.parent).first_child;
        self.put_names(youngest, open.first, usize::MAX, out, count);
        Piece::All {
            young: *count - before,
            gone: open.gone,
        }
    }

    /// The list is no longer wanted.
    pub fn end_listing(&self, conn: ConnId) {
        self.listings.open.lock().retain(|open| open.conn != conn);
    }

    /// Appends names from `at` on up to `end`, and says where it has stopped.
    fn put_names(&self, at: u32, end: u32, count_max: usize, out: &mut Vec<u8>, count: &mut usize) -> u32 {
        let (mut at, mut left) = (at, count_max);
        while at != end && at != NONE && left > 0 {
            let Some(id) = self.skip_tombstones_before(at, end) else {
                return end;
            };
            let node = self.nodes.get(id);
            out.put_utf8(node.name());
            *count += 1;
            left -= 1;
            at = node.next_sibling;
        }
        at
    }

    fn skip_tombstones_before(&self, mut id: u32, end: u32) -> Option<u32> {
        while id != end && id != NONE {
            let node = self.nodes.get(id);
            if !node.has(super::TOMBSTONE) {
                return Some(id);
            }
            id = node.next_sibling;
        }
        None
    }

    /// A node goes: lists of its parent's children no longer hold it, and there will be none of its own.
    pub(super) fn note_gone(&mut self, id: u32) {
        let node = self.nodes.get(id);
        for open in self.listings.open.get_mut() {
            if open.parent == node.parent {
                open.gone.push(node.name_str().into());
            }
            open.is_over |= open.parent == id;
        }
    }

    /// A node is about to be taken out of the chain of its siblings.
    pub(super) fn note_unlinked(&mut self, id: u32, next: u32) {
        for open in self.listings.open.get_mut() {
            for place in [&mut open.first, &mut open.at] {
                if *place == id {
                    *place = next;
                }
            }
        }
    }
}
