//! The other servers of the cluster, and where they listen.

use crate::membership;
use crate::role::Context;
use papo_protocol::ServerName;
use papo_replica::Membership;
use papo_settings::{Address, ports};
use std::path::PathBuf;
use tokio::sync::watch;

/// Where peers' addresses come from.
#[derive(Debug, Clone)]
pub enum PeerSource {
    /// From the command line; they stay.
    Listed(Vec<Address>),
    /// From the members in the settings file and the pattern of their names.
    Derived {
        /// Which file.
        settings: PathBuf,
        /// Such as `papo-server-{n}.papo-server-peers.default.svc`.
        domain: PeerDomain,
    },
}

/// A pattern of host names with `{n}` for the member's number.
#[derive(Debug, Clone)]
pub struct PeerDomain(String);

impl std::str::FromStr for PeerDomain {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let domain = Self(text.to_owned());
        anyhow::ensure!(
            text.contains("{n}") && domain.address("server-1").is_some(),
            "`{text}` is no pattern of host names: write {{n}} where the member's number goes, as in server-{{n}}.peers"
        );
        Ok(domain)
    }
}

impl PeerDomain {
    /// Where the member of this name listens; `None` when its name has no number.
    fn address(&self, member: &str) -> Option<Address> {
        let number: u32 = member.rsplit_once('-')?.1.parse().ok()?;
        Address::new(&self.0.replace("{n}", &number.to_string()), ports::PEER).ok()
    }
}

/// The members now and from now on, and where the others listen.
#[derive(Debug)]
pub struct Members {
    /// This server included.
    pub membership: watch::Receiver<Membership>,
    /// Of the others.
    pub peers: watch::Receiver<Vec<Address>>,
}

/// Follows the members, of whom `first` are known at the start.
pub fn follow(context: &Context, own: &ServerName, first: Membership, source: PeerSource) -> Members {
    let (settings, domain) = match source {
        PeerSource::Listed(peers) => {
            return Members { membership: watch::channel(first).1, peers: watch::channel(peers).1 };
        }
        PeerSource::Derived { settings, domain } => (settings, domain),
    };
    let (sender, peers) = watch::channel(derive(&domain, own, &first));
    let own = own.clone();
    let derive_again = move |new: &Membership| {
        // Nobody listens any more only when the server ends.
        let _ = sender.send(derive(&domain, &own, new));
    };
    Members { membership: membership::follow(context, first, settings, derive_again), peers }
}

fn derive(domain: &PeerDomain, own: &ServerName, membership: &Membership) -> Vec<Address> {
    let others = membership.all().filter(|member| *member != own);
    others.filter_map(|member| domain.address(member.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_derives_its_peers_from_the_members() {
        let domain: PeerDomain = "papo-server-{n}.papo-server-peers.default.svc".parse().unwrap();
        let name = |name: &str| ServerName::new(name).unwrap();
        let own = name("server-2");
        let membership =
            Membership { joining: vec![name("server-3")], ..vec![name("server-1"), name("server-2")].into() };
        let peers: Vec<String> = derive(&domain, &own, &membership).iter().map(ToString::to_string).collect();
        assert_eq!(
            peers,
            [
                "papo-server-1.papo-server-peers.default.svc:5550",
                "papo-server-3.papo-server-peers.default.svc:5550"
            ]
        );
    }

    #[test]
    fn a_pattern_without_a_number_is_refused_with_the_remedy() {
        let error = "papo-server.peers".parse::<PeerDomain>().unwrap_err().to_string();
        assert!(error.contains("papo-server.peers") && error.contains("{n}"), "{error}");
    }
}
