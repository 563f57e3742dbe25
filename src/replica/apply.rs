//! From committed transactions to the tree, the watches and the replies.

use std::sync::Arc;

use super::{Ensemble, Outputs, Pending, Replica, reply};
use crate::auth::{AuthConfig, check_acl};
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, SessionId, Zxid};
use crate::limits::COMMITS_PER_GUARD;
use crate::proto::acl::perms;
use crate::proto::error_code::ErrorCode;
use crate::proto::event::{self, EventType};
use crate::proto::opcode::OpCode;
use crate::proto::response::header_frame;
use crate::proto::txn::{self, LoggedTxn, Txn, TxnDigest, TxnHeader};
use crate::read::{self, ReadContext};
use crate::shared::{ConnShared, Shared};
use crate::tree::digest::DIGEST_VERSION;
use crate::tree::{Change, ChangeKind, ChangeSink, DataTree, TxnResult};
use crate::watch::Fired;
use crate::zab::{self, LogEntry, Zab};

impl Replica {
    /// Applies what is committed, a bounded number under each write guard: readers get their turn.
    pub(super) fn apply_committed(&mut self, now: Now, committed: Vec<LogEntry>, outputs: &mut Outputs) {
        let shared = Arc::clone(&self.shared);
        for entries in committed.chunks(COMMITS_PER_GUARD) {
            let mut tree = shared.tree.write();
            for entry in entries {
                self.apply(now, &mut tree, entry, outputs);
            }
        }
    }

    fn apply(&mut self, now: Now, tree: &mut DataTree, entry: &LogEntry, outputs: &mut Outputs) {
        let LoggedTxn { header, txn, digest } =
            txn::decode(&entry.encoded).expect("what was proposed or taken here decodes here");
        assert!(
            zab::follows(tree.last_processed_zxid(), header.zxid),
            "transactions apply without a gap"
        );
        if let Ensemble::Member(member) = &self.ensemble
            && let Zab::Leading(leader) = &member.zab
            && leader.is_active()
        {
            assert!(
                header.zxid <= leader.last_committed(),
                "nothing is shown that no quorum has"
            );
        }
        let result = {
            let mut events = Events {
                replica: self,
                zxid: header.zxid,
                frame: Vec::new(),
                outputs,
            };
            tree.process_txn(&header, &txn, &mut events)
        };
        if let Some(digest) = digest {
            self.check_digest(now, header.zxid, digest, tree.digest());
        }
        self.prep.applied(header.zxid);
        self.track_session(now, header.client_id, &txn);
        self.answer(now, tree, &header, &txn, &result, outputs);
        self.release_syncs(now, tree, outputs);
        if let Txn::CloseSession { .. } = txn {
            self.drop_session(header.client_id, outputs);
            self.forget_abandoned(header.client_id);
        }
    }

    /// What one of ours has proposed leads to the digest that it says. Apache's leaders sometimes say a wrong
    /// one, and an image of theirs may show more than its zxid says until its learner serves.
    fn check_digest(&self, now: Now, zxid: Zxid, expected: TxnDigest, found: u64) {
        if expected.version != DIGEST_VERSION || expected.digest == found {
            return;
        }
        let is_foreign = match &self.ensemble {
            Ensemble::Alone(_) => false,
            Ensemble::Member(member) => match &member.zab {
                Zab::Learning(learner) => !learner.is_leader_zkserver() || !learner.is_active(),
                Zab::Looking | Zab::Leading(_) => false,
            },
        };
        assert!(is_foreign, "the tree is not what was predicted for {zxid}");
        self.shared.metrics.digest_mismatches_count.add(1);
        if let Some(held_back) = self.shared.line_limiters.digest_mismatches.admit(now.mono) {
            let expected = expected.digest;
            tracing::warn!(
                "after {zxid} the leader's digest is {expected:#x}, this server's {found:#x}{held_back}"
            );
        }
    }

    /// Who leads sees to the sessions; learners find them in the tree.
    fn track_session(&mut self, now: Now, session: SessionId, txn: &Txn<'_>) {
        if let Txn::CloseSession { .. } = txn {
            self.note_end(now, session);
            if let Ensemble::Member(member) = &mut self.ensemble {
                member.owners.remove(&session);
            }
        }
        let keeps_sessions = match &self.ensemble {
            Ensemble::Alone(_) => true,
            Ensemble::Member(member) => matches!(member.zab, Zab::Leading(_)),
        };
        if !keeps_sessions {
            return;
        }
        if let Txn::CreateSession { timeout_ms } = txn {
            self.shared.sessions.lock().add(session, *timeout_ms, now.mono);
        } else if let Txn::CloseSession { .. } = txn {
            self.shared.sessions.lock().remove(session);
        }
    }

