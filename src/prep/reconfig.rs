//! Reconfigurations: what the request says, and the transaction that it becomes. Which configuration it is,
//! is judged by who knows the ensemble.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Prep, PrepRequest, Preparation, Prepared, SessionCheck, refusal};
use crate::ids::Zxid;
use crate::proto::acl::perms;
use crate::proto::error_code::ErrorCode;
use crate::proto::jute::{DecodeError, Reader};
use crate::proto::txn::Txn;
use crate::tree::{DataTree, digest};

/// ReconfigRequest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconfigRequest {
    /// Servers that join or change, joined by commas.
    pub joining: Option<String>,
    /// Numbers of servers that leave, joined by commas.
    pub leaving: Option<String>,
    /// All members instead.
    pub new_members: Option<String>,
    /// The version that this applies to; -1 for whichever is in force.
    pub config_version: i64,
}

impl ReconfigRequest {
    /// Reads the record.
    pub fn decode(body: &[u8]) -> Result<ReconfigRequest, DecodeError> {
        let mut reader = Reader::new(body);
        let mut text =
            || -> Result<Option<String>, DecodeError> { Ok(reader.ustring()?.map(Cow::into_owned)) };
        let (joining, leaving, new_members) = (text()?, text()?, text()?);
        Ok(ReconfigRequest {
            joining,
            leaving,
            new_members,
            config_version: reader.long()?,
        })
    }
}

impl Prep {
    /// Prepares a reconfiguration where they are allowed. `judge` names the text of the new configuration, or
    /// the error; it is asked once, after the session and before the permission.
    pub fn prepare_reconfig(
        &mut self,
        tree: &DataTree,
        sessions: &dyn SessionCheck,
        request: &PrepRequest<'_>,
        zxid: Zxid,
        time: i64,
        judge: impl FnOnce(&ReconfigRequest) -> Result<Bytes, ErrorCode>,
    ) -> Prepared {
        let header = request.header(zxid, time);
        let Ok(asked) = ReconfigRequest::decode(request.body) else {
            return Prepared::Undecodable;
        };
        self.outstanding.begin(tree, zxid);
        let mut preparation = Preparation {
            tree,
            config: &self.config,
            outstanding: &mut self.outstanding,
            acls: &mut self.acls,
            exceeded: &mut self.exceeded,
            session_error: sessions.check(request.session),
            sessions,
            ids: request.ids,
            header,
        };
        let text = preparation.check_session().and_then(|()| judge(&asked));
        match text.and_then(|text| preparation.put_config(&text).map(|()| text)) {
            Ok(text) => {
                let txn = Txn::Reconfig {
                    path: CONFIG_PATH.into(),
                    data: Some(&text),
                    version: CONFIG_VERSION,
                };
                self.finish(header, &txn, text.len())
            }
            Err(error) => refusal(header, error),
        }
    }
}

impl Preparation<'_> {
    fn put_config(&mut self, text: &[u8]) -> Result<(), ErrorCode> {
        let found = self.find(CONFIG_PATH);
        let record = found.record()?;
        self.check_acl(record, perms::WRITE)?;
        let mut changed = record.clone();
        changed.stat.version = CONFIG_VERSION;
        changed.stat.mzxid = self.header.zxid;
        changed.stat.mtime = self.header.time;
        changed.digest = digest::node_digest(CONFIG_PATH, Some(text), &changed.stat);
        self.outstanding.put(CONFIG_PATH, &found, Some(changed));
        Ok(())
    }
}

/// Where the configuration is shown.
const CONFIG_PATH: &str = "/zookeeper/config";
/// The version of its data, always.
const CONFIG_VERSION: i32 = -1;

#[cfg(test)]
mod tests;
