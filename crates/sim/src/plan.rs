//! What a seed decides beforehand: who takes part, for how long, and which faults happen when. A failing run is made smaller by
//! taking parts of its plan away; the rest stays as it was.

use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::random::Random;
use std::collections::BTreeSet;

/// Events of a seed at least, and kinds of fault.
pub const EVENTS_MIN: u64 = 2_000;
/// Kinds of fault of a seed at least.
pub const FAULT_KINDS_MIN: usize = 5;

/// So many worlds have one among them that is long.
const LONG_ONCE_IN: u64 = 5;

/// Longest fault that ends by itself. With a new connection after it, less than the ten seconds for which servers keep what
/// they published.
const LENGTH_MAX: Micros = 5 * SECOND;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// All connections of one process break, with what is on its way.
    ConnectionsCut,
    /// A server is cut off from all others, in both directions.
    Partition,
    /// Nothing passes from one machine to another; it does the other way.
    OneWayPartition,
    /// Messages from one machine to another take long.
    SlowLink,
    /// A server is killed, and starts again later.
    ServerKilled,
    /// A server's machine loses power: what is in its kernel is lost too.
    ServerPowerLost,
    /// A server is stopped, and goes on later.
    ServerPaused,
    /// A server is told to leave, and starts again when it has.
    ServerLeaves,
    /// A broker is killed, and starts again later.
    BrokerKilled,
    /// A broker is stopped, and goes on later.
    BrokerPaused,
    /// A proxy is killed, and starts again later.
    ProxyKilled,
    /// A proxy is stopped, and goes on later.
    ProxyPaused,
    /// A volume is full for a while.
    DiskFull,
    /// An fsync fails: the server ends, and starts again.
    FsyncError,
    /// Fsync takes long for a while.
    DiskSlow,
    /// A server is killed, and its volume comes back in an older state.
    VolumeRolledBack,
    /// A server is killed, and its volume comes back empty.
    VolumeReplaced,
    /// A server's machine loses power, and the last commits that the disk had promised are not on it.
    SyncLost,
    /// A machine's calendar is set.
    ClockJump,
    /// Machines' calendars differ from the start on.
    ClockSkew,
    /// Machines' clocks run at different speeds.
    ClockDrift,
    /// One member more is wanted, or one less.
    MembersChange,
    /// A server's calendar is wrong by an hour.
    Liar,
    /// The reference service is killed, and starts again later.
    ReferenceKilled,
    /// The reference service is stopped, and goes on later.
    ReferencePaused,
    /// The reference service is killed, and its file comes back in an older state.
    ReferenceRolledBack,
    /// Its disk takes long for a while.
    ReferenceDiskSlow,
    /// A server does not reach the reference service, and reaches its peers.
    ReferenceCutOff,
    /// Two servers do not reach each other, and reach everybody else.
    PeersCutOff,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 29] = [
        Self::ConnectionsCut,
        Self::Partition,
        Self::OneWayPartition,
        Self::SlowLink,
        Self::ServerKilled,
        Self::ServerPowerLost,
        Self::ServerPaused,
        Self::ServerLeaves,
        Self::BrokerKilled,
        Self::BrokerPaused,
        Self::ProxyKilled,
        Self::ProxyPaused,
        Self::DiskFull,
        Self::FsyncError,
        Self::DiskSlow,
        Self::VolumeRolledBack,
        Self::VolumeReplaced,
        Self::SyncLost,
        Self::ClockJump,
        Self::ClockSkew,
        Self::ClockDrift,
        Self::MembersChange,
        Self::Liar,
        Self::ReferenceKilled,
        Self::ReferencePaused,
        Self::ReferenceRolledBack,
        Self::ReferenceDiskSlow,
        Self::ReferenceCutOff,
        Self::PeersCutOff,
    ];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionsCut => "connections_cut",
            Self::Partition => "partition",
            Self::OneWayPartition => "one_way_partition",
            Self::SlowLink => "slow_link",
            Self::ServerKilled => "server_killed",
            Self::ServerPowerLost => "server_power_lost",
            Self::ServerPaused => "server_paused",
            Self::ServerLeaves => "server_leaves",
            Self::BrokerKilled => "broker_killed",
            Self::BrokerPaused => "broker_paused",
            Self::ProxyKilled => "proxy_killed",
            Self::ProxyPaused => "proxy_paused",
            Self::DiskFull => "disk_full",
            Self::FsyncError => "fsync_error",
            Self::DiskSlow => "disk_slow",
            Self::VolumeRolledBack => "volume_rolled_back",
            Self::VolumeReplaced => "volume_replaced",
            Self::SyncLost => "sync_lost",
            Self::ClockJump => "clock_jump",
            Self::ClockSkew => "clock_skew",
            Self::ClockDrift => "clock_drift",
            Self::MembersChange => "members_change",
            Self::Liar => "liar",
            Self::ReferenceKilled => "reference_killed",
            Self::ReferencePaused => "reference_paused",
            Self::ReferenceRolledBack => "reference_rolled_back",
            Self::ReferenceDiskSlow => "reference_disk_slow",
            Self::ReferenceCutOff => "reference_cut_off",
            Self::PeersCutOff => "peers_cut_off",
        }
    }

    /// Whether it holds from the start to the end.
    fn is_lasting(self) -> bool {
        matches!(self, Self::ClockSkew | Self::ClockDrift | Self::Liar)
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// When it begins.
    pub at: Micros,
    /// When it ends, after that.
    pub length: Micros,
    /// Whom it hits: taken modulo those there are.
    pub target: usize,
    /// Whom else.
    pub other: usize,
    /// How much.
    pub amount: u64,
}

