//! Jute primitives (BinaryInputArchive, BinaryOutputArchive): big-endian, lengths before bytes, -1 for null.
//!
//! A length that was read is compared with what is left before anything is sliced or allocated.

use std::borrow::Cow;

use thiserror::Error;

/// Why bytes are not the record they should be. A client gets `MarshallingError` for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The record goes on where the bytes end.
    #[error("the record is longer than its bytes")]
    Truncated,
    /// A string or buffer length below -1.
    #[error("unreasonable length {0}")]
    UnreasonableLength(i32),
    /// A field that must not be null is.
    #[error("a field that is required is null")]
    Null,
    /// The ACL of a create within a multi is null. Its own case: the reference server refuses it earlier.
    #[error("an ACL that is required is null")]
    NullAcl,
    /// A type code that the record does not know.
    #[error("unknown type {0}")]
    UnknownType(i32),
}

/// Reads primitives off the front of a byte slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte; any but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.take(1)?[0] != 0)
    }

    /// A signed 32-bit integer.
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        let bytes = self.rest.first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = &self.rest[4..];
        Ok(i32::from_be_bytes(*bytes))
    }

    /// A signed 64-bit integer.
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        let bytes = self.rest.first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = &self.rest[8..];
        Ok(i64::from_be_bytes(*bytes))
    }

    /// A buffer; null and empty differ.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.int()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| DecodeError::UnreasonableLength(length))?;
                self.take(length).map(Some)
            }
        }
    }

    /// A string; bytes that are not UTF-8 become U+FFFD, as Java's decoder does it.
    pub fn ustring(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.buffer()?.map(decode_utf8))
    }

    /// A string that must not be null.
    pub fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.ustring()?.ok_or(DecodeError::Null)
    }

    /// The element count of a vector, `None` for null (-1). Other negative counts are empty vectors.
    pub fn vector(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.int()? {
            -1 => Ok(None),
            count => Ok(Some(usize::try_from(count).unwrap_or(0))),
        }
    }

    /// A vector of non-null strings, `None` for null.
    pub fn strings(&mut self) -> Result<Option<Strings<'a>>, DecodeError> {
        let Some(count) = self.vector()? else {
            return Ok(None);
        };
        let start = *self;
        for _ in 0..count {
            self.buffer()?.ok_or(DecodeError::Null)?;
        }
        Ok(Some(Strings { reader: start, count }))
    }

    /// A vector of strings that may be null, `None` for null.
    pub fn nullable_strings(&mut self) -> Result<Option<Strings<'a>>, DecodeError> {
        let Some(count) = self.vector()? else {
            return Ok(None);
        };
        let start = *self;
        for _ in 0..count {
            self.buffer()?;
        }
        Ok(Some(Strings { reader: start, count }))
    }

    /// How many of `count` claimed elements of at least `size_min` bytes can be there: what may be allocated.
    pub fn capacity(&self, count: usize, size_min: usize) -> usize {
        count.min(self.rest.len() / size_min)
    }
}

/// A vector of strings, checked to be well formed and decoded as it is gone through: a list of empty strings
/// would take six times its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strings<'a> {
    reader: Reader<'a>,
    count: usize,
}

impl<'a> Strings<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Cow<'a, str>> + use<'a> {
        let mut reader = self.reader;
        (0..self.count).map(move |_| reader.string().expect("the vector was checked when it was made"))
    }

    /// The strings in order, where some may be null.
    pub fn iter_nullable(&self) -> impl ExactSizeIterator<Item = Option<Cow<'a, str>>> + use<'a> {
        let mut reader = self.reader;
        (0..self.count).map(move |_| reader.ustring().expect("the vector was checked when it was made"))
    }
}

impl PartialEq for Strings<'_> {
    fn eq(&self, other: &Strings<'_>) -> bool {
        self.iter_nullable().eq(other.iter_nullable())
    }
}

impl Eq for Strings<'_> {}

/// Appends primitives to a byte vector.
pub trait Put {
    /// One byte, 0 or 1.
    fn put_bool(&mut self, value: bool);
    /// A signed 32-bit integer.
    fn put_int(&mut self, value: i32);
    /// A signed 64-bit integer.
    fn put_long(&mut self, value: i64);
    /// A buffer, null as -1.
    fn put_buffer(&mut self, value: Option<&[u8]>);
    /// A string that is not null.
    fn put_string(&mut self, value: &str);
    /// The same of one that is kept as bytes of UTF-8.
    fn put_utf8(&mut self, value: &[u8]);
    /// The count before a vector's elements.
    fn put_count(&mut self, count: usize);
}

impl Put for Vec<u8> {
    fn put_bool(&mut self, value: bool) {
        self.push(u8::from(value));
    }

