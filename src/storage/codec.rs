//! Compressed snapshots: gzip, and snappy as snappy-java frames it (SnappyInputStream, SnappyOutputStream).
//!
//! A snappy stream is 8 bytes of magic, two versions of 4 bytes, then blocks of a length and a raw snappy
//! block.

use std::io::{self, Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::Compression;

/// Decompresses while reading.
pub enum Decoder<R: Read> {
    /// As it is.
    Plain(R),
    /// gzip.
    Gzip(Box<GzDecoder<R>>),
    /// snappy-java.
    Snappy(Box<SnappyReader<R>>),
}

impl<R: Read> Decoder<R> {
    /// Reads `source` as what it is said to be.
    pub fn new(source: R, compression: Compression) -> Decoder<R> {
        match compression {
            Compression::None => Decoder::Plain(source),
            Compression::Gzip => Decoder::Gzip(Box::new(GzDecoder::new(source))),
            Compression::Snappy => Decoder::Snappy(Box::new(SnappyReader::new(source))),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(source) => source.read(buf),
            Decoder::Gzip(source) => source.read(buf),
            Decoder::Snappy(source) => source.read(buf),
        }
    }
}

/// Reads the blocks of a snappy-java stream.
pub struct SnappyReader<R> {
    source: R,
    has_header: bool,
    compressed: Vec<u8>,
    block: Vec<u8>,
    position: usize,
}

impl<R: Read> SnappyReader<R> {
    fn new(source: R) -> SnappyReader<R> {
        SnappyReader {
            source,
            has_header: false,
            compressed: Vec::new(),
            block: Vec::new(),
            position: 0,
        }
    }

    /// False if there is nothing at all: an empty stream, which holds nothing in every other form, too.
    fn read_header(&mut self) -> io::Result<bool> {
        let mut header = [0; SNAPPY_HEADER_BYTES];
        if read_exact_or_nothing(&mut self.source, &mut header)? == 0 {
            return Ok(false);
        }
        if !header.starts_with(&SNAPPY_MAGIC) {
            return Err(invalid("not a snappy stream"));
        }
        self.has_header = true;
        Ok(true)
    }

    /// Makes the next block current; false at the end of the stream.
    fn next_block(&mut self) -> io::Result<bool> {
        let Some(length) = read_length(&mut self.source)? else {
            return Ok(false);
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= SNAPPY_BLOCK_BYTES_MAX)
            .ok_or_else(|| invalid("a snappy block's length is out of range"))?;
        // Grows with what arrives, not with what is claimed.
        self.compressed.clear();
        (&mut self.source)
            .take(length as u64)
            .read_to_end(&mut self.compressed)?;
        if self.compressed.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = snap::raw::decompress_len(&self.compressed).map_err(io::Error::other)?;
        if bytes > 64 * 1024 + 32 * length {
            return Err(invalid("a snappy block claims more than it can hold"));
        }
        self.block.resize(bytes, 0);
        self.position = 0;
        let written = snap::raw::Decoder::new()
            .decompress(&self.compressed, &mut self.block)
            .map_err(io::Error::other)?;
        self.block.truncate(written);
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.has_header && !self.read_header()? {
            return Ok(0);
        }
        while self.position == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = buf.len().min(self.block.len() - self.position);
        buf[..count].copy_from_slice(&self.block[self.position..][..count]);
        self.position += count;
        Ok(count)
    }
}

/// Four bytes, or `None` at a clean end.
fn read_length<R: Read>(source: &mut R) -> io::Result<Option<i32>> {
    let mut bytes = [0; 4];
    let count = read_exact_or_nothing(source, &mut bytes)?;
    Ok((count > 0).then(|| i32::from_be_bytes(bytes)))
}

/// Fills the buffer, or takes nothing where the source ends.
fn read_exact_or_nothing<R: Read>(source: &mut R, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match source.read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(0),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Compresses while writing. What is buffered is lost unless [`Encoder::finish`] is called.
pub enum Encoder<W: Write> {
    /// As it is.
    Plain(W),
    /// gzip.
    Gzip(GzEncoder<W>),
    /// snappy-java.
    Snappy(SnappyWriter<W>),
}

impl<W: Write> Encoder<W> {
    /// Writes to `target` in this compression.
    pub fn new(target: W, compression: Compression) -> Encoder<W> {
        match compression {
            Compression::None => Encoder::Plain(target),
            Compression::Gzip => Encoder::Gzip(GzEncoder::new(target, flate2::Compression::default())),
            Compression::Snappy => Encoder::Snappy(SnappyWriter {
                target,
                has_header: false,
                block: Vec::with_capacity(SNAPPY_BLOCK_BYTES),
                compressed: Vec::new(),
            }),
        }
    }

    /// Writes all of `bytes`.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Plain(target) => target.write_all(bytes),
            Encoder::Gzip(target) => target.write_all(bytes),
            Encoder::Snappy(target) => target.write_all(bytes),
        }
    }

    /// Writes what is left, and gives the target back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Encoder::Plain(target) => Ok(target),
            Encoder::Gzip(target) => target.finish(),
            Encoder::Snappy(target) => target.finish(),
        }
    }
}

