//! Every port of papo, with its source. `S0` to `S4` are the seeds' texts; rows are those of the conformance table.

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
/// `papo local` without `--per-address`: the k-th role's HTTP port is this plus k, k from 1 (design section 1).
pub const LOCAL_HTTP_BASE: u16 = HTTP;
