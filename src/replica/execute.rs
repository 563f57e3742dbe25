//! Does what a role says, in its order.

use std::mem;

use super::learner_requests::Forwarded;
use super::{Ensemble, Output, Outputs, Replica};
use crate::clock::Now;
use crate::zab::{self, LogEntry};

impl Replica {
    /// Everything that the role has said so far. What that leads it to say is done in the next round.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`execute_one` names them all")]
    pub(super) fn execute_zab(&mut self, now: Now, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let mut said = mem::take(&mut member.zab_outputs);
        let mut commits: Vec<LogEntry> = Vec::new();
        for output in said.drain(..) {
            // Commits are applied together, but in front of what comes behind them.
            match output {
                zab::Output::Commit(entry) => commits.push(entry),
                zab::Output::AppendLog(entry) => self.append(entry, outputs),
                zab::Output::Send(link, bytes) => outputs.list.push(Output::Send(link, bytes)),
                other => {
                    self.apply_committed(now, mem::take(&mut commits), outputs);
                    self.execute_one(now, other, outputs);
                }
            }
        }
        self.apply_committed(now, commits, outputs);
        if let Ensemble::Member(member) = &mut self.ensemble
            && member.zab_outputs.is_empty()
        {
            // The room is used again.
            member.zab_outputs = said;
        }
    }

    /// Gives a transaction to the log.
    pub(super) fn append(&mut self, entry: LogEntry, outputs: &mut Outputs) {
        let bytes = entry.encoded.len();
        outputs.list.push(Output::AppendLog(entry));
        self.count_logged(bytes, outputs);
    }

    fn execute_one(&mut self, now: Now, output: zab::Output, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let role = member.role;
        match output {
            zab::Output::Listen => outputs.list.push(Output::Listen { role }),
            zab::Output::Connect { leader } => outputs.list.push(Output::Connect { role, leader }),
            zab::Output::ListenForObservers => outputs.list.push(Output::ListenForObservers { role }),
            zab::Output::ConnectToMaster { master } => {
                outputs.list.push(Output::ConnectToMaster { role, master });
            }
            zab::Output::SendSnapshot { link, then } => {
                self.queue_image(link, outputs);
                outputs
                    .list
                    .extend(then.into_iter().map(|bytes| Output::Send(link, bytes)));
            }
            zab::Output::ReadLog { link, after, upto } => outputs.list.push(Output::ReadLog {
                role,
                link,
                after,
                upto,
            }),
            zab::Output::Close { link, reason } => outputs.list.push(Output::ClosePeer { link, reason }),
            zab::Output::SaveEpochs { accepted, current } => {
                outputs.list.push(Output::SaveEpochs { accepted, current });
            }
            zab::Output::TruncateLog { to } => self.replace_tree(Output::TruncateLog { to }, outputs),
            zab::Output::InstallSnapshot { link, .. } => self.want_image(link, outputs),
            zab::Output::ConfigProposed(configs) => self.on_config_proposed(now, configs, outputs),
            zab::Output::ConfigCommitted(configs) => self.on_config_committed(now, configs, outputs),
            zab::Output::Active { epoch } => self.activate(now, epoch, outputs),
            zab::Output::Request {
                from,
                request,
                ids,
                has_moved,
            } => self.on_forwarded(now, Forwarded::new(from, request, ids, has_moved)),
            zab::Output::LearnerPing { sessions, .. } => self.on_learner_ping(now, &sessions),
            zab::Output::Revalidate {
                from,
                session,
                timeout_ms,
                ..
            } => self.on_revalidate(now, from, session, timeout_ms, outputs),
            zab::Output::Revalidated { session, valid } => {
                self.on_revalidated(now, session, valid, outputs);
            }
            zab::Output::SessionMoved { session } => self.on_session_moved(session, outputs),
            zab::Output::SyncReply => self.on_sync_reply(now, outputs),
            zab::Output::RoleEnded {
                reason,
                needs_snapshot,
                handover,
            } => self.end_role(now, &reason, needs_snapshot, handover, outputs),
            zab::Output::Commit(_) | zab::Output::AppendLog(_) | zab::Output::Send(..) => {
                unreachable!("they are done where they are said")
            }
        }
    }
}
