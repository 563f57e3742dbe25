//! Four-letter words from the side of who asks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::server::clock::Clock;

/// Sends a word to the first address of the hosts that takes a connection; who answered, and the answer.
pub(super) fn ask(hosts: &[String], port: u16, word: &[u8; 4]) -> io::Result<(SocketAddr, String)> {
    let deadline = Deadline::start(TIMEOUT);
    let mut last_error = io::Error::from(ErrorKind::NotFound);
    let mut addresses = Vec::new();
    for host in hosts {
        match (host.as_str(), port).to_socket_addrs() {
            Ok(found) => addresses.extend(found),
            Err(error) => last_error = io::Error::new(ErrorKind::NotFound, error),
        }
    }
    for (index, address) in addresses.iter().enumerate() {
        // An address that swallows everything leaves time for those behind it.
        let share = (addresses.len() - index) as u32;
        let connected = deadline
            .left()
            .and_then(|left| TcpStream::connect_timeout(address, left / share));
        match connected.and_then(|stream| exchange(stream, word, &deadline)) {
            Ok(answer) => return Ok((*address, answer)),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// Sends a word to one address.
pub(super) fn ask_at(address: SocketAddr, word: &[u8; 4]) -> io::Result<String> {
    let deadline = Deadline::start(TIMEOUT);
    let stream = TcpStream::connect_timeout(&address, deadline.left()?)?;
    exchange(stream, word, &deadline)
}

fn exchange(mut stream: TcpStream, word: &[u8; 4], deadline: &Deadline) -> io::Result<String> {
    stream.set_write_timeout(Some(deadline.left()?))?;
    stream.write_all(word)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    while answer.len() < ANSWER_BYTES_MAX {
        stream.set_read_timeout(Some(deadline.left()?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A point in time by which something has to have happened.
pub(super) struct Deadline {
    clock: Clock,
    after: Duration,
}

impl Deadline {
    pub(super) fn start(after: Duration) -> Deadline {
        Deadline {
            clock: Clock::start(),
            after,
        }
    }

    /// The time that is left, never zero: sockets take that for any time.
    pub(super) fn left(&self) -> io::Result<Duration> {
        let passed = Duration::from_millis(self.clock.now().mono.0);
        let left = self.after.checked_sub(passed).filter(|left| !left.is_zero());
        left.ok_or_else(|| ErrorKind::TimedOut.into())
    }
}

/// For one word, however many addresses there are.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const CHUNK_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_says_nothing_is_not_waited_for_longer() {
        // Connections are made by the system, before anybody accepts them.
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let deadline = Deadline::start(Duration::from_millis(20));
        let error = exchange(stream, b"srvr", &deadline).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock),
            "{error}"
        );
        let error = Deadline::start(Duration::ZERO).left().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn an_address_that_refuses_is_followed_by_the_next() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            stream.write_all(b"imok").unwrap();
        };
        let server = std::thread::Builder::new().spawn(serve).unwrap();
        let hosts = [
            "no host".to_owned(),
            "127.0.0.2".to_owned(),
            "127.0.0.1".to_owned(),
        ];
        let answer = ask(&hosts, address.port(), b"ruok").unwrap();
        assert_eq!(answer, (address, "imok".to_owned()));
        server.join().unwrap();
        let error = ask(&hosts[..1], 1, b"ruok").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
