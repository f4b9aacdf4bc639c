//! What `papo local` runs, as a pure function of the manifest and the options: names, addresses, ports and command lines.
//!
//! It must not touch the disk, the network or the clock.

use papo_settings::{ChatCluster, ports};
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// With `--per-address`: the broker's, the proxy's and ref's last byte of 127.0.0.x.
const BROKER_HOST: u8 = 2;
const PROXY_HOST: u8 = 3;
const REF_HOST: u8 = 4;
/// With `--per-address`: server-n has 127.0.0.(10 + n).
const SERVER_HOST_BASE: u8 = 10;

/// The data folder of one `papo local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// What every node reads.
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.yaml")
    }

    /// The cluster token.
    pub fn token(&self) -> PathBuf {
        self.0.join("cluster-token")
    }

    /// Held as long as a `papo local` runs here.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// All log files.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The log file of one role, or of `papo local` itself.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    fn role(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// The part that a process plays: also the subcommand that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Hands requests to servers.
    Broker,
    /// Hands publications to subscribers.
    Proxy,
    /// Ranks, list, heartbeats.
    Ref,
    /// Holds all data.
    Server,
    /// Writes by itself.
    Bot,
}

impl Role {
    fn subcommand(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Proxy => "proxy",
            Self::Ref => "ref",
            Self::Server => "server",
            Self::Bot => "bot",
        }
    }
}

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

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePlan {
    /// Its name, such as `server-1`: also that of its log file.
    pub name: String,
    /// Its part.
    pub role: Role,
    /// Where it listens. A bot listens nowhere.
    pub ports: Vec<Port>,
    /// Its command line after the program's name.
    pub arguments: Vec<OsString>,
}

impl RolePlan {
    /// The addresses for one purpose.
    pub fn addresses(&self, purpose: Purpose) -> impl Iterator<Item = SocketAddr> {
        self.ports.iter().filter(move |port| port.purpose == purpose).map(|port| port.address)
    }

    /// Where its readiness is asked for; none for a bot.
    pub fn http(&self) -> Option<SocketAddr> {
        self.addresses(Purpose::Http).next()
    }
}

/// All processes, in the order of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One for each process.
    pub roles: Vec<RolePlan>,
    /// Where clients send requests.
    pub broker: SocketAddr,
    /// Where clients subscribe.
    pub proxy: SocketAddr,
    /// What differs from the manifest, a sentence each.
    pub notes: Vec<String>,
}

/// Where the roles listen.
struct Layout {
    per_address: bool,
    roles_with_http: u16,
}

impl Layout {
    fn ip(&self, host: u8) -> IpAddr {
        IpAddr::V4(if self.per_address { Ipv4Addr::new(127, 0, 0, host) } else { Ipv4Addr::LOCALHOST })
    }

    /// Each role's HTTP: one port on addresses of their own, else the next one.
    fn http(&mut self, ip: IpAddr) -> Port {
        self.roles_with_http += 1;
        let port = if self.per_address { ports::HTTP } else { ports::LOCAL_HTTP_BASE + self.roles_with_http };
        Port { purpose: Purpose::Http, address: SocketAddr::new(ip, port) }
    }

    fn server_ip(&self, rank: u8) -> IpAddr {
        self.ip(SERVER_HOST_BASE + rank)
    }

    fn server_listen(&self, rank: u8) -> SocketAddr {
        let port = if self.per_address { ports::SERVER } else { ports::LOCAL_SERVER_BASE + u16::from(rank) };
        SocketAddr::new(self.server_ip(rank), port)
    }

    fn server_peers(&self, rank: u8) -> SocketAddr {
        let port = if self.per_address { ports::PEER } else { ports::LOCAL_PEER_BASE + u16::from(rank) };
        SocketAddr::new(self.server_ip(rank), port)
    }
}

