//! A server's start: from what is on its volume, with the settings as they are.

use super::{BEAT, RECENT_BYTES_MAX, Running, Server, WRITE_DEADLINE, is_named};
use crate::bug::Bug;
use crate::checker::Invariant;
use crate::hosts::LIMITS;
use crate::hosts::publisher::Publisher;
use crate::node::{Alarm, Role};
use crate::shared::Shared;
use papo_protocol::lamport::Lamport;
use papo_protocol::reply::Compat;
use papo_protocol::{Boot, Identity, RequestKey};
use papo_replica::{History, KeptClock, MemoryArchive, Replica, ReplicaSettings, Stored};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

impl Server {
    /// Starts from what is on the volume, and calls everybody.
    pub fn start(&mut self, shared: &mut Shared) {
        let Some(name) = self.name.clone() else { return };
        let drawn = Boot(shared.boot_random.draw());
        let boot = match self.last_boot {
            Some(old) if shared.bug == Some(Bug::BootReused) => old,
            Some(_) | None => drawn,
        };
        self.last_boot = Some(boot);
        shared.checker.on_boot(boot, &shared.volumes);
        shared.checker.epochs.on_boot(self.node.number, boot);
        shared.leaving.remove(&self.node.number);
        let settings = ReplicaSettings {
            name,
            boot,
            membership: shared.membership.clone(),
            durability: self.durability,
            write_deadline: WRITE_DEADLINE,
            login_policy: self.login_policy,
            compat: Compat::default(),
            limits: LIMITS,
            cluster_id: "default/papo".to_owned(),
            election: self.election,
            clock_sync: self.clock_sync,
        };
        let Some(volume) = shared.volumes.get(self.node.number) else { return };
        let mut ops = volume.ops();
        let mut ceiling = volume.ceiling();
        let shown = volume.shown().clone();
        let epoch = volume.epoch();
        let mut clock = volume.clock();
        match shared.bug {
            Some(Bug::IdentityForgotten) => {
                for op in &mut ops {
                    let key = RequestKey { boot: op.dot.boot, counter: op.dot.seq };
                    op.identity = Identity::of_key(key);
                }
            }
            Some(Bug::CeilingForgotten) => ceiling = Lamport::default(),
            Some(Bug::ClockForgotten) => clock = KeptClock::default(),
            Some(_) | None => {}
        }
        if !ops.is_empty() {
            shared.count("server_started_with_history");
        }
        let stored = Stored { lamport_floor: ceiling, epoch, clock };
        let archive = MemoryArchive::default();
        archive.add(ops.into_iter().map(Arc::new));
        let opened =
            History::of_archive(&archive, RECENT_BYTES_MAX, &shown).map_err(|error| error.to_string());
        let opened = opened.and_then(|history| {
            let replica = Replica::open(settings, history, stored, shared.clock(self.node));
            replica.map_err(|error| error.to_string())
        });
        match opened {
            Ok(replica) => {
                self.running = Some(Running {
                    replica,
                    archive,
                    links: BTreeMap::new(),
                    pending: BTreeMap::new(),
                    last_request: 0,
                    writing: None,
                    unsynced: VecDeque::new(),
                    kept_back: VecDeque::new(),
                    ceiling,
                    time_ceiling: clock.ceiling,
                    stamped: BTreeMap::new(),
                    publisher: Publisher::default(),
                    leaves_at: None,
                    tick_at: None,
                    peers_met: BTreeSet::new(),
                    reference: None,
                    view: None,
                });
                #[cfg(feature = "planted-bugs")]
                if let (Some(bug), Some(running)) = (shared.bug.and_then(Bug::inside), &mut self.running) {
                    running.replica.plant(bug);
                }
            }
            Err(error) => {
                let node = self.node;
                shared.violate(Invariant::Starts, || format!("{node} cannot start: {error}"));
                return;
            }
        }
        for node in shared.nodes(&[Role::Server, Role::Broker, Role::Proxy, Role::Reference]) {
            if node != self.node && is_named(&shared.membership, node) {
                shared.dial(self.node, node);
            }
        }
        shared.alarm(self.node, shared.now + BEAT, Alarm::Beat);
        self.execute(shared);
    }
}
