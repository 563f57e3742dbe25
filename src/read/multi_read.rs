//! multiRead: several reads of one state. Each has its own outcome, and none leaves a watch.

use super::{ReadContext, put_children};
use crate::limits::MULTI_READ_BYTES_MAX;
use crate::proto::error_code::ErrorCode;
use crate::proto::multi::{self, Operations};
use crate::proto::opcode::OpCode;
use crate::proto::request::Request;
use crate::proto::response::{begin_frame, finish_frame, header_frame};

/// Appends the reply frame. A list whose results exceed [`MULTI_READ_BYTES_MAX`] is answered
/// `MarshallingError`: a request of one frame could otherwise ask for a million times its size.
pub(super) fn execute(context: &ReadContext<'_>, xid: i32, operations: &Operations<'_>, out: &mut Vec<u8>) {
    let zxid = context.tree.last_processed_zxid();
    let start = begin_frame(out, xid, zxid, ErrorCode::Ok);
    for operation in operations.iter() {
        let result_at = out.len();
        let bytes_left = MULTI_READ_BYTES_MAX.saturating_sub(result_at - start);
        match put_result(context, &operation, bytes_left, out) {
            Ok(()) => {}
            Err(Failure::OfOne(error)) => {
                out.truncate(result_at);
                multi::put_error(out, error);
            }
            Err(Failure::OfAll) => {
                out.truncate(start);
                return header_frame(out, xid, zxid, ErrorCode::MarshallingError);
            }
            Err(Failure::NotARead) => {
                out.truncate(start);
                // The reference server sends an empty list along.
                let start = begin_frame(out, xid, zxid, ErrorCode::MarshallingError);
                multi::put_end(out);
                return finish_frame(out, start);
            }
        }
    }
    multi::put_end(out);
    finish_frame(out, start);
}

enum Failure {
    OfOne(ErrorCode),
    OfAll,
    NotARead,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the list of what a multiRead holds is the closed one"
)]
fn put_result(
    context: &ReadContext<'_>,
    operation: &Request<'_>,
    bytes_left: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    match operation {
        Request::GetData(request) => {
            let node = context.readable(&request.path).map_err(Failure::OfOne)?;
            let bytes = RESULT_BYTES + node.data().map_or(0, <[u8]>::len);
            if bytes > bytes_left {
                return Err(Failure::OfAll);
            }
            multi::put_header(out, OpCode::GetData.code(), ErrorCode::Ok);
            context.put_data(&request.path, out).map_err(Failure::OfOne)
        }
        Request::GetChildren(request) => {
            let node = context.readable(&request.path).map_err(Failure::OfOne)?;
            if bytes_left < RESULT_BYTES {
                return Err(Failure::OfAll);
            }
            multi::put_header(out, OpCode::GetChildren.code(), ErrorCode::Ok);
            put_children(node, bytes_left, out).map_err(|_| Failure::OfAll)
        }
        _ => Err(Failure::NotARead),
    }
}

/// A result without what varies: header, length, stat.
const RESULT_BYTES: usize = 9 + 4 + 68;
