//! What waits to be sent on one connection: watch events, and the replies of requests that went through the
//! core.
//!
//! The watch contract rests here. Events and replies are pushed while the tree is write-locked, and a
//! connection drains its outbox inside the same read guard under which it then reads the tree. So no reply
//! shows a state whose event has not been put in front of it.

use std::task::Waker;

use parking_lot::Mutex;

use crate::ids::SessionId;

/// A queue of bytes with one writer (the core) and one reader (the connection's task).
#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pending: Drained,
    waker: Option<Waker>,
}

/// What a connection finds in its outbox.
#[derive(Debug, Default)]
pub struct Drained {
    /// Whole frames.
    pub bytes: Vec<u8>,
    /// How many of the frames answer requests; the others are events.
    pub replies: u32,
    /// Event frames among them.
    pub events: u32,
    /// The bytes of these.
    pub event_bytes: u32,
    /// Whether the connection now serves a session.
    pub is_established: bool,
    /// Whether the connection is to be closed once the bytes are sent.
    pub close: bool,
}

/// The outcome of a connect request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Established {
    /// The session.
    pub session_id: SessionId,
    /// Its negotiated timeout, in milliseconds.
    pub timeout_ms: i32,
}

impl Outbox {
    /// Queues one event frame. True if the outbox was empty: its reader has to be woken.
    pub fn push_event(&self, frame: &[u8]) -> bool {
        self.push(|pending| {
            pending.bytes.extend_from_slice(frame);
            pending.events += 1;
            pending.event_bytes = pending.event_bytes.saturating_add(frame.len() as u32);
        })
    }

    /// Queues one reply, written in place. True if the outbox was empty.
    pub fn push_reply(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.push(|pending| {
            write(&mut pending.bytes);
            pending.replies += 1;
        })
    }

    /// Queues the answer to the connect request. True if the outbox was empty.
    pub fn push_connected(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.push(|pending| {
            write(&mut pending.bytes);
            pending.replies += 1;
            pending.is_established = true;
        })
    }

    /// Asks for the connection to be closed after what is queued. True if the outbox was empty.
    pub fn close(&self) -> bool {
        self.push(|pending| pending.close = true)
    }

    /// What wakes the reader, if it waits. Used after the write guard is gone, so that the reader does not
    /// wake up only to wait.
    pub fn take_waker(&self) -> Option<Waker> {
        self.inner.lock().waker.take()
    }

    /// Whether there is something to drain; if not, `waker` is woken when there is.
    pub fn poll_ready(&self, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        if !inner.pending.is_empty() {
            return true;
        }
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        false
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().pending.is_empty()
    }

    /// Moves the queued bytes behind those in `out` and returns the rest.
    pub fn drain(&self, out: &mut Vec<u8>) -> Drained {
        let mut drained = std::mem::take(&mut self.inner.lock().pending);
        if out.is_empty() {
            std::mem::swap(out, &mut drained.bytes);
        } else {
            out.extend_from_slice(&drained.bytes);
        }
        drained.bytes.clear();
        drained
    }

    fn push(&self, change: impl FnOnce(&mut Drained)) -> bool {
        let mut inner = self.inner.lock();
        let was_empty = inner.pending.is_empty();
        change(&mut inner.pending);
        was_empty
    }
}

impl Drained {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.close
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let outbox = Outbox::default();
        assert!(outbox.push_event(b"event"));
        assert!(!outbox.push_reply(|out| out.extend_from_slice(b"reply")));
        assert!(!outbox.close());
        let mut out = b"before ".to_vec();
        let drained = outbox.drain(&mut out);
        assert_eq!(out, b"before eventreply");
        assert_eq!((drained.events, drained.replies, drained.close), (1, 1, true));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_reader_that_found_nothing_is_woken_once() {
        let outbox = Outbox::default();
        assert!(!outbox.poll_ready(Waker::noop()));
        assert!(outbox.close());
        assert!(outbox.take_waker().is_some());
        assert!(outbox.take_waker().is_none());
        assert!(outbox.poll_ready(Waker::noop()));
    }
}