/// Plans a valid manifest.
pub fn plan(cluster: &ChatCluster, folder: &Folder, per_address: bool) -> Plan {
    let mut layout = Layout { per_address, roles_with_http: 0 };
    let spec = &cluster.spec;

    let broker_ip = layout.ip(BROKER_HOST);
    let requests = SocketAddr::new(broker_ip, ports::BROKER_CLIENTS);
    let workers = SocketAddr::new(broker_ip, ports::BROKER_WORKERS);
    let proxy_ip = layout.ip(PROXY_HOST);
    let publishers = SocketAddr::new(proxy_ip, ports::PROXY_PUBLISHERS);
    let mut subscriptions = vec![
        SocketAddr::new(proxy_ip, ports::PROXY_SUBSCRIBERS),
        SocketAddr::new(proxy_ip, ports::PROXY_SUBSCRIBERS_ALIAS),
    ];
    if per_address {
        // On a shared address this port is the broker's.
        subscriptions.push(SocketAddr::new(proxy_ip, ports::PROXY_SUBSCRIBERS_BOT_ALIAS));
    }
    let ref_ip = layout.ip(REF_HOST);
    let references = [ports::REF, ports::REF_ALIAS].map(|port| SocketAddr::new(ref_ip, port));
    let reference = SocketAddr::new(ref_ip, ports::REF);
    let proxy = SocketAddr::new(proxy_ip, ports::PROXY_SUBSCRIBERS);

    let mut roles = vec![
        role("broker", Role::Broker, folder)
            .listens("--listen", Purpose::Requests, &[requests])
            .listens("--worker-listen", Purpose::Workers, &[workers])
            .serves_http(layout.http(broker_ip))
            .done(),
        role("proxy", Role::Proxy, folder)
            .listens("--xsub-listen", Purpose::Publishers, &[publishers])
            .listens("--listen", Purpose::Subscriptions, &subscriptions)
            .serves_http(layout.http(proxy_ip))
            .done(),
        role("ref", Role::Ref, folder)
            .path("--data", &folder.role("ref"))
            .listens("--listen", Purpose::Requests, &references)
            .serves_http(layout.http(ref_ip))
            .done(),
    ];
    let servers: Vec<(u8, String)> =
        (1u8..).zip(papo_settings::node_settings::member_names(spec.replicas)).collect();
    for (rank, name) in &servers {
        let peers: Vec<String> = servers
            .iter()
            .filter(|(other, _)| other != rank)
            .map(|(other, name)| format!("{name}={}", layout.server_peers(*other)))
            .collect();
        let mut server = role(name, Role::Server, folder)
            .option("--name", name)
            .path("--data", &folder.role(name))
            .listens("--listen", Purpose::Requests, &[layout.server_listen(*rank)])
            .listens("--peer-listen", Purpose::Peers, &[layout.server_peers(*rank)])
            .serves_http(layout.http(layout.server_ip(*rank)))
            .option("--broker", &workers.to_string())
            .option("--proxy", &publishers.to_string())
            .option("--ref", &reference.to_string());
        if !peers.is_empty() {
            server = server.option("--peers", &peers.join(","));
        }
        roles.push(server.done());
    }
    for number in 1..=spec.bots.replicas {
        roles.push(
            role(&format!("bot-{number}"), Role::Bot, folder)
                .option("--broker", &requests.to_string())
                .option("--proxy", &proxy.to_string())
                .done(),
        );
    }
    let mut notes = Vec::new();
    for (what, asked) in [("brokers", spec.broker.replicas), ("proxies", spec.proxy.replicas)] {
        if asked > 1 {
            notes.push(format!("{asked} {what} asked for: on one machine, one does the work of all"));
        }
    }
    Plan { roles, broker: requests, proxy, notes }
}

/// Builds one role's command line and list of ports together, so that they cannot differ.
struct Builder(RolePlan);

fn role(name: &str, role: Role, folder: &Folder) -> Builder {
    let start = Builder(RolePlan {
        name: name.to_owned(),
        role,
        ports: Vec::new(),
        arguments: vec![role.subcommand().into()],
    });
    let start = start.path("--settings", &folder.settings());
    match role {
        // Neither is a papo server's peer: they have nothing to prove, or are ordinary clients.
        Role::Bot => start,
        Role::Broker | Role::Proxy | Role::Ref | Role::Server => start.path("--token-file", &folder.token()),
    }
}

impl Builder {
    fn option(mut self, flag: &str, value: &str) -> Self {
        self.0.arguments.extend([flag.into(), value.into()]);
        self
    }

    fn path(mut self, flag: &str, value: &Path) -> Self {
        self.0.arguments.extend([flag.into(), value.into()]);
        self
    }

    fn listens(mut self, flag: &str, purpose: Purpose, addresses: &[SocketAddr]) -> Self {
        self.0.ports.extend(addresses.iter().map(|address| Port { purpose, address: *address }));
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        self.option(flag, &list.join(","))
    }

    fn serves_http(mut self, port: Port) -> Self {
        self.0.ports.push(port);
        self.option("--http", &port.address.to_string())
    }

