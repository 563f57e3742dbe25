//! As much of a client as these tests need.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use zkserver::proto::acl::{Acl, RawAcls};
use zkserver::proto::jute::{Put, Reader};
use zkserver::proto::opcode::OpCode;

/// A session.
pub struct Client {
    stream: TcpStream,
    xid: i32,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut request = Vec::new();
        request.put_int(0);
        request.put_long(0);
        request.put_int(30_000);
        request.put_long(0);
        request.put_buffer(Some(&[0; 16]));
        request.put_bool(false);
        send(&mut stream, &request)?;
        let response = receive(&mut stream)?;
        let mut fields = Reader::new(&response);
        assert_eq!(fields.int(), Ok(0));
        assert_eq!(fields.int(), Ok(30_000));
        Ok(Client { stream, xid: 0 })
    }

    /// Creates a persistent node. An error of the connection means that nobody knows.
    pub fn create(&mut self, path: &str, data: &[u8]) -> io::Result<()> {
        let mut body = Vec::new();
        body.put_string(path);
        body.put_buffer(Some(data));
        body.extend_from_slice(RawAcls::from_list(&[Acl::world(31)]).bytes());
        body.put_int(0);
        let (error, _) = self.call(OpCode::Create, &body)?;
        assert_eq!(error, 0, "create {path}");
        Ok(())
    }

    /// The data of a node, `None` if it is not there.
    pub fn data(&mut self, path: &str) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        body.put_string(path);
        body.put_bool(false);
        let (error, reply) = self.call(OpCode::GetData, &body).unwrap();
        assert!(matches!(error, 0 | -101), "getData {path}: {error}");
        let data = Reader::new(&reply).buffer().ok()??.to_vec();
        (error == 0).then_some(data)
    }

    /// The error code and what follows it.
    fn call(&mut self, op: OpCode, body: &[u8]) -> io::Result<(i32, Vec<u8>)> {
        self.xid += 1;
        let header = [self.xid.to_be_bytes(), op.code().to_be_bytes()].concat();
        send(&mut self.stream, &[&header, body].concat())?;
        let reply = receive(&mut self.stream)?;
        let mut fields = Reader::new(&reply);
        assert_eq!(fields.int(), Ok(self.xid));
        fields.long().unwrap();
        Ok((fields.int().unwrap(), fields.rest().to_vec()))
    }
}

/// The answer to a four-letter word.
pub fn word(port: u16, word: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(word.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn send(stream: &mut TcpStream, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, payload].concat())
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

const TIMEOUT: Duration = Duration::from_secs(60);
