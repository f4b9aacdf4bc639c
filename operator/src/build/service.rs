//! The Services: headless ones in which nodes find each other, ready or not, and those for clients, who are led to ready pods only.
//!
//! Ports refer to the pods' ports by name. The client Service of the brokers also answers with the proxies' ports, as some clients
//! know one host only (row A01): its selector covers both, and a pod that does not name a port is left out of that port.

use super::{metadata, pod::Port};
use crate::{
    names::{self, Component},
    validate::ValidatedCluster,
};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use papo_settings::{ExposeSpec, JsonPublications, ServiceKind, node_settings::server_name, ports};
use std::collections::BTreeMap;

/// A port of a Service: its own number, and the pods' port behind it.
#[derive(Clone, Copy)]
struct Served {
    name: &'static str,
    number: u16,
    target: Port,
}

impl From<Port> for Served {
    fn from(port: Port) -> Self {
        Self { name: port.name, number: port.number, target: port }
    }
}

/// What a client Service leads to.
struct Front {
    component: Component,
    selector: BTreeMap<String, String>,
    ports: Vec<Served>,
}

/// What the nodes look up: servers each other, every broker, every proxy, and ref.
pub(super) fn build_for_nodes(cluster: &ValidatedCluster) -> Vec<Service> {
    let name = &cluster.name;
    vec![
        headless(cluster, names::server_peers(name), Component::Server, Port::PEERS),
        headless(cluster, names::broker_workers(name), Component::Broker, Port::BROKER_WORKERS),
        headless(cluster, names::proxy_publishers(name), Component::Proxy, Port::PROXY_PUBLISHERS),
        service(cluster, names::component(name, Component::Ref), reference(cluster)),
    ]
}

/// What clients look up, but for ref, which the nodes have made already.
pub(super) fn build_for_clients(cluster: &ValidatedCluster) -> Vec<Service> {
    let others = fronts(cluster).into_iter().filter(|(alias, _)| *alias != Component::Ref.as_str());
    let own = others.map(|(alias, front)| service(cluster, format!("{}-{alias}", cluster.name), front));
    own.chain(external(cluster)).collect()
}

/// For clients outside: one Service, and so one address, for requests and subscriptions. What servers use is not in it.
fn external(cluster: &ValidatedCluster) -> Option<Service> {
    let ExposeSpec { kind, annotations, source_ranges } = &cluster.spec.expose;
    let kind = match kind {
        ServiceKind::ClusterIP => return None,
        ServiceKind::NodePort => "NodePort",
        ServiceKind::LoadBalancer => "LoadBalancer",
    };
    let front =
        Front { ports: vec![Port::BROKER_CLIENTS.into(), Port::PROXY_SUBSCRIBERS.into()], ..broker(cluster) };
    let mut service = service(cluster, names::external(&cluster.name), front);
    service.metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    if let Some(spec) = &mut service.spec {
        spec.type_ = Some(kind.to_owned());
        spec.load_balancer_source_ranges = (!source_ranges.is_empty()).then(|| source_ranges.clone());
    }
    Some(service)
}

/// The same under plain names, as the exercise's texts have them: `broker`, `ref`, `server-1`.
pub(super) fn build_aliases(cluster: &ValidatedCluster) -> Vec<Service> {
    fronts(cluster).into_iter().map(|(alias, front)| service(cluster, alias, front)).collect()
}

/// The plain name of every client Service, and what it leads to.
fn fronts(cluster: &ValidatedCluster) -> Vec<(String, Front)> {
    let mut fronts = vec![
        (Component::Broker.to_string(), broker(cluster)),
        (Component::Proxy.to_string(), proxy(cluster)),
        (Component::Ref.to_string(), reference(cluster)),
    ];
    fronts.extend(names::REF_ALIASES.map(|alias| (alias.to_owned(), reference(cluster))));
    fronts
        .extend((1..=cluster.membership.pods()).map(|number| (server_name(number), server(cluster, number))));
    fronts
}

fn broker(cluster: &ValidatedCluster) -> Front {
    Front {
        component: Component::Broker,
        selector: [(names::LABEL_CLIENTS.to_owned(), cluster.name.clone())].into(),
        ports: [Port::BROKER_CLIENTS, Port::BROKER_WORKERS, Port::PROXY_PUBLISHERS, Port::PROXY_SUBSCRIBERS]
            .map(Served::from)
            .into(),
    }
}

fn proxy(cluster: &ValidatedCluster) -> Front {
    let subscribers = |name, number| Served { name, number, target: Port::PROXY_SUBSCRIBERS };
    // The pods' two ports are alike, unless one of them speaks JSON.
    let alias = match cluster.spec.compat.json_publications {
        JsonPublications::Alias => Port::PROXY_SUBSCRIBERS_ALIAS.into(),
        JsonPublications::None | JsonPublications::All => {
            subscribers("subs-alias", ports::PROXY_SUBSCRIBERS_ALIAS)
        }
    };
    Front {
        component: Component::Proxy,
        selector: names::selector(&cluster.name, Component::Proxy),
        ports: vec![
            Port::PROXY_PUBLISHERS.into(),
            Port::PROXY_SUBSCRIBERS.into(),
            alias,
            subscribers("subs-bots", ports::PROXY_SUBSCRIBERS_BOT_ALIAS),
        ],
    }
}

fn reference(cluster: &ValidatedCluster) -> Front {
    Front {
        component: Component::Ref,
        selector: names::selector(&cluster.name, Component::Ref),
        ports: [Port::REF, Port::REF_ALIAS].map(Served::from).into(),
    }
}

fn server(cluster: &ValidatedCluster, number: u32) -> Front {
    let mut selector = names::selector(&cluster.name, Component::Server);
    selector.insert(names::LABEL_POD_NAME.to_owned(), names::server_pod(&cluster.name, number));
    Front { component: Component::Server, selector, ports: vec![Port::SERVER.into()] }
}

fn headless(cluster: &ValidatedCluster, name: String, component: Component, port: Port) -> Service {
    let front =
        Front { component, selector: names::selector(&cluster.name, component), ports: vec![port.into()] };
    let mut service = service(cluster, name, front);
    if let Some(spec) = &mut service.spec {
        spec.cluster_ip = Some("None".to_owned());
        // A server is ready when it knows its peers, a broker when it has servers: they must meet before.
        spec.publish_not_ready_addresses = Some(true);
    }
    service
}

fn service(cluster: &ValidatedCluster, name: String, front: Front) -> Service {
    Service {
        metadata: metadata(cluster, name, Some(front.component)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(front.selector),
            ports: Some(front.ports.into_iter().map(service_port).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn service_port(served: Served) -> ServicePort {
    ServicePort {
        name: Some(served.name.to_owned()),
        port: i32::from(served.number),
        target_port: Some(IntOrString::String(served.target.name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}