/// What a seed decides, and what was taken away from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where it comes from.
    pub seed: u64,
    /// 3 or 5, and in worlds where the members change 4 or 5.
    pub servers: usize,
    /// Those that are members when the world begins: all, or all but one.
    pub members: usize,
    /// 2.
    pub brokers: usize,
    /// 2.
    pub proxies: usize,
    /// Those that ask.
    pub clients: usize,
    /// Those that listen.
    pub subscribers: usize,
    /// When all faults end.
    pub heal_at: Micros,
    /// In order of time.
    pub faults: Vec<Fault>,
    /// Indexes of faults that do not happen.
    pub without: BTreeSet<usize>,
    /// Whether the world goes on until it has had [`EVENTS_MIN`] events. Not when it is made smaller.
    pub fill: bool,
    /// Whether it is one of the few that live long and have many clients. The others have as many faults in half as many events.
    pub long: bool,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::stream(seed, 1);
        let long = random.once_in(LONG_ONCE_IN);
        let servers = if random.once_in(if long { 3 } else { 6 }) { 5 } else { 3 };
        let heal_at = if long { 5 * SECOND..12 * SECOND } else { 4 * SECOND..9 * SECOND };
        let heal_at = random.within(heal_at.start, heal_at.end);
        let kinds = FAULT_KINDS_MIN + 1 + random.below(6);
        let mut left = FaultKind::ALL.to_vec();
        let mut faults = Vec::new();
        for _ in 0..kinds {
            let kind = left.swap_remove(random.below(left.len()));
            let times = if kind.is_lasting() { 1 } else { random.within(1, 4) };
            for _ in 0..times {
                let at = if kind.is_lasting() { 0 } else { random.within(SECOND, heal_at - SECOND) };
                faults.push(Fault {
                    kind,
                    at,
                    length: random.within(100 * MILLISECOND, LENGTH_MAX).min(heal_at - at),
                    target: random.below(1000),
                    other: random.below(1000),
                    amount: random.draw(),
                });
            }
        }
        faults.sort_by_key(|fault| fault.at);
        let changes = faults.iter().any(|fault| fault.kind == FaultKind::MembersChange);
        let (servers, members) = match (changes, servers) {
            (true, 3) => (4, 3),
            (true, servers) => (servers, servers - random.below(2)),
            (false, servers) => (servers, servers),
        };
        Self {
            seed,
            servers,
            members,
            brokers: 2,
            proxies: 2,
            clients: if long { 4 + random.below(5) } else { 3 + random.below(2) },
            subscribers: if long { 3 + random.below(3) } else { 2 + random.below(2) },
            heal_at,
            faults,
            without: BTreeSet::new(),
            fill: true,
            long,
        }
    }

    /// The faults that happen, with their indexes.
    pub fn active(&self) -> impl Iterator<Item = (usize, &Fault)> {
        self.faults.iter().enumerate().filter(|(index, _)| !self.without.contains(index))
    }

    /// Whether a fault of this kind happens.
    #[must_use]
    pub fn has(&self, kind: FaultKind) -> bool {
        self.active().any(|(_, fault)| fault.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_five_kinds_of_fault() {
        for seed in 0..1000 {
            let plan = Plan::of(seed);
            let kinds: BTreeSet<FaultKind> = plan.faults.iter().map(|fault| fault.kind).collect();
            assert!(kinds.len() >= FAULT_KINDS_MIN, "seed {seed}");
            assert!(matches!((plan.servers, plan.members), (3, 3) | (4, 3) | (5, 4 | 5)));
        }
    }
}
