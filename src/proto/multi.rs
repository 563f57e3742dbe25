//! The request list and the result list of multi and multiRead (MultiOperationRecord, MultiResponse).

use super::error_code::ErrorCode;
use super::jute::{DecodeError, Put, Reader};
use super::opcode::OpCode;
use super::request::{CreateRequest, Request};

/// The operations of a multi, all writes or all reads, checked to be well formed and decoded as they are gone
/// through: a list of short ones would take many times its bytes. An empty list is legal.
#[derive(Clone, Copy, Debug)]
pub struct Operations<'a> {
    reader: Reader<'a>,
    count: usize,
    is_read: bool,
}

impl<'a> Operations<'a> {
    /// Takes a list off the reader.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Operations<'a>, DecodeError> {
        let mut operations = Operations {
            reader: *reader,
            count: 0,
            is_read: false,
        };
        while let Some((code, operation)) = decode_next(reader)? {
            let is_read = is_read(&operation);
            if operations.count > 0 && operations.is_read != is_read {
                return Err(DecodeError::UnknownType(code));
            }
            operations.is_read = is_read;
            operations.count += 1;
        }
        Ok(operations)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether they read. Those of an empty list do not.
    pub fn are_reads(&self) -> bool {
        self.is_read
    }

    /// The operations in order.
    pub fn iter(&self) -> impl Iterator<Item = Request<'a>> + use<'a> {
        let mut reader = self.reader;
        std::iter::from_fn(move || Some(decode_next(&mut reader).ok()??.1))
    }
}

impl PartialEq for Operations<'_> {
    fn eq(&self, other: &Operations<'_>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Operations<'_> {}

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

fn is_read(operation: &Request<'_>) -> bool {
    matches!(operation, Request::GetData(_) | Request::GetChildren(_))
}

/// The next operation and its code, `None` at the end of the list.
fn decode_next<'a>(reader: &mut Reader<'a>) -> Result<Option<(i32, Request<'a>)>, DecodeError> {
    let code = reader.int()?;
    let is_done = reader.bool()?;
    let _error = reader.int()?;
    if is_done {
        return Ok(None);
    }
    Ok(Some((code, decode_operation(code, reader)?)))
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
        return Err(DecodeError::NullAcl);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(codes: &[OpCode]) -> Vec<u8> {
        let mut out = Vec::new();
        for code in codes {
            put_header(&mut out, code.code(), ErrorCode::Ok);
            out.put_string("/a");
            if matches!(code, OpCode::GetData | OpCode::GetChildren) {
                out.put_bool(false);
            } else {
                out.put_int(-1);
            }
        }
        put_end(&mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Operations<'_>, DecodeError> {
        Operations::decode(&mut Reader::new(bytes))
    }

    #[test]
    fn a_list_is_checked_before_it_is_gone_through() {
        let writes = list(&[OpCode::Delete, OpCode::Check]);
        let operations = decode(&writes).unwrap();
        assert_eq!(
            (operations.len(), operations.are_reads(), operations.is_empty()),
            (2, false, false)
        );
        assert!(matches!(
            operations.iter().collect::<Vec<_>>()[..],
            [Request::Delete(_), Request::Check(_)]
        ));
        assert!(
            decode(&list(&[OpCode::GetData, OpCode::GetChildren]))
                .unwrap()
                .are_reads()
        );
        assert!(decode(&list(&[])).unwrap().is_empty());
        assert!(
            decode(&list(&[OpCode::GetData, OpCode::Delete])).is_err(),
            "mixed"
        );
        assert!(decode(&list(&[OpCode::Exists])).is_err(), "not in a list");
        assert!(decode(&writes[..writes.len() - 1]).is_err(), "no end");
    }
}
