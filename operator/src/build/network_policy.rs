//! The NetworkPolicies: for each role, who may connect to which of its ports. What is not named here is refused, where the cluster's
//! network enforces it. Only what comes in is looked at: the pods connect to each other and to the DNS, and may.
//!
//! A kubelet's own probes always come through, as Kubernetes asks of every network.

use super::{BuildError, metadata, pod::Port, scheduling::same};
use crate::{
    names::{self, Component},
    validate::ValidatedCluster,
};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use papo_settings::ports;
use std::collections::BTreeMap;

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// Everybody: clients have no name.
    Anyone,
    /// This cluster's servers.
    Servers,
    /// This cluster's servers, and those of others that the spec names.
    ServersAndForeign,
    /// The operator, and whoever collects metrics.
    Watchers,
}

pub(super) fn build(cluster: &ValidatedCluster) -> Result<Vec<NetworkPolicy>, BuildError> {
    if !cluster.spec.network_policy.enabled {
        return Ok(Vec::new());
    }
    let all = [Component::Server, Component::Broker, Component::Proxy, Component::Ref, Component::Bot];
    all.into_iter().map(|component| policy(cluster, component)).collect()
}

/// Every port of a role, and who may connect to it.
fn doors(component: Component) -> Vec<(From, Vec<u16>)> {
    let http = (From::Watchers, vec![ports::HTTP]);
    match component {
        Component::Server => {
            vec![(From::Anyone, vec![Port::SERVER.number]), (From::Servers, vec![Port::PEERS.number]), http]
        }
        Component::Broker => vec![
            (From::Anyone, vec![Port::BROKER_CLIENTS.number]),
            (From::ServersAndForeign, vec![Port::BROKER_WORKERS.number]),
            http,
        ],
        Component::Proxy => vec![
            (From::Anyone, vec![Port::PROXY_SUBSCRIBERS.number, Port::PROXY_SUBSCRIBERS_ALIAS.number]),
            (From::ServersAndForeign, vec![Port::PROXY_PUBLISHERS.number]),
            http,
        ],
        Component::Ref => {
            vec![(From::ServersAndForeign, vec![Port::REF.number, Port::REF_ALIAS.number]), http]
        }
        Component::Bot => Vec::new(),
    }
}

fn policy(cluster: &ValidatedCluster, component: Component) -> Result<NetworkPolicy, BuildError> {
    let rule = |(from, ports): (From, Vec<u16>)| {
        Ok(NetworkPolicyIngressRule {
            from: peers(cluster, from)?,
            ports: Some(ports.into_iter().map(port).collect()),
        })
    };
    Ok(NetworkPolicy {
        metadata: metadata(cluster, names::component(&cluster.name, component), Some(component)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(labelled(names::selector(&cluster.name, component))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(doors(component).into_iter().map(rule).collect::<Result<_, BuildError>>()?),
            egress: None,
        }),
    })
}

/// `None` is everybody, for Kubernetes, too.
fn peers(cluster: &ValidatedCluster, from: From) -> Result<Option<Vec<NetworkPolicyPeer>>, BuildError> {
    let policy = &cluster.spec.network_policy;
    let servers = NetworkPolicyPeer {
        pod_selector: Some(labelled(names::selector(&cluster.name, Component::Server))),
        ..NetworkPolicyPeer::default()
    };
    let operator = NetworkPolicyPeer {
        pod_selector: Some(labelled(
            [(names::LABEL_NAME.to_owned(), names::OPERATOR_APPLICATION.to_owned())].into(),
        )),
        // Of any namespace: the operator does not know which one it is in.
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let with = |first: NetworkPolicyPeer, others| {
        let others: Vec<NetworkPolicyPeer> = same(others)?;
        Ok(Some([vec![first], others].concat()))
    };
    match from {
        From::Anyone => Ok(None),
        From::Servers => Ok(Some(vec![servers])),
        From::ServersAndForeign => with(servers, &policy.foreign),
        From::Watchers => with(operator, &policy.metrics),
    }
}

fn labelled(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}
