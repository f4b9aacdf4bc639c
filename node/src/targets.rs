//! Names that an endpoint connects to, resolved again every two seconds: a headless Service answers with the address of every
//! replica, so each gets a link of its own, also the ones that come later.

use crate::role::Context;
use papo_settings::Address;
use papo_zmtp::{EndpointHandle, LinkId};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks at the names (design, "HA").
const RESOLVE_INTERVAL: Duration = Duration::from_secs(2);
/// Addresses that one endpoint connects to: far above any cluster, and a bound on what a DNS server can make it do.
const ADDRESSES_MAX: usize = 256;

/// Keeps `handle` connected to every address of `names` until the role stops. What a name had stays while it does not resolve.
pub fn follow(context: &Context, handle: EndpointHandle, mut names: watch::Receiver<Vec<Address>>) {
    let stop = context.stop.clone();
    context.tracker.spawn(async move {
        let mut known: HashMap<Address, HashSet<SocketAddr>> = HashMap::new();
        let mut links: HashMap<SocketAddr, LinkId> = HashMap::new();
        loop {
            let wanted: Vec<Address> = names.borrow_and_update().clone();
            known.retain(|name, _| wanted.contains(name));
            for name in wanted {
                let found = tokio::net::lookup_host((name.host(), name.port())).await.map(Vec::from_iter);
                match found {
                    Ok(addresses) => {
                        drop(known.insert(name, addresses.into_iter().take(ADDRESSES_MAX).collect()));
                    }
                    Err(error) => tracing::debug!(%name, %error, "name not resolved"),
                }
            }
            connect_to_just(&handle, &mut links, &known.values().flatten().copied().collect());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RESOLVE_INTERVAL) => {}
                // A closed channel means that the names stay as they are.
                Ok(()) = names.changed() => {}
            }
        }
    });
}

/// As [`follow`], for names that never change.
pub fn follow_fixed(context: &Context, handle: EndpointHandle, names: &[Address]) {
    let (_, receiver) = watch::channel(names.to_vec());
    follow(context, handle, receiver);
}

fn connect_to_just(
    handle: &EndpointHandle,
    links: &mut HashMap<SocketAddr, LinkId>,
    wanted: &HashSet<SocketAddr>,
) {
    links.retain(|address, link| {
        let keep = wanted.contains(address);
        if !keep {
            tracing::info!(%address, "no longer named: disconnecting");
            handle.disconnect(*link);
        }
        keep
    });
    for address in wanted.iter().take(ADDRESSES_MAX) {
        links.entry(*address).or_insert_with(|| handle.connect(&address.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_zmtp::{Endpoint, EndpointSettings, Event, Limits, OnFull, SocketType};

    fn endpoint(socket: SocketType) -> (Endpoint, EndpointHandle) {
        Endpoint::new(EndpointSettings {
            socket,
            limits: Limits::default(),
            on_full: OnFull::Refuse,
            properties: Vec::new(),
            event_capacity: 16,
        })
    }

    async fn listen() -> (Endpoint, EndpointHandle, SocketAddr) {
        let (endpoint, handle) = endpoint(SocketType::Router);
        let address = handle.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        (endpoint, handle, address)
    }

    #[tokio::test]
    async fn each_address_gets_a_link_and_loses_it_when_it_is_no_longer_named() {
        let (mut first, _first_handle, a) = listen().await;
        let (mut second, _second_handle, b) = listen().await;
        let (_dealer, handle) = endpoint(SocketType::Dealer);
        let mut links = HashMap::new();
        connect_to_just(&handle, &mut links, &HashSet::from([a, b]));
        assert!(matches!(first.next().await, Some(Event::Up { .. })));
        assert!(matches!(second.next().await, Some(Event::Up { .. })));
        connect_to_just(&handle, &mut links, &HashSet::from([b]));
        assert!(matches!(first.next().await, Some(Event::Down { .. })));
        assert_eq!(links.keys().collect::<Vec<_>>(), [&b]);
    }
}
