//! One client connection, without its socket.

pub mod four_letter;
