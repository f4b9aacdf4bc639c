//! What a chat cluster is set to: the `ChatCluster` manifest, what a node reads at its start, addresses and ports.
//!
//! One set of types serves the CRD schema, the ConfigMap, `papo local` and the nodes, so that a field means the same everywhere.
//! [`read_manifest`] reads a file that a person wrote, [`validate`] finds what cannot work, [`NodeSettings`] is what reaches a node,
//! and [`read_environment`] takes the environment names of papo and of the seeds (row A16).
//!
//! This crate must not know Kubernetes clients, sockets, files or command lines: text goes in, values come out.

pub mod address;
pub mod bounds;
pub mod cluster;
pub mod environment;
pub mod kubernetes;
pub mod limits;
pub mod manifest;
pub mod node_settings;
pub mod ports;
pub mod scheduling;
pub mod spec;
pub mod validate;

pub use address::{Address, AddressError, ListenAddress, Peer};
pub use cluster::{ChatCluster, ClusterId, Metadata};
pub use environment::{Environment, EnvironmentError, EnvironmentWarning, read_environment};
pub use kubernetes::{
    Amounts, ExposeSpec, IpBlock, MonitoringSpec, NetworkPeer, NetworkPolicySpec, PodMetadataSpec,
    ResourcesSpec, Retention, RetentionSpec, RoleResources, ServiceKind,
};
pub use limits::LimitsSpec;
pub use manifest::{SettingsError, read_manifest};
pub use node_settings::NodeSettings;
pub use scheduling::{SchedulingSpec, TopologySpread};
pub use spec::{
    BotsSpec, BrokerSpec, ChatClusterSpec, ClockSyncSpec, CompatSpec, Durability, ElectionOrder,
    ElectionSpec, ImageSpec, JsonPublications, LogFormat, LogLevel, LogStyle, LoggingSpec, LoginPolicy,
    PauseSpec, ProxySpec, PublishOk, PullPolicy, RefSpec, StorageSpec,
};
pub use validate::{Problem, validate};
