//! What a server says of itself: `srvr`, which every server answers, and `mntr`, where it is allowed.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::target::Target;
use crate::cli::words::{self, Deadline};
use crate::ids::Zxid;

/// The answer of a server that serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Figures {
    /// As in `3.9.5-<revision>`.
    pub(in crate::cli) version: String,
    /// In the words of `srvr`.
    pub(in crate::cli) mode: String,
    /// The last one applied.
    pub(in crate::cli) zxid: Option<Zxid>,
    /// `min/avg/max` in milliseconds.
    pub(in crate::cli) latency_ms: Option<String>,
    /// Client connections.
    pub(in crate::cli) connections: Option<u64>,
    /// Nodes of the tree.
    pub(in crate::cli) znodes: Option<u64>,
    /// How far the peer has come, from `mntr`.
    pub(in crate::cli) peer_state: Option<String>,
    /// From a leader's `mntr`.
    pub(in crate::cli) synced_followers: Option<u64>,
    /// From a leader's `mntr`.
    pub(in crate::cli) synced_observers: Option<u64>,
}

/// Why there are no figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Trouble {
    /// It is there, but without a quorum, or still loading.
    NotServing,
    /// It is there and answers something else.
    Odd,
    /// Nothing in the configuration says where its clients connect.
    NoPort,
    /// Nobody listens.
    Refused,
    /// Nothing came in time.
    Timeout,
    /// Anything else, in the words of the system.
    Unreachable(String),
}

impl Trouble {
    /// Whether there is a process that answers.
    pub(in crate::cli) fn is_reached(&self) -> bool {
        match self {
            Trouble::NotServing | Trouble::Odd => true,
            Trouble::NoPort | Trouble::Refused | Trouble::Timeout | Trouble::Unreachable(_) => false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::NotServing => "not serving",
            Trouble::Odd => "does not answer like a ZooKeeper server",
            Trouble::NoPort => "client port unknown",
            Trouble::Refused => "connection refused",
            Trouble::Timeout => "timeout",
            Trouble::Unreachable(text) => text,
        })
    }
}

/// Asks all at once, so that the slowest sets the time. The answers are in the order of the targets.
pub(in crate::cli) fn ask_all(targets: &[Target]) -> io::Result<Vec<Result<Figures, Trouble>>> {
    let (answered, answers) = mpsc::channel();
    for (index, target) in targets.iter().cloned().enumerate() {
        let answered = answered.clone();
        let ask = move || {
            // Who asks may have stopped waiting.
            let _ = answered.send((index, ask(&target)));
        };
        thread::Builder::new()
            .name(format!("status {index}"))
            .spawn(ask)?;
    }
    drop(answered);
    // A name that takes long to resolve has no timeout of its own.
    let deadline = Deadline::start(words::TIMEOUT * 2 + GRACE);
    let mut results = vec![Err(Trouble::Timeout); targets.len()];
    while let Ok(left) = deadline.left() {
        let Ok((index, answer)) = answers.recv_timeout(left) else {
            break;
        };
        results[index] = answer;
    }
    Ok(results)
}

fn ask(target: &Target) -> Result<Figures, Trouble> {
    let port = target.port.ok_or(Trouble::NoPort)?;
    let (address, answer) = words::ask(&target.hosts, port, b"srvr").map_err(trouble)?;
    let mut figures = srvr(&answer)?;
    // Off the whitelist by default, and never needed for the verdict.
    if let Ok(answer) = words::ask_at(address, b"mntr") {
        mntr(&mut figures, &answer);
    }
    Ok(figures)
}

fn trouble(error: io::Error) -> Trouble {
    // What a read that took too long returns differs by system.
    const KINDS: [(ErrorKind, Trouble); 3] = [
        (ErrorKind::ConnectionRefused, Trouble::Refused),
        (ErrorKind::TimedOut, Trouble::Timeout),
        (ErrorKind::WouldBlock, Trouble::Timeout),
    ];
    let kind = error.kind();
    if kind == ErrorKind::NotFound {
        return Trouble::Unreachable("host unknown".to_owned());
    }
    let known = KINDS.into_iter().find(|(known, _)| *known == kind);
    known.map_or_else(|| Trouble::Unreachable(kind.to_string()), |(_, trouble)| trouble)
}

