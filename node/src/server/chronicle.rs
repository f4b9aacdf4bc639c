//! What passes between the mind and the disk, as the log tells it: who registered, what was replicated, and when a start has caught up
//! (rows E05, H15).
//!
//! It only watches, and only where somebody reads what it has to say. It must not change what is done.

use crate::logging::{self, Happening, Merged};
use papo_protocol::{Dot, ServerName, UserName};
use papo_replica::{Op, OpKind, Replica};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Registrations whose replication is watched. Of more at once the oldest are not told on.
const WATCHED_MAX: usize = 64;

/// The watcher.
pub struct Chronicle {
    server: ServerName,
    /// Whether anybody reads it.
    is_read: bool,
    /// Batches on their way to the disk, with those of their users who are new.
    storing: VecDeque<(u64, Vec<Arc<Op>>, BTreeSet<UserName>)>,
    /// Registrations of this server's, and who else has them.
    watched: VecDeque<(Dot, BTreeSet<ServerName>)>,
    merged: Merged,
    asked: BTreeSet<ServerName>,
    caught_up: bool,
}

impl Chronicle {
    /// Of this server, which starts.
    pub fn new(server: ServerName) -> Self {
        Self {
            server,
            is_read: logging::speaks_as_the_seeds() || tracing::enabled!(tracing::Level::DEBUG),
            storing: VecDeque::new(),
            watched: VecDeque::new(),
            merged: Merged::default(),
            asked: BTreeSet::new(),
            caught_up: false,
        }
    }

    /// A batch goes to the disk.
    pub fn on_store(&mut self, batch: u64, ops: &[Arc<Op>], replica: &Replica) {
        if !self.is_read || ops.is_empty() {
            return;
        }
        let new = ops.iter().filter_map(|op| login(op)).filter(|user| {
            // A second login of a name is stored too.
            replica.history().registered_at(user).is_none()
        });
        self.storing.push_back((batch, ops.to_vec(), new.cloned().collect()));
    }

    /// It is there.
    pub fn on_stored(&mut self, batch: u64, replica: &Replica) {
        while let Some((_, ops, mut new)) = self.storing.pop_front_if(|(stored, ..)| *stored <= batch) {
            for op in ops {
                if op.dot.origin != self.server {
                    self.tell_replicated(&op);
                } else if let Some(user) = login(&op)
                    && new.remove(user)
                {
                    self.tell_registered(user, &op, replica);
                }
            }
        }
    }

    /// The disk was full: it is not.
    pub fn on_refused(&mut self, batch: u64) {
        self.storing.retain(|(refused, ..)| *refused != batch);
    }

    /// After each turn: what is known of the others.
    pub fn on_turn(&mut self, replica: &Replica) {
        if !self.is_read {
            return;
        }
        if !self.caught_up {
            self.catch_up(replica);
        }
        let others = replica.membership().members.len().saturating_sub(1);
        for (dot, told) in &mut self.watched {
            for peer in replica.peers().filter(|peer| peer.have.covers(dot)) {
                if told.insert(peer.name.clone()) {
                    logging::tell(&Happening::ReplicatedTo { server: peer.name });
                }
            }
        }
        self.watched.retain(|(_, told)| told.len() < others);
    }

    fn catch_up(&mut self, replica: &Replica) {
        for peer in replica.peers() {
            if self.asked.insert(peer.name.clone()) {
                logging::tell(&Happening::SyncAsked { of: peer.name });
            }
        }
        self.caught_up = replica.has_caught_up();
        if self.caught_up && !self.asked.is_empty() {
            logging::tell(&Happening::Synced(self.merged));
        }
    }

    fn tell_registered(&mut self, user: &UserName, op: &Op, replica: &Replica) {
        let others = replica.membership().members.iter().filter(|member| **member != self.server).count();
        logging::tell(&Happening::UserRegistered { user, clock: op.lamport, others });
        self.watched.push_back((op.dot.clone(), BTreeSet::new()));
        if self.watched.len() > WATCHED_MAX {
            self.watched.pop_front();
        }
    }

    fn tell_replicated(&mut self, op: &Op) {
        let (service, user, count) = match &op.kind {
            OpKind::Login { user } => ("login", Some(user), &mut self.merged.logins),
            OpKind::CreateChannel { .. } => ("channel", None, &mut self.merged.channels),
            OpKind::Publish { .. } => ("publish", None, &mut self.merged.posts),
            OpKind::Message { .. } => ("message", None, &mut self.merged.messages),
        };
        *count += 1;
        let origin = &op.dot.origin;
        logging::tell(&Happening::Replicated { server: &self.server, origin, service, user });
    }
}

fn login(op: &Op) -> Option<&UserName> {
    match &op.kind {
        OpKind::Login { user } => Some(user),
        OpKind::CreateChannel { .. } | OpKind::Publish { .. } | OpKind::Message { .. } => None,
    }
}
