//! What the mind says it did, on its way to the log.

use crate::logging::{self, Happening};
use papo_protocol::ServerName;
use papo_replica::Notice;

/// Tells notices, and knows what was told.
pub struct Notices {
    server: ServerName,
    knew_a_coordinator: bool,
}

impl Notices {
    /// Of this server.
    pub fn new(server: ServerName) -> Self {
        Self { server, knew_a_coordinator: false }
    }

    /// Logs one.
    pub fn tell(&mut self, notice: &Notice) {
        let names_one = matches!(notice, Notice::Leads { .. } | Notice::Follows { .. });
        let first_coordinator = names_one && !self.knew_a_coordinator;
        self.knew_a_coordinator |= names_one;
        logging::tell(&Happening::Noticed { server: &self.server, notice, first_coordinator });
    }
}
