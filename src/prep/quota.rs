//! Whether a write is within its quota (ZooKeeperServer.checkQuota). Only what is applied counts: writes that
//! are under way can go over a limit together.

use std::fmt;

use super::Preparation;
use crate::proto::error_code::ErrorCode;

/// A limit that a write went over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The first name of the path that was written.
    pub namespace: String,
    /// The node that has the quota.
    pub path: String,
    /// What there would be with the write.
    pub amount: i64,
    /// What there may be.
    pub limit: i64,
    /// Of nodes or of bytes.
    pub unit: QuotaUnit,
    /// Whether the write is refused.
    pub is_hard: bool,
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaUnit {
    /// Nodes.
    Count,
    /// Bytes of data.
    Bytes,
}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, limit_name) = match self.unit {
            QuotaUnit::Count => ("count", "CountLimit"),
            QuotaUnit::Bytes => ("bytes", "ByteLimit"),
        };
        let hardness = if self.is_hard { "hard" } else { "soft" };
        let path = self.path.escape_debug();
        write!(
            f,
            "Quota exceeded: {path} [current {unit}={}, {hardness}{limit_name}={}]",
            self.amount, self.limit
        )
    }
}

impl Preparation<'_> {
    /// Checks the nodes first, then the bytes. A hard limit stands before a soft one; 0 more is never too
    /// much. Limits or statistics that cannot be read are as if they were not there.
    pub(super) fn check_quota(&mut self, path: &str, bytes: i64, count: i64) -> Result<(), ErrorCode> {
        if !self.config.enforce_quota {
            return Ok(());
        }
        let Some(quota) = self.tree.quota(path) else {
            return Ok(());
        };
        let (limits, used) = (&quota.limits, &quota.used);
        let checks = [
            (
                QuotaUnit::Count,
                (count, used.count),
                (limits.count_hard_limit(), limits.count),
            ),
            (
                QuotaUnit::Bytes,
                (bytes, used.bytes),
                (limits.byte_hard_limit(), limits.bytes),
            ),
        ];
        for (unit, (more, present), (hard, soft)) in checks {
            let is_hard = hard > -1;
            let limit = if is_hard { hard } else { soft };
            let amount = present.wrapping_add(more);
            if more == 0 || limit <= -1 || amount <= limit {
                continue;
            }
            self.exceeded.push(QuotaExceeded {
                namespace: path.split('/').nth(1).unwrap_or_default().to_owned(),
                path: quota.path.clone(),
                amount,
                limit,
                unit,
                is_hard,
            });
            if is_hard {
                return Err(ErrorCode::QuotaExceeded);
            }
        }
        Ok(())
    }
}
