//! Drivers: threads, sockets, clocks and the operating system's disk.

pub mod os_disk;
