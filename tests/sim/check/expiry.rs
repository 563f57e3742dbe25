//! I15: no session expires before its timeout has gone by under the leader that ends it, whatever was before.

use std::collections::BTreeMap;

use zkserver::clock::Millis;
use zkserver::ids::{Epoch, SessionId};
use zkserver::proto::txn::{LoggedTxn, Txn};

/// The shortest timeout that users ask for.
const TIMEOUT_MIN_MS: u64 = 4000;

#[derive(Default)]
pub struct Expiry {
    /// When each epoch began.
    began: BTreeMap<Epoch, Millis>,
    timeouts: BTreeMap<SessionId, i32>,
}

impl Expiry {
    pub fn began(&mut self, epoch: Epoch, now: Millis) {
        self.began.entry(epoch).or_insert(now);
    }

    pub fn on_committed(&mut self, logged: &LoggedTxn<'_>, now: Millis) {
        let (session, zxid) = (logged.header.client_id, logged.header.zxid);
        match &logged.txn {
            Txn::CreateSession { timeout_ms } => {
                self.timeouts.insert(session, *timeout_ms);
            }
            // One that no client has asked for.
            Txn::CloseSession { .. } if logged.header.cxid == 0 => {
                let began = self.began.get(&zxid.epoch());
                let (Some(began), Some(timeout_ms)) = (began, self.timeouts.get(&session)) else {
                    return;
                };
                // It may have been told another one since.
                let least = (*timeout_ms as u64).min(TIMEOUT_MIN_MS) * 4 / 5;
                assert!(
                    (now - *began).0 >= least,
                    "I15: {session} expires at {zxid}, {} ms after its epoch began, not {timeout_ms}",
                    (now - *began).0
                );
            }
            _ => {}
        }
    }
}