fn srvr(answer: &str) -> Result<Figures, Trouble> {
    if answer.starts_with(NOT_SERVING) {
        return Err(Trouble::NotServing);
    }
    let value = |key: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map(str::trim)
    };
    let number = |key: &str| value(key).and_then(|text| text.parse().ok());
    let zxid = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16);
    Ok(Figures {
        version: value("Zookeeper version: ")
            .and_then(|text| text.split(',').next())
            .unwrap_or_default()
            .to_owned(),
        mode: value("Mode: ").ok_or(Trouble::Odd)?.to_owned(),
        zxid: value("Zxid: ")
            .and_then(|text| zxid(text).ok())
            .map(|zxid| Zxid(zxid as i64)),
        latency_ms: value("Latency min/avg/max: ").map(str::to_owned),
        connections: number("Connections: "),
        znodes: number("Node count: "),
        ..Figures::default()
    })
}

fn mntr(figures: &mut Figures, answer: &str) {
    let value = |key: &str| {
        let mut pairs = answer.lines().filter_map(|line| line.split_once('\t'));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    // With another metrics provider, Apache's numbers are fractions.
    let number = |key: &str| value(key).and_then(|text| Some(text.parse::<f64>().ok()? as u64));
    figures.peer_state = value("zk_peer_state").map(str::to_owned);
    figures.synced_followers = number("zk_synced_followers");
    figures.synced_observers = number("zk_synced_observers");
}

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SRVR: &str = "Zookeeper version: 3.9.5-0, built on 2026-02-11 20:18 UTC\n\
        Latency min/avg/max: 2/2.75/4\nReceived: 18\nSent: 19\nConnections: 2\nOutstanding: 0\n\
        Zxid: 0x100000009\nMode: leader\nNode count: 11\nProposal sizes last/min/max: 99/48/99\n";

    #[test]
    fn figures_are_read_from_both_words() {
        let mut figures = srvr(SRVR).unwrap();
        let expected = Figures {
            version: "3.9.5-0".into(),
            mode: "leader".into(),
            zxid: Some(Zxid(0x1_0000_0009)),
            latency_ms: Some("2/2.75/4".into()),
            connections: Some(2),
            znodes: Some(11),
            ..Figures::default()
        };
        assert_eq!(figures, expected);
        mntr(
            &mut figures,
            "mntr is not executed because it is not in the whitelist.\n",
        );
        assert_eq!(figures, expected);
        let text = "zk_peer_state\tleading - broadcast\nzk_synced_followers\t2\nzk_synced_observers\t1.0\n";
        mntr(&mut figures, text);
        assert_eq!(figures.peer_state.as_deref(), Some("leading - broadcast"));
        assert_eq!(
            (figures.synced_followers, figures.synced_observers),
            (Some(2), Some(1))
        );
    }

    #[test]
    fn other_answers_are_troubles() {
        let text = "This ZooKeeper instance is not currently serving requests\n";
        assert_eq!(srvr(text), Err(Trouble::NotServing));
        assert_eq!(srvr(""), Err(Trouble::Odd));
        assert_eq!(srvr("HTTP/1.1 400 Bad Request\r\n"), Err(Trouble::Odd));
        for (kind, text) in [
            (ErrorKind::ConnectionRefused, "connection refused"),
            (ErrorKind::TimedOut, "timeout"),
            (ErrorKind::WouldBlock, "timeout"),
            (ErrorKind::NotFound, "host unknown"),
            (ErrorKind::ConnectionReset, "connection reset"),
        ] {
            assert_eq!(trouble(kind.into()).to_string(), text);
        }
    }
}
