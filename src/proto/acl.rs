//! Access control lists and identities.

use std::borrow::Cow;

use super::jute::{DecodeError, Put, Reader};

/// Permission bits (ZooDefs.Perms).
pub mod perms {
    /// Read data, list children.
    pub const READ: i32 = 1;
    /// Change data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Change the ACL.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// Who somebody is, under a scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// `world`, `digest`, `ip`, `super`, …
    pub scheme: String,
    /// What the scheme calls the identity.
    pub id: String,
}

/// One entry of a list: permissions for an identity. A null scheme or id on the wire is read as empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acl {
    /// Any bits; those outside [`perms::ALL`] mean nothing but are kept.
    pub perms: i32,
    /// Whom they are granted to.
    pub id: Id,
}

impl Acl {
    /// `world:anyone` with these permissions.
    pub fn world(perms: i32) -> Acl {
        Acl {
            perms,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }
    }
}

/// A `vector<ACL>` as its bytes, checked to be well formed. Lists travel, are logged and are compared in
/// this form; the tree decodes each distinct one once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawAcls<'a>(Cow<'a, [u8]>);

impl<'a> RawAcls<'a> {
    /// Takes a vector off the reader.
    pub fn decode(reader: &mut Reader<'a>) -> Result<RawAcls<'a>, DecodeError> {
        let start = reader.rest();
        for _ in 0..reader.vector()?.unwrap_or(0) {
            reader.int()?;
            reader.buffer()?;
            reader.buffer()?;
        }
        Ok(RawAcls(Cow::Borrowed(
            &start[..start.len() - reader.rest().len()],
        )))
    }

    /// Encodes a list.
    pub fn from_list(list: &[Acl]) -> RawAcls<'static> {
        let mut out = Vec::with_capacity(4 + 32 * list.len());
        out.put_count(list.len());
        for acl in list {
            out.put_int(acl.perms);
            out.put_string(&acl.id.scheme);
            out.put_string(&acl.id.id);
        }
        RawAcls(Cow::Owned(out))
    }

    /// The encoded vector.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The entries; null is `None`.
    pub fn to_list(&self) -> Option<Vec<Acl>> {
        let mut reader = Reader::new(&self.0);
        let count = reader.vector().ok()??;
        let mut list = Vec::with_capacity(reader.capacity(count, 12));
        for _ in 0..count {
            let perms = reader.int().ok()?;
            let scheme = reader.ustring().ok()?.unwrap_or_default().into_owned();
            let id = reader.ustring().ok()?.unwrap_or_default().into_owned();
            list.push(Acl {
                perms,
                id: Id { scheme, id },
            });
        }
        Some(list)
    }

    /// Of each entry, whether its scheme and whether its id are null rather than empty.
    pub fn nulls(&self) -> Vec<(bool, bool)> {
        let mut reader = Reader::new(&self.0);
        let count = reader.vector().ok().flatten().unwrap_or(0);
        let mut is_null = || {
            reader.int().ok()?;
            Some((reader.buffer().ok()?.is_none(), reader.buffer().ok()?.is_none()))
        };
        (0..count).map_while(|_| is_null()).collect()
    }

    /// The same without a borrow.
    pub fn into_owned(self) -> RawAcls<'static> {
        RawAcls(Cow::Owned(self.0.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_bytes_and_its_meaning() {
        let list = [
            Acl::world(perms::ALL),
            Acl {
                perms: 1,
                id: Id {
                    scheme: "ip".into(),
                    id: "::1".into(),
                },
            },
        ];
        let mut bytes = RawAcls::from_list(&list).bytes().to_vec();
        bytes.push(7);
        let mut reader = Reader::new(&bytes);
        let raw = RawAcls::decode(&mut reader).expect("what was encoded");
        assert_eq!(reader.rest(), [7]);
        assert_eq!(raw.to_list().as_deref(), Some(&list[..]));
        let null = RawAcls::decode(&mut Reader::new(&[0xff; 4])).expect("null");
        assert_eq!(null.to_list(), None);
        assert!(RawAcls::decode(&mut Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0])).is_err());
    }
}