    /// Answers the request that the transaction came from, if its connection is still here, and the requests
    /// that waited behind it.
    fn answer(
        &mut self,
        now: Now,
        tree: &DataTree,
        header: &TxnHeader,
        txn: &Txn<'_>,
        result: &TxnResult,
        outputs: &mut Outputs,
    ) {
        let (session, zxid) = (header.client_id, header.zxid);
        let opens_session = txn.op() == OpCode::CreateSession;
        // It answers none of the requests that clients number.
        if !opens_session && self.is_abandoned(session, header.cxid) {
            return;
        }
        let is_of_ours = self.follows_ours();
        let Some(id) = self.conn_of_session.get(&session).copied() else {
            return;
        };
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let is_refused_elsewhere = is_of_ours && *txn == Txn::Error(ErrorCode::SessionMoved.code());
        let may_answer = zxid > conn.came_at && !is_refused_elsewhere && !opens_session;
        match conn.pending.front() {
            Some(Pending::Write {
                zxid: expected,
                xid,
                op,
                received,
                error,
            }) if expected.map_or(may_answer && *xid == header.cxid, |expected| expected == zxid) => {
                let (xid, op, received) = (*xid, *op, *received);
                let error = error.filter(|_| matches!(txn, Txn::Error(_)));
                let response_size = &self.shared.response_size;
                let is_first = conn.shared.outbox.push_reply(|out| {
                    let start = out.len();
                    match error {
                        Some(error) => header_frame(out, xid, zxid, error),
                        None => reply::write(out, xid, zxid, txn, result),
                    }
                    response_size.record(out.len() - start - 4);
                });
                if *txn == Txn::Error(ErrorCode::SessionMoved.code()) {
                    // The client has gone elsewhere: whoever is still here is not to go on.
                    conn.shared.outbox.close();
                }
                if is_first {
                    outputs.wake.push(Arc::clone(&conn.shared));
                }
                answered(&self.shared, &conn.shared, op, xid, zxid, received, now.mono);
                conn.pending.pop_front();
            }
            Some(Pending::Connect {
                zxid: expected,
                timeout_ms,
                read_only,
            }) if expected.map_or(opens_session, |expected| expected == zxid) => {
                let (timeout_ms, read_only) = (*timeout_ms, *read_only);
                conn.pending.pop_front();
                // Many a session never writes.
                conn.pending.shrink_to_fit();
                self.connected(id, session, timeout_ms, read_only, outputs);
            }
            _ => return,
        }
        self.settle(now, id, tree, outputs);
    }

    /// Whether who proposes is one of ours. Such a leader tells a server that it has lost a session before it
    /// refuses what comes from there, so a connection that is still here is not the one that was refused.
    fn follows_ours(&self) -> bool {
        match &self.ensemble {
            Ensemble::Alone(_) => true,
            Ensemble::Member(member) => match &member.zab {
                Zab::Learning(learner) => learner.is_leader_zkserver(),
                Zab::Looking | Zab::Leading(_) => true,
            },
        }
    }

