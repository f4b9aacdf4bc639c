//! Who the servers of the cluster are, as the settings file says now. In Kubernetes the file changes under a running node when the
//! ChatCluster does, so that a new server needs no restart of the others (design, "Membership").

use crate::role::Context;
use anyhow::Context as _;
use papo_protocol::ServerName;
use papo_replica::Membership;
use papo_settings::NodeSettings;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks at the settings file. The kubelet takes up to a minute to bring a change; this adds little.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Follows the membership, of which `first` is known at the start. `on_change` hears of each change before the receivers do.
pub fn follow(
    context: &Context,
    first: Membership,
    settings: PathBuf,
    on_change: impl Fn(&Membership) + Send + 'static,
) -> watch::Receiver<Membership> {
    let (sender, receiver) = watch::channel(first);
    let stop = context.stop.clone();
    context.tracker.spawn(async move {
        let mut last = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            let text = match tokio::fs::read_to_string(&settings).await {
                Ok(text) if text == last => continue,
                Ok(text) => text,
                Err(error) => {
                    tracing::warn!(%error, "cannot read the settings: the old ones stay in force");
                    continue;
                }
            };
            match NodeSettings::read(&text).map_err(Into::into).and_then(|settings| read(&settings)) {
                // An older file may follow a newer one: a mount lags behind where a node starts anew.
                Ok(new) if new.generation < sender.borrow().generation => {}
                Ok(new) if new == *sender.borrow() => {}
                Ok(new) => {
                    tracing::info!(membership = ?new, "membership changed");
                    on_change(&new);
                    sender.send_replace(new);
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "unreadable settings: the old ones stay in force"
                    );
                }
            }
            last = text;
        }
    });
    receiver
}

/// The membership that the settings say.
///
/// # Errors
/// When one is no name of a server.
pub fn read(settings: &NodeSettings) -> anyhow::Result<Membership> {
    Ok(Membership {
        generation: settings.generation,
        members: server_names(&settings.members)?,
        joining: server_names(&settings.joining)?,
        leaving: server_names(&settings.leaving)?,
    })
}

fn server_names(members: &[String]) -> anyhow::Result<Vec<ServerName>> {
    let name = |member: &String| ServerName::new(member).with_context(|| format!("member `{member}`"));
    members.iter().map(name).collect()
}
