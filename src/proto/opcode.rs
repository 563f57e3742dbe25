//! Operation codes (ZooDefs.OpCode) and the reserved xids.

/// An event instead of a reply.
pub const XID_EVENT: i32 = -1;
/// The xid of every ping reply.
pub const XID_PING: i32 = -2;

macro_rules! op_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a request asks for, or what a logged transaction does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OpCode { $($(#[$doc])* $name = $code,)* }

        impl OpCode {
            /// The operation with this number, if there is one.
            pub fn from_code(code: i32) -> Option<OpCode> {
                match code { $($code => Some(OpCode::$name),)* _ => None }
            }
        }
    };
}

op_codes! {
    /// Opens a global session. Made by the server only.
    CreateSession = -10,
    /// Ends a session and removes its ephemerals.
    CloseSession = -11,
    /// A transaction that failed in preparation. Never a request.
    Error = -1,
    /// Creates a node.
    Create = 1,
    /// Deletes a node.
    Delete = 2,
    /// Stat of a node, or that it is missing.
    Exists = 3,
    /// Data and stat.
    GetData = 4,
    /// Replaces the data.
    SetData = 5,
    /// ACL and stat.
    GetAcl = 6,
    /// Replaces the ACL.
    SetAcl = 7,
    /// Names of the children.
    GetChildren = 8,
    /// Waits for what the leader has committed.
    Sync = 9,
    /// Keeps the session alive.
    Ping = 11,
    /// Names of the children, and stat.
    GetChildren2 = 12,
    /// Compares a version; only within a multi.
    Check = 13,
    /// Several writes as one.
    Multi = 14,
    /// Creates a node and answers its stat.
    Create2 = 15,
    /// Changes the membership.
    Reconfig = 16,
    /// Asks whether a watch is set.
    CheckWatches = 17,
    /// Removes watches.
    RemoveWatches = 18,
    /// Creates a container.
    CreateContainer = 19,
    /// Removes an empty container or a TTL node that is due. Made by the leader only.
    DeleteContainer = 20,
    /// Creates a node with a time to live.
    CreateTtl = 21,
    /// Several reads as one.
    MultiRead = 22,
    /// Adds an identity to the connection.
    Auth = 100,
    /// Sets watches again after a reconnect.
    SetWatches = 101,
    /// A step of a SASL exchange.
    Sasl = 102,
    /// The session's own ephemerals.
    GetEphemerals = 103,
    /// Counts all descendants.
    GetAllChildrenNumber = 104,
    /// SetWatches with persistent ones.
    SetWatches2 = 105,
    /// Sets a persistent watch.
    AddWatch = 106,
    /// The connection's identities.
    WhoAmI = 107,
}

impl OpCode {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// Whether only servers make it: a client that sends it is refused.
    pub fn is_internal(self) -> bool {
        matches!(
            self,
            OpCode::CreateSession | OpCode::Error | OpCode::DeleteContainer
        )
    }

    /// Whether a read-only server refuses it. The end of a session is its own affair.
    pub fn needs_leader(self) -> bool {
        self == OpCode::Sync || self.is_write() && self != OpCode::CloseSession
    }

    /// Whether it goes through the log (Request.isQuorum without sync).
    pub fn is_write(self) -> bool {
        matches!(
            self,
            OpCode::CreateSession
                | OpCode::CloseSession
                | OpCode::Error
                | OpCode::Create
                | OpCode::Create2
                | OpCode::CreateContainer
                | OpCode::CreateTtl
                | OpCode::Delete
                | OpCode::DeleteContainer
                | OpCode::SetData
                | OpCode::SetAcl
                | OpCode::Reconfig
                | OpCode::Check
                | OpCode::Multi
        )
    }
}
