//! The first exchange on a client connection.

use super::jute::{DecodeError, Put, Reader};
use crate::ids::{SessionId, Zxid};

/// What a client opens its connection with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The newest zxid the client has seen in a reply.
    pub last_zxid_seen: Zxid,
    /// The session timeout wished for, in milliseconds.
    pub timeout_ms: i32,
    /// The session to go on with, 0 for a new one.
    pub session_id: SessionId,
    /// The session's password; of any length, even null, with a new session.
    pub passwd: Vec<u8>,
    /// Whether a read-only server will do; `None` from clients that do not send the byte.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    /// Decodes a frame's payload (ConnectRequest, ProtocolManager).
    pub fn decode(payload: &[u8]) -> Result<ConnectRequest, DecodeError> {
        let mut reader = Reader::new(payload);
        let _protocol_version = reader.int()?;
        Ok(ConnectRequest {
            last_zxid_seen: Zxid(reader.long()?),
            timeout_ms: reader.int()?,
            session_id: SessionId(reader.long()?),
            passwd: reader.buffer()?.unwrap_or_default().to_vec(),
            read_only: reader.bool().ok(),
        })
    }
}

/// The server's answer. All of `timeout_ms`, `session_id` and `passwd` are zero when the session is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The session timeout agreed on, in milliseconds.
    pub timeout_ms: i32,
    /// The session.
    pub session_id: SessionId,
    /// What the client has to present when it comes back.
    pub passwd: [u8; 16],
    /// Whether this server is read-only; `None` leaves the byte out, for clients that did not send theirs.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// Appends a whole frame.
    pub fn encode_frame(&self, out: &mut Vec<u8>) {
        out.put_int(if self.read_only.is_some() { 37 } else { 36 });
        out.put_int(0);
        out.put_int(self.timeout_ms);
        out.put_long(self.session_id.0);
        out.put_buffer(Some(&self.passwd));
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_only_byte_is_mirrored() {
        let mut request = Vec::new();
        request.put_int(0);
        request.put_long(7);
        request.put_int(10_000);
        request.put_long(0);
        request.put_buffer(None);
        assert_eq!(
            ConnectRequest::decode(&request)
                .expect("44 bytes are enough")
                .read_only,
            None
        );
        request.put_bool(false);
        assert_eq!(
            ConnectRequest::decode(&request).expect("45 bytes").read_only,
            Some(false)
        );
        assert_eq!(
            ConnectRequest::decode(&request[..27]),
            Err(DecodeError::Truncated)
        );

        let mut frame = Vec::new();
        ConnectResponse {
            read_only: Some(false),
            ..ConnectResponse::default()
        }
        .encode_frame(&mut frame);
        assert_eq!((frame.len(), frame[3]), (41, 37));
    }
}
