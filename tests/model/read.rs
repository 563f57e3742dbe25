//! What reads show at a zxid.

use std::sync::Arc;

use super::acl::{self, allows, masked};
use super::jute::{Reader, Writer};
use super::records::{Acl, Identity, code, op, write_acls};
use super::tree::{Model, Node};

/// A read, and who asks.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest<'a> {
    pub session: i64,
    /// Identities of the connection when the request was sent.
    pub ids: &'a [Identity],
    pub opcode: i32,
    /// The record, without the RequestHeader.
    pub body: &'a [u8],
}

impl Model {
    /// The reply's code, and its body if the code is 0, from the state after the given transaction.
    pub fn read(&self, zxid: i64, request: &ReadRequest<'_>) -> (i32, Vec<u8>) {
        let mut reader = Reader::new(request.body);
        let mut reply = Writer::new();
        let result = match request.opcode {
            op::MULTI_READ => self.multi_read(zxid, request, &mut reader, &mut reply),
            op::GET_EPHEMERALS => self.get_ephemerals(zxid, request, &mut reader, &mut reply),
            opcode => match reader.text() {
                None => Err(code::MARSHALLING),
                Some(path) => self.read_one(zxid, opcode, &path, request.ids, &mut reply),
            },
        };
        match result {
            Ok(()) => (code::OK, reply.done()),
            Err(code) => (code, Vec::new()),
        }
    }

    fn read_one(
        &self,
        zxid: i64,
        opcode: i32,
        path: &str,
        ids: &[Identity],
        reply: &mut Writer,
    ) -> Result<(), i32> {
        if opcode == op::EXISTS && path.contains('\0') {
            return Err(code::BAD_ARGUMENTS);
        }
        let node = self.node_at(zxid, path).ok_or(code::NO_NODE)?;
        let wanted = if opcode == op::GET_ACL {
            acl::READ | acl::ADMIN
        } else {
            acl::READ
        };
        if !allows(&node.acls, wanted, ids) {
            return Err(code::NO_AUTH);
        }
        match opcode {
            op::EXISTS => node.write_stat(reply),
            op::GET_DATA => node.write_stat(reply.buffer(node.data.as_deref())),
            op::GET_ACL => write_acl_reply(node, ids, reply),
            op::GET_CHILDREN => self.write_children(zxid, path, reply),
            op::GET_CHILDREN2 => {
                self.write_children(zxid, path, reply);
                node.write_stat(reply);
            }
            op::GET_ALL_CHILDREN_NUMBER => {
                reply.count(self.descendants_at(zxid, path));
            }
            other => panic!("the model knows no read with opcode {other}"),
        }
        Ok(())
    }

    fn write_children(&self, zxid: i64, path: &str, reply: &mut Writer) {
        reply.texts(self.children_at(zxid, path).iter());
    }

    fn get_ephemerals(
        &self,
        zxid: i64,
        request: &ReadRequest<'_>,
        reader: &mut Reader<'_>,
        reply: &mut Writer,
    ) -> Result<(), i32> {
        let prefix = reader.text_or_null().ok_or(code::MARSHALLING)?;
        let is_all = matches!(prefix.trim(), "" | "/");
        let mut paths = self.ephemerals_at(zxid, request.session);
        paths.retain(|path: &Arc<str>| is_all || path.starts_with(&prefix));
        reply.texts(paths.iter());
        Ok(())
    }

    fn multi_read(
        &self,
        zxid: i64,
        request: &ReadRequest<'_>,
        reader: &mut Reader<'_>,
        reply: &mut Writer,
    ) -> Result<(), i32> {
        while let Some((opcode, path)) = next_read(reader).ok_or(code::MARSHALLING)? {
            let mut result = Writer::new();
            match self.read_one(zxid, opcode, &path, request.ids, &mut result) {
                Ok(()) => reply.int(opcode).boolean(false).int(0).raw(&result.done()),
                Err(code) => reply.int(-1).boolean(false).int(code).int(code),
            };
        }
        reply.int(-1).boolean(true).int(-1);
        Ok(())
    }
}

/// The next operation of a multiRead; the inner `None` is its end.
fn next_read(reader: &mut Reader<'_>) -> Option<Option<(i32, String)>> {
    let opcode = reader.int()?;
    let is_done = reader.boolean()?;
    reader.int()?;
    if is_done {
        return Some(None);
    }
    let path = reader.text()?;
    reader.boolean()?;
    matches!(opcode, op::GET_DATA | op::GET_CHILDREN).then_some(Some((opcode, path)))
}

fn write_acl_reply(node: &Node, ids: &[Identity], reply: &mut Writer) {
    let acls: Vec<Acl> = if allows(&node.acls, acl::ADMIN, ids) {
        node.acls.to_vec()
    } else {
        node.acls.iter().map(masked).collect()
    };
    write_acls(reply, &acls);
    node.write_stat(reply);
}

/// Two bodies of replies to the same request say the same. The order of children is not specified.
pub fn same_reply(opcode: i32, one: &[u8], other: &[u8]) -> bool {
    one == other
        || match (normal(opcode, one), normal(opcode, other)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
}

/// The parts of a body, with children sorted. `None` if the body makes no sense or is not of this kind.
fn normal(opcode: i32, body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader::new(body);
    let mut parts = Vec::new();
    match opcode {
        op::GET_CHILDREN | op::GET_CHILDREN2 | op::GET_EPHEMERALS => {
            normal_children(&mut reader, &mut parts)?;
            parts.push(reader.rest().to_vec());
        }
        op::MULTI_READ => loop {
            let start = reader.rest();
            let (opcode, is_done, _) = (reader.int()?, reader.boolean()?, reader.int()?);
            parts.push(start[..9].to_vec());
            match opcode {
                _ if is_done => return Some(parts),
                op::GET_CHILDREN => normal_children(&mut reader, &mut parts)?,
                op::GET_DATA => {
                    parts.push(reader.buffer()?.unwrap_or(b"null").to_vec());
                    let stat = [reader.long()?, reader.long()?, reader.long()?, reader.long()?];
                    parts.extend(stat.map(|part| part.to_be_bytes().to_vec()));
                    for _ in 0..3 {
                        parts.push(reader.int()?.to_be_bytes().to_vec());
                    }
                    parts.push(reader.long()?.to_be_bytes().to_vec());
                    for _ in 0..2 {
                        parts.push(reader.int()?.to_be_bytes().to_vec());
                    }
                    parts.push(reader.long()?.to_be_bytes().to_vec());
                }
                op::ERROR => parts.push(reader.int()?.to_be_bytes().to_vec()),
                _ => return None,
            }
        },
        _ => return None,
    }
    Some(parts)
}

fn normal_children(reader: &mut Reader<'_>, parts: &mut Vec<Vec<u8>>) -> Option<()> {
    let mut names = reader.vector(Reader::text)??;
    names.sort();
    parts.extend(names.into_iter().map(String::into_bytes));
    parts.push(Vec::new());
    Some(())
}
