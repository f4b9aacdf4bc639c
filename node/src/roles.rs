//! From arguments, environment and settings to a running role.

use crate::broker::{self, BrokerOptions};
use crate::cli::{self, BrokerArgs, CommonArgs, ProxyArgs, ReferenceArgs, ServerArgs, first};
use crate::drain::DrainSettings;
use crate::logging;
use crate::membership;
use crate::open_files;
use crate::proxy::{self, ProxyOptions};
use crate::reference::{self, ReferenceOptions};
use crate::role::Context;
use crate::server::{self, PeerSource, ServerOptions};
use anyhow::Context as _;
use papo_exchange::{DispatchSettings, RoutingSettings};
use papo_protocol::ServerName;
use papo_protocol::codec::Limits;
use papo_protocol::reply::Compat;
use papo_replica::{ClockSync, ElectionSettings, ReplicaSettings};
use papo_settings::{
    Durability, ElectionOrder, Environment, JsonPublications, ListenAddress, LoginPolicy, NodeSettings,
    PublishOk, ports,
};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Deepest nesting and most values of a client's request: far above any dialect, far below harm.
const REQUEST_DEPTH_MAX: usize = 16;
const REQUEST_VALUES_MAX: usize = 4096;
/// A stopping broker waits so much longer than its longest request for clients to read their last replies.
const LAST_REPLIES: Duration = Duration::from_secs(2);

const _: () = assert!(
    papo_exchange::constants::BROKER_DEADLINE_MAX.as_secs()
        == papo_settings::bounds::DEADLINE_SECONDS.max as u64,
    "proxies remember identities for longer than the longest deadline that can be set"
);

/// Runs a role on a runtime of its own. One thread: a role is one task that moves bytes; two or three roles share a core well.
fn run<F: Future<Output = anyhow::Result<()>> + Send + 'static>(
    common: &CommonArgs,
    environment: &Environment,
    settings: &NodeSettings,
    role: impl FnOnce(Context) -> F,
) -> anyhow::Result<()> {
    logging::start(&settings.spec.logging);
    open_files::raise_limit(settings.spec.limits.connections);
    let token_file = common.token_file.as_ref().or(environment.token_file.as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        let context = Context::new(
            token_file.map(PathBuf::as_path),
            common.exit_on_stdin_close,
            &settings.spec.limits,
        )?;
        // As a task: what the runtime itself waits for is woken by a system call each time.
        let result = tokio::spawn(role(context.clone())).await.context("the role's task failed").flatten();
        context.finish().await;
        result
    });
    // A read of standard input that never returns must not keep the process.
    runtime.shutdown_background();
    result
}

fn http(common: &CommonArgs, environment: &Environment) -> SocketAddr {
    common.http.or(environment.http).unwrap_or(ListenAddress::everywhere(ports::HTTP)).socket()
}

fn sockets(flag: &[ListenAddress], environment: &[ListenAddress], default: &[u16]) -> Vec<SocketAddr> {
    let default: Vec<ListenAddress> = default.iter().map(|port| ListenAddress::everywhere(*port)).collect();
    first(flag, environment, &default).into_iter().map(ListenAddress::socket).collect()
}

fn serve_on(flag: Option<u32>, environment: &Environment) -> Duration {
    Duration::from_secs(u64::from(flag.or(environment.drain_seconds).unwrap_or(0)))
}

fn data(flag: Option<PathBuf>, environment: &Environment) -> PathBuf {
    flag.or_else(|| environment.data.clone()).unwrap_or_else(|| PathBuf::from("data"))
}

