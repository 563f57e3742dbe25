//! Tests of the reference model and of the checker: alone, and with a real server.
//!
//! `MODEL_SERVER="java -cp … org.apache.zookeeper.server.quorum.QuorumPeerMain {cfg}"` compares the model
//! with another server, and `MODEL_REQUESTS` sets how many requests are made.

#![allow(
    clippy::unwrap_used,
    reason = "what helps tests is as much a test as they are"
)]

#[path = "model_test/checks.rs"]
mod checks;
mod model;
#[path = "model_test/parts.rs"]
mod parts;
#[path = "cli/place.rs"]
#[allow(dead_code, reason = "made for other tests")]
mod place;
#[path = "model_test/requests.rs"]
mod requests;
#[path = "model_test/served.rs"]
mod served;

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use model::{Options, log_file};
use place::{Place, Server, eventually, free_port};
use served::Recorder;

/// Starts the server and returns when it listens.
fn serve(place: &Place) -> (Server, u16) {
    let Ok(template) = env::var("MODEL_SERVER") else {
        let server = place.serve();
        let port = server.port();
        return (server, port);
    };
    let port = free_port();
    place.write_config(&format!(
        "clientPort={port}\nadmin.enableServer=false\ntickTime=2000\n"
    ));
    let config = place.config();
    let words = template.replace("{cfg}", config.to_str().unwrap());
    let mut words = words.split_whitespace();
    let server = place.spawn(Command::new(words.next().unwrap()).args(words));
    eventually(|| mode(port)).expect("a server");
    (server, port)
}

/// The answer to `srvr`, once it has a mode.
fn mode(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    // A server that has just begun to listen may never answer.
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains("Mode:").then_some(answer)
}

#[test]
fn a_server_does_what_the_model_does() {
    let count = env::var("MODEL_REQUESTS").map_or(3000, |count| count.parse().unwrap());
    let seed = env::var("MODEL_SEED").map_or(1, |seed| seed.parse().unwrap());
    // Apache reads the interval as a Java property only.
    let place = Place::new(
        "clientPort=0\nadmin.enableServer=false\ntickTime=2000\nextendedTypesEnabled=true\n\
         znode.container.checkIntervalMs=100\n",
    );
    let (server, port) = serve(&place);
    let mut recorder = Recorder::new(port, seed);
    recorder.run(count).unwrap();
    drop(server);
    let log = log_file::read_data_dir(&place.path("data/version-2")).unwrap();
    let is_foreign = env::var("MODEL_SERVER").is_ok();
    let options = Options {
        exact_failed_multi: !is_foreign,
        stale_acls: is_foreign,
        stale_children: is_foreign,
        extended_types: true,
        ..Options::default()
    };
    let (counts, violations) = served::check(&recorder.events, &log, options);
    println!("{counts:?}");
    for violation in &violations[..violations.len().min(10)] {
        println!("{}: {}", violation.invariant, violation.text);
    }
    assert!(violations.is_empty(), "{} violations", violations.len());
    assert!(counts.judged > 1000 && counts.reads > 500 && counts.events > 20);
}
