//! Who the servers of the cluster are, as the settings file says now. In Kubernetes the file changes under a running server when
//! the ChatCluster does, so that a new member needs no restart of the others (design, "Membership").

use crate::role::Context;
use anyhow::Context as _;
use papo_protocol::ServerName;
use papo_replica::Membership;
use papo_settings::{Address, NodeSettings, ports};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks at the settings file. The kubelet takes up to a minute to bring a change; this adds little.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

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
    let (peers_sender, peers) = watch::channel(derive(&domain, own, &first));
    let (membership_sender, membership) = watch::channel(first);
    let (own, stop) = (own.clone(), context.stop.clone());
    context.tracker.spawn(async move {
        let mut last = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            match tokio::fs::read_to_string(&settings).await {
                Ok(text) if text == last => {}
                Ok(text) => {
                    match NodeSettings::read(&text) {
                        Ok(new) => match read_membership(&new) {
                            Ok(new) => {
                                // An older file may follow a newer one: a mount lags behind where a server starts anew.
                                let is_older = new.generation < membership_sender.borrow().generation;
                                if !is_older {
                                    replace(&peers_sender, derive(&domain, &own, &new));
                                }
                                if !is_older && replace(&membership_sender, new) {
                                    tracing::info!(membership = ?*membership_sender.borrow(), "membership changed");
                                }
                            }
                            Err(error) => {
                                tracing::warn!(%error, "unreadable members: the old ones stay in force");
                            }
                        },
                        Err(error) => {
                            tracing::warn!(%error, "unreadable settings: the old ones stay in force");
                        }
                    }
                    last = text;
                }
                Err(error) => tracing::warn!(%error, "cannot read the settings: the old ones stay in force"),
            }
        }
    });
    Members { membership, peers }
}

/// Sends `new` if it is; says whether.
fn replace<T: PartialEq>(sender: &watch::Sender<T>, new: T) -> bool {
    sender.send_if_modified(|old| {
        let changed = *old != new;
        *old = new;
        changed
    })
}

fn derive(domain: &PeerDomain, own: &ServerName, membership: &Membership) -> Vec<Address> {
    let others = membership.all().filter(|member| *member != own);
    others.filter_map(|member| domain.address(member.as_str())).collect()
}

/// The membership that the settings say.
///
/// # Errors
/// When one is no name of a server.
pub fn read_membership(settings: &NodeSettings) -> anyhow::Result<Membership> {
    Ok(Membership {
        generation: settings.generation,
        members: server_names(&settings.members)?,
        joining: server_names(&settings.joining)?,
        leaving: server_names(&settings.leaving)?,
    })
}

/// Servers by their names.
///
/// # Errors
/// When one is no name of a server.
pub fn server_names(members: &[String]) -> anyhow::Result<Vec<ServerName>> {
    let name = |member: &String| ServerName::new(member).with_context(|| format!("member `{member}`"));
    members.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_derives_its_peers_from_the_members() {
        let domain: PeerDomain = "papo-server-{n}.papo-server-peers.default.svc".parse().unwrap();
        let own = ServerName::new("server-2").unwrap();
        let membership = Membership {
            joining: server_names(&["server-3".to_owned()]).unwrap(),
            ..server_names(&["server-1".to_owned(), "server-2".to_owned()]).unwrap().into()
        };
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