/// A list that flags or environment give wins over a pattern.
fn peer_source(args: &ServerArgs, environment: &Environment) -> anyhow::Result<PeerSource> {
    let pattern = args.peer_domain.as_ref().or(environment.peer_domain.as_ref());
    let listed =
        if args.peer_domain.is_some() { Vec::new() } else { first(&args.peers, &environment.peers, &[]) };
    match (pattern, cli::settings_file(&args.common, environment)) {
        (Some(pattern), Some(settings)) if listed.is_empty() => {
            let domain = pattern.parse().with_context(|| format!("--peer-domain `{pattern}`"))?;
            Ok(PeerSource::Derived { settings, domain })
        }
        (Some(_), None) if listed.is_empty() => {
            anyhow::bail!(
                "--peer-domain says how servers are named, a settings file which there are: add --settings"
            )
        }
        (Some(_) | None, _) => Ok(PeerSource::Listed(listed.into_iter().map(|peer| peer.address).collect())),
    }
}

/// `papo server`.
///
/// # Errors
/// As [`server::run`], and for a bad or missing argument.
pub fn server(args: &ServerArgs, environment: &Environment) -> anyhow::Result<()> {
    let settings = cli::settings(&args.common, environment)?;
    if let Some(calendar) = args.test_calendar {
        calendar.inject();
    }
    let name =
        args.name.as_ref().or(environment.name.as_ref()).context("a server needs a name: --name server-1")?;
    let name = ServerName::new(name).with_context(|| format!("--name `{name}`"))?;
    let peers = peer_source(args, environment)?;
    let peer_listen =
        args.peer_listen.or(environment.peer_listen).unwrap_or(ListenAddress::everywhere(ports::PEER));
    let given = cli::settings_file(&args.common, environment).is_some();
    let alone = matches!(&peers, PeerSource::Listed(peers) if peers.is_empty());
    // The defaults know nothing of what really runs: a server of whom no peers are told is a cluster by itself.
    let membership = if !given && alone { vec![name.clone()].into() } else { membership::read(&settings)? };
    let spec = &settings.spec;
    let limits = Limits {
        bytes: usize::try_from(spec.limits.request_bytes).unwrap_or(usize::MAX),
        depth: REQUEST_DEPTH_MAX,
        values: REQUEST_VALUES_MAX,
    };
    run(&args.common, environment, &settings, |context| {
        let replica = ReplicaSettings {
            name,
            boot: context.boot,
            membership,
            durability: match spec.durability {
                Durability::Local => papo_replica::Durability::Local,
                Durability::Majority => papo_replica::Durability::Majority,
                Durability::All => papo_replica::Durability::All,
            },
            write_deadline: spec.broker.server_deadline(),
            login_policy: match spec.login_policy {
                LoginPolicy::Idempotent => papo_replica::LoginPolicy::Idempotent,
                LoginPolicy::Unique => papo_replica::LoginPolicy::Unique,
            },
            compat: Compat { publish_says_sucesso: spec.compat.publish_ok == PublishOk::Sucesso },
            limits,
            cluster_id: settings.cluster_id.to_string(),
            clock_sync: ClockSync {
                every_operations: spec.clock_sync.every_messages,
                every: Duration::from_secs(spec.clock_sync.every_seconds.into()),
            },
            election: ElectionSettings {
                order: match spec.election.order {
                    ElectionOrder::Highest => papo_replica::ElectionOrder::Highest,
                    ElectionOrder::Lowest => papo_replica::ElectionOrder::Lowest,
                },
                hand_over: spec.election.hand_over(),
            },
        };
        let options = ServerOptions {
            listen: sockets(&args.listen, &environment.listen, &[ports::SERVER]),
            peer_listen: vec![peer_listen.socket()],
            http: http(&args.common, environment),
            data: data(args.data.clone(), environment),
            brokers: first(&args.broker, &environment.brokers, &[]),
            proxies: first(&args.proxy, &environment.proxies_to_publish, &[]),
            reference: args.reference.clone().or_else(|| environment.reference.clone()),
            peers,
            heartbeat: spec.reference.heartbeat(),
            replica,
        };
        server::run(context, options)
    })
}

