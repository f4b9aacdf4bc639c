//! The spec of a ChatCluster: what a person may set. The documentation of each field is also the CRD's.
//!
//! Every field has a default, so that an empty spec is a whole cluster. No untagged unions, and no maps but of text: the schema must stay
//! structural. What combinations make sense is checked in [`crate::validate()`].

use crate::{
    bounds,
    kubernetes::{
        ExposeSpec, MonitoringSpec, NetworkPolicySpec, PodMetadataSpec, ResourcesSpec, RetentionSpec,
    },
    limits::LimitsSpec,
    ports,
    scheduling::SchedulingSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a chat cluster shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChatClusterSpec {
    /// Number of servers, each with all data. Odd numbers survive most: 3 survive the loss of 1, 5 of 2.
    #[schemars(range(min = bounds::SERVER_REPLICAS.min, max = bounds::SERVER_REPLICAS.max))]
    pub replicas: u32,
    /// Identity of the cluster's data, checked at every meeting of two servers. Default: namespace/name. Cannot be changed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::CLUSTER_ID_BYTES_MAX), regex(pattern = bounds::CLUSTER_ID_PATTERN))]
    pub cluster_id: Option<String>,
    /// The container image of every role. Default: the operator's own choice. `papo local` does not read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
    /// The volume of each server. `papo local` uses its data folder instead.
    pub storage: StorageSpec,
    /// On how many disks a write must be before it is acknowledged.
    pub durability: Durability,
    /// What a login under a name already taken gets.
    pub login_policy: LoginPolicy,
    /// How the coordinator is chosen.
    pub election: ElectionSpec,
    /// When the servers agree on the time.
    pub clock_sync: ClockSyncSpec,
    /// The reference service: ranks, the list of servers alive, heartbeats.
    #[serde(rename = "ref")]
    pub reference: RefSpec,
    /// The brokers, which hand clients' requests to servers.
    pub broker: BrokerSpec,
    /// The proxies, which hand publications to subscribers.
    pub proxy: ProxySpec,
    /// Clients that write by themselves, to show or to load a cluster.
    pub bots: BotsSpec,
    /// Concessions to clients written for other servers.
    pub compat: CompatSpec,
    /// Bounds on what clients can make a node hold, and for how long.
    pub limits: LimitsSpec,
    /// What the nodes log, and how.
    pub logging: LoggingSpec,
    /// What the pods ask of their machine. This and the fields after it are for Kubernetes; `papo local` does not read them.
    pub resources: ResourcesSpec,
    /// Where the pods may run.
    pub scheduling: SchedulingSpec,
    /// Labels and annotations that every pod gets beside the operator's own.
    pub pod_metadata: PodMetadataSpec,
    /// How clients outside Kubernetes reach the cluster.
    pub expose: ExposeSpec,
    /// Who may connect to the pods.
    pub network_policy: NetworkPolicySpec,
    /// Whether Prometheus is told of the pods.
    pub monitoring: MonitoringSpec,
}

impl Default for ChatClusterSpec {
    fn default() -> Self {
        Self {
            replicas: 3,
            cluster_id: None,
            image: None,
            storage: StorageSpec::default(),
            durability: Durability::default(),
            login_policy: LoginPolicy::default(),
            election: ElectionSpec::default(),
            clock_sync: ClockSyncSpec::default(),
            reference: RefSpec::default(),
            broker: BrokerSpec::default(),
            proxy: ProxySpec::default(),
            bots: BotsSpec::default(),
            compat: CompatSpec::default(),
            limits: LimitsSpec::default(),
            logging: LoggingSpec::default(),
            resources: ResourcesSpec::default(),
            scheduling: SchedulingSpec::default(),
            pod_metadata: PodMetadataSpec::default(),
            expose: ExposeSpec::default(),
            network_policy: NetworkPolicySpec::default(),
            monitoring: MonitoringSpec::default(),
        }
    }
}

/// The container image of every role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImageSpec {
    /// Registry and repository, without tag. Default: the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = bounds::IMAGE_PART_PATTERN))]
    pub repository: Option<String>,
    /// Tag. Default: the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = bounds::IMAGE_PART_PATTERN))]
    pub tag: Option<String>,
    /// When a node of Kubernetes pulls the image.
    pub pull_policy: PullPolicy,
    /// Names of Secrets in the ChatCluster's namespace, with which a node of Kubernetes pulls the image.
    #[schemars(length(max = bounds::PULL_SECRETS_MAX))]
    pub pull_secrets: Vec<String>,
}

/// When a node of Kubernetes pulls the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At every start of a container.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never: somebody loads it.
    Never,
}

/// The volume of each server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StorageSpec {
    /// Size of each volume, such as 1Gi (whole numbers with Ki, Mi, Gi, Ti, k, M, G, T). It may grow, where the storage class allows it,
    /// and not shrink.
    #[schemars(length(max = bounds::QUANTITY_BYTES_MAX), regex(pattern = bounds::STORAGE_SIZE_PATTERN))]
    pub size: String,
    /// Storage class. Default: the cluster's default class. Cannot be changed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub class: Option<String>,
    /// When the volumes go.
    pub retention: RetentionSpec,
}

