//! What `papo local` runs, as a pure function of the manifest and the options: names, addresses and command lines.
//!
//! It must not touch the disk, the network or the clock.

use super::layout::{Layout, Port, Purpose};
use papo_settings::ChatCluster;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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

    /// The order in which a whole cluster stops. First nothing is written any more; then the servers, which part with the same history;
    /// last those through whom their last publications go, and who was asked for their last epoch.
    pub fn stops_in(self) -> usize {
        match self {
            Self::Bot => 0,
            Self::Broker => 1,
            Self::Server => 2,
            Self::Proxy | Self::Ref => 3,
        }
    }
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
    /// Where clients send requests: any of these.
    pub brokers: Vec<SocketAddr>,
    /// Where clients subscribe: at any of these.
    pub proxies: Vec<SocketAddr>,
}

/// `broker` when there is one, otherwise `broker-1` and so on.
fn exchange_names(what: &str, replicas: u32) -> Vec<(u8, String)> {
    let name = |number: u32| if replicas == 1 { what.to_owned() } else { format!("{what}-{number}") };
    (1u8..).zip((1..=replicas).map(name)).collect()
}

/// Plans a valid manifest.
pub fn plan(cluster: &ChatCluster, folder: &Folder, per_address: bool) -> Plan {
    let mut layout = Layout::new(per_address);
    let spec = &cluster.spec;
    let mut roles = Vec::new();

    let mut brokers = Vec::new();
    for (number, name) in exchange_names("broker", spec.broker.replicas) {
        let broker = layout.broker(number);
        roles.push(
            role(&name, Role::Broker, folder)
                .listens("--listen", Purpose::Requests, &[broker.requests])
                .listens("--worker-listen", Purpose::Workers, &[broker.workers])
                .serves_http(layout.http(broker.requests.ip()))
                .done(),
        );
        brokers.push(broker);
    }
    let mut proxies = Vec::new();
    for (number, name) in exchange_names("proxy", spec.proxy.replicas) {
        let proxy = layout.proxy(number);
        let (json, plain): (Vec<SocketAddr>, Vec<SocketAddr>) = proxy
            .subscriptions
            .iter()
            .partition(|address| spec.compat.json_publications.speaks_json(address.port()));
        let mut builder = role(&name, Role::Proxy, folder).listens(
            "--xsub-listen",
            Purpose::Publishers,
            &[proxy.publishers],
        );
        for (flag, addresses) in [("--listen", plain), ("--json-listen", json)] {
            if !addresses.is_empty() {
                builder = builder.listens(flag, Purpose::Subscriptions, &addresses);
            }
        }
        roles.push(builder.serves_http(layout.http(proxy.publishers.ip())).done());
        proxies.push(proxy);
    }
    let references = layout.references();
    let [reference, _] = references;
    roles.push(
        role("ref", Role::Ref, folder)
            .path("--data", &folder.role("ref"))
            .listens("--listen", Purpose::Requests, &references)
            .serves_http(layout.http(reference.ip()))
            .done(),
    );
    let workers: Vec<SocketAddr> = brokers.iter().map(|broker| broker.workers).collect();
    let publishers: Vec<SocketAddr> = proxies.iter().map(|proxy| proxy.publishers).collect();
    let servers: Vec<(u8, String)> =
        (1u8..).zip(papo_settings::node_settings::member_names(spec.replicas)).collect();
    for (rank, name) in &servers {
        let peers: Vec<String> = servers
            .iter()
            .filter(|(other, _)| other != rank)
            .map(|(other, name)| format!("{name}={}", layout.server(*other).peers))
            .collect();
        let at = layout.server(*rank);
        let mut server = role(name, Role::Server, folder)
            .option("--name", name)
            .path("--data", &folder.role(name))
            .listens("--listen", Purpose::Requests, &[at.requests])
            .listens("--peer-listen", Purpose::Peers, &[at.peers])
            .serves_http(layout.http(at.requests.ip()))
            .option("--broker", &list(&workers))
            .option("--proxy", &list(&publishers))
            .option("--ref", &reference.to_string());
        if !peers.is_empty() {
            server = server.option("--peers", &peers.join(","));
        }
        roles.push(server.done());
    }
    let brokers: Vec<SocketAddr> = brokers.iter().map(|broker| broker.requests).collect();
    let proxies: Vec<SocketAddr> =
        proxies.iter().flat_map(|proxy| proxy.subscriptions.first()).copied().collect();
    let (mut own_brokers, mut own_proxies) = (brokers.clone(), proxies.clone());
    for number in 1..=spec.bots.replicas {
        roles.push(
            role(&format!("bot-{number}"), Role::Bot, folder)
                .option("--broker", &list(&own_brokers))
                .option("--proxy", &list(&own_proxies))
                .done(),
        );
        // The next bot begins with the next one.
        own_brokers.rotate_left(1);
        own_proxies.rotate_left(1);
    }
    Plan { roles, brokers, proxies }
}

