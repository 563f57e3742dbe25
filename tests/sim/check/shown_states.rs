//! I9: every read shows the state that its zxid names.

use std::collections::{BTreeMap, BTreeSet};

use zkserver::ids::SessionId;
use zkserver::proto::jute::Reader;
use zkserver::proto::txn::{LoggedTxn, Txn};

use crate::plan::Op;
use crate::users::Sent;

/// Data and version.
type State = Option<(Vec<u8>, i32)>;

/// All states of all nodes, each with the zxid that it began with.
#[derive(Default)]
pub struct ShownStates {
    nodes: BTreeMap<String, Vec<(i64, State)>>,
    owned: BTreeMap<SessionId, BTreeSet<String>>,
}

impl ShownStates {
    pub fn on_committed(&mut self, logged: &LoggedTxn<'_>) {
        self.apply(logged.header.client_id, logged.header.zxid.0, &logged.txn);
    }

    fn apply(&mut self, session: SessionId, zxid: i64, txn: &Txn<'_>) {
        match txn {
            Txn::Create(create) => {
                let data = create.data.unwrap_or_default().to_vec();
                self.put(&create.path, zxid, Some((data, 0)));
                if create.ephemeral {
                    self.owned
                        .entry(session)
                        .or_default()
                        .insert(create.path.to_string());
                }
            }
            Txn::SetData { path, data, version } => {
                self.put(path, zxid, Some((data.unwrap_or_default().to_vec(), *version)));
            }
            Txn::Delete { path } => self.put(path, zxid, None),
            Txn::CloseSession { .. } => {
                for path in self.owned.remove(&session).unwrap_or_default() {
                    self.put(&path, zxid, None);
                }
            }
            Txn::Multi(txns) if !txns.iter().any(|txn| matches!(txn, Txn::Error(_))) => {
                txns.iter().for_each(|txn| self.apply(session, zxid, txn));
            }
            _ => {}
        }
    }

    fn put(&mut self, path: &str, zxid: i64, state: State) {
        if state.is_none() {
            self.owned.values_mut().for_each(|paths| {
                paths.remove(path);
            });
        }
        self.nodes.entry(path.into()).or_default().push((zxid, state));
    }

    pub fn check(&self, zxid: i64, error: i32, body: &[u8], sent: &Sent) {
        let Op::Get { path, .. } = &sent.op else { return };
        let states = self.nodes.get(path).map_or(&[][..], Vec::as_slice);
        let behind = states.partition_point(|(at, _)| *at <= zxid);
        let expected = behind.checked_sub(1).and_then(|at| states[at].1.as_ref());
        let shown = match error {
            0 => Some(decode(body)),
            -101 => None,
            _ => panic!("I9: {path} at {zxid:#x}: {error}"),
        };
        assert!(
            shown.as_ref() == expected,
            "I9: {path} at {zxid:#x} is {expected:?}, not {shown:?}"
        );
    }
}

fn decode(body: &[u8]) -> (Vec<u8>, i32) {
    let mut reader = Reader::new(body);
    let data = reader.buffer().expect("data").unwrap_or_default().to_vec();
    reader.take(32).expect("a stat");
    (data, reader.int().expect("a version"))
}