    fn put_int(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_long(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.put_int(-1),
            Some(bytes) => {
                self.put_count(bytes.len());
                self.extend_from_slice(bytes);
            }
        }
    }

    fn put_string(&mut self, value: &str) {
        self.put_utf8(value.as_bytes());
    }

    fn put_utf8(&mut self, value: &[u8]) {
        // Only four-byte characters are written differently by Java; almost no string holds one.
        if value.iter().all(|b| *b < 0xf0) {
            return self.put_buffer(Some(value));
        }
        let value = std::str::from_utf8(value).expect("the caller has had it as a string");
        self.put_buffer(Some(&java_utf8(value)));
    }

    fn put_count(&mut self, count: usize) {
        self.put_int(i32::try_from(count).expect("nothing that long fits a frame or a log record"));
    }
}

/// Java replaces an encoded surrogate as a whole, where Rust replaces each of its three bytes.
fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut rest = bytes;
    let mut replaced = Vec::with_capacity(bytes.len());
    while let Some((first, behind)) = rest.split_first() {
        if let [0xed, 0xa0..=0xbf, 0x80..=0xbf, behind @ ..] = rest {
            replaced.extend_from_slice("\u{fffd}".as_bytes());
            rest = behind;
        } else {
            replaced.push(*first);
            rest = behind;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&replaced).into_owned())
}

/// UTF-8 as BinaryOutputArchive writes it: each UTF-16 code unit on its own, surrogates as three bytes each.
fn java_utf8(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + value.len() / 2);
    for unit in value.encode_utf16() {
        match unit {
            0..0x80 => out.push(unit as u8),
            0x80..0x800 => out.extend_from_slice(&[0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
            _ => out.extend_from_slice(&[
                0xe0 | (unit >> 12) as u8,
                0x80 | (unit >> 6 & 0x3f) as u8,
                0x80 | (unit & 0x3f) as u8,
            ]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empty_and_unreasonable_lengths_differ() {
        assert_eq!(Reader::new(&[0xff; 4]).buffer(), Ok(None));
        assert_eq!(Reader::new(&[0; 4]).buffer(), Ok(Some(&[][..])));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xfe]).buffer(),
            Err(DecodeError::UnreasonableLength(-2))
        );
        assert_eq!(
            Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]).buffer(),
            Err(DecodeError::Truncated)
        );
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).vector(), Ok(Some(0)));
        assert_eq!(
            Reader::new(&[0x7f, 0xff, 0xff, 0xff]).strings(),
            Err(DecodeError::Truncated)
        );
    }

    #[test]
    fn strings_are_written_the_way_java_writes_them() {
        let mut out = Vec::new();
        out.put_string("aé€😀");
        assert_eq!(out[..4], [0, 0, 0, 12]);
        assert_eq!(
            out[4..],
            [
                0x61, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80
            ]
        );
        assert_eq!(
            Reader::new(&[0, 0, 0, 1, 0xff]).string(),
            Ok(Cow::from("\u{fffd}"))
        );
    }

    #[test]
    fn a_vector_of_strings_is_checked_before_it_is_gone_through() {
        let mut out = Vec::new();
        out.put_count(2);
        out.put_string("/a");
        out.put_string("");
        let mut reader = Reader::new(&out);
        let strings = reader.strings().unwrap().unwrap();
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["/a", ""]);
        assert_eq!(
            (strings.len(), strings.is_empty(), reader.is_empty()),
            (2, false, true)
        );
        assert_eq!(Reader::new(&out[..13]).strings(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0xff; 4]).strings(), Ok(None));
        out[4..8].fill(0xff);
        assert_eq!(Reader::new(&out).strings(), Err(DecodeError::Null));
    }

    #[test]
    fn an_encoded_surrogate_is_replaced_as_a_whole() {
        let surrogate = [0, 0, 0, 5, b'a', 0xed, 0xa0, 0x80, 0xff];
        assert_eq!(
            Reader::new(&surrogate).string(),
            Ok(Cow::from("a\u{fffd}\u{fffd}"))
        );
    }

    #[test]
    fn what_was_put_is_read() {
        let mut out = Vec::new();
        out.put_bool(true);
        out.put_int(-5);
        out.put_long(i64::MIN);
        out.put_buffer(None);
        out.put_string("/a");
        let mut reader = Reader::new(&out);
        assert_eq!(reader.bool(), Ok(true));
        assert_eq!(reader.int(), Ok(-5));
        assert_eq!(reader.long(), Ok(i64::MIN));
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.string(), Ok(Cow::from("/a")));
        assert!(reader.is_empty());
        assert_eq!(reader.int(), Err(DecodeError::Truncated));
    }
}
