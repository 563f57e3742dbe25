//! The program as images run it: configured by variables, called by the name of ZooKeeper's script.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::place::{PROGRAM, Place};

#[test]
fn variables_make_a_server_that_the_script_finds() {
    let place = Place::empty();
    fs::create_dir(place.path("conf")).unwrap();
    fs::create_dir(place.path("bin")).unwrap();
    symlink(PROGRAM, place.path("bin/zkServer.sh")).unwrap();
    let script = |words: &[&str]| -> Command {
        let mut command = Command::new(place.path("bin/zkServer.sh"));
        command.args(words).env_clear().current_dir(place.path(""));
        command
            .env("ZOOCFGDIR", place.path("conf"))
            .env("ZOO_DATA_DIR", place.path("data"))
            .env("ZOO_PORT_NUMBER", "0")
            .env("MYID", "7");
        command
    };
    let server = place.spawn(&mut script(&["start-foreground"]));
    let data = place.path("data").display().to_string();
    server.wait_for(&format!("dataDir={data} from ZOO_DATA_DIR"));
    server.wait_for("tickTime=2000, the default in containers");
    server.wait_for("myid=7 from MYID");
    server.wait_for(&format!("wrote 7 to {data}/myid"));
    let port = server.port().to_string();
    server.wait_for("serving clients");
    assert_eq!(fs::read_to_string(place.path("data/myid")).unwrap(), "7\n");
    let outcome = place.finish(script(&["status"]).env("ZOO_PORT_NUMBER", &port));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.ends_with("Mode: standalone\n"), "{outcome:?}");
    assert_eq!(server.stop().code(), Some(0));

    // The file that was written wins over the variable from now on.
    let outcome = place.finish(
        place
            .command(&["check"])
            .env("ZOOCFGDIR", place.path("conf"))
            .env("ZOO_DATA_DIR", place.path("data"))
            .env("MYID", "8"),
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("myid: 7\n"), "{outcome:?}");
    let warning = format!("warning: MYID: 8 has no effect: {data}/myid counts, which says 7\n");
    assert!(outcome.out.contains(&warning), "{outcome:?}");
}

#[test]
fn by_the_name_of_the_script_nothing_starts_unasked() {
    let place = Place::new("clientPort=0\n");
    fs::create_dir(place.path("bin")).unwrap();
    let script = place.path("bin/zkServer.sh");
    symlink(PROGRAM, &script).unwrap();
    for words in [&[][..], &["check"], &["--config", "conf"]] {
        let outcome = place.finish(Command::new(&script).args(words).env_clear());
        let usage = format!("Usage: {} [--config <conf-dir>] {{start|", script.display());
        assert_eq!(outcome.code, Some(0), "{words:?}: {outcome:?}");
        assert!(outcome.err.starts_with(&usage), "{words:?}: {outcome:?}");
        assert_eq!(outcome.out, "", "{words:?}");
    }
    // The configuration beside the link, though the program is elsewhere.
    let outcome = place.finish(Command::new(&script).args(["print-cmd", "zoo.cfg"]).env_clear());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let using = format!("Using config: {}/../conf/zoo.cfg\n", place.path("bin").display());
    assert_eq!(outcome.err, using);
    assert!(outcome.out.contains("\"start-foreground\""), "{outcome:?}");
}
