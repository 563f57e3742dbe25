//! What is said of requests that are not looked into.

use crate::ids::Zxid;
use crate::proto::error_code::ErrorCode;
use crate::proto::jute::{Put, Reader};
use crate::proto::opcode::OpCode;
use crate::proto::request::{RequestHeader, first_path};
use crate::proto::response::{begin_frame, finish_frame};

/// What the beginning of a request that is too long says of the path it is about.
pub(super) fn oversized_path(frame: &[u8]) -> Option<String> {
    let (header, body) = RequestHeader::decode(frame).ok()?;
    first_path(OpCode::from_code(header.code)?, body)
}

/// The reference answers SASL steps without a configured mechanism with success and a null token.
pub(super) fn no_sasl(xid: i32, body: &[u8], out: &mut Vec<u8>) -> bool {
    if !matches!(Reader::new(body).buffer(), Ok(Some(_))) {
        return false;
    }
    let start = begin_frame(out, xid, Zxid::ZERO, ErrorCode::Ok);
    out.put_buffer(None);
    finish_frame(out, start);
    true
}
