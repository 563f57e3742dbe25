//! The bookkeeping of a znode: as stored (`StatPersisted`) and as shown to clients (`Stat`).

use super::jute::{DecodeError, Put, Reader};
use crate::ids::Zxid;

/// What is stored with a znode. `cversion` counts creations of children only (DataNode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatPersisted {
    /// The transaction that created the node.
    pub czxid: Zxid,
    /// The transaction that last changed its data.
    pub mzxid: Zxid,
    /// When it was created, milliseconds since the Unix epoch.
    pub ctime: i64,
    /// When its data last changed, milliseconds since the Unix epoch.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Children ever created.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// 0, a session, or a container or TTL marker (EphemeralType).
    pub ephemeral_owner: i64,
    /// The transaction that last added or removed a child.
    pub pzxid: Zxid,
}

impl StatPersisted {
    /// In the order of the snapshot's record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_long(self.czxid.0);
        out.put_long(self.mzxid.0);
        out.put_long(self.ctime);
        out.put_long(self.mtime);
        out.put_int(self.version);
        out.put_int(self.cversion);
        out.put_int(self.aversion);
        out.put_long(self.ephemeral_owner);
        out.put_long(self.pzxid.0);
    }

    /// Reads the snapshot's record, 60 bytes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<StatPersisted, DecodeError> {
        Ok(StatPersisted {
            czxid: Zxid(reader.long()?),
            mzxid: Zxid(reader.long()?),
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            pzxid: Zxid(reader.long()?),
        })
    }
}

/// What a client is shown, 68 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that created the node.
    pub czxid: Zxid,
    /// The transaction that last changed its data.
    pub mzxid: Zxid,
    /// When it was created, milliseconds since the Unix epoch.
    pub ctime: i64,
    /// When its data last changed, milliseconds since the Unix epoch.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Creations plus deletions of children: `2 * created - present`, wrapping (DataNode.copyStat).
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// The owning session, 0 for every other kind of node.
    pub ephemeral_owner: i64,
    /// Bytes of data, 0 for null.
    pub data_length: i32,
    /// Children present.
    pub num_children: i32,
    /// The transaction that last added or removed a child.
    pub pzxid: Zxid,
}

impl Stat {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_long(self.czxid.0);
        out.put_long(self.mzxid.0);
        out.put_long(self.ctime);
        out.put_long(self.mtime);
        out.put_int(self.version);
        out.put_int(self.cversion);
        out.put_int(self.aversion);
        out.put_long(self.ephemeral_owner);
        out.put_int(self.data_length);
        out.put_int(self.num_children);
        out.put_long(self.pzxid.0);
    }
}