/// Writes the blocks of a snappy-java stream.
pub struct SnappyWriter<W> {
    target: W,
    has_header: bool,
    block: Vec<u8>,
    compressed: Vec<u8>,
}

impl<W: Write> SnappyWriter<W> {
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = bytes.len().min(SNAPPY_BLOCK_BYTES - self.block.len());
            let (now, later) = bytes.split_at(count);
            self.block.extend_from_slice(now);
            if self.block.len() == SNAPPY_BLOCK_BYTES {
                self.flush_block()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if !self.has_header {
            self.target.write_all(&SNAPPY_MAGIC)?;
            self.target.write_all(&[0, 0, 0, 1, 0, 0, 0, 1])?;
            self.has_header = true;
        }
        self.compressed
            .resize(snap::raw::max_compress_len(self.block.len()), 0);
        let length = snap::raw::Encoder::new()
            .compress(&self.block, &mut self.compressed)
            .map_err(io::Error::other)?;
        let prefix = u32::try_from(length).map_err(io::Error::other)?.to_be_bytes();
        self.target.write_all(&prefix)?;
        self.target.write_all(&self.compressed[..length])?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() {
            self.flush_block()?;
        }
        Ok(self.target)
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// What a snappy-java stream starts with; versions follow.
pub const SNAPPY_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const SNAPPY_HEADER_BYTES: usize = 16;
/// What snappy-java puts into a block.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;
const SNAPPY_BLOCK_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_read() {
        let bytes: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
            let mut encoder = Encoder::new(Vec::new(), compression);
            for chunk in bytes.chunks(777) {
                encoder.write_all(chunk).unwrap();
            }
            let stored = encoder.finish().unwrap();
            let mut decoded = Vec::new();
            Decoder::new(&stored[..], compression)
                .read_to_end(&mut decoded)
                .unwrap();
            assert!(decoded == bytes, "{compression:?}");
            if compression != Compression::None {
                assert!(stored.len() < bytes.len() / 2);
                let mut cut = Vec::new();
                let short = &stored[..stored.len() - 1];
                assert!(Decoder::new(short, compression).read_to_end(&mut cut).is_err());
            }
        }
    }

    #[test]
    fn a_snappy_block_cannot_claim_more_than_it_holds() {
        let mut stream = SNAPPY_MAGIC.to_vec();
        stream.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        let header_only = stream.clone();
        // Four bytes that claim to be 256 MiB of data, then a length that is not there.
        stream.extend_from_slice(&[0, 0, 0, 5, 0x80, 0x80, 0x80, 0x80, 0x01]);
        let mut out = Vec::new();
        assert!(
            Decoder::new(&stream[..], Compression::Snappy)
                .read_to_end(&mut out)
                .is_err()
        );
        stream.truncate(16);
        stream.extend_from_slice(&[0x03, 0xff, 0xff, 0xff, 1]);
        assert!(
            Decoder::new(&stream[..], Compression::Snappy)
                .read_to_end(&mut out)
                .is_err()
        );
        assert!(
            Decoder::new(&header_only[..], Compression::Snappy)
                .read_to_end(&mut out)
                .is_ok()
        );
        assert!(out.is_empty());
    }
}
