//! The body of the reference service: what `node/src/reference` does. While it writes its file it does nothing else, and what is told
//! is on disk before.

use crate::bug::Bug;
use crate::clock::{MILLISECOND, Micros};
use crate::node::{Alarm, ConnectionId, Happening, Node, Side};
use crate::shared::Shared;
use bytes::Bytes;
use papo_exchange::{Asker, Registry, RegistrySettings, Stored};
use papo_protocol::lamport::LamportClock;
use papo_protocol::reference::{
    ClaimAnswer, ReferenceCall, ReferenceReply, read_reference_request, write_reference_reply,
};
use papo_protocol::reply::{Compat, Reply, write_reply};
use papo_protocol::{Boot, Epoch, Limits, ServerName};
use std::collections::VecDeque;
use std::time::Duration;

const SETTINGS: RegistrySettings = RegistrySettings { expiry: Duration::from_secs(60), list_as_map: false };
const REQUEST_LIMITS: Limits = Limits { bytes: 16 << 10, depth: 8, values: 256 };
/// A slow disk takes so long at most.
const SLOW_MAX: Micros = 1200 * MILLISECOND;
/// Files that a volume that is rolled back loses at most.
const ROLLED_BACK_MAX: u64 = 5;

/// A reply.
#[derive(Debug, Clone)]
struct Told {
    to: ConnectionId,
    body: Bytes,
    /// What it grants.
    grant: Option<(ServerName, Boot, Epoch)>,
}

/// One run of the process.
#[derive(Debug)]
struct Running {
    registry: Registry,
    clock: LamportClock,
    /// What came while the file was written.
    held: VecDeque<(ConnectionId, Bytes)>,
    /// The file that is being written, and the reply that waits for it.
    writing: Option<(Stored, Told)>,
}

/// The reference service, over all its runs.
#[derive(Debug)]
pub struct Reference {
    node: Node,
    members: Vec<ServerName>,
    /// Every file that it wrote, the last one being what is on its disk.
    files: Vec<Stored>,
    /// Faults by which its disk is slow.
    slow: u32,
    running: Option<Running>,
}

impl Reference {
    /// Not running yet.
    #[must_use]
    pub fn new(members: Vec<ServerName>) -> Self {
        Self { node: Node::reference(), members, files: Vec::new(), slow: 0, running: None }
    }

    /// The mind, while it runs.
    #[must_use]
    pub fn registry(&self) -> Option<&Registry> {
        self.running.as_ref().map(|running| &running.registry)
    }

    /// Starts from its file.
    pub fn start(&mut self, shared: &mut Shared) {
        let stored = self.files.last().cloned().unwrap_or_default();
        shared.checker.on_reference_start(shared.now, stored.tenure.epoch);
        let now = shared.clock(self.node);
        self.running = Some(Running {
            registry: Registry::new(SETTINGS, self.members.iter(), stored, now),
            clock: LamportClock::default(),
            held: VecDeque::new(),
            writing: None,
        });
    }

    /// Ends. A file that is being written is there as a whole, or not at all.
    pub fn end(&mut self, shared: &mut Shared) {
        let writing = self.running.take().and_then(|running| running.writing);
        if let Some((file, _)) = writing
            && shared.disk_random.once_in(2)
            && shared.bug != Some(Bug::GrantBeforeFsync)
        {
            self.files.push(file);
        }
    }

    /// Its file is an older one.
    pub fn roll_back(&mut self, shared: &mut Shared, amount: u64) {
        let kept =
            self.files.len().saturating_sub(usize::try_from(1 + amount % ROLLED_BACK_MAX).unwrap_or(1));
        self.files.truncate(kept);
        shared.checker.epochs.on_reference_harmed();
    }

    /// The settings name other members.
    pub fn set_members(&mut self, shared: &Shared) {
        self.members = shared.membership.all().cloned().collect();
        let now = shared.clock(self.node);
        if let Some(running) = &mut self.running {
            running.registry.set_members(self.members.iter(), now);
        }
    }

    /// One fault more or less slows its disk.
    pub fn slow_down(&mut self, begins: bool) {
        self.slow = if begins { self.slow + 1 } else { self.slow.saturating_sub(1) };
    }

    /// Takes in what happens.
    pub fn on_happening(&mut self, shared: &mut Shared, happening: Happening) {
        let Some(running) = &mut self.running else { return };
        match happening {
            Happening::Frames { connection, frames } => {
                running.held.extend(frames.into_iter().next_back().map(|body| (connection, body)));
            }
            Happening::Alarm(Alarm::Disk(_)) => {
                let Some((file, told)) = running.writing.take() else { return };
                self.files.push(file);
                if shared.bug != Some(Bug::GrantBeforeFsync) {
                    tell(shared, told);
                }
            }
            Happening::Opened { .. }
            | Happening::Closed { .. }
            | Happening::Alarm(_)
            | Happening::Unreachable { .. } => {}
        }
        self.go_on(shared);
    }

    /// Answers what came, as far as the disk lets it.
    fn go_on(&mut self, shared: &mut Shared) {
        let Some(running) = &mut self.running else { return };
        while running.writing.is_none()
            && let Some((connection, body)) = running.held.pop_front()
        {
            let now = shared.clock(self.node);
            let Ok(request) = read_reference_request(&body, &REQUEST_LIMITS) else { continue };
            running.clock.on_receive(request.clock);
            let claimant = match &request.call {
                ReferenceCall::Claim(claim) => Some((claim.name.clone(), claim.boot)),
                _ => None,
            };
            let answer = running.registry.answer(request.call, Asker::Papo, now);
            let granted = match &answer.reply {
                Ok(ReferenceReply::Claimed(ClaimAnswer::Granted(epoch))) => Some(*epoch),
                _ => None,
            };
            if let Some(epoch) = granted {
                shared.checker.epochs.on_decided(epoch);
            }
            let grant = claimant.zip(granted).map(|((name, boot), epoch)| (name, boot, epoch));
            let clock = running.clock.on_send();
            let body = match answer.reply {
                Ok(reply) => write_reference_reply(&request.style, &reply, clock, now.unix),
                Err(refusal) => {
                    write_reply(&request.style, &Reply::Refused(refusal), clock, now.unix, Compat::default())
                }
            };
            let told = Told { to: connection, body, grant };
            let Some(file) = answer.store else {
                tell(shared, told);
                continue;
            };
            if shared.bug == Some(Bug::GrantBeforeFsync) {
                tell(shared, told.clone());
            }
            running.writing = Some((file, told));
            let most = if self.slow > 0 { SLOW_MAX } else { 4 * MILLISECOND };
            let most = if shared.bug == Some(Bug::GrantBeforeFsync) { SLOW_MAX } else { most };
            let takes = 100 + shared.disk_random.within(most / 8, most);
            shared.alarm(self.node, shared.now + takes, Alarm::Disk(0));
        }
    }
}

fn tell(shared: &mut Shared, Told { to, body, grant }: Told) {
    if let Some((name, boot, epoch)) = grant {
        shared.on_granted(&name, boot, epoch);
    }
    shared.send(to, Side::Listener, vec![Bytes::new(), body]);
}