    fn done(mut self) -> RolePlan {
        self.0.arguments.push("--exit-on-stdin-close".into());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn cluster(replicas: u32, bots: u32) -> ChatCluster {
        let mut cluster = ChatCluster::with_defaults("papo");
        cluster.spec.replicas = replicas;
        cluster.spec.bots.replicas = bots;
        cluster
    }

    fn command_lines(plan: &Plan) -> Vec<String> {
        let line = |role: &RolePlan| {
            let words: Vec<&str> = role.arguments.iter().map(|word| word.to_str().unwrap()).collect();
            words.join(" ")
        };
        plan.roles.iter().map(line).collect()
    }

    #[test]
    fn three_servers_and_a_bot_on_one_address() {
        let plan = plan(&cluster(3, 1), &Folder("d".into()), false);
        assert_eq!(
            command_lines(&plan),
            [
                "broker --settings d/settings.yaml --token-file d/cluster-token --listen 127.0.0.1:5555 \
                 --worker-listen 127.0.0.1:5556 --http 127.0.0.1:8081 --exit-on-stdin-close",
                "proxy --settings d/settings.yaml --token-file d/cluster-token --xsub-listen 127.0.0.1:5557 \
                 --listen 127.0.0.1:5558,127.0.0.1:5560 --http 127.0.0.1:8082 --exit-on-stdin-close",
                "ref --settings d/settings.yaml --token-file d/cluster-token --data d/ref \
                 --listen 127.0.0.1:5559,127.0.0.1:6000 --http 127.0.0.1:8083 --exit-on-stdin-close",
                "server --settings d/settings.yaml --token-file d/cluster-token --name server-1 --data d/server-1 \
                 --listen 127.0.0.1:5601 --peer-listen 127.0.0.1:5701 --http 127.0.0.1:8084 --broker 127.0.0.1:5556 \
                 --proxy 127.0.0.1:5557 --ref 127.0.0.1:5559 --peers server-2=127.0.0.1:5702,server-3=127.0.0.1:5703 \
                 --exit-on-stdin-close",
                "server --settings d/settings.yaml --token-file d/cluster-token --name server-2 --data d/server-2 \
                 --listen 127.0.0.1:5602 --peer-listen 127.0.0.1:5702 --http 127.0.0.1:8085 --broker 127.0.0.1:5556 \
                 --proxy 127.0.0.1:5557 --ref 127.0.0.1:5559 --peers server-1=127.0.0.1:5701,server-3=127.0.0.1:5703 \
                 --exit-on-stdin-close",
                "server --settings d/settings.yaml --token-file d/cluster-token --name server-3 --data d/server-3 \
                 --listen 127.0.0.1:5603 --peer-listen 127.0.0.1:5703 --http 127.0.0.1:8086 --broker 127.0.0.1:5556 \
                 --proxy 127.0.0.1:5557 --ref 127.0.0.1:5559 --peers server-1=127.0.0.1:5701,server-2=127.0.0.1:5702 \
                 --exit-on-stdin-close",
                "bot --settings d/settings.yaml --broker 127.0.0.1:5555 --proxy 127.0.0.1:5558 --exit-on-stdin-close",
            ]
        );
        assert_eq!(plan.notes.len(), 2, "{:?}", plan.notes);
    }

    #[test]
    fn a04_a07_a08_each_role_has_the_seeds_ports_on_an_address_of_its_own() {
        let plan = plan(&cluster(1, 0), &Folder("d".into()), true);
        assert_eq!(
            command_lines(&plan),
            [
                "broker --settings d/settings.yaml --token-file d/cluster-token --listen 127.0.0.2:5555 \
                 --worker-listen 127.0.0.2:5556 --http 127.0.0.2:8080 --exit-on-stdin-close",
                "proxy --settings d/settings.yaml --token-file d/cluster-token --xsub-listen 127.0.0.3:5557 \
                 --listen 127.0.0.3:5558,127.0.0.3:5560,127.0.0.3:5556 --http 127.0.0.3:8080 --exit-on-stdin-close",
                "ref --settings d/settings.yaml --token-file d/cluster-token --data d/ref \
                 --listen 127.0.0.4:5559,127.0.0.4:6000 --http 127.0.0.4:8080 --exit-on-stdin-close",
                "server --settings d/settings.yaml --token-file d/cluster-token --name server-1 --data d/server-1 \
                 --listen 127.0.0.11:5555 --peer-listen 127.0.0.11:5550 --http 127.0.0.11:8080 --broker 127.0.0.2:5556 \
                 --proxy 127.0.0.3:5557 --ref 127.0.0.4:5559 --exit-on-stdin-close",
            ]
        );
    }

    #[test]
    fn no_two_roles_of_the_largest_cluster_want_the_same_port() {
        for per_address in [false, true] {
            let plan = plan(&cluster(9, 100), &Folder("d".into()), per_address);
            let ports: Vec<SocketAddr> =
                plan.roles.iter().flat_map(|role| &role.ports).map(|port| port.address).collect();
            assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
            assert_eq!(plan.roles.len(), 3 + 9 + 100);
        }
    }
}
