//! Bytes to types and back: the records of `zookeeper.jute` and the frames around them. Pure functions.

pub mod acl;
pub mod connect;
pub mod error_code;
pub mod event;
pub mod frame;
pub mod jute;
pub mod multi;
pub mod opcode;
pub mod quorum;
pub mod request;
pub mod response;
pub mod stat;
pub mod txn;
pub mod vote;
