//! A session of an ordinary client, with the few requests that membership needs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::bail;

use super::identity::Identity;
use crate::cli::status_all::target::Target;
use crate::cli::words::Deadline;
use crate::proto::acl::{Acl, RawAcls};
use crate::proto::error_code::ErrorCode;
use crate::proto::jute::{DecodeError, Put, Reader};
use crate::proto::opcode::OpCode;
use crate::quorum::reconfig::Change;

/// A session with the first server that served it.
pub(super) struct Client {
    stream: TcpStream,
    address: SocketAddr,
    xid: i32,
}

/// Why there is no answer of the kind that was hoped for.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody knows whether the request was done.
    Lost(io::Error),
    /// The server says no; the code is not one of those in [`ErrorCode`] where there is only a number.
    Refused(Option<ErrorCode>, i32),
}

/// Whom the server takes this client for: schemes and users.
pub(super) type Ids = Vec<(String, String)>;

impl Client {
    /// Tries one server after the other. The error names all of them and what each did.
    pub(super) fn connect(servers: &[Target], identity: Option<&Identity>) -> anyhow::Result<Client> {
        let mut failures = Vec::new();
        for server in servers {
            match Client::connect_to(server) {
                Ok(mut client) => {
                    if let Some(identity) = identity
                        && let Err(failure) = client.authenticate(identity)
                    {
                        bail!(
                            "{} refuses the identity digest:{}: {failure}",
                            client.address,
                            identity.user()
                        );
                    }
                    return Ok(client);
                }
                Err(error) => failures.push(format!("{} ({})", server.address(), reason(&error))),
            }
        }
        bail!(
            "no server serves: {}. `zkserver status --all` shows what each of them is doing",
            failures.join(", ")
        )
    }

