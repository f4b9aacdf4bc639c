//! What the pods of every role have in common: no rights, no way to become another user, a file system that is only read.

use super::{BuildError, Token, config_map, config_map::SETTINGS_KEY, scheduling, secret::TOKEN_KEY};
use crate::{
    names::{self, Component},
    validate::{PodForm, ValidatedCluster},
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction,
        HTTPGetAction, Lifecycle, LifecycleHandler, LocalObjectReference, ObjectFieldSelector,
        PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile, SecretVolumeSource,
        SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use papo_settings::{PullPolicy, ports};

/// The user and group of every pod: "nonroot", as in the images.
const USER: i64 = 65_532;
/// Seconds that a role may take to end, at least: a server waits up to 10 s for its peers to hold what it holds.
const TERMINATION_GRACE_SECONDS: i64 = 30;
/// Seconds that a broker or proxy serves on after it was told to end: its Service leads clients to it until the endpoints have gone
/// from the API server to every node, which takes a second or two.
const DRAIN_SECONDS: u32 = 5;
/// Seconds that a broker needs beside that and its longest request, for clients to read their last replies.
const LAST_REPLIES_SECONDS: u32 = 5;
/// A server that begins is looked at so often,
const STARTUP_PERIOD_SECONDS: i32 = 2;
/// and so many times until it counts as hung: ten minutes, in which it reads a hundred times the history that the benchmarks write.
const STARTUP_FAILURES: i32 = 300;
/// Read by the user's group only (octal 0440).
const SECRET_MODE: i32 = 0o440;
/// Where that volume is.
const DATA_FOLDER: &str = "/data";
const SETTINGS_VOLUME: &str = "settings";
const SETTINGS_FOLDER: &str = "/etc/papo";
const TOKEN_VOLUME: &str = "token";
const TOKEN_FOLDER: &str = "/etc/papo-token";
/// Name of every role's HTTP port.
pub(super) const HTTP_PORT: &str = "http";

/// One port that a role listens on; Services refer to it by name, so that one Service can reach pods of two roles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    pub(super) name: &'static str,
    pub(super) number: u16,
}

impl Port {
    pub(super) const BROKER_CLIENTS: Self = Self { name: "clients", number: ports::BROKER_CLIENTS };
    pub(super) const BROKER_WORKERS: Self = Self { name: "workers", number: ports::BROKER_WORKERS };
    pub(super) const PROXY_PUBLISHERS: Self = Self { name: "publishers", number: ports::PROXY_PUBLISHERS };
    pub(super) const PROXY_SUBSCRIBERS: Self = Self { name: "subscribers", number: ports::PROXY_SUBSCRIBERS };
    pub(super) const PROXY_SUBSCRIBERS_ALIAS: Self =
        Self { name: "subs-alias", number: ports::PROXY_SUBSCRIBERS_ALIAS };
    pub(super) const REF: Self = Self { name: "ref", number: ports::REF };
    pub(super) const REF_ALIAS: Self = Self { name: "ref-alias", number: ports::REF_ALIAS };
    pub(super) const SERVER: Self = Self { name: "requests", number: ports::SERVER };
    pub(super) const PEERS: Self = Self { name: "peers", number: ports::PEER };
}

fn listens_on(component: Component) -> &'static [Port] {
    match component {
        Component::Server => &[Port::SERVER, Port::PEERS],
        Component::Broker => &[Port::BROKER_CLIENTS, Port::BROKER_WORKERS],
        Component::Proxy => &[Port::PROXY_PUBLISHERS, Port::PROXY_SUBSCRIBERS, Port::PROXY_SUBSCRIBERS_ALIAS],
        Component::Ref => &[Port::REF, Port::REF_ALIAS],
        Component::Bot => &[],
    }
}

/// Whether the role keeps data on a volume of its own.
fn keeps_data(component: Component) -> bool {
    match component {
        Component::Server | Component::Ref => true,
        Component::Broker | Component::Proxy | Component::Bot => false,
    }
}

