//! Where the roles of `papo local` listen: on one address, each with ports of its own, or each on an address of its own, with the
//! ports of the exercise. It must not know what the roles do.

use papo_settings::ports;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// With `--per-address`: the first broker's, the first proxy's and ref's last byte of 127.0.0.x.
const BROKER_HOST: u8 = 2;
const PROXY_HOST: u8 = 3;
const REF_HOST: u8 = 4;
/// With `--per-address`: server-n has 127.0.0.(10 + n), and likewise a further broker-n and a further proxy-n.
const SERVER_HOST_BASE: u8 = 10;
const BROKER_HOST_BASE: u8 = 20;
const PROXY_HOST_BASE: u8 = 30;

/// What a port is for, in the words of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Clients' requests.
    Requests,
    /// Clients' subscriptions.
    Subscriptions,
    /// Servers that work for a broker.
    Workers,
    /// Servers that publish through a proxy.
    Publishers,
    /// Servers that meet each other.
    Peers,
    /// Metrics, liveness, readiness, status.
    Http,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "requests (REQ)",
            Self::Subscriptions => "subscriptions (SUB)",
            Self::Workers => "workers",
            Self::Publishers => "publishers",
            Self::Peers => "peers",
            Self::Http => "HTTP",
        })
    }
}

/// One address on which a role listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// What for.
    pub purpose: Purpose,
    /// Where.
    pub address: SocketAddr,
}

/// Where the roles listen.
pub struct Layout {
    per_address: bool,
    roles_with_http: u16,
}

impl Layout {
    /// Of a cluster; with `per_address`, each role has an address of its own.
    pub fn new(per_address: bool) -> Self {
        Self { per_address, roles_with_http: 0 }
    }

    fn ip(&self, host: u8) -> IpAddr {
        IpAddr::V4(if self.per_address { Ipv4Addr::new(127, 0, 0, host) } else { Ipv4Addr::LOCALHOST })
    }

    /// Each role's HTTP: one port on addresses of their own, else the next one.
    pub fn http(&mut self, ip: IpAddr) -> Port {
        self.roles_with_http += 1;
        let port = if self.per_address { ports::HTTP } else { ports::LOCAL_HTTP_BASE + self.roles_with_http };
        Port { purpose: Purpose::Http, address: SocketAddr::new(ip, port) }
    }

    /// The server of this rank.
    pub fn server(&self, rank: u8) -> Server {
        let ip = self.ip(SERVER_HOST_BASE + rank);
        let at =
            |port, base| SocketAddr::new(ip, if self.per_address { port } else { base + u16::from(rank) });
        Server {
            requests: at(ports::SERVER, ports::LOCAL_SERVER_BASE),
            peers: at(ports::PEER, ports::LOCAL_PEER_BASE),
        }
    }

    /// Ref, on both its ports.
    pub fn references(&self) -> [SocketAddr; 2] {
        [ports::REF, ports::REF_ALIAS].map(|port| SocketAddr::new(self.ip(REF_HOST), port))
    }

    /// The broker of this number, from 1. On the shared address, only the first has the ports of the seeds.
    pub fn broker(&self, number: u8) -> Broker {
        let (ip, further) = self.exchange(number, BROKER_HOST, BROKER_HOST_BASE);
        let at = |port, base| SocketAddr::new(ip, further.map_or(port, |number| base + number));
        Broker {
            requests: at(ports::BROKER_CLIENTS, ports::LOCAL_BROKER_CLIENTS_BASE),
            workers: at(ports::BROKER_WORKERS, ports::LOCAL_BROKER_WORKERS_BASE),
        }
    }

    /// The proxy of this number, as [`Self::broker`].
    pub fn proxy(&self, number: u8) -> Proxy {
        let (ip, further) = self.exchange(number, PROXY_HOST, PROXY_HOST_BASE);
        let at = |port, base| SocketAddr::new(ip, further.map_or(port, |number| base + number));
        let mut subscriptions = vec![at(ports::PROXY_SUBSCRIBERS, ports::LOCAL_PROXY_SUBSCRIBERS_BASE)];
        if further.is_none() {
            subscriptions.push(SocketAddr::new(ip, ports::PROXY_SUBSCRIBERS_ALIAS));
        }
        if self.per_address {
            // On a shared address this port is the broker's.
            subscriptions.push(SocketAddr::new(ip, ports::PROXY_SUBSCRIBERS_BOT_ALIAS));
        }
        Proxy { publishers: at(ports::PROXY_PUBLISHERS, ports::LOCAL_PROXY_PUBLISHERS_BASE), subscriptions }
    }

    /// The address of a broker or proxy, and its number where that is part of its ports.
    fn exchange(&self, number: u8, first: u8, base: u8) -> (IpAddr, Option<u16>) {
        let ip = self.ip(if number == 1 { first } else { base + number });
        (ip, (number > 1 && !self.per_address).then_some(u16::from(number)))
    }
}

/// Where one server listens.
pub struct Server {
    /// For clients.
    pub requests: SocketAddr,
    /// For the other servers.
    pub peers: SocketAddr,
}

/// Where one broker listens.
pub struct Broker {
    /// For clients.
    pub requests: SocketAddr,
    /// For servers.
    pub workers: SocketAddr,
}

/// Where one proxy listens.
pub struct Proxy {
    /// For servers.
    pub publishers: SocketAddr,
    /// For clients, who are told of the first.
    pub subscriptions: Vec<SocketAddr>,
}