    /// Where the session is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Catches up with the leader.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        let mut body = Vec::new();
        body.put_string(CONFIG_PATH);
        self.call(OpCode::Sync, &body).map(drop)
    }

    /// The text of `/zookeeper/config`; empty on a server that is alone.
    pub(super) fn config(&mut self) -> Result<String, Failure> {
        let mut body = Vec::new();
        body.put_string(CONFIG_PATH);
        body.put_bool(false);
        let reply = self.call(OpCode::GetData, &body)?;
        text(&reply)
    }

    /// Who may do what with it.
    pub(super) fn acl(&mut self) -> Result<Vec<Acl>, Failure> {
        let mut body = Vec::new();
        body.put_string(CONFIG_PATH);
        let reply = self.call(OpCode::GetAcl, &body)?;
        let raw = RawAcls::decode(&mut Reader::new(&reply)).map_err(unreadable)?;
        Ok(raw.to_list().unwrap_or_default())
    }

    /// Whom the server takes this client for.
    pub(super) fn ids(&mut self) -> Result<Ids, Failure> {
        let reply = self.call(OpCode::WhoAmI, &[])?;
        let mut reader = Reader::new(&reply);
        let count = reader.vector().map_err(unreadable)?.unwrap_or(0);
        let mut ids = Vec::new();
        for _ in 0..count {
            let scheme = reader.ustring().map_err(unreadable)?.unwrap_or_default();
            let user = reader.ustring().map_err(unreadable)?.unwrap_or_default();
            ids.push((scheme.into_owned(), user.into_owned()));
        }
        Ok(ids)
    }

    /// Asks for other members, if `version` is still in force, and returns the text of the new configuration.
    pub(super) fn reconfig(&mut self, change: &Change, version: i64) -> Result<String, Failure> {
        let mut body = Vec::new();
        for list in [&change.joining, &change.leaving, &change.new_members] {
            match list {
                Some(list) => body.put_string(list),
                None => body.put_buffer(None),
            }
        }
        body.put_long(version);
        let reply = self.call(OpCode::Reconfig, &body)?;
        text(&reply)
    }

    /// Ends the session, rather than leave it to its timeout.
    pub(super) fn close(mut self) {
        // The server may have ended the connection first.
        let _ = self.call(OpCode::CloseSession, &[]);
    }

    fn connect_to(server: &Target) -> io::Result<Client> {
        let port = server
            .port
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "client port unknown"))?;
        let mut last_error = io::Error::from(ErrorKind::NotFound);
        for host in &server.hosts {
            let addresses = match (host.as_str(), port).to_socket_addrs() {
                Ok(addresses) => addresses,
                Err(_) => {
                    last_error = io::Error::new(ErrorKind::NotFound, "host unknown");
                    continue;
                }
            };
            for address in addresses {
                match Client::open(address) {
                    Ok(client) => return Ok(client),
                    Err(error) => last_error = error,
                }
            }
        }
        Err(last_error)
    }

    fn open(address: SocketAddr) -> io::Result<Client> {
        let deadline = Deadline::start(CONNECT_TIMEOUT);
        let stream = TcpStream::connect_timeout(&address, deadline.left()?)?;
        let mut client = Client {
            stream,
            address,
            xid: 0,
        };
        let mut request = Vec::new();
        request.put_int(0);
        request.put_long(0);
        request.put_int(SESSION_TIMEOUT_MS);
        request.put_long(0);
        request.put_buffer(Some(&[0; 16]));
        request.put_bool(false);
        client.send(&request, &deadline)?;
        // One without a quorum takes the connection, and closes it.
        let response = client.receive(&deadline).map_err(|error| {
            let is_closed = matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
            );
            match is_closed {
                true => io::Error::new(error.kind(), "not serving"),
                false => error,
            }
        })?;
        let timeout_ms = Reader::new(response.get(4..).unwrap_or_default()).int();
        match timeout_ms {
            Ok(timeout_ms) if timeout_ms > 0 => Ok(client),
            Ok(_) | Err(_) => Err(io::Error::new(ErrorKind::InvalidData, "it gives no session")),
        }
    }

    fn authenticate(&mut self, identity: &Identity) -> Result<(), Failure> {
        let mut body = Vec::new();
        body.put_int(0);
        body.put_string("digest");
        body.put_buffer(Some(identity.credentials().as_bytes()));
        self.exchange(AUTH_XID, OpCode::Auth, &body).map(drop)
    }

    fn call(&mut self, op: OpCode, body: &[u8]) -> Result<Vec<u8>, Failure> {
        self.xid += 1;
        self.exchange(self.xid, op, body)
    }

    /// Sends a request and waits for its reply; the body of it.
    fn exchange(&mut self, xid: i32, op: OpCode, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let deadline = Deadline::start(REPLY_TIMEOUT);
        let mut request = Vec::new();
        request.put_int(xid);
        request.put_int(op.code());
        request.extend_from_slice(body);
        self.send(&request, &deadline).map_err(Failure::Lost)?;
        loop {
            let reply = self.receive(&deadline).map_err(Failure::Lost)?;
            let mut reader = Reader::new(&reply);
            let reply_xid = reader.int().map_err(unreadable)?;
            let _zxid = reader.long().map_err(unreadable)?;
            let code = reader.int().map_err(unreadable)?;
            // Nothing is watched, but a session may be told of its end, for instance.
            if reply_xid != xid {
                continue;
            }
            return match code {
                0 => Ok(reader.rest().to_vec()),
                code => Err(Failure::Refused(ErrorCode::from_code(code), code)),
            };
        }
    }

    fn send(&mut self, payload: &[u8], deadline: &Deadline) -> io::Result<()> {
        self.stream.set_write_timeout(Some(deadline.left()?))?;
        let mut frame = Vec::new();
        frame.put_buffer(Some(payload));
        self.stream.write_all(&frame)
    }

    fn receive(&mut self, deadline: &Deadline) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.read_exact(&mut length, deadline)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > REPLY_BYTES_MAX {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "does not answer like a ZooKeeper server",
            ));
        }
        let mut payload = vec![0; length];
        self.read_exact(&mut payload, deadline)?;
        Ok(payload)
    }

    fn read_exact(&mut self, mut rest: &mut [u8], deadline: &Deadline) -> io::Result<()> {
        while !rest.is_empty() {
            self.stream.set_read_timeout(Some(deadline.left()?))?;
            match self.stream.read(rest) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => rest = &mut rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Lost(error) => write!(f, "{}", reason(error)),
            Failure::Refused(Some(error), code) => write!(f, "{error:?} ({code})"),
            Failure::Refused(None, code) => write!(f, "error {code}"),
        }
    }
}

/// In few words, without the numbers of the system.
fn reason(error: &io::Error) -> String {
    const KINDS: [(ErrorKind, &str); 4] = [
        (ErrorKind::ConnectionRefused, "connection refused"),
        (ErrorKind::TimedOut, "timeout"),
        (ErrorKind::WouldBlock, "timeout"),
        (ErrorKind::UnexpectedEof, "the connection was closed"),
    ];
    if let Some(inner) = error.get_ref() {
        return inner.to_string();
    }
    let known = KINDS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.kind().to_string(), |(_, text)| (*text).to_owned())
}

fn text(reply: &[u8]) -> Result<String, Failure> {
    let data = Reader::new(reply).buffer().map_err(unreadable)?;
    Ok(String::from_utf8_lossy(data.unwrap_or_default()).into_owned())
}

fn unreadable(error: DecodeError) -> Failure {
    Failure::Lost(io::Error::new(ErrorKind::InvalidData, error))
}

const CONFIG_PATH: &str = "/zookeeper/config";
/// The xid of every auth request.
const AUTH_XID: i32 = -4;
const SESSION_TIMEOUT_MS: i32 = 30_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// As long as a session lives without a word from its client.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
const REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;
