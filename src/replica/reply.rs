//! Replies to writes, made from the transaction and what it did.

use crate::ids::Zxid;
use crate::proto::error_code::ErrorCode;
use crate::proto::jute::{Put, Reader};
use crate::proto::multi;
use crate::proto::opcode::OpCode;
use crate::proto::response::{begin_frame, finish_frame, header_frame};
use crate::proto::txn::{CreateKind, CreateTxn, Txn};
use crate::tree::TxnResult;

/// Appends the reply frame to a write.
pub(super) fn write(out: &mut Vec<u8>, xid: i32, zxid: Zxid, txn: &Txn<'_>, result: &TxnResult) {
    if let Txn::Multi(txns) = txn {
        // A failed multi says so in its results only.
        let start = begin_frame(out, xid, zxid, ErrorCode::Ok);
        put_results(out, txns, result);
        return finish_frame(out, start);
    }
    let error = logged_error(txn).unwrap_or(result.error);
    if error != ErrorCode::Ok {
        return header_frame(out, xid, zxid, error);
    }
    let start = begin_frame(out, xid, zxid, error);
    put_body(out, txn, result);
    finish_frame(out, start);
}

/// Appends the reply frame to a sync, which echoes the path.
pub(super) fn sync(out: &mut Vec<u8>, xid: i32, zxid: Zxid, body: &[u8]) {
    let Ok(path) = Reader::new(body).ustring() else {
        return header_frame(out, xid, zxid, ErrorCode::MarshallingError);
    };
    let start = begin_frame(out, xid, zxid, ErrorCode::Ok);
    match path {
        Some(path) => out.put_string(&path),
        None => out.put_buffer(None),
    }
    finish_frame(out, start);
}

fn put_body(out: &mut Vec<u8>, txn: &Txn<'_>, result: &TxnResult) {
    match txn {
        Txn::Create(CreateTxn {
            kind: CreateKind::Plain,
            path,
            ..
        }) => out.put_string(path),
        Txn::Create(CreateTxn { path, .. }) => {
            out.put_string(path);
            result.stat.unwrap_or_default().encode(out);
        }
        Txn::Reconfig { data, .. } => {
            out.put_buffer(*data);
            result.stat.unwrap_or_default().encode(out);
        }
        Txn::SetData { .. } | Txn::SetAcl { .. } => {
            result.stat.unwrap_or_default().encode(out);
        }
        Txn::Delete { .. }
        | Txn::DeleteContainer { .. }
        | Txn::Check { .. }
        | Txn::CreateSession { .. }
        | Txn::CloseSession { .. }
        | Txn::Error(_)
        | Txn::Multi(_) => {}
    }
}

/// One result for each operation (MultiResponse): their own if all went well, errors throughout if not.
fn put_results(out: &mut Vec<u8>, txns: &[Txn<'_>], result: &TxnResult) {
    let is_failed = txns.iter().any(|txn| logged_error(txn).is_some());
    for (at, txn) in txns.iter().enumerate() {
        if is_failed {
            multi::put_error(out, logged_error(txn).unwrap_or(ErrorCode::Ok));
        } else {
            multi::put_header(out, result_code(txn), ErrorCode::Ok);
            put_body(out, txn, result.multi.get(at).unwrap_or(result));
        }
    }
    multi::put_end(out);
}

/// What a transaction that failed in preparation says.
fn logged_error(txn: &Txn<'_>) -> Option<ErrorCode> {
    let Txn::Error(code) = txn else { return None };
    Some(ErrorCode::from_code(*code).unwrap_or(ErrorCode::MarshallingError))
}

/// Everything that answers a stat along with the path comes back as create2.
fn result_code(txn: &Txn<'_>) -> i32 {
    let op = txn.op();
    let is_special = matches!(op, OpCode::CreateContainer | OpCode::CreateTtl);
    if is_special {
        OpCode::Create2.code()
    } else {
        op.code()
    }
}
