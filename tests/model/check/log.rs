//! I17 and I22: each logged transaction is what a correct leader makes of its request at that zxid, and no
//! request has two (I5).

use super::super::expected::{Outcome, WriteRequest};
use super::super::jute::Writer;
use super::super::records::{Txn, TxnHeader, code, op};
use super::{Checker, Committed};

/// How many changes of permissions may be on their way at once.
const STALE_ACLS_MAX: usize = 50;
/// How many transactions may be on their way at once.
const STALE_MAX: i64 = 200;

impl Checker {
    pub(super) fn check_log_entry(&mut self, header: &TxnHeader, txn: &Txn) {
        // The servers' own transactions have no request; what they may be is checked elsewhere.
        let is_servers = match header.opcode {
            op::CREATE_SESSION | op::DELETE_CONTAINER => true,
            op::CLOSE_SESSION => !self.is_asked(header),
            _ => false,
        };
        // Who changes the members has a session that is in no history.
        let is_operators = matches!(header.opcode, op::RECONFIG | op::ERROR);
        if is_operators && self.sessions.connections(header.session) == 0 {
            return;
        }
        if is_servers {
            self.check_servers_own(header, txn);
            return;
        }
        let zxid = header.zxid;
        let Some(index) = self.by_xid.get(&(header.session, header.cxid)).copied() else {
            let text = format!(
                "{zxid:#x} in the log for request {} of session {:#x}, which nobody made: {txn:?}",
                header.cxid, header.session
            );
            self.violation("I5", text);
            return;
        };
        if let Some(committed) = &self.requests[index].committed {
            let text = format!("{:#x} and {zxid:#x} in the log for one request", committed.zxid);
            self.violation("I5", text);
            return;
        }
        let request = &self.requests[index];
        if request.opcode == op::RECONFIG {
            // What the next configuration is, is not the model's business.
            let (error, reply) = if let Txn::Reconfig { data, .. } = txn {
                let mut reply = Writer::new();
                reply.buffer(data.as_deref());
                (code::OK, reply.done())
            } else if let Txn::Error(error) = txn {
                (*error, Vec::new())
            } else {
                let text = format!("{zxid:#x} is no reconfiguration: {txn:?}");
                return self.violation("I17", text);
            };
            self.requests[index].committed = Some(Committed { zxid, error, reply });
            return;
        }
        let request = WriteRequest {
            session: header.session,
            ids: &request.ids.clone(),
            opcode: request.opcode,
            body: &request.body.clone(),
            zxid,
            time: header.time,
        };
        let outcome = self.outcome(header, txn, &request);
        self.counts.judged += 1;
        self.compare(header, txn, &outcome);
        let (error, reply) = match (txn, outcome) {
            (Txn::Error(error), _) => (*error, Vec::new()),
            (_, Outcome::Done { reply, .. }) => (code::OK, reply),
            (_, Outcome::Undecodable | Outcome::Refused(_)) => (code::OK, Vec::new()),
        };
        self.requests[index].committed = Some(Committed { zxid, error, reply });
    }

    /// A client asked for the end of the session.
    fn is_asked(&self, header: &TxnHeader) -> bool {
        let index = self.by_xid.get(&(header.session, header.cxid));
        index.is_some_and(|index| self.requests[*index].opcode == op::CLOSE_SESSION)
    }

    fn check_servers_own(&mut self, header: &TxnHeader, txn: &Txn) {
        let zxid = header.zxid;
        if matches!(txn, Txn::CreateSession { .. }) && self.model.session(header.session).is_some() {
            let text = format!("{zxid:#x} opens session {:#x} once more", header.session);
            self.violation("I15", text);
        }
        if matches!(txn, Txn::CloseSession(Some(_))) {
            let outcome = self.model.expected(&WriteRequest {
                session: header.session,
                ids: &[],
                opcode: op::CLOSE_SESSION,
                body: &[],
                zxid,
                time: header.time,
            });
            self.compare(header, txn, &outcome);
        }
    }

