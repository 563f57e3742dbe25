//! Every bound of the server in one place.

/// `jute.maxbuffer`: the longest request frame, in bytes, when nothing is configured.
pub const JUTE_MAXBUFFER: usize = 0xf_ffff;
/// `zookeeper.jute.maxbuffer.extrasize` when nothing is configured: slack for what is read back from disk.
pub const JUTE_EXTRASIZE: usize = JUTE_MAXBUFFER;
/// Bytes read from a socket at once.
pub const READ_BYTES: usize = 16 * 1024;
/// Reads of a connection that may wait behind one of its writes; each may answer a megabyte.
pub const QUEUED_READS_MAX: u32 = 64;
/// Frames decoded under one read guard, so that a pipelining client cannot starve the writer.
pub const READS_PER_GUARD: usize = 128;
/// Reply bytes produced under one read guard.
pub const REPLY_BYTES_PER_GUARD: usize = 256 * 1024;
/// Names of children listed under one read guard; more are collected in pieces.
pub const LISTED_AT_ONCE_MAX: usize = 8192;
/// Reply bytes a connection may have unsent before its socket is no longer read.
pub const UNSENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of events a connection may have unsent. Its client does not read them, and persistent watches go on
/// for as long as it has a session: the connection is closed.
pub const UNSENT_EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Commits applied under one write guard, so that readers get their turn.
pub const COMMITS_PER_GUARD: usize = 256;
/// Bytes of the results of one multiRead.
pub const MULTI_READ_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of a list of names in a reply: frame lengths have 31 bits.
pub const REPLY_BYTES_MAX: usize = 0x7fff_0000;

const _: () = assert!(REPLY_BYTES_PER_GUARD < UNSENT_BYTES_MAX);