impl Default for StorageSpec {
    fn default() -> Self {
        Self { size: "1Gi".to_owned(), class: None, retention: RetentionSpec::default() }
    }
}

/// On how many disks a write must be before it is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// On the disk of the server that took it (row H10).
    Local,
    /// On the disks of more than half of the servers.
    #[default]
    Majority,
    /// On the disks of all servers; no write succeeds while one is away (row H02).
    All,
}

/// What a login under a name already taken gets (row C02).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LoginPolicy {
    /// Success: a login again is the same login.
    #[default]
    Idempotent,
    /// An error: each name can log in once.
    Unique,
}

/// How the coordinator is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ElectionSpec {
    /// Which rank wins.
    pub order: ElectionOrder,
    /// Seconds of unbroken contact after which a returning better rank takes over from a living coordinator.
    #[schemars(range(min = bounds::HAND_OVER_SECONDS.min, max = bounds::HAND_OVER_SECONDS.max))]
    pub hand_over_seconds: u32,
}

impl Default for ElectionSpec {
    fn default() -> Self {
        Self { order: ElectionOrder::default(), hand_over_seconds: 60 }
    }
}

impl ElectionSpec {
    /// [`Self::hand_over_seconds`] as a duration.
    #[must_use]
    pub fn hand_over(&self) -> Duration {
        seconds(self.hand_over_seconds)
    }
}

/// Which rank wins an election (row G01).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ElectionOrder {
    /// The highest rank coordinates.
    #[default]
    Highest,
    /// The lowest rank coordinates.
    Lowest,
}

/// When the servers agree on the time (Berkeley's algorithm; row E06).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClockSyncSpec {
    /// Messages after which the coordinator starts a round (at most one round a second).
    #[schemars(range(min = bounds::CLOCK_SYNC_MESSAGES.min, max = bounds::CLOCK_SYNC_MESSAGES.max))]
    pub every_messages: u32,
    /// Seconds after which the coordinator starts a round even when nobody writes.
    #[schemars(range(min = bounds::CLOCK_SYNC_SECONDS.min, max = bounds::CLOCK_SYNC_SECONDS.max))]
    pub every_seconds: u32,
}

impl Default for ClockSyncSpec {
    fn default() -> Self {
        Self { every_messages: 10, every_seconds: 30 }
    }
}

/// The reference service (rows F01 to F06).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RefSpec {
    /// Seconds between two heartbeats of a server.
    #[schemars(range(min = bounds::HEARTBEAT_SECONDS.min, max = bounds::HEARTBEAT_SECONDS.max))]
    pub heartbeat_seconds: u32,
    /// Seconds without a heartbeat after which a server is no longer listed. At least two heartbeats.
    #[schemars(range(min = bounds::EXPIRY_SECONDS.min, max = bounds::EXPIRY_SECONDS.max))]
    pub expiry_seconds: u32,
}

impl Default for RefSpec {
    fn default() -> Self {
        Self { heartbeat_seconds: 10, expiry_seconds: 60 }
    }
}

impl RefSpec {
    /// [`Self::heartbeat_seconds`] as a duration.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        seconds(self.heartbeat_seconds)
    }

    /// [`Self::expiry_seconds`] as a duration.
    #[must_use]
    pub fn expiry(&self) -> Duration {
        seconds(self.expiry_seconds)
    }
}

/// The brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BrokerSpec {
    /// Number of brokers. They hold no state, and any client may use any of them.
    #[schemars(range(min = bounds::EXCHANGE_REPLICAS.min, max = bounds::EXCHANGE_REPLICAS.max))]
    pub replicas: u32,
    /// Seconds that one server may take over a request before it goes to another.
    #[schemars(range(min = bounds::SERVER_DEADLINE_SECONDS.min, max = bounds::SERVER_DEADLINE_SECONDS.max))]
    pub server_deadline_seconds: u32,
    /// Seconds after which a request is answered with an error. Three servers in a row must fit: at least 3 x serverDeadlineSeconds.
    #[schemars(range(min = bounds::DEADLINE_SECONDS.min, max = bounds::DEADLINE_SECONDS.max))]
    pub deadline_seconds: u32,
    /// Requests that may be at one foreign worker (a plain REP socket behind the broker) at a time.
    #[schemars(range(min = bounds::FOREIGN_WORKER_REQUESTS.min, max = bounds::FOREIGN_WORKER_REQUESTS.max))]
    pub foreign_worker_requests: u32,
    /// Requests that may wait for a server; more are answered with an error.
    #[schemars(range(min = bounds::WAITING_REQUESTS.min, max = bounds::WAITING_REQUESTS.max))]
    pub waiting_requests: u32,
}

impl Default for BrokerSpec {
    fn default() -> Self {
        Self {
            replicas: 2,
            server_deadline_seconds: 3,
            deadline_seconds: 10,
            foreign_worker_requests: 16,
            waiting_requests: 10_000,
        }
    }
}

