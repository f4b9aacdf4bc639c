//! Names, labels and annotations of everything that a ChatCluster owns.
//!
//! Every name is the cluster's and a suffix, so that clusters of one namespace never meet; the plain aliases are the exception, and
//! [`crate::plan`] decides who gets them.

use papo_settings::bounds;
use std::{collections::BTreeMap, fmt};

/// Whom the API server notes as the manager of the fields that the operator sets.
pub const FIELD_MANAGER: &str = "papo-operator";

/// What the pods of all clusters are called as software.
pub const APPLICATION: &str = "papo";

/// Recommended label: the software.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Recommended label: the cluster.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Recommended label: the [`Component`].
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Recommended label: who looks after the object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// On the pods that clients talk to, brokers and proxies: one Service reaches both (row A01).
pub const LABEL_CLIENTS: &str = "papo.dev/clients";
/// Set by the StatefulSet controller on its pods.
pub const LABEL_POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Set by the StatefulSet controller on its pods: the number at the end of their name.
pub const LABEL_POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Set by the StatefulSet controller on its pods: the revision of the template that they were made from.
pub const LABEL_REVISION: &str = "controller-revision-hash";

/// What the operator's own pod is called as software, by its chart: NetworkPolicies let it in.
pub const OPERATOR_APPLICATION: &str = "papo-operator";
/// Name of the volume where a role keeps data, and of the template of its claims.
pub const DATA_VOLUME: &str = "data";

/// Hash of the object as it was built: another one means that the operator now wants something else.
pub const ANNOTATION_APPLIED_HASH: &str = "papo.dev/applied-hash";
/// On the StatefulSet of servers: the operator's own image when the cluster was made. An operator with another one restarts nothing.
pub const ANNOTATION_DEFAULT_IMAGE: &str = "papo.dev/default-image";
/// On the StatefulSet of servers: what the cluster's pods are like, see [`crate::validate::PodForm`].
pub const ANNOTATION_POD_FORM: &str = "papo.dev/pod-form";
/// On the StatefulSet of servers: who the servers are, see [`crate::membership`].
pub const ANNOTATION_MEMBERSHIP: &str = "papo.dev/membership";
/// On the pods of servers, once the generation of the membership has changed: a change of a pod is what makes the kubelet look at
/// its mounted settings at once, and not within a minute.
pub const ANNOTATION_GENERATION: &str = "papo.dev/membership-generation";
/// On pods: hash of the settings that their role reads at its start only, so that a change of them replaces the pods.
pub const ANNOTATION_START_SETTINGS: &str = "papo.dev/start-settings-hash";
/// On pods: hash of the cluster token, so that a token made anew reaches all pods.
pub const ANNOTATION_TOKEN: &str = "papo.dev/token-hash";

/// The parts of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// Holds all data.
    Server,
    /// Hands clients' requests to servers.
    Broker,
    /// Hands publications to subscribers.
    Proxy,
    /// Ranks, list, heartbeats.
    Ref,
    /// Writes by itself.
    Bot,
}

