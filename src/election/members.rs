//! What votes say of the members, and members that change while a leader is looked for.

use super::{Election, Output};
use crate::clock::Millis;
use crate::ids::{ServerId, Zxid};
use crate::proto::vote::Notification;
use crate::quorum::configs::{Config, Configs};

impl Election {
    /// Others count from now on. Who looks for a leader begins anew: votes may have been for nobody.
    pub(super) fn on_configured(&mut self, now: Millis, configs: &Configs, out: &mut Vec<Output>) {
        self.members_text = text_of(configs.committed());
        self.proposed_text = configs.proposed().map(text_of);
        self.config.configs = configs.clone();
        self.config.is_observer = configs.is_observer(self.config.me);
        self.differing.clear();
        self.unreachable.retain(|server| configs.is_member(*server));
        if let Some(search) = &self.search {
            let (zxid, peer_epoch) = search.history;
            self.start(now, zxid, peer_epoch, out);
        }
    }

    /// A proposed configuration that this server has not seen, if it gives a vote to this server, or to the
    /// one that a voter votes for. Without it a vote that may be needed would be given to nobody, or dropped,
    /// for ever, as with Apache's servers.
    ///
    /// It goes on from what is in force here, and is beyond the own history: one that this history has passed
    /// was never committed.
    pub(super) fn unseen_config(&self, notification: &Notification) -> Option<Config> {
        let search = self.search.as_ref().filter(|search| !search.is_voteless())?;
        let (zxid, peer_epoch) = search.history;
        let is_behind = (peer_epoch, zxid) <= (notification.peer_epoch, notification.zxid);
        let is_same = notification.config.as_ref() == Some(&self.members_text);
        if !self.config.reconfig_enabled || !is_behind || !is_same {
            return None;
        }
        let config = Config::parse(notification.proposed.as_ref()?.as_bytes()).ok()?;
        let configs = &self.config.configs;
        let is_unseen = config.version() > configs.last_seen().version();
        let is_beyond = Zxid(config.version()) > zxid;
        let gives_vote = |server| config.verifier().is_voter(server) && !configs.is_voter(server);
        let is_needed = gives_vote(self.config.me) || gives_vote(notification.leader);
        (is_unseen && is_beyond && is_needed).then_some(config)
    }

    /// The list of another server is taken over if it is newer and this server may; then true. Else it
    /// changes nothing here, but people want to know of it.
    pub(super) fn compare_members(
        &mut self,
        from: ServerId,
        notification: &Notification,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(text) = &notification.config else {
            return false;
        };
        let configs = &self.config.configs;
        if !configs.is_member(from) || *text == self.members_text || self.differing.get(&from) == Some(text) {
            return false;
        }
        let Ok(config) = Config::parse(text.as_bytes()) else {
            return false;
        };
        let ours = configs.committed();
        if self.config.reconfig_enabled && config.version() != ours.version() {
            let is_newer = config.version() > ours.version() && self.search.is_some();
            if is_newer {
                out.push(Output::NewerConfig(config));
            }
            return is_newer;
        }
        let (ours, theirs) = (ours.members(), config.members());
        if !theirs.is_same_ensemble(ours) {
            out.push(Output::MembersDiffer {
                from,
                theirs: theirs.clone(),
            });
        } else if let Some(ours) = ours.servers.get(&from).cloned()
            && let Some(theirs) = theirs.servers.get(&from).cloned()
            && !theirs.may_be_at(&ours)
        {
            out.push(Output::AddressDiffers { from, theirs, ours });
        }
        self.differing.insert(from, text.clone());
        false
    }
}

/// What others are told of a configuration.
pub(super) fn text_of(config: &Config) -> String {
    String::from_utf8_lossy(config.text()).into_owned()
}
