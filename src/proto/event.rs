//! Watch events.

use super::jute::Put;
use super::opcode::XID_EVENT;
use crate::ids::Zxid;

/// What happened to a node (Watcher.Event.EventType). Servers send no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// The node came to be.
    NodeCreated = 1,
    /// The node is gone.
    NodeDeleted = 2,
    /// The node has other data.
    NodeDataChanged = 3,
    /// A child came or went.
    NodeChildrenChanged = 4,
}

/// The zxid of events that setWatches makes up for changes long past.
pub const CATCH_UP_ZXID: Zxid = Zxid(-1);

/// Appends a whole event frame. The state is always SyncConnected (3).
pub fn encode_frame(event: EventType, path: &str, zxid: Zxid, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_int(0);
    out.put_int(XID_EVENT);
    out.put_long(zxid.0);
    out.put_int(0);
    out.put_int(event as i32);
    out.put_int(3);
    out.put_string(path);
    super::response::finish_frame(out, start);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_byte_for_byte_the_reference_servers() {
        let mut frame = Vec::new();
        encode_frame(EventType::NodeCreated, "/w", Zxid(0x6b), &mut frame);
        let expected = [
            0, 0, 0, 30, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x6b, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
            3, 0, 0, 0, 2, 0x2f, 0x77,
        ];
        assert_eq!(frame, expected);
    }
}
