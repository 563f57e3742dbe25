//! Reply headers and the framing of replies. Bodies are written in place by whoever has the facts.

use super::error_code::ErrorCode;
use super::jute::Put;
use crate::ids::Zxid;

/// Opens a reply frame: room for the length, then xid, zxid and error. Returns where the frame starts.
pub fn begin_frame(out: &mut Vec<u8>, xid: i32, zxid: Zxid, error: ErrorCode) -> usize {
    let start = out.len();
    out.put_int(0);
    out.put_int(xid);
    out.put_long(zxid.0);
    out.put_int(error.code());
    start
}

/// Fills another zxid in.
pub fn set_zxid(frame: &mut [u8], zxid: Zxid) {
    frame[8..16].copy_from_slice(&zxid.0.to_be_bytes());
}

/// Fills the length in, once the body is there.
pub fn finish_frame(out: &mut [u8], start: usize) {
    let length = i32::try_from(out.len() - start - 4).expect("replies are bounded far below 2 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a reply that is only a header: every error, and operations without a response record.
pub fn header_frame(out: &mut Vec<u8>, xid: i32, zxid: Zxid, error: ErrorCode) {
    let start = begin_frame(out, xid, zxid, error);
    finish_frame(out, start);
}

/// Appends a vector of names.
pub fn put_names<'a>(out: &mut Vec<u8>, names: impl Iterator<Item = &'a str>) {
    let at = out.len();
    out.put_int(0);
    let mut count = 0i32;
    for name in names {
        out.put_string(name);
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&count.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_byte_for_byte_the_reference_servers() {
        let mut out = vec![9];
        header_frame(&mut out, 17, Zxid(2), ErrorCode::NoNode);
        assert_eq!(
            out,
            [
                9, 0, 0, 0, 16, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0x9b
            ]
        );
    }
}
