//! A reference model of a coordination service and a checker of histories against it.
//!
//! Nothing here uses the product's deciding code: the model has its own encoding, tree, permission checks
//! and reader of log files, written from the protocol and the disk format alone. A test crate includes it:
//!
//! ```ignore
//! #[path = "../model/mod.rs"]
//! mod model;
//! ```
//!
//! # While it happens (the simulator)
//!
//! Calls come in the order of events; `at` is any clock that ticks at each event, such as a step counter.
//! A frame is what follows the length on the wire.
//!
//! ```ignore
//! let mut checker = Checker::new(Options::default());
//! // A client connects: the frame of its ConnectRequest, and the server that it reached.
//! checker.opened(conn, Opened { server: 1, address: "10.0.0.7", at: 1, frame: &connect_request });
//! // A transaction is committed for the first time anywhere: header, record, perhaps digest.
//! checker.entry(&create_session_txn);
//! // The first frame of a connection is its ConnectResponse, the rest are replies and events.
//! checker.received(conn, 3, &connect_response);
//! checker.request(conn, 4, &create_request); // RequestHeader and record
//! checker.entry(&create_txn);
//! checker.received(conn, 6, &create_reply);
//! assert!(checker.violations().is_empty()); // as often as wanted
//! checker.finish(); // once, when all has been told
//! ```
//!
//! A client sends its first request after the ConnectResponse of a new session, has xids of its own for
//! each request of a session, and ignores a connection that it gave up.
//!
//! # Afterwards (histories of real processes)
//!
//! First all `opened`, `bound` (the session of a connection, known from its ConnectResponse) and `request`
//! in any order that keeps each connection's own, then `entry` for the merged log in the order of zxids
//! ([`log_file::read_data_dir`] reads it), then all `received` in the order of time, then `finish`.
//! Requests without a reply are resolved through the log.
//!
//! # The model alone
//!
//! [`Model::apply`] follows a log, [`Model::expected`] tells what a correct leader makes of a write, and
//! [`Model::read`] answers reads at any zxid of the past.
#![allow(dead_code, unused_imports, reason = "each test crate uses its own part")]

pub mod acl;
mod apply;
pub mod check;
mod expected;
pub mod jute;
pub mod log_file;
mod overlay;
mod path;
mod read;
pub mod records;
mod tree;

pub use apply::{EventType, Trigger};
pub use check::{Checker, Opened, Options, Violation};
pub use expected::{Outcome, WriteRequest};
pub use read::{ReadRequest, same_reply};
pub use records::{Acl, Identity, Txn, TxnHeader, code, op};
pub use tree::{Model, Node};
