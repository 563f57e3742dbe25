//! The client protocol from the outside: records in jute's encoding, frames, and one connection. It shares no
//! code with the server, so that a mistake there is not made here, too.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub use crate::model::{code, op};

/// Fixed xids, of what is not a request of the user.
pub const EVENT_XID: i32 = -1;
pub const AUTH_XID: i32 = -4;
pub const SET_WATCHES_XID: i32 = -8;

/// Writes a record.
#[derive(Default)]
pub struct Out(pub Vec<u8>);

impl Out {
    pub fn int(mut self, value: i32) -> Out {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn long(mut self, value: i64) -> Out {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn bool(mut self, value: bool) -> Out {
        self.0.push(value.into());
        self
    }

    pub fn buffer(self, bytes: &[u8]) -> Out {
        let mut out = self.int(bytes.len() as i32);
        out.0.extend(bytes);
        out
    }

    pub fn string(self, text: &str) -> Out {
        self.buffer(text.as_bytes())
    }

    pub fn strings<'a>(self, all: impl ExactSizeIterator<Item = &'a String>) -> Out {
        let out = self.int(all.len() as i32);
        all.fold(out, |out, text| out.string(text))
    }

    /// The header of one operation inside a multi, or its end.
    pub fn multi_header(self, code: i32, done: bool) -> Out {
        self.int(code).bool(done).int(-1)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Out {
        self.0.extend(bytes);
        self
    }
}

/// Reads a record. What is not there is an error of the server.
pub struct In<'a>(pub &'a [u8]);

/// The bytes ended too early, or are no text.
#[derive(Debug)]
pub struct Malformed;

impl<'a> In<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn int(&mut self) -> Result<i32, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(i32::from_be_bytes(bytes))
    }

    pub fn long(&mut self) -> Result<i64, Malformed> {
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed)?;
        Ok(i64::from_be_bytes(bytes))
    }

    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.take(1)?[0] != 0)
    }

    /// A null buffer reads as an empty one.
    pub fn buffer(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.int()?;
        self.take(length.max(0) as usize)
    }

    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.buffer()?).map_err(|_| Malformed)
    }

    pub fn strings(&mut self) -> Result<Vec<String>, Malformed> {
        let count = self.int()?.max(0);
        (0..count).map(|_| self.string().map(str::to_owned)).collect()
    }

    pub fn stat(&mut self) -> Result<Stat, Malformed> {
        let (czxid, mzxid) = (self.long()?, self.long()?);
        self.take(16)?;
        let (version, cversion) = (self.int()?, self.int()?);
        self.take(28)?;
        Ok(Stat {
            czxid,
            mzxid,
            version,
            cversion,
        })
    }
}

/// What the workloads and the black-box checks look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub version: i32,
    pub cversion: i32,
}

/// Flags of a create.
pub const PERSISTENT: i32 = 0;
pub const EPHEMERAL: i32 = 1;
pub const SEQUENTIAL: i32 = 2;

/// (permissions, scheme, id)
pub type Acl = (i32, &'static str, &'static str);
pub const OPEN: &[Acl] = &[(31, "world", "anyone")];

fn acls(out: Out, list: &[Acl]) -> Out {
    let out = out.int(list.len() as i32);
    list.iter().fold(out, |out, (permissions, scheme, id)| {
        out.int(*permissions).string(scheme).string(id)
    })
}

pub fn create(path: &str, data: &[u8], list: &[Acl], flags: i32) -> Vec<u8> {
    let head = Out::default().string(path).buffer(data);
    acls(head, list).int(flags).0
}

pub fn set_acl(path: &str, list: &[Acl], version: i32) -> Vec<u8> {
    acls(Out::default().string(path), list).int(version).0
}

/// delete, check
pub fn path_version(path: &str, version: i32) -> Vec<u8> {
    Out::default().string(path).int(version).0
}

pub fn set_data(path: &str, data: &[u8], version: i32) -> Vec<u8> {
    Out::default().string(path).buffer(data).int(version).0
}

/// exists, getData, getChildren, getChildren2
pub fn path_watch(path: &str, watch: bool) -> Vec<u8> {
    Out::default().string(path).bool(watch).0
}

/// sync, getACL, getEphemerals
pub fn path_only(path: &str) -> Vec<u8> {
    Out::default().string(path).0
}

/// multi and multiRead
pub fn multi(parts: &[(i32, Vec<u8>)]) -> Vec<u8> {
    let out = parts.iter().fold(Out::default(), |out, (code, body)| {
        out.multi_header(*code, false).raw(body)
    });
    out.multi_header(-1, true).0
}

/// One connection: whole frames in and out.
pub struct Link {
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl Link {
    pub fn open(address: SocketAddr, wait: Duration) -> io::Result<Link> {
        let stream = TcpStream::connect_timeout(&address, wait)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(wait))?;
        Ok(Link {
            stream,
            inbox: Vec::new(),
        })
    }

    /// The address from which the server sees it.
    pub fn own_address(&self) -> String {
        let address = self.stream.local_addr();
        address.map_or_else(|_| String::new(), |address| address.ip().to_string())
    }

    /// Sends each as a frame, all in one write.
    pub fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        let all = frames.iter().fold(Out::default(), |out, frame| out.buffer(frame));
        self.stream.write_all(&all.0)
    }

    /// The next frame; None when there is none in time.
    pub fn receive(&mut self, wait: Duration) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + wait;
        let mut part = [0; 16384];
        loop {
            if let Some(frame) = self.whole()? {
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut part) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.inbox.extend(&part[..count]),
                Err(error) if is_waiting(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn whole(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(head) = self.inbox.first_chunk::<4>() else {
            return Ok(None);
        };
        let end = 4 + usize::try_from(i32::from_be_bytes(*head)).map_err(io::Error::other)?;
        if self.inbox.len() < end {
            return Ok(None);
        }
        let frame = self.inbox[4..end].to_vec();
        self.inbox.drain(..end);
        Ok(Some(frame))
    }
}

fn is_waiting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// What a client is told in the answer to a ConnectRequest.
pub struct Welcome {
    pub session: i64,
    pub password: Vec<u8>,
}

/// Asks for a session: a new one when `session` is 0.
pub fn connect_request(last_zxid: i64, timeout: i32, session: i64, password: &[u8]) -> Vec<u8> {
    let out = Out::default().int(0).long(last_zxid).int(timeout).long(session);
    out.buffer(password).bool(false).0
}

pub fn welcome(frame: &[u8]) -> Result<Welcome, Malformed> {
    let mut body = In(frame);
    body.take(8)?;
    Ok(Welcome {
        session: body.long()?,
        password: body.buffer()?.to_vec(),
    })
}
