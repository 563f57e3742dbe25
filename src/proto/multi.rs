//! The request list and the result list of multi and multiRead (MultiOperationRecord, MultiResponse).

use super::error_code::ErrorCode;
use super::jute::{DecodeError, Put, Reader};
use super::opcode::OpCode;
use super::request::{CreateRequest, Request};

/// Decodes the operations of a multi: all writes, or all reads. An empty list is legal.
pub fn decode<'a>(reader: &mut Reader<'a>) -> Result<Vec<Request<'a>>, DecodeError> {
    let mut operations = Vec::new();
    loop {
        let code = reader.int()?;
        let is_done = reader.bool()?;
        let _error = reader.int()?;
        if is_done {
            return Ok(operations);
        }
        let operation = decode_operation(code, reader)?;
        if operations
            .first()
            .is_some_and(|first| is_read(first) != is_read(&operation))
        {
            return Err(DecodeError::UnknownType(code));
        }
        operations.push(operation);
    }
}

/// Appends the header before a result.
pub fn put_header(out: &mut Vec<u8>, code: i32, error: ErrorCode) {
    out.put_int(code);
    out.put_bool(false);
    out.put_int(error.code());
}

/// Appends a result that is an error, with its code in the header and in the body.
pub fn put_error(out: &mut Vec<u8>, error: ErrorCode) {
    put_header(out, OpCode::Error.code(), error);
    out.put_int(error.code());
}

/// Appends what ends a result list.
pub fn put_end(out: &mut Vec<u8>) {
    out.put_int(-1);
    out.put_bool(true);
    out.put_int(-1);
}

/// Whether an operation of a decoded list reads.
pub fn is_read(operation: &Request<'_>) -> bool {
    matches!(operation, Request::GetData(_) | Request::GetChildren(_))
}

fn decode_operation<'a>(code: i32, reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let op = OpCode::from_code(code).ok_or(DecodeError::UnknownType(code))?;
    let is_create = matches!(op, OpCode::Create | OpCode::Create2 | OpCode::CreateContainer);
    let is_other = matches!(
        op,
        OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::Check
            | OpCode::GetData
            | OpCode::GetChildren
    );
    if !is_create && !is_other {
        return Err(DecodeError::UnknownType(code));
    }
    let operation = Request::decode_from(op, reader)?;
    if let Request::Create(create) = &operation
        && is_create
    {
        check_create(create)?;
    }
    Ok(operation)
}

/// Op.create of the client library is built while the list is decoded, and is stricter than the server:
/// flags outside 0..=4 and a null ACL vector make the whole request undecodable.
fn check_create(create: &CreateRequest<'_>) -> Result<(), DecodeError> {
    if !(0..=4).contains(&create.flags) {
        return Err(DecodeError::UnknownType(create.flags));
    }
    if create.acl.bytes() == [0xff; 4] {
        return Err(DecodeError::Null);
    }
    Ok(())
}
