//! Where frames begin and end in what a client sends, and the four-letter words that come instead of a first
//! frame.
//!
//! Nothing is copied: what is found are ranges of the caller's buffer. A length is judged as soon as its four
//! bytes are there, so that no buffer grows for a frame that will be refused.

use std::ops::Range;

use thiserror::Error;

/// Finds frames in a buffer that grows at its end and is emptied from its front.
#[derive(Clone, Debug)]
pub struct FrameSplitter {
    bytes_max: usize,
    /// How far into the buffer it has got.
    at: usize,
    is_first: bool,
}

/// What the buffer holds next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole frame; the range is its payload. The first one of a connection is its ConnectRequest.
    Frame(Range<usize>),
    /// A word in place of the first frame. The server answers and closes, whatever follows.
    Word(FourLetterWord),
}

/// Why a connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A length that is negative, or above the configured one.
    #[error("a frame of {length} bytes, where jute.maxbuffer allows {bytes_max}")]
    TooLong {
        /// As sent.
        length: i32,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Not even room for a request header.
    #[error("a frame of {length} bytes cannot hold a request")]
    TooShort {
        /// As sent.
        length: i32,
    },
}

impl FrameSplitter {
    /// For a new connection. Frames may have up to `bytes_max` bytes (`jute.maxbuffer`), lengths not counted.
    pub fn new(bytes_max: usize) -> FrameSplitter {
        FrameSplitter {
            bytes_max,
            at: 0,
            is_first: true,
        }
    }

    /// The next piece of `buffer`, or `None` until more has come. The buffer is the same as at the call
    /// before, with more at its end, and without what [`FrameSplitter::take_consumed`] told to drop.
    pub fn next(&mut self, buffer: &[u8]) -> Result<Option<Piece>, FrameError> {
        let rest = buffer.get(self.at..).unwrap_or_default();
        let Some(head) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        if self.is_first
            && let Some(word) = FourLetterWord::from_bytes(*head)
        {
            self.at += 4;
            return Ok(Some(Piece::Word(word)));
        }
        let length = self.judge(i32::from_be_bytes(*head))?;
        if rest.len() - 4 < length {
            return Ok(None);
        }
        let start = self.at + 4;
        self.at = start + length;
        self.is_first = false;
        Ok(Some(Piece::Frame(start..self.at)))
    }

    /// How many bytes at the front of the buffer are of no more use. The caller drops them, once it is done
    /// with the ranges.
    pub fn take_consumed(&mut self) -> usize {
        std::mem::take(&mut self.at)
    }

    /// How long the buffer has to become before there is a next piece. Never much more than `bytes_max`.
    pub fn bytes_wanted(&self, buffer: &[u8]) -> usize {
        let rest = buffer.get(self.at..).unwrap_or_default();
        let length = rest
            .first_chunk::<4>()
            .map(|head| self.judge(i32::from_be_bytes(*head)));
        self.at + 4 + length.and_then(Result::ok).unwrap_or(0)
    }

    /// How long the frame is that has begun, if its length is there and legal.
    pub fn frame_bytes(&self, buffer: &[u8]) -> Option<usize> {
        let rest = buffer.get(self.at..)?;
        self.judge(i32::from_be_bytes(*rest.first_chunk::<4>()?)).ok()
    }

    fn judge(&self, length: i32) -> Result<usize, FrameError> {
        let bytes = usize::try_from(length)
            .ok()
            .filter(|bytes| *bytes <= self.bytes_max);
        let bytes = bytes.ok_or(FrameError::TooLong {
            length,
            bytes_max: self.bytes_max,
        })?;
        let bytes_min = if self.is_first { 1 } else { REQUEST_HEADER_BYTES };
        if bytes < bytes_min {
            return Err(FrameError::TooShort { length });
        }
        Ok(bytes)
    }
}