/// The template of a role's pods.
pub(super) fn template(
    cluster: &ValidatedCluster,
    token: &Token,
    component: Component,
) -> Result<PodTemplateSpec, BuildError> {
    // The operator's own win over what the spec adds: validation has refused those, and a selector must never miss.
    let mut labels = cluster.spec.pod_metadata.labels.clone();
    labels.extend(names::labels(&cluster.name, Some(component)));
    match component {
        Component::Broker | Component::Proxy => {
            labels.insert(names::LABEL_CLIENTS.to_owned(), cluster.name.clone());
        }
        Component::Server | Component::Ref | Component::Bot => {}
    }
    let mut annotations = cluster.spec.pod_metadata.annotations.clone();
    let own = [
        (names::ANNOTATION_START_SETTINGS, config_map::start_settings_hash(cluster, component)?),
        (names::ANNOTATION_TOKEN, token.hash()),
    ];
    annotations.extend(own.map(|(key, value)| (key.to_owned(), value)));
    let pod = scheduling::place(
        cluster,
        component,
        PodSpec {
            service_account_name: Some(names::service_account(&cluster.name)),
            automount_service_account_token: Some(false),
            // A Service named `ref` would otherwise become a variable REF_PORT=tcp://..., which means something else.
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(termination_grace(cluster, component)),
            security_context: Some(pod_security()),
            containers: vec![container(cluster, component)],
            volumes: Some(volumes(cluster)),
            image_pull_secrets: pull_secrets(cluster),
            ..PodSpec::default()
        },
    )?;
    Ok(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
    })
}

fn pull_secrets(cluster: &ValidatedCluster) -> Option<Vec<LocalObjectReference>> {
    let names = &cluster.spec.image.as_ref()?.pull_secrets;
    let references = names.iter().map(|name| LocalObjectReference { name: name.clone() });
    (!names.is_empty()).then(|| references.collect())
}

fn termination_grace(cluster: &ValidatedCluster, component: Component) -> i64 {
    let needed = match component {
        Component::Broker => DRAIN_SECONDS + cluster.spec.broker.deadline_seconds + LAST_REPLIES_SECONDS,
        Component::Server | Component::Proxy | Component::Ref | Component::Bot => 0,
    };
    i64::from(needed).max(TERMINATION_GRACE_SECONDS)
}

