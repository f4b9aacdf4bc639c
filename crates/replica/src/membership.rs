//! Which servers a cluster has, in one generation: whose disks count, who is about to count, and who no longer does (design,
//! "Membership").
//!
//! From one generation to the next `members` changes by one server at a time, and only once every member has the generation
//! before: then any majority of the one has a server in common with any majority of the other, so that nothing acknowledged in the
//! one is unknown in the other (Ongaro 2014, section 4.1). Whoever writes the settings sees to that; a replica cannot.

use papo_protocol::ServerName;

/// The servers of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Counts the changes: an older one than that in force changes nothing.
    pub generation: u64,
    /// Whose disks count for durability, and whose word for a majority.
    pub members: Vec<ServerName>,
    /// Servers that pull what there is, take no writes, and do not count yet.
    pub joining: Vec<ServerName>,
    /// Servers that count no more, take no writes, and stay until each member has what they have.
    pub leaving: Vec<ServerName>,
}

/// What a server is in a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts, and takes writes.
    Member,
    /// It does not count yet.
    Joining,
    /// It counts no more.
    Leaving,
}

impl Standing {
    /// In a word, as `/status` says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Joining => "joining",
            Self::Leaving => "leaving",
        }
    }
}

impl Membership {
    /// What this server is. Whoever is not named has left.
    #[must_use]
    pub fn standing(&self, name: &ServerName) -> Standing {
        if self.members.contains(name) {
            Standing::Member
        } else if self.joining.contains(name) {
            Standing::Joining
        } else {
            Standing::Leaving
        }
    }

    /// Everybody, each once as long as nobody is named twice.
    pub fn all(&self) -> impl Iterator<Item = &ServerName> {
        self.members.iter().chain(&self.joining).chain(&self.leaving)
    }
}

impl From<Vec<ServerName>> for Membership {
    /// A first generation, in which all of these count.
    fn from(members: Vec<ServerName>) -> Self {
        Self { members, ..Self::default() }
    }
}
