//! Member lists, myid and the client port that may be among them.

use std::fs;

use super::Place;
use crate::config::load::ClientPortPlace;
use crate::config::problem::Severity;
use crate::ids::ServerId;

/// A `zoo.cfg` whose data directory is beside it and holds this `myid`.
fn with_my_id(my_id: Option<&str>, lines: &str) -> Place {
    let place = Place::new("zoo.cfg", "");
    let data_dir = place.dir.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    if let Some(my_id) = my_id {
        fs::write(data_dir.join("myid"), my_id).unwrap();
    }
    fs::write(place.path(), format!("dataDir={}\n{lines}", data_dir.display())).unwrap();
    place
}

const ENSEMBLE: &str = "clientPort=2181\ninitLimit=10\nsyncLimit=5\nserver.1=a:2888:3888\n\
                        server.2=b:2888:3888:observer\n\
                        server.3=c:2888:3888;2181\nserver.4=d:2888:3888\n";

#[test]
fn an_ensemble_is_read_in_full() {
    let place = with_my_id(Some("3\n"), ENSEMBLE);
    let loaded = place.load();
    assert_eq!(loaded.problems, []);
    let ensemble = &loaded.config.ensemble;
    assert_eq!(ensemble.my_id, Some(ServerId(3)));
    assert_eq!((ensemble.servers.len(), ensemble.participants_count()), (4, 3));
    assert!(ensemble.is_distributed());
    assert_eq!(loaded.config.client_port.host.as_deref(), Some("0.0.0.0"));
}

#[test]
fn observers_need_a_port_of_their_own() {
    for (port, name) in [(3888, "election"), (2888, "quorum"), (2181, "client")] {
        let place = with_my_id(Some("1"), &format!("{ENSEMBLE}observerMasterPort={port}\n"));
        let text = format!("observerMasterPort: {port} is this server's {name} port already");
        let problems = place.load().problems;
        assert!(problems[0].text.starts_with(&text), "{problems:?}");
    }
    let place = with_my_id(Some("1"), &format!("{ENSEMBLE}observerMasterPort=2191\n"));
    assert_eq!(place.load().problems, []);
}

#[test]
fn rules_between_members_are_checked() {
    for (my_id, lines, text) in [
        (None, ENSEMBLE, "<dir>/zoo.cfg:1: myid file is missing"),
        (
            Some("9"),
            ENSEMBLE,
            "<dir>/zoo.cfg: My id 9 not in the peer list: <dir>/data/myid says 9, \
             and the server.N lines here have the numbers 1, 2, 3, 4;",
        ),
        (Some("x"), ENSEMBLE, "<dir>/data/myid: found \"x\""),
        (Some(""), ENSEMBLE, "<dir>/data/myid: is empty"),
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=b:1:2\nsyncLimit=1",
            "<dir>/zoo.cfg: initLimit is not set",
        ),
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=b:1:2\ninitLimit=1",
            "<dir>/zoo.cfg: syncLimit is not set",
        ),
        (
            Some("1"),
            "server.1=a:1:2:observer",
            "<dir>/zoo.cfg: observers need an ensemble",
        ),
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=a:3:4:observer",
            "<dir>/zoo.cfg: observers need an ensemble",
        ),
        (
            Some("3"),
            "group.1=1:3\ngroup.2=3:4\n@",
            "<dir>/zoo.cfg:2: server 3 is in more than one group",
        ),
        (
            Some("3"),
            "group.1=1:3:4:5\n@",
            "<dir>/zoo.cfg:2: server 5 is in a group, but there is no line server.5",
        ),
        (
            Some("3"),
            "group.1=1:3\n@",
            "<dir>/zoo.cfg:2: server 4 does not belong to a group",
        ),
        (
            Some("1"),
            "clientPort=1\nserver.1=a:1:2;2",
            "<dir>/zoo.cfg:2: client address for this server",
        ),
        (
            Some("1"),
            "clientPort=2\nclientPortAddress=x\nserver.1=a:1:2;y:2",
            "<dir>/zoo.cfg:2: client address for this server in the configuration file is x:2",
        ),
    ] {
        let place = with_my_id(my_id, &lines.replace('@', ENSEMBLE));
        let errors = place.problems(&place.load(), Severity::Error);
        assert_eq!(errors.len(), 1, "{lines}: {errors:?}");
        assert!(errors[0].starts_with(text), "{lines}: {errors:?}");
    }
}