    /// What a correct leader makes of the request, or Apache's leader while a `setACL` is on its way.
    fn outcome(&mut self, header: &TxnHeader, txn: &Txn, request: &WriteRequest<'_>) -> Outcome {
        let outcome = self.model.expected(request);
        if !self.options.stale_acls || self.is_same(header, txn, &outcome) {
            return outcome;
        }
        let on_the_way = self.acl_zxids.iter().rev().take(STALE_ACLS_MAX);
        let with_stale = |zxid: &i64| self.model.expected_with_acls_at(Some(zxid - 1), request);
        let right = on_the_way
            .map(with_stale)
            .find(|outcome| self.is_same(header, txn, outcome));
        self.counts.by_stale_acls += u64::from(right.is_some());
        right.unwrap_or(outcome)
    }

    fn is_same(&self, header: &TxnHeader, txn: &Txn, outcome: &Outcome) -> bool {
        match (txn, outcome) {
            (Txn::Error(code::SESSION_EXPIRED), _) => true,
            (Txn::Error(code::SESSION_MOVED), _) => self.sessions.connections(header.session) > 1,
            (Txn::Multi(_), _) if refusal(txn) == Some(code::SESSION_EXPIRED) => true,
            (Txn::Multi(_), _) if refusal(txn) == Some(code::SESSION_MOVED) => {
                self.sessions.connections(header.session) > 1
            }
            (Txn::Error(code::MARSHALLING), Outcome::Undecodable) => true,
            (
                Txn::Error(code::NOT_EMPTY),
                Outcome::Done {
                    txn: Txn::Delete { .. },
                    ..
                },
            ) => self.options.stale_children && header.zxid - self.closed_zxid < STALE_MAX,
            (Txn::Error(logged), Outcome::Refused(expected)) => logged == expected,
            (Txn::CloseSession(None), Outcome::Done { .. }) => header.opcode == op::CLOSE_SESSION,
            (
                Txn::Multi(logged),
                Outcome::Done {
                    txn: Txn::Multi(txns),
                    ..
                },
            ) if first_error(txns).is_some() && !self.options.exact_failed_multi => {
                logged.len() == txns.len() && first_error(logged) == first_error(txns)
            }
            (_, Outcome::Done { txn: expected, .. }) => txn.clone().normal() == expected.clone().normal(),
            _ => false,
        }
    }

    fn compare(&mut self, header: &TxnHeader, txn: &Txn, outcome: &Outcome) {
        if refusal(txn) == Some(code::SESSION_EXPIRED) {
            // The session may be closing before the log says so.
            self.suspect_expired(header.session, header.zxid, "a write was refused");
        }
        if !self.is_same(header, txn, outcome) {
            let concerns_acls = matches!(txn, Txn::Error(code::NO_AUTH))
                || matches!(outcome, Outcome::Refused(code::NO_AUTH));
            let invariant = if concerns_acls { "I22" } else { "I17" };
            let request = self.by_xid.get(&(header.session, header.cxid)).map(|index| {
                let request = &self.requests[*index];
                format!(
                    "opcode {} {:?}",
                    request.opcode,
                    String::from_utf8_lossy(&request.body)
                )
            });
            let text = format!(
                "{:#x}, request {request:?}: logged {txn:?}, expected {outcome:?}",
                header.zxid
            );
            self.violation(invariant, text);
        }
    }
}

/// Where a failed multi failed, and with what. Operations before the failure may be marked with no error, or
/// with a number that is none: Apache marks them where they stand, and the length of their path is read as
/// the error.
fn first_error(txns: &[Txn]) -> Option<(usize, i32)> {
    let error = |(index, txn): (usize, &Txn)| {
        let error = txn.error().filter(|error| *error < code::OK)?;
        Some((index, error))
    };
    txns.iter().enumerate().find_map(error)
}

/// Why a request was refused as a whole, whatever it asked for. Each operation of a multi is refused by
/// itself, the first for the reason.
pub(super) fn refusal(txn: &Txn) -> Option<i32> {
    let first = if let Txn::Multi(txns) = txn {
        txns.first()?
    } else {
        txn
    };
    if let Txn::Error(code) = first {
        Some(*code)
    } else {
        None
    }
}
