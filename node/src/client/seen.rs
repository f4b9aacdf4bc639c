//! Which messages were already seen: a message may come live, in a history, and live again after a reconnection.

use papo_protocol::identity::Identity;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Identities in each of the two generations: with both full, about 3 MiB.
const GENERATION: usize = 32_768;

/// A bounded memory of message identities, shared by its clones. It forgets the identities that were named longest ago: those
/// that keep coming up in histories stay.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Generations>>);

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<Identity>,
    old: HashSet<Identity>,
}

impl Seen {
    /// Remembers the identity and says whether it is new. A message without one, from a foreign server, is always new.
    pub fn is_new(&self, identity: Option<&Identity>) -> bool {
        let Some(identity) = identity else { return true };
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = generations.young.contains(identity) || generations.old.contains(identity);
        generations.young.insert(*identity);
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        !known
    }

    /// Whether the identity is remembered.
    pub fn knows(&self, identity: &Identity) -> bool {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.contains(identity) || generations.old.contains(identity)
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
        let generations = seen.0.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }
}
