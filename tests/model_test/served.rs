//! Histories of a real server: random clients, its log, the checker.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::model::check::Counts;
use super::model::jute::{Reader, Writer};
use super::model::{Checker, Opened, Options, Violation, op};
use super::requests;

/// What happened, in the order in which this process saw it.
pub enum Event {
    Opened(u64, Vec<u8>),
    Request(u64, Vec<u8>),
    Received(u64, Vec<u8>),
}

/// A connection and what is needed to go on with its session on another one.
struct Client {
    conn: u64,
    stream: TcpStream,
    session: i64,
    password: Vec<u8>,
    xid: i32,
    zxid: i64,
    outstanding: usize,
}

/// Drives clients and writes down what they do and see.
pub struct Recorder {
    port: u16,
    maker: requests::Maker,
    conns: u64,
    pub events: Vec<Event>,
}

impl Recorder {
    pub fn new(port: u16, seed: u64) -> Recorder {
        Recorder {
            port,
            maker: requests::Maker::new(seed),
            conns: 0,
            events: Vec::new(),
        }
    }

    /// Makes so many requests in three sessions at a time, pipelined, with reconnects and new sessions.
    pub fn run(&mut self, count: usize) -> io::Result<()> {
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(self.connect(None)?);
        }
        for _ in 0..count {
            let at = usize::try_from(self.maker.below(3)).unwrap();
            let client = &mut clients[at];
            match self.maker.below(400) {
                0 => {
                    // Some replies are lost.
                    let next = self.connect(Some(client))?;
                    *client = next;
                    let (opcode, body) = requests::set_watches(&mut self.maker, client.zxid);
                    self.send(client, opcode, &body)?;
                }
                1 => {
                    self.send(client, op::CLOSE_SESSION, &[])?;
                    self.drain(client, 0)?;
                    *client = self.connect(None)?;
                }
                _ => {
                    let (opcode, body) = requests::request(&mut self.maker);
                    self.send(client, opcode, &body)?;
                }
            }
            let most = usize::try_from(self.maker.below(30)).unwrap();
            self.drain(client, most)?;
        }
        for client in &mut clients {
            self.send(client, op::SYNC, &[0, 0, 0, 1, b'/'])?;
            self.drain(client, 0)?;
        }
        Ok(())
    }

    fn connect(&mut self, before: Option<&Client>) -> io::Result<Client> {
        let (session, password, xid, zxid) = match before {
            Some(client) => (client.session, client.password.clone(), client.xid, client.zxid),
            None => (0, vec![0; 16], 0, 0),
        };
        let mut frame = Writer::new();
        frame
            .int(0)
            .long(zxid)
            .int(30_000)
            .long(session)
            .buffer(Some(&password))
            .boolean(false);
        let frame = frame.done();
        self.conns += 1;
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        let mut client = Client {
            conn: self.conns,
            stream,
            session,
            password,
            xid,
            zxid,
            outstanding: 0,
        };
        self.events.push(Event::Opened(client.conn, frame.clone()));
        write_frame(&mut client.stream, &frame)?;
        let response = read_frame(&mut client.stream)?;
        let mut reader = Reader::new(&response);
        let mut fields = || {
            let (_, _, session) = (reader.int()?, reader.int()?, reader.long()?);
            Some((session, reader.buffer()??.to_vec()))
        };
        (client.session, client.password) = fields().expect("a ConnectResponse");
        self.events.push(Event::Received(client.conn, response));
        Ok(client)
    }

    fn send(&mut self, client: &mut Client, opcode: i32, body: &[u8]) -> io::Result<()> {
        let xid = match opcode {
            op::PING => -2,
            op::AUTH => -4,
            _ => {
                client.xid += 1;
                client.xid
            }
        };
        let mut frame = Writer::new();
        frame.int(xid).int(opcode).raw(body);
        let frame = frame.done();
        client.outstanding += 1;
        self.events.push(Event::Request(client.conn, frame.clone()));
        write_frame(&mut client.stream, &frame)
    }

    /// Reads until at most so many replies are outstanding.
    fn drain(&mut self, client: &mut Client, most: usize) -> io::Result<()> {
        while client.outstanding > most {
            let frame = read_frame(&mut client.stream)?;
            let mut reader = Reader::new(&frame);
            let (xid, zxid) = (reader.int().unwrap(), reader.long().unwrap());
            client.outstanding -= usize::from(xid != -1);
            client.zxid = client.zxid.max(zxid);
            self.events.push(Event::Received(client.conn, frame));
        }
        Ok(())
    }
}

fn write_frame(stream: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    let mut message = Writer::new();
    message.buffer(Some(frame));
    stream.write_all(&message.done())
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// Checks a history against the log that the server left.
pub fn check(events: &[Event], log: &[Vec<u8>], options: Options) -> (Counts, Vec<Violation>) {
    let mut checker = Checker::new(options);
    let mut answered = BTreeMap::new();
    for event in events {
        if let Event::Received(conn, frame) = event {
            answered.entry(*conn).or_insert_with(|| {
                let mut reader = Reader::new(frame);
                let (_, _, session) = (reader.int(), reader.int(), reader.long());
                session.expect("a ConnectResponse")
            });
        }
    }
    for (at, event) in (1..).zip(events) {
        match event {
            Event::Opened(conn, frame) => {
                let (server, address) = (1, "127.0.0.1");
                checker.opened(
                    *conn,
                    Opened {
                        server,
                        address,
                        at,
                        frame,
                    },
                );
                checker.bound(*conn, answered[conn]);
            }
            Event::Request(conn, frame) => checker.request(*conn, at, frame),
            Event::Received(..) => {}
        }
    }
    for txn in log {
        checker.entry(txn);
    }
    for (at, event) in (1..).zip(events) {
        if let Event::Received(conn, frame) = event {
            checker.received(*conn, at, frame);
        }
    }
    checker.finish();
    (checker.counts(), checker.violations().to_vec())
}
