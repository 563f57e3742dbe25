//! One client connection, without its socket.

mod admission;
mod conn;
pub mod four_letter;
mod handshake;
mod unserved;

pub use admission::AdmissionConfig;
pub use conn::{ClientConfig, ClientConn, Submit};
