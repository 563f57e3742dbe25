//! The bytes of a transaction log: a header of 16 bytes, then records of Adler-32, length, body and mark
//! (FileTxnLog, FileHeader). A zero length, which is what preallocated room reads as, ends the log.

use std::fmt;

use crate::ids::Zxid;
use crate::proto::jute::{Put, Reader};
use crate::proto::txn;

/// Bytes before the first record.
pub const LOG_HEADER_BYTES: u64 = 16;
/// Bytes of a record around its body.
pub const RECORD_OVERHEAD: u64 = 13;
/// Bytes of a record before its body: checksum and length.
pub const RECORD_PREFIX_BYTES: usize = 12;
/// The shortest body there can be: a transaction header.
pub const TXN_HEADER_BYTES: usize = 32;

/// What a log file starts with. Readers look at the magic only, as Apache's do.
pub fn encode_log_header(out: &mut Vec<u8>) {
    out.put_int(LOG_MAGIC);
    out.put_int(2);
    out.put_long(0);
}

/// Whether a log's first 16 bytes are a log's.
pub fn is_log_header(bytes: &[u8]) -> bool {
    bytes.len() as u64 >= LOG_HEADER_BYTES && bytes.starts_with(&LOG_MAGIC.to_be_bytes())
}

/// Appends one record around an encoded transaction.
pub fn encode_record(body: &[u8], out: &mut Vec<u8>) {
    assert!(!body.is_empty(), "an empty body would read as the end of the log");
    out.reserve(body.len() + RECORD_OVERHEAD as usize);
    out.put_long(i64::from(simd_adler32::adler32(&body)));
    out.put_buffer(Some(body));
    out.push(RECORD_MARK);
}

/// Why bytes that should be a record are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends within the record.
    CutShort,
    /// The length is negative, below a transaction header's, or beyond the limit.
    Length(i32),
    /// The body is not the one that was summed.
    Checksum,
    /// The byte behind the body is not `B`.
    Mark(u8),
    /// There is data behind a zero length.
    BehindEnd,
    /// The file has no log header.
    Header,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::CutShort => write!(f, "the file ends within a record"),
            Damage::Length(length) => write!(f, "record length {length} is out of range"),
            Damage::Checksum => write!(f, "checksum mismatch"),
            Damage::Mark(byte) => write!(f, "end mark is 0x{byte:02x}, not 0x42"),
            Damage::BehindEnd => write!(f, "data behind the end of the log"),
            Damage::Header => write!(f, "no transaction log header"),
        }
    }
}

/// The checksum and length in front of a body.
#[derive(Clone, Copy, Debug)]
pub struct RecordPrefix {
    /// Adler-32 of the body, zero-extended.
    pub checksum: i64,
    /// Bytes of the body.
    pub length: i32,
}

impl RecordPrefix {
    /// Takes the fixed fields apart.
    pub fn decode(bytes: &[u8; RECORD_PREFIX_BYTES]) -> RecordPrefix {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        RecordPrefix {
            checksum: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            length: i32::from_be_bytes([i, j, k, l]),
        }
    }

    /// The length if a body may have it.
    pub fn body_bytes(&self, record_bytes_max: usize) -> Result<usize, Damage> {
        usize::try_from(self.length)
            .ok()
            .filter(|&length| (TXN_HEADER_BYTES..=record_bytes_max).contains(&length))
            .ok_or(Damage::Length(self.length))
    }

    /// Compares body and mark (the byte behind the body) with the prefix.
    pub fn verify(&self, body: &[u8], mark: u8) -> Result<(), Damage> {
        if mark != RECORD_MARK {
            return Err(Damage::Mark(mark));
        }
        if self.checksum != i64::from(simd_adler32::adler32(&body)) {
            return Err(Damage::Checksum);
        }
        Ok(())
    }
}

/// The zxid in an encoded transaction of at least [`TXN_HEADER_BYTES`].
pub fn body_zxid(body: &[u8]) -> Option<Zxid> {
    txn::decode_header(&mut Reader::new(body))
        .ok()
        .map(|header| header.zxid)
}

/// The byte behind every record.
pub const RECORD_MARK: u8 = 0x42;
const LOG_MAGIC: i32 = 0x5a4b_4c47;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_framed_as_in_the_worked_example() {
        // Record 1 of a log of Apache 3.9.3: createSession.
        let hex = "0100000d067f0000000000000000000000000001000001a1fba4f2bfffff\
                   fff600007530000000020000000051c6d660";
        let body: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();
        let mut out = Vec::new();
        encode_record(&body, &mut out);
        assert_eq!(out[..12], [0, 0, 0, 0, 0xcb, 0x58, 0x0b, 0x6e, 0, 0, 0, 0x30]);
        assert_eq!(out.len() as u64, body.len() as u64 + RECORD_OVERHEAD);
        assert_eq!(body_zxid(&body), Some(Zxid(1)));
        let prefix = RecordPrefix::decode(out.first_chunk().unwrap());
        assert_eq!(prefix.body_bytes(48), Ok(48));
        assert_eq!(prefix.body_bytes(47), Err(Damage::Length(48)));
        assert_eq!(prefix.verify(&body, out[60]), Ok(()));
        assert_eq!(prefix.verify(&body, 0), Err(Damage::Mark(0)));
        assert_eq!(prefix.verify(&body[1..], 0x42), Err(Damage::Checksum));
    }
}