impl BrokerSpec {
    /// [`Self::server_deadline_seconds`] as a duration.
    #[must_use]
    pub fn server_deadline(&self) -> Duration {
        seconds(self.server_deadline_seconds)
    }

    /// [`Self::deadline_seconds`] as a duration.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        seconds(self.deadline_seconds)
    }
}

/// The proxies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProxySpec {
    /// Number of proxies. They hold no state, and any client may use any of them.
    #[schemars(range(min = bounds::EXCHANGE_REPLICAS.min, max = bounds::EXCHANGE_REPLICAS.max))]
    pub replicas: u32,
}

impl Default for ProxySpec {
    fn default() -> Self {
        Self { replicas: 2 }
    }
}

/// Clients that write by themselves (row J01).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BotsSpec {
    /// Number of bots.
    #[schemars(range(min = bounds::BOT_REPLICAS.min, max = bounds::BOT_REPLICAS.max))]
    pub replicas: u32,
    /// Channels that a bot creates when there are none.
    #[schemars(length(min = bounds::BOT_CHANNELS.min, max = bounds::BOT_CHANNELS.max))]
    pub channels: Vec<String>,
    /// Messages in one burst, all to one random channel.
    #[schemars(range(min = bounds::BOT_MESSAGES.min, max = bounds::BOT_MESSAGES.max))]
    pub messages: u32,
    /// Milliseconds between two messages of a burst.
    #[schemars(range(min = bounds::BOT_MESSAGE_MILLISECONDS.min, max = bounds::BOT_MESSAGE_MILLISECONDS.max))]
    pub message_milliseconds: u32,
    /// The pause between two bursts, of random length.
    pub pause_seconds: PauseSpec,
}

impl Default for BotsSpec {
    fn default() -> Self {
        Self {
            replicas: 0,
            channels: ["geral", "tech", "random"].map(str::to_owned).to_vec(),
            messages: 10,
            message_milliseconds: 1_000,
            pause_seconds: PauseSpec::default(),
        }
    }
}

impl BotsSpec {
    /// [`Self::message_milliseconds`] as a duration.
    #[must_use]
    pub fn message_interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.message_milliseconds))
    }
}

/// A pause of random length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PauseSpec {
    /// Shortest pause, in seconds.
    #[schemars(range(min = bounds::BOT_PAUSE_SECONDS.min, max = bounds::BOT_PAUSE_SECONDS.max))]
    pub min: u32,
    /// Longest pause, in seconds.
    #[schemars(range(min = bounds::BOT_PAUSE_SECONDS.min, max = bounds::BOT_PAUSE_SECONDS.max))]
    pub max: u32,
}

impl Default for PauseSpec {
    fn default() -> Self {
        Self { min: 5, max: 10 }
    }
}

/// Concessions to clients written for other servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CompatSpec {
    /// The `status` of a `publish` or `message` that succeeded.
    pub publish_ok: PublishOk,
    /// Ref's `list` answers a map of name to rank under `list`, not an array.
    pub list_as_map: bool,
    /// At which of a proxy's ports subscribers get publications as JSON text.
    // Left out where it is the default, so that an older node reads the settings and an older operator's pods stay.
    #[serde(skip_serializing_if = "JsonPublications::is_default")]
    pub json_publications: JsonPublications,
}

/// At which of a proxy's ports subscribers get publications as JSON text, as clients of the exercise's first two parts read them
/// (row B01).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum JsonPublications {
    /// At none: MessagePack everywhere.
    #[default]
    None,
    /// At port 5560; 5558 has MessagePack.
    Alias,
    /// At all.
    All,
}

impl JsonPublications {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a proxy's subscribers get JSON at this port.
    #[must_use]
    pub fn speaks_json(self, port: u16) -> bool {
        match self {
            Self::None => false,
            Self::Alias => port == ports::PROXY_SUBSCRIBERS_ALIAS,
            Self::All => true,
        }
    }
}

/// The `status` of a `publish` or `message` that succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PublishOk {
    /// As the exercise says.
    #[default]
    #[serde(rename = "OK")]
    Ok,
    /// As `login` and `channel` say.
    #[serde(rename = "sucesso")]
    Sucesso,
}

impl PublishOk {
    /// The text that is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Sucesso => "sucesso",
        }
    }
}

/// What the nodes log, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoggingSpec {
    /// The least important lines that are logged.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
    /// The wording of the lines that the seeds' texts quote.
    pub style: LogStyle,
}

/// The least important lines that are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need one soon.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// Every request.
    Debug,
    /// Every frame.
    Trace,
}

impl LogLevel {
    /// The level as `tracing` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// The wording of the lines that the seeds' texts quote (rows E09, G07, H15, K).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogStyle {
    /// papo's own: a fixed message with fields.
    #[default]
    Plain,
    /// The seeds' literal lines beside papo's own.
    Seeds,
}

pub(crate) fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