#[test]
fn two_lines_do_not_speak_for_one_server_nor_two_servers_for_one_port() {
    for (lines, texts) in [
        (
            "server.1=a:1:2\nserver.2=b:1:2\nserver.1=c:1:2",
            &["<dir>/zoo.cfg:5: server.1: server 1 is already at <dir>/zoo.cfg:3;"][..],
        ),
        (
            "server.1=a:1:2\nserver.01=c:1:2",
            &["<dir>/zoo.cfg:4: server.01: server 1 is already at <dir>/zoo.cfg:3;"],
        ),
        (
            "server.1=a:1:2\nserver.2=A:1:3",
            &["<dir>/zoo.cfg:4: server.2: A:1 is server.1's already (<dir>/zoo.cfg:3);"],
        ),
        (
            "server.1=[::1]:1:2\nserver.2=[::1]:2:1",
            &[
                "<dir>/zoo.cfg:4: server.2: [::1]:2 is server.1's already",
                "<dir>/zoo.cfg:4: server.2: [::1]:1 is server.1's already",
            ],
        ),
        ("server.1=a:1:2\nserver.2=b:1:2", &[]),
        ("server.1=a:1:2\nserver.2=a:3:4", &[]),
    ] {
        let place = with_my_id(Some("1"), &format!("initLimit=1\n{lines}\nsyncLimit=1"));
        let errors = place.problems(&place.load(), Severity::Error);
        assert_eq!(errors.len(), texts.len(), "{lines}: {errors:?}");
        for (error, text) in errors.iter().zip(texts) {
            assert!(error.starts_with(text), "{lines}: {errors:?}");
        }
    }
}

#[test]
fn a_foreign_id_names_the_file_with_the_list() {
    let place = with_my_id(Some("3"), "initLimit=1\nsyncLimit=1\n");
    let list = place.dir.path().join("members");
    fs::write(&list, "server.1=a:1:2\nserver.2=b:1:2\n").unwrap();
    let main = fs::read_to_string(place.path()).unwrap();
    fs::write(
        place.path(),
        main + &format!("dynamicConfigFile={}", list.display()),
    )
    .unwrap();
    let errors = place.problems(&place.load(), Severity::Error);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with("<dir>/members: My id 3 not in the peer list: <dir>/data/myid says 3,"),
        "{errors:?}"
    );
    assert!(!errors[0].contains("removed"), "{errors:?}");
}

#[test]
fn who_may_have_been_removed_is_told_how_to_join_anew() {
    let place = with_my_id(Some("3"), "initLimit=1\nsyncLimit=1\n");
    let list = place.dir.path().join("zoo.cfg.dynamic.10000001d");
    fs::write(&list, "server.1=a:1:2;3\nserver.2=b:1:2;3\n").unwrap();
    let main = fs::read_to_string(place.path()).unwrap();
    fs::write(
        place.path(),
        main + &format!("dynamicConfigFile={}", list.display()),
    )
    .unwrap();
    let errors = place.problems(&place.load(), Severity::Error);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("version 10000001d"), "{errors:?}");
    assert!(errors[0].ends_with("`zkserver member add`"), "{errors:?}");
}

#[test]
fn doubtful_members_are_warned_about() {
    for (my_id, lines, text) in [
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=b:1:2",
            "No server failure will be tolerated",
        ),
        (
            Some("1"),
            "server.1=a:1:2\nserver.2=b:1:2\nserver.3=b:3:4\nserver.4=b:5:6",
            "consider an odd number",
        ),
        (Some("300"), "", "/data/myid: the id 300 is above 255"),
        (
            Some("not a number"),
            "",
            "a standalone server does without, but Apache does not start on this file",
        ),
        (
            Some("1"),
            "peerType=observer\nserver.1=a:1:2",
            "peerType: differs from the role",
        ),
    ] {
        let place = with_my_id(
            my_id,
            &format!("initLimit=1\nsyncLimit=1\nclientPort=2181\n{lines}"),
        );
        let loaded = place.load();
        assert!(!loaded.has_errors(), "{lines}: {:?}", loaded.problems);
        let warnings = place.problems(&loaded, Severity::Warning);
        assert_eq!(warnings.len(), 1, "{lines}: {warnings:?}");
        assert!(warnings[0].contains(text), "{lines}: {warnings:?}");
    }
}