impl Component {
    /// The component's name in labels and object names; also the subcommand of `papo`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Broker => "broker",
            Self::Proxy => "proxy",
            Self::Ref => "ref",
            Self::Bot => "bot",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Name of the workload of a component, and of the Service for its clients.
#[must_use]
pub fn component(cluster: &str, component: Component) -> String {
    format!("{cluster}-{component}")
}

/// ConfigMap with the settings of the nodes.
#[must_use]
pub fn settings(cluster: &str) -> String {
    format!("{cluster}-settings")
}

/// Secret with the cluster token.
#[must_use]
pub fn token(cluster: &str) -> String {
    format!("{cluster}-token")
}

/// ServiceAccount of the nodes.
#[must_use]
pub fn service_account(cluster: &str) -> String {
    format!("{cluster}-node")
}

/// Headless Service in which servers find each other.
#[must_use]
pub fn server_peers(cluster: &str) -> String {
    format!("{cluster}-server-peers")
}

/// Headless Service in which servers find every broker.
#[must_use]
pub fn broker_workers(cluster: &str) -> String {
    format!("{cluster}-broker-workers")
}

/// Headless Service in which servers find every proxy.
#[must_use]
pub fn proxy_publishers(cluster: &str) -> String {
    format!("{cluster}-proxy-publishers")
}

/// Pod of the server with this number, and the Service for it alone (row A06).
#[must_use]
pub fn server_pod(cluster: &str, number: u32) -> String {
    format!("{cluster}-server-{number}")
}

/// Service for clients outside, of brokers and proxies.
#[must_use]
pub fn external(cluster: &str) -> String {
    format!("{cluster}-external")
}

/// PodMonitor of all pods.
#[must_use]
pub fn monitor(cluster: &str) -> String {
    format!("{cluster}-pods")
}

/// Claim of the volume of the server with this number, as the StatefulSet controller names it.
#[must_use]
pub fn server_claim(cluster: &str, number: u32) -> String {
    format!("{DATA_VOLUME}-{}", server_pod(cluster, number))
}

/// The names of the reference service beside `ref` (row A08).
pub const REF_ALIASES: [&str; 2] = ["reference", "referencia"];

/// Whether a Service of this name may be wanted as a plain alias: `broker`, `server-3`.
#[must_use]
pub fn is_alias(service: &str) -> bool {
    let fixed = [Component::Broker, Component::Proxy, Component::Ref].map(Component::as_str);
    let numbered = || {
        service
            .strip_prefix("server-")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    fixed.contains(&service) || REF_ALIASES.contains(&service) || numbered()
}

/// Every name under which a cluster may want a Service.
pub fn every_service(cluster: &str) -> impl Iterator<Item = String> {
    let fixed = [Component::Broker, Component::Proxy, Component::Ref].map(Component::as_str).into_iter();
    let numbered = (1..=bounds::SERVER_REPLICAS.max).map(|number| format!("server-{number}"));
    let aliases = fixed.chain(REF_ALIASES).map(str::to_owned).chain(numbered);
    let own = [server_peers(cluster), broker_workers(cluster), proxy_publishers(cluster), external(cluster)];
    aliases.flat_map(move |alias| [format!("{cluster}-{alias}"), alias]).chain(own)
}

/// Labels that select the pods of a component; they can never change, as a workload's selector cannot.
#[must_use]
pub fn selector(cluster: &str, component: Component) -> BTreeMap<String, String> {
    [(LABEL_NAME, APPLICATION), (LABEL_INSTANCE, cluster), (LABEL_COMPONENT, component.as_str())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels of an object, with its component when it belongs to one.
#[must_use]
pub fn labels(cluster: &str, component: Option<Component>) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> =
        [(LABEL_NAME, APPLICATION), (LABEL_INSTANCE, cluster), (LABEL_MANAGED_BY, FIELD_MANAGER)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    if let Some(component) = component {
        labels.insert(LABEL_COMPONENT.to_owned(), component.as_str().to_owned());
    }
    labels
}

/// The field manager of a cluster's alias Services: one of its own, so that the API server itself refuses the second of two clusters
/// that reach for a name at the same moment.
#[must_use]
pub fn alias_field_manager(cluster: &str) -> String {
    format!("{FIELD_MANAGER}/{cluster}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_clusters_of_a_namespace_share_a_name() {
        // `a` + suffix equals `b` + other suffix only when one suffix ends with the other one.
        let mut suffixes: Vec<String> =
            [Component::Server, Component::Broker, Component::Proxy, Component::Ref, Component::Bot]
                .map(|part| component("", part))
                .to_vec();
        suffixes.extend([settings(""), token(""), service_account(""), server_peers("")]);
        suffixes.extend([external(""), monitor("")]);
        suffixes.extend([broker_workers(""), proxy_publishers("")]);
        suffixes.extend(REF_ALIASES.map(|alias| format!("-{alias}")));
        suffixes.extend((1..=9).map(|number| server_pod("", number)));
        for one in &suffixes {
            for other in &suffixes {
                assert!(one == other || !one.ends_with(other.as_str()), "{one} and {other}");
            }
        }
    }

    #[test]
    fn aliases_are_told_from_other_names() {
        for alias in ["broker", "proxy", "ref", "reference", "referencia", "server-1", "server-12"] {
            assert!(is_alias(alias), "{alias}");
        }
        for other in ["server-", "server-x", "server", "papo-broker", "bot", "server-1-x"] {
            assert!(!is_alias(other), "{other}");
        }
    }
}