fn container(cluster: &ValidatedCluster, component: Component) -> Container {
    let serves_http = match component {
        Component::Server | Component::Broker | Component::Proxy | Component::Ref => true,
        Component::Bot => false,
    };
    let http = Port { name: HTTP_PORT, number: ports::HTTP };
    let mut listens: Vec<Port> = listens_on(component).to_vec();
    listens.extend(serves_http.then_some(http));
    Container {
        name: component.as_str().to_owned(),
        image: Some(cluster.image.reference.clone()),
        image_pull_policy: Some(pull_policy(cluster.image.pull_policy).to_owned()),
        args: Some(vec![component.as_str().to_owned()]),
        env: Some(environment(cluster, component)),
        ports: (!listens.is_empty()).then(|| listens.into_iter().map(container_port).collect()),
        lifecycle: drains(cluster, component).then(drain_first),
        startup_probe: starts_slowly(cluster, component).then(startup_probe),
        readiness_probe: serves_http.then(|| probe("/readyz", 2)),
        liveness_probe: serves_http.then(|| probe("/livez", 10)),
        resources: Some(scheduling::resources(cluster, component)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(volume_mounts(component)),
        ..Container::default()
    }
}

fn environment(cluster: &ValidatedCluster, component: Component) -> Vec<EnvVar> {
    let name = &cluster.name;
    let mut variables = vec![
        variable("PAPO_SETTINGS", format!("{SETTINGS_FOLDER}/{SETTINGS_KEY}")),
        variable("PAPO_TOKEN_FILE", format!("{TOKEN_FOLDER}/{TOKEN_KEY}")),
    ];
    if keeps_data(component) {
        variables.push(variable("PAPO_DATA", DATA_FOLDER));
    }
    match component {
        Component::Server => variables.extend([
            pod_index(),
            variable("PAPO_NAME", format!("server-$({POD_INDEX})")),
            // `{n}` is a member's number: the members come with the settings, so that their number is no part of the pods.
            variable(
                "PAPO_PEER_DOMAIN",
                format!("{name}-server-{{n}}.{}.{}.svc", names::server_peers(name), cluster.namespace),
            ),
            variable("PAPO_BROKER", address(&names::broker_workers(name), Port::BROKER_WORKERS)),
            variable("PAPO_PROXY", address(&names::proxy_publishers(name), Port::PROXY_PUBLISHERS)),
            variable("PAPO_REF", address(&names::component(name, Component::Ref), Port::REF)),
        ]),
        Component::Bot => variables.extend([
            variable(
                "PAPO_BROKER",
                address(&names::component(name, Component::Broker), Port::BROKER_CLIENTS),
            ),
            variable(
                "PAPO_PROXY",
                address(&names::component(name, Component::Proxy), Port::PROXY_SUBSCRIBERS),
            ),
        ]),
        Component::Broker | Component::Proxy => {
            variables.push(variable("PAPO_DRAIN_SECONDS", DRAIN_SECONDS.to_string()));
        }
        Component::Ref => {}
    }
    variables
}

/// Not one of papo's: only a step from the pod's label to `PAPO_NAME`.
const POD_INDEX: &str = "POD_INDEX";

/// The number at the end of the pod's name. Must come before the variables that refer to it.
fn pod_index() -> EnvVar {
    EnvVar {
        name: POD_INDEX.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: format!("metadata.labels['{}']", names::LABEL_POD_INDEX),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), ..EnvVar::default() }
}

fn address(service: &str, port: Port) -> String {
    format!("{service}:{}", port.number)
}

fn container_port(port: Port) -> ContainerPort {
    ContainerPort {
        name: Some(port.name.to_owned()),
        container_port: i32::from(port.number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HTTP_PORT.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

/// Whether the role is told to leave before it is told to stop.
fn drains(cluster: &ValidatedCluster, component: Component) -> bool {
    cluster.pod_form >= PodForm::Draining && matches!(component, Component::Broker | Component::Proxy)
}

/// The program's own command: it returns once the role has served on, and takes no new clients any more.
fn drain_first() -> Lifecycle {
    let command = ["/papo", "drain"].map(str::to_owned).into();
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(ExecAction { command: Some(command) }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// Whether the role reads what it keeps before it answers anybody: a server its history.
fn starts_slowly(cluster: &ValidatedCluster, component: Component) -> bool {
    cluster.pod_form >= PodForm::Draining && component == Component::Server
}

/// While it has not succeeded, nobody asks whether the server lives.
fn startup_probe() -> Probe {
    Probe { failure_threshold: Some(STARTUP_FAILURES), ..probe("/livez", STARTUP_PERIOD_SECONDS) }
}

fn pull_policy(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    }
}

/// Together with the container's, the Pod Security Standard "restricted".
fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// Mounted whole, as only then files follow the objects.
fn volumes(cluster: &ValidatedCluster) -> Vec<Volume> {
    vec![
        Volume {
            name: SETTINGS_VOLUME.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: names::settings(&cluster.name),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: TOKEN_VOLUME.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::token(&cluster.name)),
                default_mode: Some(SECRET_MODE),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}

fn volume_mounts(component: Component) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts =
        vec![mount(SETTINGS_VOLUME, SETTINGS_FOLDER, true), mount(TOKEN_VOLUME, TOKEN_FOLDER, true)];
    mounts.extend(keeps_data(component).then(|| mount(names::DATA_VOLUME, DATA_FOLDER, false)));
    mounts
}
