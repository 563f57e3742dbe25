//! What the words say in an ensemble, next to the texts of a reference ensemble of three participants and one
//! observer.

use super::*;
use crate::ids::ServerId;
use crate::shared::{LeadingStatus, LearnerLine, ZabState};

fn leader() -> Sample {
    let learner = |server, is_observer| LearnerLine {
        server: ServerId(server),
        is_observer,
        is_up: true,
        acked: None,
    };
    let mut server = member(Mode::Leader);
    server.role.leading = Some(LeadingStatus {
        learners: vec![learner(1, false), learner(2, false), learner(4, true)],
        synced_followers: 2,
        synced_observers: 1,
        proposal_bytes: [99, 48, 99],
        ..LeadingStatus::default()
    });
    server
}

fn member(mode: Mode) -> Sample {
    let mut server = sample();
    server.role = RoleStatus {
        mode,
        state: ZabState::Broadcast,
        leader: Some(ServerId(3)),
        ..RoleStatus::default()
    };
    server.ensemble = Some(EnsembleConf {
        init_limit: 10,
        sync_limit: 5,
        election_ports: vec![38229],
        quorum_ports: vec![48291],
        is_observer: mode == Mode::Observer,
        quorum_size: 3,
        membership: "server.1=127.0.0.1:48291:38229:participant;127.0.0.1:35943\nversion=0".into(),
    });
    server
}

#[test]
fn the_part_is_named_and_a_leader_tells_of_its_proposals() {
    let figures = |mode: &str| FIGURES.replace("standalone", mode);
    for (server, mode, more) in [
        (leader(), "leader", "Proposal sizes last/min/max: 99/48/99\n"),
        (member(Mode::Follower), "follower", ""),
        (member(Mode::Observer), "observer", ""),
    ] {
        let expected = format!("{VERSION}{}{more}", figures(mode));
        assert_eq!(ask(&server, b"srvr"), expected);
        let stat = ask(&server, b"stat");
        assert!(
            stat.starts_with(&format!("{VERSION}Clients:\n /127.0.0.1:35682[1](")),
            "{stat}"
        );
        assert!(stat.ends_with(&format!(")\n\n{}{more}", figures(mode))), "{stat}");
        assert_eq!(ask(&server, b"isro"), "rw");
    }
}

#[test]
fn a_new_leader_has_no_sizes_of_proposals() {
    let mut server = leader();
    server.role.leading = Some(LeadingStatus {
        proposal_bytes: [-1; 3],
        ..LeadingStatus::default()
    });
    let text = ask(&server, b"srvr");
    assert!(
        text.ends_with("\nProposal sizes last/min/max: -1/-1/-1\n"),
        "{text}"
    );
}

#[test]
fn configuration_goes_on_with_the_ensemble() {
    for (mode, peer_type) in [(Mode::Leader, 0), (Mode::Follower, 0), (Mode::Observer, 1)] {
        let text = ask(&member(mode), b"conf");
        let (_, rest) = text
            .split_once("\nserverId=0\n")
            .expect("the lines of one that is alone");
        let expected = format!(
            "initLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=38229\nquorumPort=48291\n\
             peerType={peer_type}\nmembership: \n\
             server.1=127.0.0.1:48291:38229:participant;127.0.0.1:35943\nversion=0"
        );
        assert_eq!(rest, expected);
    }
    let mut server = member(Mode::Follower);
    let ensemble = server.ensemble.as_mut().unwrap();
    ensemble.election_ports = vec![42559, 53269];
    ensemble.quorum_ports = vec![2888, 2888];
    let text = ask(&server, b"conf");
    assert!(
        text.contains("\nelectionPort=42559|53269\nquorumPort=2888\n"),
        "{text}"
    );
}

#[test]
fn learners_dump_the_sessions_of_all() {
    let rest = "ephemeral nodes dump:\nSessions with Ephemerals (1):\n";
    let learned = format!(
        "SessionTracker dump:\nGlobal Sessions(2):\n0xffffffffffffffff\t4000ms\n{SESSION}\t30000ms\n{rest}"
    );
    for mode in [Mode::Follower, Mode::Observer] {
        let text = ask(&member(mode), b"dump");
        assert!(text.starts_with(&learned), "{text}");
    }
    assert_eq!(ask(&leader(), b"dump"), ask(&sample(), b"dump"));
}

#[test]
fn sessions_of_one_server_are_dumped_in_front_of_the_others() {
    let at = 1_795_224_161_000;
    let local = Some(vec![(at, vec![SessionId(5), SessionId(6)])]);
    let head = "SessionTracker dump:\nLocal Session Sets (1)/(2):\n2 expire at ";
    for (mode, next) in [
        (
            Mode::Leader,
            "\t0x5\n\t0x6\nGlobal Session Sets (1)/(1):\n1 expire at ",
        ),
        (Mode::Follower, "\t0x5\n\t0x6\nGlobal Sessions(2):\n"),
        (Mode::Observer, "\t0x5\n\t0x6\nGlobal Sessions(2):\n"),
    ] {
        let server = Sample {
            local_sessions: local.clone(),
            ..member(mode)
        };
        let text = ask(&server, b"dump");
        assert!(text.starts_with(head) && text.contains(next), "{text}");
    }
}

