//! One client connection, without its socket.

mod conn;
pub mod four_letter;
mod handshake;

pub use conn::{ClientConfig, ClientConn, Submit};
