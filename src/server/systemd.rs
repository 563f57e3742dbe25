//! What the service manager is told: ready, what goes on, still alive, on the way out (sd_notify(3)).
//!
//! Invariant: without `NOTIFY_SOCKET` nothing happens, and no failure here ever stops the server.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog_interval: Option<Duration>,
}

impl Notifier {
    /// As this process's environment says.
    pub fn from_env() -> Notifier {
        Notifier::from_variables(|name| std::env::var_os(name), std::process::id())
    }

    /// The server serves now; the status says in which way.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// One line for people, which `systemctl status` shows.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The server is on its way out.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The server is alive; to be said every [`Notifier::watchdog_interval`].
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// Half the time after which a silent server is taken for dead; None = nobody waits for a word.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, own_pid: u32) -> Notifier {
        let Some(path) = variable("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Notifier::default();
        };
        let manager = match address_of(&path).and_then(|address| Ok((unbound()?, address))) {
            Ok(manager) => manager,
            Err(error) => {
                tracing::warn!("cannot reach the service manager at {}: {error}", path.display());
                return Notifier::default();
            }
        };
        let number = |name| -> Option<u64> { variable(name)?.to_str()?.parse().ok() };
        let is_for_us = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(own_pid.into());
        let period = number("WATCHDOG_USEC").filter(|&micros| micros > 0 && is_for_us);
        Notifier {
            manager: Some(manager),
            watchdog_interval: period.map(|micros| Duration::from_micros(micros.div_ceil(2))),
        }
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.manager else {
            return;
        };
        // Addressed anew each time: the manager may have made its socket anew.
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!("the service manager was not told \"{message}\": {error}");
        }
    }
}

/// An address that begins with @ is in the abstract namespace, any other is a path.
fn address_of(path: &OsStr) -> io::Result<SocketAddr> {
    match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    }
}

fn unbound() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the server for longer.
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

const SEND_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    use super::Notifier;

    /// Longer than the address of a socket can be.
    const TOO_LONG: &str = concat!(
        "/0123456789012345678901234567890123456789012345678901234567890123456789",
        "/0123456789012345678901234567890123456789012345678901234567890123456789"
    );

    fn notifier(pairs: &[(&str, &str)]) -> Notifier {
        let value = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        Notifier::from_variables(|name| value(name).map(OsString::from), 7)
    }

    fn message(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn hears_everything(manager: &UnixDatagram, address: &str) {
        let notifier = notifier(&[("NOTIFY_SOCKET", address)]);
        notifier.status("loading\n3 of 10");
        assert_eq!(message(manager), "STATUS=loading 3 of 10");
        notifier.ready("standalone");
        assert_eq!(message(manager), "READY=1\nSTATUS=standalone");
        notifier.watchdog();
        assert_eq!(message(manager), "WATCHDOG=1");
        notifier.stopping();
        assert_eq!(message(manager), "STOPPING=1");
    }

    #[test]
    fn a_manager_at_a_path_hears_everything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        hears_everything(&manager, path.to_str().unwrap());
    }

    #[test]
    fn a_manager_at_an_abstract_address_hears_everything() {
        let name = format!("zkserver-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        hears_everything(&manager, &format!("@{name}"));
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        for pairs in [
            &[][..],
            &[("NOTIFY_SOCKET", "")],
            &[("NOTIFY_SOCKET", "/no/such/socket")],
            &[("NOTIFY_SOCKET", TOO_LONG), ("WATCHDOG_USEC", "1000")],
            &[("WATCHDOG_USEC", "1000")],
        ] {
            let notifier = notifier(pairs);
            notifier.ready("standalone");
            assert_eq!(notifier.watchdog_interval(), None, "{pairs:?}");
        }
    }

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        for (pairs, interval) in [
            (&[][..], None),
            (&[("WATCHDOG_USEC", "3000000")], Some(1_500)),
            (
                &[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "7")],
                Some(1_500),
            ),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "8")], None),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "x")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
        ] {
            let mut all = pairs.to_vec();
            all.push(("NOTIFY_SOCKET", path.to_str().unwrap()));
            let found = notifier(&all).watchdog_interval();
            assert_eq!(found, interval.map(Duration::from_millis), "{pairs:?}");
        }
    }
}