#[test]
fn a_read_only_server_says_so() {
    let server = member(Mode::ReadOnly);
    assert_eq!(ask(&server, b"isro"), "ro");
    let line = "\nREAD-ONLY mode; serving only read-only clients\n";
    for (word, next) in [(b"srvr", "Latency"), (b"stat", "Clients:\n")] {
        let text = ask(&server, word);
        assert!(text.contains(&format!("{line}{next}")), "{text}");
        assert!(text.contains("\nMode: read-only\n"), "{text}");
    }
    let conf = ask(&server, b"conf");
    assert!(conf.ends_with("\npeerType=0\n"), "{conf}");
    assert!(ask(&server, b"dump").contains("\nGlobal Sessions(2):\n"));
    let mntr = ask(&server, b"mntr");
    assert!(mntr.contains("\nzk_server_state\tread-only\n"), "{mntr}");
    assert!(!mntr.contains("zk_peer_state") && !mntr.contains("zk_quorum_size"));
}

#[test]
fn monitoring_finds_the_names_of_each_role() {
    for (server, state, more) in [
        (leader(), "leading - broadcast", LEADER_NAMES),
        (member(Mode::Follower), "following - broadcast", MEMBER_NAMES),
        (member(Mode::Observer), "observing - broadcast", OBSERVER_NAMES),
    ] {
        let text = ask(&server, b"mntr");
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        let alone = include_str!("../mntr_names.txt").lines();
        let expected: BTreeSet<&str> = alone.chain(more.lines()).collect();
        assert_eq!(names.len(), expected.len(), "none twice");
        assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), expected);
        assert_eq!(names[..3], ["zk_version", "zk_server_state", "zk_peer_state"]);
        let peer_state = format!("\nzk_peer_state\t{state}\n");
        assert!(text.contains(&peer_state), "{text}");
    }
}

#[test]
fn monitoring_finds_the_figures_of_a_leader() {
    let mut server = leader();
    let leading = server.role.leading.as_mut().unwrap();
    leading.synced_non_voting_followers = 1;
    leading.pending_syncs = 4;
    let metrics = &server.metrics;
    for server in [1, 2] {
        metrics
            .learner_handler_qp_size
            .record(server, |size| size.record(6));
    }
    metrics.ack_latency.record(1, |latency| latency.record(8));
    let text = ask(&server, b"mntr");
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in [
        "zk_server_state\tleader",
        "zk_quorum_size\t3",
        "zk_leader_uptime\t7508",
        "zk_learners\t3",
        "zk_synced_followers\t3",
        "zk_synced_non_voting_followers\t1",
        "zk_synced_observers\t1",
        "zk_pending_syncs\t4",
        "zk_last_proposal_size\t99",
        "zk_min_proposal_size\t48",
        "zk_max_proposal_size\t99",
        "zk_avg_2_learner_handler_qp_size\t6.0",
        "zk_cnt_1_learner_handler_qp_size\t1",
        "zk_p999_1_ack_latency\t8",
        "zk_sum_1_ack_latency\t8",
    ] {
        assert!(lines.contains(line), "{line}");
    }
    let text = ask(&member(Mode::Observer), b"mntr");
    assert!(text.contains("\nzk_observer_master_id\t3\n"), "{text}");
}

#[test]
fn a_follower_tells_of_the_observers_behind_it_and_they_of_it() {
    let mut server = member(Mode::Follower);
    server.role.synced_observers = Some(2);
    let text = ask(&server, b"mntr");
    assert!(text.contains("\nzk_synced_observers\t2\n"), "{text}");
    let mut server = member(Mode::Observer);
    server.role.observer_master = Some(ServerId(1));
    let text = ask(&server, b"mntr");
    assert!(text.contains("\nzk_observer_master_id\t1\n"), "{text}");
}

const MEMBER_NAMES: &str = "zk_peer_state\nzk_quorum_size";
const OBSERVER_NAMES: &str = "zk_peer_state\nzk_quorum_size\nzk_observer_master_id";
const LEADER_NAMES: &str = "zk_peer_state\nzk_quorum_size\nzk_leader_uptime\nzk_learners\n\
    zk_synced_followers\nzk_synced_non_voting_followers\nzk_synced_observers\nzk_pending_syncs\n\
    zk_last_proposal_size\nzk_max_proposal_size\nzk_min_proposal_size";
