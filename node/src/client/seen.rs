//! Which messages were already seen: a message may come live, in a history, and live again after a reconnection.

use papo_protocol::identity::Identity;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Identities in each of the two generations of a memory: with all full, about 6 MiB.
const GENERATION: usize = 32_768;

/// A bounded memory of message identities, shared by its clones: what came live, and what a history gave. Each forgets the
/// identities that were named longest ago: those that keep coming up stay. They are two, so that a long history, which is read on
/// while messages come live, does not have those forgotten that stand at its end.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Memories>>);

#[derive(Debug, Default)]
struct Memories {
    live: Generations,
    history: Generations,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<Identity>,
    old: HashSet<Identity>,
}

impl Generations {
    fn add(&mut self, identity: Identity) {
        self.young.insert(identity);
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
    }

    fn has(&self, identity: &Identity) -> bool {
        self.young.contains(identity) || self.old.contains(identity)
    }
}

impl Memories {
    fn know(&self, identity: &Identity) -> bool {
        self.live.has(identity) || self.history.has(identity)
    }
}

impl Seen {
    /// Remembers what came live, or was written here, and says whether it is new. A message without an identity, from a foreign
    /// server, is always new.
    pub fn is_new(&self, identity: Option<&Identity>) -> bool {
        let Some(identity) = identity else { return true };
        let mut memories = self.lock();
        let known = memories.know(identity);
        memories.live.add(*identity);
        !known
    }

    /// Remembers what a history gave, and says whether it is new.
    pub fn is_new_in_history(&self, identity: &Identity) -> bool {
        let mut memories = self.lock();
        let known = memories.know(identity);
        memories.history.add(*identity);
        !known
    }

    /// Whether the identity is remembered.
    pub fn knows(&self, identity: &Identity) -> bool {
        self.lock().know(identity)
    }

    fn lock(&self) -> MutexGuard<'_, Memories> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(number: usize) -> Identity {
        Identity(u128::try_from(number).unwrap().to_be_bytes())
    }

    #[test]
    fn a_message_is_new_once_and_one_without_identity_always() {
        let seen = Seen::default();
        assert!(!seen.knows(&identity(1)));
        assert!(seen.is_new(Some(&identity(1))));
        assert!(seen.knows(&identity(1)));
        assert!(!seen.clone().is_new(Some(&identity(1))));
        assert!(seen.is_new(None) && seen.is_new(None));
    }

    #[test]
    fn what_came_live_is_remembered_however_long_the_history_that_is_read_meanwhile() {
        let seen = Seen::default();
        let last = 4 * GENERATION;
        assert!(seen.is_new(Some(&identity(last))));
        for number in 0..last {
            assert!(seen.is_new_in_history(&identity(number)));
        }
        assert!(!seen.is_new_in_history(&identity(last)), "the end of the history came live already");
        assert!(!seen.is_new(Some(&identity(last - 1))), "nor does its end come again live");
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_comes_up_again() {
        let seen = Seen::default();
        for number in 0..GENERATION * 4 {
            seen.is_new(Some(&identity(number)));
            if number % (GENERATION / 2) == 0 {
                seen.is_new(Some(&identity(0)));
            }
        }
        assert!(!seen.is_new(Some(&identity(0))));
        assert!(seen.is_new(Some(&identity(1))));
        let memories = seen.0.lock().unwrap();
        assert!(memories.live.young.len() + memories.live.old.len() <= 2 * GENERATION);
    }
}