#[test]
fn the_client_port_may_be_in_the_server_line() {
    for (line, host) in [
        ("server.1=localhost:2888:3888;2181", "0.0.0.0"),
        ("server.1=h:1:2;[::1]:2181", "::1"),
    ] {
        let loaded = with_my_id(Some("1"), line).load();
        assert_eq!(loaded.problems, []);
        assert_eq!(loaded.client_port_place, ClientPortPlace::ServerLine);
        assert_eq!(loaded.config.client_port.port, Some(2181));
        assert_eq!(loaded.config.client_port.host.as_deref(), Some(host));
        assert!(!loaded.config.ensemble.is_distributed());
    }
}

#[test]
fn no_client_port_is_legal_but_warned_about() {
    let place = Place::new("zoo.cfg", "dataDir=/zk");
    let loaded = place.load();
    assert!(!loaded.has_errors());
    assert_eq!(loaded.client_port_place, ClientPortPlace::Missing);
    assert!(place.problems(&loaded, Severity::Warning)[0].contains("clientPort is not set"));
}

#[test]
fn no_plain_port_opens_beside_a_secure_one_unasked() {
    let loaded = Place::new("zoo.cfg", "dataDir=/zk\nclientPort=0\nsecureClientPort=2281").load();
    assert_eq!(loaded.config.client_port.port, None);
    assert_eq!(loaded.config.client_port.secure_port, Some(2281));
}

#[test]
fn members_may_be_in_a_dynamic_file() {
    let place = with_my_id(Some("1"), "");
    let dynamic = place.dir.path().join("zoo.cfg.dynamic.100000000");
    let main =
        fs::read_to_string(place.path()).unwrap() + &format!("dynamicConfigFile={}\n", dynamic.display());
    fs::write(place.path(), &main).unwrap();
    assert!(
        place.problems(&place.load(), Severity::Error)[0]
            .contains("zoo.cfg.dynamic.100000000 file is missing")
    );
    fs::write(&dynamic, "server.1=h:1:2:participant;2181\n").unwrap();
    let loaded = place.load();
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.config.ensemble.version, 0x1_0000_0000);
    assert_eq!(loaded.config.client_port.port, Some(2181));
    fs::write(&dynamic, "server.1=h:1:2:participant;2181\nversion=1\n").unwrap();
    assert!(place.problems(&place.load(), Severity::Error)[0].contains(":2: version: only server.N"));
    fs::write(place.path(), main + "server.1=h:1:2\n").unwrap();
    fs::write(&dynamic, "server.1=h:1:2:participant;2181\n").unwrap();
    let errors = place.problems(&place.load(), Severity::Error);
    assert!(
        errors[0].contains("parameter: server.1 must be in a separate dynamic config file"),
        "{errors:?}"
    );
}

#[test]
fn a_server_of_number_255_has_ttl_nodes_only_if_nobody_asks_for_them() {
    let lines =
        "clientPort=2181\ninitLimit=1\nsyncLimit=1\nserver.254=a:1:2\nserver.255=b:1:2\nserver.3=c:1:2\n";
    for (my_id, key, expected) in [
        ("254", "", Some(true)),
        ("254", "extendedTypesEnabled=true", Some(true)),
        ("254", "extendedTypesEnabled=false", Some(false)),
        ("255", "", Some(false)),
        ("255", "extendedTypesEnabled=false", Some(false)),
        ("255", "extendedTypesEnabled=true", None),
    ] {
        let place = with_my_id(Some(my_id), &format!("{lines}{key}"));
        let loaded = place.load();
        let errors = place.problems(&loaded, Severity::Error);
        if let Some(expected) = expected {
            assert_eq!(errors, [""; 0], "{my_id} {key}");
            assert_eq!(
                loaded.config.request.extended_types_enabled, expected,
                "{my_id} {key}"
            );
        } else {
            assert!(
                errors[0].starts_with(
                    "<dir>/zoo.cfg:8: extendedTypesEnabled is true but Server ID is too large: myid says 255,"
                ),
                "{errors:?}"
            );
        }
    }
}
