//! Changes of the membership: judged by who leads, proposed like other writes, and taken up by the election
//! and the driver as they are proposed and come into force.

use super::member::Member;
use super::{Ensemble, Output, Outputs, Replica};
use crate::clock::Now;
use crate::election;
use crate::ids::Zxid;
use crate::prep::ReconfigRequest;
use crate::proto::error_code::ErrorCode;
use crate::quorum::configs::{Config, Configs};
use crate::quorum::reconfig::{self, Change, Refusal, Rules};
use crate::zab::Zab;

impl Ensemble {
    /// The configuration that a request asks for (PrepRequestProcessor, the case of reconfig). `zxid` is that
    /// of the transaction, and the version.
    pub(super) fn judge(
        &self,
        request: &ReconfigRequest,
        rules: Rules,
        zxid: Zxid,
    ) -> Result<Config, ErrorCode> {
        let Ensemble::Member(member) = self else {
            return Err(ErrorCode::Unimplemented);
        };
        let Zab::Leading(leader) = &member.zab else {
            return Err(ErrorCode::Unimplemented);
        };
        let configs = leader.configs();
        if configs.proposed().is_some() {
            return Err(ErrorCode::ReconfigInProgress);
        }
        let present = configs.committed();
        if request.config_version != -1 && request.config_version != present.version() {
            return Err(ErrorCode::BadVersion);
        }
        let change = Change {
            joining: request.joining.clone(),
            leaving: request.leaving.clone(),
            new_members: request.new_members.clone(),
        };
        let next = reconfig::apply(present.members(), &change, rules);
        let mut members = next.map_err(|Refusal { error, reason }| {
            tracing::warn!("a reconfiguration is refused: {reason}");
            error
        })?;
        members.version = zxid.0 as u64;
        let config = Config::new(members);
        if !leader.is_quorum_synced(config.verifier()) {
            let members = config.members();
            tracing::warn!(
                "a reconfiguration is refused: of the new participants ({members}) no quorum is in sync; let \
                 servers that join follow first"
            );
            return Err(ErrorCode::NewConfigNoQuorum);
        }
        Ok(config)
    }
}

impl Replica {
    /// A configuration is proposed: its members are listened to from now on.
    pub(super) fn on_config_proposed(&mut self, now: Now, configs: Configs, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        tracing::info!("the members are {configs}");
        member.use_configs(now, configs.clone());
        outputs.list.push(Output::ConfigProposed(configs));
    }

    /// A configuration is in force: it is shown, and counts.
    pub(super) fn on_config_committed(&mut self, now: Now, configs: Configs, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        tracing::info!("the members are {configs}");
        let committed = configs.committed();
        self.shared
            .tree
            .write()
            .set_config(committed.text(), Zxid(committed.version()), now.wall_ms);
        member.use_configs(now, configs.clone());
        outputs.list.push(Output::ConfigCommitted(configs));
        if member.is_leaving() {
            // Nobody new comes to a leader that ends.
            self.set_serving(false, outputs);
        }
        self.publish();
    }

    /// A member that this server has asked for a leader knows of a newer configuration.
    pub(super) fn on_newer_config(&mut self, now: Now, config: Config, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let mut configs = member.zab_config.configs.clone();
        if matches!(member.zab, Zab::Looking) && configs.commit(config) {
            self.on_config_committed(now, configs, outputs);
        }
    }

    /// A voter has seen a configuration proposed that this server needs to know for its vote.
    pub(super) fn on_unseen_config(&mut self, now: Now, config: Config, outputs: &mut Outputs) {
        let Ensemble::Member(member) = &mut self.ensemble else {
            return;
        };
        let mut configs = member.zab_config.configs.clone();
        if matches!(member.zab, Zab::Looking) && config.version() > configs.last_seen().version() {
            configs.propose(config);
            self.on_config_proposed(now, configs, outputs);
        }
    }
}

impl Member {
    fn use_configs(&mut self, now: Now, configs: Configs) {
        self.elect(now, election::Input::Configured(&configs));
        self.zab_config.configs = configs;
    }

    /// Whether it leads, and waits for another one to do so.
    pub fn is_leaving(&self) -> bool {
        matches!(&self.zab, Zab::Leading(leader) if leader.is_leaving())
    }

    /// Whether it follows without a vote.
    pub fn is_observer(&self) -> bool {
        self.zab_config.configs.is_observer(self.zab_config.me)
    }
}