/// `papo broker`.
///
/// # Errors
/// As [`broker::run`].
pub fn broker(args: &BrokerArgs, environment: &Environment) -> anyhow::Result<()> {
    let settings = cli::settings(&args.common, environment)?;
    let spec = &settings.spec;
    let options = BrokerOptions {
        listen: sockets(&args.listen, &environment.listen, &[ports::BROKER_CLIENTS]),
        worker_listen: sockets(&args.worker_listen, &environment.worker_listen, &[ports::BROKER_WORKERS]),
        http: http(&args.common, environment),
        dispatch: DispatchSettings {
            server_deadline: spec.broker.server_deadline(),
            broker_deadline: spec.broker.deadline(),
            foreign_capacity: usize::try_from(spec.broker.foreign_worker_requests).unwrap_or(usize::MAX),
            waiting_max: usize::try_from(spec.broker.waiting_requests).unwrap_or(usize::MAX),
            request_bytes_max: usize::try_from(spec.limits.request_bytes).unwrap_or(usize::MAX),
            ..DispatchSettings::default()
        },
        servers: cli::servers_expected(&args.common, environment, &settings),
        drain: DrainSettings {
            serve_on: serve_on(args.drain_seconds, environment),
            end_within: spec.broker.deadline() + LAST_REPLIES,
        },
    };
    run(&args.common, environment, &settings, |context| broker::run(context, options))
}

/// Where a proxy gives publications in MessagePack, and where in JSON: as it is told, or where the settings divide its usual ports.
fn subscriber_sockets(
    args: &ProxyArgs,
    environment: &Environment,
    settings: JsonPublications,
) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let (plain, json) = (first(&args.listen, &environment.listen, &[]), args.json_listen.clone());
    if !plain.is_empty() || !json.is_empty() {
        return (sockets(&plain, &[], &[]), sockets(&json, &[], &[]));
    }
    let usual = [ports::PROXY_SUBSCRIBERS, ports::PROXY_SUBSCRIBERS_ALIAS];
    let (json, plain): (Vec<u16>, Vec<u16>) = usual.iter().partition(|port| settings.speaks_json(**port));
    (sockets(&[], &[], &plain), sockets(&[], &[], &json))
}

/// `papo proxy`.
///
/// # Errors
/// As [`proxy::run`].
pub fn proxy(args: &ProxyArgs, environment: &Environment) -> anyhow::Result<()> {
    let settings = cli::settings(&args.common, environment)?;
    let limits = &settings.spec.limits;
    let (listen, json_listen) = subscriber_sockets(args, environment, settings.spec.compat.json_publications);
    let options = ProxyOptions {
        xsub_listen: sockets(&args.xsub_listen, &environment.xsub_listen, &[ports::PROXY_PUBLISHERS]),
        listen,
        json_listen,
        http: http(&args.common, environment),
        request_bytes: usize::try_from(limits.request_bytes).unwrap_or(usize::MAX),
        routing: RoutingSettings {
            topics_per_subscriber_max: usize::try_from(limits.subscriptions).unwrap_or(usize::MAX),
            ..RoutingSettings::default()
        },
        servers: cli::servers_expected(&args.common, environment, &settings),
        // What is queued for subscribers is flushed, and owed to nobody else.
        drain: DrainSettings {
            serve_on: serve_on(args.drain_seconds, environment),
            end_within: Duration::ZERO,
        },
    };
    run(&args.common, environment, &settings, |context| proxy::run(context, options))
}

/// `papo ref`.
///
/// # Errors
/// As [`reference::run`].
pub fn reference(args: &ReferenceArgs, environment: &Environment) -> anyhow::Result<()> {
    let settings = cli::settings(&args.common, environment)?;
    let options = ReferenceOptions {
        listen: sockets(&args.listen, &environment.listen, &[ports::REF, ports::REF_ALIAS]),
        http: http(&args.common, environment),
        data: data(args.data.clone(), environment),
        membership: membership::read(&settings)?,
        settings: cli::settings_file(&args.common, environment),
        expiry: settings.spec.reference.expiry(),
        list_as_map: settings.spec.compat.list_as_map,
    };
    run(&args.common, environment, &settings, |context| reference::run(context, options))
}
