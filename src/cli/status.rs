//! `status`: the mode of the server on the configured client port, in zkServer.sh's words.

use std::io::{self, Write};
use std::process::ExitCode;

use super::{EXIT_UNEXPECTED, Setup, Streams, report, words};
use crate::config::{ClientPortPlace, Severity};

/// Prints the mode; fails when nothing serves.
pub fn status(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    report(&setup.loaded.problems, Severity::Error, streams.err)?;
    let Some(Target {
        host,
        port,
        is_secure,
    }) = find_target(setup, streams.out)?
    else {
        return Ok(ExitCode::from(EXIT_UNEXPECTED));
    };
    writeln!(
        streams.out,
        "Client port found: {port}. Client address: {host}. Client SSL: {is_secure}."
    )?;
    let answer = if is_secure {
        Err(io::ErrorKind::Unsupported.into())
    } else {
        words::ask(&[host], port, b"srvr").map(|(_, text)| text)
    };
    if is_secure {
        writeln!(
            streams.err,
            "TLS is not spoken by status yet: set clientPort beside secureClientPort"
        )?;
    }
    match answer.map(|text| text.lines().find(|line| line.contains("Mode")).map(str::to_owned)) {
        Ok(Some(mode)) => {
            writeln!(streams.out, "{mode}")?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(None) | Err(_) => {
            writeln!(
                streams.out,
                "Error contacting service. It is probably not running."
            )?;
            Ok(ExitCode::from(EXIT_UNEXPECTED))
        }
    }
}

struct Target {
    host: String,
    port: u16,
    is_secure: bool,
}

fn find_target(setup: &Setup, out: &mut dyn Write) -> io::Result<Option<Target>> {
    let config = &setup.loaded.config;
    if setup.loaded.client_port_place != ClientPortPlace::Key {
        note_search(setup, out)?;
    }
    let client_port = &config.client_port;
    let local = || "localhost".to_owned();
    if let Some(port) = client_port.port {
        let host = client_port.host.clone().unwrap_or_else(local);
        return Ok(Some(Target {
            host,
            port,
            is_secure: false,
        }));
    }
    writeln!(
        out,
        "Client port not found. Looking for secureClientPort in the static config."
    )?;
    if let Some(port) = client_port.secure_port {
        let host = client_port.secure_host.clone().unwrap_or_else(local);
        return Ok(Some(Target {
            host,
            port,
            is_secure: true,
        }));
    }
    let text = "Unable to find either secure or unsecure client port in any configs. Terminating.";
    writeln!(out, "{text}")?;
    Ok(None)
}

/// What is said when `clientPort` is not among the keys of the file.
fn note_search(setup: &Setup, out: &mut dyn Write) -> io::Result<()> {
    let ensemble = &setup.loaded.config.ensemble;
    if ensemble.my_id.is_none() {
        return writeln!(
            out,
            "myid could not be determined, will not able to locate clientPort in the server configs."
        );
    }
    let place = setup.loaded.client_port_place;
    if matches!(place, ClientPortPlace::DynamicFile | ClientPortPlace::Missing) {
        writeln!(
            out,
            "Client port not found in static config file. Looking in dynamic config file."
        )?;
    }
    if place == ClientPortPlace::Missing {
        writeln!(out, "Client port not found in the server configs")?;
    }
    Ok(())
}