macro_rules! four_letter_words {
    ($($(#[$doc:meta])* $name:ident = $bytes:literal,)*) => {
        /// A command that fits into the place of a frame's length (FourLetterCommands).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FourLetterWord { $($(#[$doc])* $name,)* }

        impl FourLetterWord {
            /// All of them.
            pub const ALL: &[FourLetterWord] = &[$(FourLetterWord::$name,)*];

            /// The word that these bytes are. Case matters.
            pub fn from_bytes(bytes: [u8; 4]) -> Option<FourLetterWord> {
                match &bytes { $($bytes => Some(FourLetterWord::$name),)* _ => None }
            }

            /// Its bytes.
            pub fn bytes(self) -> &'static [u8; 4] {
                match self { $(FourLetterWord::$name => $bytes,)* }
            }
        }
    };
}

four_letter_words! {
    /// The configuration.
    Conf = b"conf",
    /// All connections in full.
    Cons = b"cons",
    /// Resets the statistics of connections.
    Crst = b"crst",
    /// Sizes of the data directories.
    Dirs = b"dirs",
    /// Sessions, ephemerals, and when connections expire.
    Dump = b"dump",
    /// The environment.
    Envi = b"envi",
    /// The trace mask.
    Gtmk = b"gtmk",
    /// Recent digests of the tree.
    Hash = b"hash",
    /// Whether the server is read-only.
    Isro = b"isro",
    /// Everything that is measured.
    Mntr = b"mntr",
    /// Whether the process lives.
    Ruok = b"ruok",
    /// Resets the statistics of the server.
    Srst = b"srst",
    /// The server in short.
    Srvr = b"srvr",
    /// The server and its connections in short.
    Stat = b"stat",
    /// Sets the trace mask.
    Stmk = b"stmk",
    /// Watches by connection.
    Wchc = b"wchc",
    /// Watches by path.
    Wchp = b"wchp",
    /// Watches counted.
    Wchs = b"wchs",
    /// What a telnet client sends on interrupt.
    TelnetClose = b"\xff\xf4\xff\xfd",
}

impl FourLetterWord {
    /// As it stands in a whitelist.
    pub fn name(self) -> &'static str {
        std::str::from_utf8(self.bytes()).unwrap_or("telnet close")
    }
}

const REQUEST_HEADER_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u32).to_be_bytes()[..], payload].concat()
    }

    #[test]
    fn frames_come_out_as_ranges_however_the_bytes_arrive() {
        let payloads: Vec<Vec<u8>> = [9, 8, 100, 31].iter().map(|len| vec![*len as u8; *len]).collect();
        let stream: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
        for seed in 0..200 {
            let mut prng = Prng::new(seed);
            let mut splitter = FrameSplitter::new(100);
            let (mut buffer, mut sent, mut found) = (Vec::new(), 0, Vec::new());
            while sent < stream.len() {
                let count = (1 + prng.below(60) as usize).min(stream.len() - sent);
                buffer.extend_from_slice(&stream[sent..sent + count]);
                sent += count;
                while let Some(piece) = splitter.next(&buffer).unwrap() {
                    let Piece::Frame(range) = piece else {
                        panic!("no word was sent")
                    };
                    found.push(buffer[range].to_vec());
                }
                assert!(splitter.bytes_wanted(&buffer) > buffer.len());
                if prng.below(2) == 0 {
                    buffer.drain(..splitter.take_consumed());
                }
            }
            assert_eq!(found, payloads);
        }
    }

    #[test]
    fn a_length_is_judged_at_its_fourth_byte() {
        let error = |length: i32| {
            FrameSplitter::new(100)
                .next(&length.to_be_bytes()[..])
                .unwrap_err()
        };
        let too_long = |length| FrameError::TooLong {
            length,
            bytes_max: 100,
        };
        assert_eq!(error(101), too_long(101));
        assert_eq!(error(-1), too_long(-1));
        assert_eq!(error(i32::MIN), too_long(i32::MIN));
        assert_eq!(error(0), FrameError::TooShort { length: 0 });
        assert_eq!(
            FrameSplitter::new(100).next(&101_i32.to_be_bytes()[..3]),
            Ok(None)
        );
        assert_eq!(
            FrameSplitter::new(100).next(&frame(&[0; 100])),
            Ok(Some(Piece::Frame(4..104)))
        );
    }

    #[test]
    fn after_the_first_frame_there_has_to_be_room_for_a_header() {
        let mut splitter = FrameSplitter::new(100);
        let buffer = [frame(&[1]), frame(&[0; 8]), frame(&[0; 7])].concat();
        assert_eq!(splitter.next(&buffer), Ok(Some(Piece::Frame(4..5))));
        assert_eq!(splitter.next(&buffer), Ok(Some(Piece::Frame(9..17))));
        assert_eq!(splitter.next(&buffer), Err(FrameError::TooShort { length: 7 }));
    }

    #[test]
    fn words_are_words_only_at_the_start() {
        for word in FourLetterWord::ALL {
            let mut splitter = FrameSplitter::new(100);
            assert_eq!(splitter.next(&word.bytes()[..2]), Ok(None));
            let buffer = [word.bytes(), &b"\r\n"[..]].concat();
            assert_eq!(splitter.next(&buffer), Ok(Some(Piece::Word(*word))));
            assert_eq!(splitter.take_consumed(), 4);
        }
        let mut splitter = FrameSplitter::new(100);
        let buffer = [frame(&[0; 44]), b"ruok".to_vec()].concat();
        assert_eq!(splitter.next(&buffer), Ok(Some(Piece::Frame(4..48))));
        assert!(splitter.next(&buffer).is_err());
        assert!(FrameSplitter::new(100).next(b"RUOK").is_err());
        assert!(FrameSplitter::new(100).next(b"kill").is_err());
        assert_eq!(
            (FourLetterWord::Ruok.name(), FourLetterWord::TelnetClose.name()),
            ("ruok", "telnet close")
        );
    }
}
