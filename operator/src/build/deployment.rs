//! The Deployments: brokers, proxies and bots, which hold no state.

use super::{BuildError, Token, count, metadata, pod};
use crate::{
    names::{self, Component},
    validate::ValidatedCluster,
};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

pub(super) fn build(cluster: &ValidatedCluster, token: &Token) -> Result<Vec<Deployment>, BuildError> {
    let spec = &cluster.spec;
    [
        (Component::Broker, spec.broker.replicas),
        (Component::Proxy, spec.proxy.replicas),
        (Component::Bot, spec.bots.replicas),
    ]
    .into_iter()
    .filter(|(_, replicas)| *replicas > 0)
    .map(|(component, replicas)| deployment(cluster, token, component, replicas))
    .collect()
}

fn deployment(
    cluster: &ValidatedCluster,
    token: &Token,
    component: Component,
    replicas: u32,
) -> Result<Deployment, BuildError> {
    Ok(Deployment {
        metadata: metadata(cluster, names::component(&cluster.name, component), Some(component)),
        spec: DeploymentSpec {
            replicas: count(replicas),
            selector: LabelSelector {
                match_labels: Some(names::selector(&cluster.name, component)),
                ..LabelSelector::default()
            },
            // A new one is ready before an old one goes: clients always find one, even where there is only one.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: pod::template(cluster, token, component)?,
            ..DeploymentSpec::default()
        },
        ..Deployment::default()
    })
}
