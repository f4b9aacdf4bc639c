//! Who of two servers is the better coordinator: by rank, which a member's name tells (row G01).

use papo_protocol::ServerName;

/// Which rank wins an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ElectionOrder {
    /// The highest.
    #[default]
    Highest,
    /// The lowest.
    Lowest,
}

impl ElectionOrder {
    /// Whether `one` is a better coordinator than `other`.
    pub(crate) fn prefers(self, one: &ServerName, other: &ServerName) -> bool {
        self.place(one) < self.place(other)
    }

    /// Puts the best first.
    pub(crate) fn sort(self, servers: &mut [ServerName]) {
        servers.sort_by_cached_key(|name| self.place(name));
    }

    /// Of whom this is less is better. Names settle what ranks do not, so that no two servers are equal.
    fn place(self, name: &ServerName) -> (i64, ServerName) {
        let rank = i64::from(rank(name));
        let place = match self {
            Self::Highest => -rank,
            Self::Lowest => rank,
        };
        (place, name.clone())
    }
}

/// `server-n` has rank n. A name without a number, which no member of a cluster has, has none: 0.
pub(crate) fn rank(name: &ServerName) -> u32 {
    let number = name.as_str().rsplit_once('-').and_then(|(_, number)| number.parse().ok());
    number.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<ServerName> {
        names.iter().map(|name| ServerName::new(name).unwrap()).collect()
    }

    #[test]
    fn g01_ranks_are_numbers_and_either_end_may_win() {
        let mut servers = names(&["server-2", "server-10", "other", "server-1"]);
        ElectionOrder::Highest.sort(&mut servers);
        assert_eq!(servers, names(&["server-10", "server-2", "server-1", "other"]));
        ElectionOrder::Lowest.sort(&mut servers);
        assert_eq!(servers, names(&["other", "server-1", "server-2", "server-10"]));
    }

    #[test]
    fn no_two_servers_are_equal() {
        let pair = names(&["a-1", "b-1"]);
        let [one, other] = pair.as_slice() else { unreachable!() };
        for order in [ElectionOrder::Highest, ElectionOrder::Lowest] {
            assert_ne!(order.prefers(one, other), order.prefers(other, one));
            assert!(!order.prefers(one, one));
        }
    }
}
