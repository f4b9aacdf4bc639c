//! Who is registered, with which rank, and who has been heard lately. No I/O: the caller stores [`Registry::ranks`].

use papo_protocol::ServerName;
use papo_protocol::reference::{ListedServer, Registration};
use papo_protocol::time::UnixMillis;
use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::time::Duration;

/// Most names that ever get a rank: a bound for the table and its file.
const NAMES_MAX: usize = 10_000;

/// The table has [`NAMES_MAX`] names.
#[derive(Debug, thiserror::Error)]
#[error("{NAMES_MAX} server names have a rank already: reuse a name")]
pub struct RegistryFull;

/// Ranks, which stay for ever, and heartbeats, which expire.
#[derive(Debug)]
pub struct Registry {
    ranks: BTreeMap<ServerName, u32>,
    beats: HashMap<ServerName, (Registration, UnixMillis)>,
    expiry: Duration,
}

impl Registry {
    /// Starts from the stored ranks. A member named `x-n` has rank n, whatever was stored; a stored name that held such a rank
    /// gets a new one when it registers again.
    pub fn new<'a>(
        members: impl Iterator<Item = &'a ServerName>,
        stored: BTreeMap<ServerName, u32>,
        expiry: Duration,
    ) -> Self {
        let mut registry = Self { ranks: stored, beats: HashMap::new(), expiry };
        registry.set_members(members);
        registry
    }

    /// These are members from now on, as at a start.
    pub fn set_members<'a>(&mut self, members: impl Iterator<Item = &'a ServerName>) {
        let mut ranks: BTreeMap<ServerName, u32> =
            members.filter_map(|name| Some((name.clone(), ordinal(name)?))).collect();
        let taken: Vec<u32> = ranks.values().copied().collect();
        for (name, rank) in mem::take(&mut self.ranks) {
            if !taken.contains(&rank) {
                ranks.entry(name).or_insert(rank);
            }
        }
        self.ranks = ranks;
    }

    /// Registers a server or hears from it again; says its rank.
    pub fn beat(&mut self, registration: Registration, at: UnixMillis) -> Result<u32, RegistryFull> {
        let name = registration.name.clone();
        let rank = match self.ranks.get(&name) {
            Some(rank) => *rank,
            None if self.ranks.len() >= NAMES_MAX => return Err(RegistryFull),
            None => self.ranks.values().max().map_or(1, |highest| highest.saturating_add(1)),
        };
        self.ranks.insert(name.clone(), rank);
        self.beats.insert(name, (registration, at));
        Ok(rank)
    }

    /// Servers heard within the expiry, by rank.
    pub fn list(&mut self, at: UnixMillis) -> Vec<ListedServer> {
        let expiry = i64::try_from(self.expiry.as_millis()).unwrap_or(i64::MAX);
        self.beats.retain(|_, (_, beat)| at.0.saturating_sub(beat.0) < expiry);
        let mut list: Vec<ListedServer> = self
            .beats
            .iter()
            .filter_map(|(name, (registration, last_beat))| {
                let rank = *self.ranks.get(name)?;
                Some(ListedServer { registration: registration.clone(), rank, last_beat: *last_beat })
            })
            .collect();
        list.sort_by_key(|server| server.rank);
        list
    }

    /// What must be on disk.
    pub fn ranks(&self) -> &BTreeMap<ServerName, u32> {
        &self.ranks
    }
}

/// The number behind the last dash: the rank of a member.
fn ordinal(name: &ServerName) -> Option<u32> {
    name.as_str().rsplit_once('-')?.1.parse().ok().filter(|rank| *rank > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRY: Duration = Duration::from_secs(60);

    fn name(text: &str) -> ServerName {
        ServerName::new(text).unwrap()
    }

    fn beat(registry: &mut Registry, server: &str, at: i64) -> u32 {
        let registration = Registration { name: name(server), address: None, port: None };
        registry.beat(registration, UnixMillis(at)).unwrap()
    }

    #[test]
    fn f01_ranks_are_unique_from_1_and_stable() {
        let mut registry = Registry::new([].iter(), BTreeMap::new(), EXPIRY);
        assert_eq!(beat(&mut registry, "beta", 0), 1);
        assert_eq!(beat(&mut registry, "alfa", 0), 2);
        assert_eq!(beat(&mut registry, "beta", 1), 1);
        let mut again = Registry::new([].iter(), registry.ranks().clone(), EXPIRY);
        assert_eq!(beat(&mut again, "alfa", 0), 2);
        assert_eq!(beat(&mut again, "gama", 0), 3);
    }

    #[test]
    fn f01_members_have_their_ordinal_and_others_come_above() {
        let stored = BTreeMap::from([(name("intruso"), 2), (name("velho"), 9)]);
        let mut registry =
            Registry::new(["server-1", "server-2", "server-3"].map(name).iter(), stored, EXPIRY);
        assert_eq!(beat(&mut registry, "server-3", 0), 3);
        assert_eq!(beat(&mut registry, "server-2", 0), 2);
        assert_eq!(beat(&mut registry, "velho", 0), 9);
        assert_eq!(beat(&mut registry, "intruso", 0), 10);
    }

    #[test]
    fn f01_a_server_that_joins_gets_its_ordinal_and_who_had_it_another() {
        let mut registry = Registry::new([name("server-1")].iter(), BTreeMap::new(), EXPIRY);
        assert_eq!(beat(&mut registry, "intruso", 0), 2);
        registry.set_members(["server-1", "server-2"].map(name).iter());
        assert_eq!(beat(&mut registry, "server-2", 0), 2);
        assert_eq!(beat(&mut registry, "intruso", 0), 3);
        assert_eq!(registry.list(UnixMillis(1)).len(), 2);
    }

    #[test]
    fn f04_a_server_without_heartbeat_for_60_s_leaves_the_list_and_keeps_its_rank() {
        let mut registry = Registry::new([].iter(), BTreeMap::new(), EXPIRY);
        beat(&mut registry, "a", 0);
        beat(&mut registry, "b", 30_000);
        let listed = |registry: &mut Registry, at| -> Vec<u32> {
            registry.list(UnixMillis(at)).iter().map(|server| server.rank).collect()
        };
        assert_eq!(listed(&mut registry, 59_999), [1, 2]);
        assert_eq!(listed(&mut registry, 60_000), [2]);
        assert_eq!(beat(&mut registry, "a", 61_000), 1);
        assert_eq!(listed(&mut registry, 61_000), [1, 2]);
    }
}
