use std::path::PathBuf;

use super::*;
use crate::config::ServerConfig;
use crate::ids::Zxid;
use crate::proto::txn::{Txn, TxnHeader};
use crate::session::tracker::SessionTracker;
use crate::tree::DataTree;

fn answers() -> FourLetterAnswers {
    let shared = Shared::new(DataTree::new(1), SessionTracker::new(Millis(2000), 1), 1);
    shared.is_serving.store(true, Relaxed);
    FourLetterAnswers {
        whitelist: Whitelist::All,
        conf: Conf::default(),
        in_force: InForce::new(&ServerConfig::default()),
        dirs: (PathBuf::new(), PathBuf::new()),
        shared: Arc::new(shared),
        clock: Clock::start(),
        started: Millis(0),
        has_local_sessions: false,
    }
}

fn ask(answers: &FourLetterAnswers, word: &[u8; 4]) -> String {
    let word = FourLetterWord::from_bytes(*word).unwrap();
    answers.answer(word, &[], ConnId(1))
}

#[test]
fn a_member_shows_itself_only_in_a_role_that_serves() {
    let answers = answers();
    assert!(ask(&answers, b"srvr").contains("\nMode: standalone\n"));
    for (mode, state, is_shown) in [
        (Mode::Looking, ZabState::Election, false),
        (Mode::Leader, ZabState::Discovery, false),
        (Mode::Follower, ZabState::Synchronization, false),
        (Mode::Follower, ZabState::Broadcast, true),
    ] {
        *answers.shared.role.lock() = RoleStatus {
            mode,
            state,
            ..RoleStatus::default()
        };
        assert_eq!(ask(&answers, b"isro"), if is_shown { "rw" } else { "null" });
        let text = ask(&answers, b"srvr");
        assert_eq!(text.contains("\nMode: follower\n"), is_shown, "{text}");
        assert_eq!(
            ask(&answers, b"mntr").contains("zk_peer_state\tfollowing"),
            is_shown
        );
    }
    answers.shared.is_serving.store(false, Relaxed);
    assert_eq!(ask(&answers, b"isro"), "null");
}

#[test]
fn a_role_begins_the_time_again() {
    let mut answers = answers();
    answers.started = Millis(1000);
    let now = Now {
        mono: Millis(5000),
        wall_ms: 0,
    };
    for (active_since_ms, uptime_ms) in [(None, 4000), (Some(3000), 2000), (Some(6000), 0)] {
        answers.shared.role.lock().active_since_ms = active_since_ms;
        let view = View {
            answers: &answers,
            asking: ConnId(1),
            now,
        };
        assert_eq!(view.gauges().uptime_ms, uptime_ms);
    }
}

#[test]
fn sessions_of_the_ensemble_come_with_their_timeouts() {
    let answers = answers();
    let mut tree = DataTree::new(1);
    for (session, timeout_ms) in [(0x20, 6000), (0x1f, 4000)] {
        let txn = Txn::CreateSession { timeout_ms };
        let header = TxnHeader {
            client_id: SessionId(session),
            cxid: 0,
            zxid: Zxid(1),
            time: 0,
            code: txn.code(),
        };
        tree.process_txn(&header, &txn, &mut ());
    }
    *answers.shared.tree.write() = tree;
    *answers.shared.role.lock() = RoleStatus {
        mode: Mode::Observer,
        state: ZabState::Broadcast,
        ..RoleStatus::default()
    };
    let text = ask(&answers, b"dump");
    let expected = "SessionTracker dump:\nGlobal Sessions(2):\n0x1f\t4000ms\n0x20\t6000ms\nephemeral";
    assert!(text.starts_with(expected), "{text}");
}