/// As flags take it.
fn list(addresses: &[SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
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
        self.option(flag, &list(addresses))
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
    use papo_settings::JsonPublications;
    use std::collections::HashSet;

    /// With one broker and one proxy.
    fn cluster(replicas: u32, bots: u32) -> ChatCluster {
        let mut cluster = ChatCluster::with_defaults("papo");
        (cluster.spec.broker.replicas, cluster.spec.proxy.replicas) = (1, 1);
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
    }

    #[test]
    fn b01_the_settings_say_at_which_ports_publications_are_json() {
        for (setting, expected) in [
            (JsonPublications::Alias, "--listen 127.0.0.1:5558 --json-listen 127.0.0.1:5560 --http"),
            (JsonPublications::All, "5557 --json-listen 127.0.0.1:5558,127.0.0.1:5560 --http"),
        ] {
            let mut cluster = cluster(1, 0);
            cluster.spec.compat.json_publications = setting;
            let proxy = &command_lines(&plan(&cluster, &Folder("d".into()), false))[1];
            assert!(proxy.contains(expected), "{proxy}");
        }
    }

    #[test]
    fn every_server_works_for_every_broker_and_publishes_to_every_proxy() {
        let mut cluster = cluster(1, 2);
        (cluster.spec.broker.replicas, cluster.spec.proxy.replicas) = (2, 2);
        let plan = plan(&cluster, &Folder("d".into()), false);
        assert_eq!(
            command_lines(&plan),
            [
                "broker --settings d/settings.yaml --token-file d/cluster-token --listen 127.0.0.1:5555 \
                 --worker-listen 127.0.0.1:5556 --http 127.0.0.1:8081 --exit-on-stdin-close",
                "broker --settings d/settings.yaml --token-file d/cluster-token --listen 127.0.0.1:5802 \
                 --worker-listen 127.0.0.1:5822 --http 127.0.0.1:8082 --exit-on-stdin-close",
                "proxy --settings d/settings.yaml --token-file d/cluster-token --xsub-listen 127.0.0.1:5557 \
                 --listen 127.0.0.1:5558,127.0.0.1:5560 --http 127.0.0.1:8083 --exit-on-stdin-close",
                "proxy --settings d/settings.yaml --token-file d/cluster-token --xsub-listen 127.0.0.1:5842 \
                 --listen 127.0.0.1:5862 --http 127.0.0.1:8084 --exit-on-stdin-close",
                "ref --settings d/settings.yaml --token-file d/cluster-token --data d/ref \
                 --listen 127.0.0.1:5559,127.0.0.1:6000 --http 127.0.0.1:8085 --exit-on-stdin-close",
                "server --settings d/settings.yaml --token-file d/cluster-token --name server-1 --data d/server-1 \
                 --listen 127.0.0.1:5601 --peer-listen 127.0.0.1:5701 --http 127.0.0.1:8086 \
                 --broker 127.0.0.1:5556,127.0.0.1:5822 --proxy 127.0.0.1:5557,127.0.0.1:5842 --ref 127.0.0.1:5559 \
                 --exit-on-stdin-close",
                "bot --settings d/settings.yaml --broker 127.0.0.1:5555,127.0.0.1:5802 \
                 --proxy 127.0.0.1:5558,127.0.0.1:5862 --exit-on-stdin-close",
                "bot --settings d/settings.yaml --broker 127.0.0.1:5802,127.0.0.1:5555 \
                 --proxy 127.0.0.1:5862,127.0.0.1:5558 --exit-on-stdin-close",
            ]
        );
        let names: Vec<&str> = plan.roles.iter().map(|role| role.name.as_str()).collect();
        assert_eq!(names[..5], ["broker-1", "broker-2", "proxy-1", "proxy-2", "ref"]);
        assert_eq!(plan.brokers, ["127.0.0.1:5555", "127.0.0.1:5802"].map(|text| text.parse().unwrap()));
        assert_eq!(plan.proxies, ["127.0.0.1:5558", "127.0.0.1:5862"].map(|text| text.parse().unwrap()));
    }

    #[test]
    fn on_addresses_of_their_own_all_brokers_and_proxies_have_the_seeds_ports() {
        let mut cluster = cluster(1, 0);
        (cluster.spec.broker.replicas, cluster.spec.proxy.replicas) = (2, 2);
        let plan = plan(&cluster, &Folder("d".into()), true);
        assert_eq!(plan.brokers, ["127.0.0.2:5555", "127.0.0.22:5555"].map(|text| text.parse().unwrap()));
        assert_eq!(plan.proxies, ["127.0.0.3:5558", "127.0.0.32:5558"].map(|text| text.parse().unwrap()));
        let subscriptions: Vec<SocketAddr> = plan.roles[3].addresses(Purpose::Subscriptions).collect();
        assert_eq!(
            subscriptions,
            ["127.0.0.32:5558", "127.0.0.32:5560", "127.0.0.32:5556"].map(|text| text.parse().unwrap())
        );
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
            let mut cluster = cluster(9, 100);
            (cluster.spec.broker.replicas, cluster.spec.proxy.replicas) = (9, 9);
            let plan = plan(&cluster, &Folder("d".into()), per_address);
            let ports: Vec<SocketAddr> =
                plan.roles.iter().flat_map(|role| &role.ports).map(|port| port.address).collect();
            assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
            assert_eq!(plan.roles.len(), 9 + 9 + 1 + 9 + 100);
        }
    }
}
