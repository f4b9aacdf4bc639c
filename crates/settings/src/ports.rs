//! Every port of papo, with its source. `S0` to `S4` are the seeds' texts; rows are those of the conformance table.

use crate::bounds::EXCHANGE_REPLICAS;

/// Broker, clients' side (ROUTER; row A04).
pub const BROKER_CLIENTS: u16 = 5555;
/// Broker, servers' side (DEALER; row A04).
pub const BROKER_WORKERS: u16 = 5556;
/// Proxy, publishers' side (XSUB; row A07).
pub const PROXY_PUBLISHERS: u16 = 5557;
/// Proxy, subscribers' side (XPUB; row A07).
pub const PROXY_SUBSCRIBERS: u16 = 5558;
/// Proxy, subscribers' side under the port that one seed's clients use (row A07).
pub const PROXY_SUBSCRIBERS_ALIAS: u16 = 5560;
/// Proxy, subscribers' side under the port that one seed's bots use (row A07): free where the proxy has an address of its own.
pub const PROXY_SUBSCRIBERS_BOT_ALIAS: u16 = 5556;
/// Ref (REP), as in the official repositories (row A08).
pub const REF: u16 = 5559;
/// Ref (REP), as in the seeds' first texts (row A08).
pub const REF_ALIAS: u16 = 6000;
/// A server's peer protocol (design section 1).
pub const PEER: u16 = 5550;
/// A server's own REP socket (row A05).
pub const SERVER: u16 = 5555;
/// Metrics, liveness, readiness and status of every role (design section 1).
pub const HTTP: u16 = 8080;

/// `papo local` without `--per-address`: server-n answers REQ on this plus n (design section 1).
pub const LOCAL_SERVER_BASE: u16 = 5600;
/// `papo local` without `--per-address`: server-n meets its peers on this plus n (design section 1).
pub const LOCAL_PEER_BASE: u16 = 5700;
/// `papo local` without `--per-address`: of several brokers, the first has the ports above, and broker-n answers clients on this
/// plus n.
pub const LOCAL_BROKER_CLIENTS_BASE: u16 = 5800;
/// The same: broker-n meets servers on this plus n.
pub const LOCAL_BROKER_WORKERS_BASE: u16 = 5820;
/// `papo local` without `--per-address`: of several proxies, the first has the ports above, and proxy-n meets publishers on this
/// plus n.
pub const LOCAL_PROXY_PUBLISHERS_BASE: u16 = 5840;
/// The same: proxy-n meets subscribers on this plus n.
pub const LOCAL_PROXY_SUBSCRIBERS_BASE: u16 = 5860;
/// `papo local` without `--per-address`: the k-th role's HTTP port is this plus k, k from 1 (design section 1).
pub const LOCAL_HTTP_BASE: u16 = HTTP;

/// Between two of these bases, and after the last one.
const LOCAL_PORTS: u32 = 20;

const _: () = assert!(
    EXCHANGE_REPLICAS.max < LOCAL_PORTS
        && LOCAL_BROKER_CLIENTS_BASE as u32 + LOCAL_PORTS == LOCAL_BROKER_WORKERS_BASE as u32
        && LOCAL_BROKER_WORKERS_BASE as u32 + LOCAL_PORTS == LOCAL_PROXY_PUBLISHERS_BASE as u32
        && LOCAL_PROXY_PUBLISHERS_BASE as u32 + LOCAL_PORTS == LOCAL_PROXY_SUBSCRIBERS_BASE as u32,
    "the largest number of brokers and proxies has ports"
);
