//! What happens in a run, as one number that two runs of the same seed agree on, and in words for a reader.

use std::cell::RefCell;
use std::fmt::Arguments;

#[derive(Default)]
pub struct Trace {
    hash: u64,
    /// Whether somebody is to read what happens.
    pub is_read: bool,
}

thread_local! {
    /// What happened, kept here because a run may end in a panic.
    pub static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Trace {
    pub fn mix(&mut self, value: u64) {
        self.hash = (self.hash.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.mix(u64::from(crc32fast::hash(bytes)));
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// A line, made only if it is wanted.
    pub fn say(&mut self, ms: u64, line: Arguments<'_>) {
        if self.is_read {
            LINES.with(|lines| lines.borrow_mut().push(format!("{ms:>7} {line}")));
        }
    }
}
