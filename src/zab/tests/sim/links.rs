//! Connections: made, used and broken.

use std::collections::VecDeque;

use super::{Link, Message, World};
use crate::zab::{Input, LinkId};

impl World {
    pub(super) fn connect(
        &mut self,
        at: usize,
        to: usize,
        is_listening: bool,
        later: &mut Vec<(usize, Input)>,
    ) {
        self.next_link += 1;
        let id = LinkId(self.next_link);
        if !is_listening {
            return later.push((at, Input::LinkDown(id)));
        }
        let link = Link {
            learner: at,
            leader: to,
            to_leader: VecDeque::new(),
            to_learner: VecDeque::new(),
        };
        self.links.insert(id, link);
        later.extend([(to, Input::LinkUp(id)), (at, Input::LinkUp(id))]);
    }

    pub(super) fn queue(&mut self, from: usize, id: LinkId, message: Message) {
        if let Some(link) = self.links.get_mut(&id) {
            match link.leader == from {
                true => link.to_learner.push_back(message),
                false => link.to_leader.push_back(message),
            }
        }
    }

    /// A connection ends; whoever did not end it hears of it.
    pub(super) fn cut(&mut self, id: LinkId, by: Option<usize>) {
        if let Some(link) = self.links.remove(&id) {
            for node in [link.leader, link.learner] {
                if by != Some(node) && self.nodes[node].is_up {
                    self.input(node, Input::LinkDown(id));
                }
            }
        }
    }
}