    /// Answers what stands at the head of a connection's queue and needs no more commits.
    pub(super) fn settle(&mut self, now: Now, id: ConnId, tree: &DataTree, outputs: &mut Outputs) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let last_zxid = tree.last_processed_zxid();
        let mut ended = None;
        while let Some(first) = conn.pending.front() {
            let outbox = &conn.shared.outbox;
            let (is_first, op, xid, received) = match first {
                Pending::Write { .. } | Pending::Connect { .. } => break,
                Pending::Sync { after, .. } if *after > last_zxid => break,
                Pending::Sync {
                    xid, body, received, ..
                } => (
                    outbox.push_reply(|out| reply::sync(out, *xid, last_zxid, body)),
                    OpCode::Sync,
                    *xid,
                    *received,
                ),
                Pending::End { xid, received } => {
                    ended = Some(conn.session);
                    (
                        outbox.push_reply(|out| header_frame(out, *xid, last_zxid, ErrorCode::Ok)),
                        OpCode::CloseSession,
                        *xid,
                        *received,
                    )
                }
                Pending::Refused {
                    error,
                    zxid,
                    xid,
                    op,
                    received,
                } => (
                    outbox.push_reply(|out| header_frame(out, *xid, zxid.unwrap_or(last_zxid), *error)),
                    *op,
                    *xid,
                    *received,
                ),
                Pending::Read(request) => {
                    let context = ReadContext {
                        tree,
                        watches: &self.shared.watches,
                        auth: &self.auth,
                        conn: id,
                        session: request.session,
                        ids: &request.ids,
                    };
                    let mut bytes = 0;
                    let is_first = outbox.push_reply(|out| {
                        let start = out.len() + 4;
                        read::execute(&context, request.xid, request.op, &request.body, out);
                        bytes = out.len() - start;
                    });
                    let (op, body) = (request.op, &request.body);
                    self.shared.note_reply(now.mono, &conn.shared, op, body, bytes);
                    (is_first, request.op, request.xid, request.received)
                }
            };
            if is_first {
                outputs.wake.push(Arc::clone(&conn.shared));
            }
            answered(&self.shared, &conn.shared, op, xid, last_zxid, received, now.mono);
            conn.pending.pop_front();
        }
        if let Some(session) = ended {
            self.end_local_session(session, outputs);
        }
    }

    fn release_syncs(&mut self, now: Now, tree: &DataTree, outputs: &mut Outputs) {
        while let Some((after, conn)) = self.syncs.front().copied()
            && after <= tree.last_processed_zxid()
        {
            self.syncs.pop_front();
            self.settle(now, conn, tree, outputs);
        }
    }

    /// The session is over, or on another connection: the one that has it is closed behind its last reply.
    pub(super) fn drop_session(&mut self, session: SessionId, outputs: &mut Outputs) {
        let Some(id) = self.conn_of_session.remove(&session) else {
            return;
        };
        self.abandon(id);
        if let Some(conn) = self.conns.get(&id) {
            conn.shared.outbox.close();
            outputs.wake.push(Arc::clone(&conn.shared));
        }
    }
}

/// Sends the events of one transaction to the connections that watch for them.
struct Events<'a> {
    replica: &'a Replica,
    zxid: Zxid,
    frame: Vec<u8>,
    outputs: &'a mut Outputs,
}

impl ChangeSink for Events<'_> {
    fn change(&mut self, change: &Change<'_>) {
        let Events {
            replica,
            zxid,
            frame,
            outputs,
        } = self;
        let mut encoded: Option<EventType> = None;
        let fired = replica
            .shared
            .watches
            .on_change(change, &mut |id, event, path, acl| {
                let Some(conn) = replica.conns.get(&id) else {
                    return;
                };
                if !may_see(&replica.auth, &conn.shared, acl) {
                    return;
                }
                // Within one change each kind of event is about one path.
                if encoded != Some(event) {
                    frame.clear();
                    event::encode_frame(event, path, *zxid, frame);
                    encoded = Some(event);
                }
                if conn.shared.outbox.push_event(frame) {
                    outputs.wake.push(Arc::clone(&conn.shared));
                }
            });
        count_fired(&replica.shared, change.kind, &fired);
    }
}

/// How many watchers each event was for (WatchManager.triggerWatch).
fn count_fired(shared: &Shared, kind: ChangeKind, fired: &Fired) {
    let metrics = &shared.metrics;
    let of_node = match kind {
        ChangeKind::Created => &metrics.node_created_watch_count,
        ChangeKind::Deleted => &metrics.node_deleted_watch_count,
        ChangeKind::DataChanged => &metrics.node_changed_watch_count,
    };
    let of_children = &metrics.node_children_watch_count;
    for (summary, count) in [
        (of_node, fired.data),
        (of_node, fired.child),
        (of_children, fired.parent),
    ] {
        if count > 0 {
            summary.record(count);
        }
    }
}

/// An event is told only to those who may read the node (CVE-2024-23944); the watch is used up all the same.
fn may_see(auth: &AuthConfig, conn: &ConnShared, acl: &crate::tree::AclList) -> bool {
    acl.world_perms & perms::READ != 0 || check_acl(auth, acl, perms::READ, &conn.ids())
}

fn answered(
    shared: &Shared,
    conn: &ConnShared,
    op: OpCode,
    xid: i32,
    zxid: Zxid,
    received: Millis,
    now: Millis,
) {
    let latency_ms = (now - received).0;
    shared.stats.latency.record(1, latency_ms);
    if op.is_write() {
        shared.metrics.updatelatency.record(latency_ms);
    } else {
        shared.metrics.readlatency.record(latency_ms);
    }
    conn.stats.latency.record(1, latency_ms);
    conn.stats.note(op, xid, zxid, now.0);
    shared
        .outstanding
        .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
}
