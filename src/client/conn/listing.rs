//! A reply with many names, which is collected in pieces: one at each call, so that others get their turn.

use super::batch::Batch;
use super::{ClientConn, State, read_context};
use crate::clock::Now;
use crate::shared::Shared;

impl ClientConn {
    /// Goes on collecting. Under the guard of the last names the outbox is drained first: no event is behind
    /// a reply that shows what it tells of. True, as there is more to do in any case.
    pub(super) fn advance_listing(&mut self, now: Now, shared: &Shared) -> bool {
        let Some(mut listing) = self.listing.take() else {
            return true;
        };
        if listing.is_collecting() {
            let tree = shared.tree.read();
            self.drain_outbox(now, shared);
            if self.state != State::Established {
                tree.end_listing(self.shared.id);
                return true;
            }
            self.shared.touch(now.mono);
            listing.collect(&read_context(
                &self.config,
                &self.shared,
                &self.ids,
                shared,
                &tree,
            ));
        }
        if !listing.sift() {
            self.listing = Some(listing);
            return true;
        }
        let (zxid, (xid, op, body)) = (listing.zxid(), listing.request());
        let frame = listing.into_frame();
        let bytes = frame.len() - 4;
        match self.output.is_empty() {
            true => self.output = frame,
            false => self.output.extend_from_slice(&frame),
        }
        shared.note_reply(now.mono, &self.shared, op, &body, bytes);
        let mut batch = Batch::default();
        batch.add(op, xid, bytes);
        self.count(now, shared, &batch, zxid);
        true
    }
}

#[cfg(test)]
mod tests;
