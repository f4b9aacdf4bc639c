//! What exists: read from the watches' caches, so that looking costs the API server nothing.
//!
//! All kinds but Services are watched by the operator's label. Services are watched all, as a plain alias may belong to anybody; of
//! those that are not ours only metadata is kept.

use crate::{
    build::owning_cluster,
    names::{self, Component},
    pods,
    resource::{ChatCluster, PodMonitor},
};
use futures::{
    SinkExt, Stream, StreamExt,
    channel::mpsc::{self, Sender},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    pin::pin,
    sync::Arc,
};
use tokio::sync::watch;

/// How the API server answers for a group that it does not know.
const NOT_FOUND: u16 = 404;
/// Touched objects that wait for the controller; a full queue holds the watches back, and nothing is lost.
const TRIGGERS_MAX: usize = 1_024;

/// The objects of one kind in one namespace, by name.
pub type Found<K> = BTreeMap<String, Arc<K>>;

/// What exists in a namespace. Not all of it belongs to one cluster, or to us.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// ServiceAccounts.
    pub service_accounts: Found<ServiceAccount>,
    /// Secrets.
    pub secrets: Found<Secret>,
    /// ConfigMaps.
    pub config_maps: Found<ConfigMap>,
    /// Services, all of the namespace.
    pub services: Found<Service>,
    /// StatefulSets.
    pub stateful_sets: Found<StatefulSet>,
    /// Deployments.
    pub deployments: Found<Deployment>,
    /// PodDisruptionBudgets.
    pub pod_disruption_budgets: Found<PodDisruptionBudget>,
    /// NetworkPolicies.
    pub network_policies: Found<NetworkPolicy>,
    /// PodMonitors, where Kubernetes knows the kind.
    pub pod_monitors: Option<Found<PodMonitor>>,
    /// Claims of volumes.
    pub claims: Found<PersistentVolumeClaim>,
    /// Pods, as far as [`crate::pods`] reads them.
    pub pods: Found<Pod>,
}

/// The watches ended.
#[derive(Debug, thiserror::Error)]
#[error("the watches ended")]
pub struct WatchesEnded;

/// The caches of all watches; cloning shares them.
#[derive(Clone)]
pub struct Caches {
    /// Kinds whose first list is not complete. Not asked of the stores: each of those wakes only the last who waits for it.
    unlisted: watch::Receiver<BTreeSet<String>>,
    /// The ChatClusters.
    pub clusters: Store<ChatCluster>,
    service_accounts: Store<ServiceAccount>,
    secrets: Store<Secret>,
    config_maps: Store<ConfigMap>,
    services: Store<Service>,
    stateful_sets: Store<StatefulSet>,
    deployments: Store<Deployment>,
    pod_disruption_budgets: Store<PodDisruptionBudget>,
    network_policies: Store<NetworkPolicy>,
    pod_monitors: Option<Store<PodMonitor>>,
    claims: Store<PersistentVolumeClaim>,
    pods: Store<Pod>,
}

impl Caches {
    /// Waits for the first list of every kind.
    ///
    /// # Errors
    /// When the watches ended, which happens only when the process ends.
    pub async fn wait_until_ready(&self) -> Result<(), WatchesEnded> {
        self.unlisted.clone().wait_for(BTreeSet::is_empty).await.map(drop).map_err(|_| WatchesEnded)
    }

    /// What the caches hold of a namespace.
    #[must_use]
    pub fn observe(&self, namespace: &str) -> Observed {
        Observed {
            service_accounts: found(&self.service_accounts, namespace),
            secrets: found(&self.secrets, namespace),
            config_maps: found(&self.config_maps, namespace),
            services: found(&self.services, namespace),
            stateful_sets: found(&self.stateful_sets, namespace),
            deployments: found(&self.deployments, namespace),
            pod_disruption_budgets: found(&self.pod_disruption_budgets, namespace),
            network_policies: found(&self.network_policies, namespace),
            pod_monitors: self.pod_monitors.as_ref().map(|store| found(store, namespace)),
            claims: found(&self.claims, namespace),
            pods: found(&self.pods, namespace),
        }
    }
}

fn found<K: Resource<DynamicType = ()> + Clone + 'static>(store: &Store<K>, namespace: &str) -> Found<K> {
    let here = store.state_filter(|object| object.meta().namespace.as_deref() == Some(namespace));
    here.into_iter().map(|object| (object.name_any(), object)).collect()
}

/// The watches, started.
pub struct Started<Clusters, Touched> {
    /// What they bring.
    pub caches: Caches,
    /// ChatClusters as they come.
    pub clusters: Clusters,
    /// ChatClusters of which an object was touched.
    pub touched: Touched,
}

/// Whether this Kubernetes knows PodMonitors.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn knows_pod_monitors(client: &Client) -> Result<bool, kube::Error> {
    let kind = PodMonitor::kind(&());
    match client.list_api_group_resources(&PodMonitor::api_version(&())).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == kind)),
        // By the code: what says so is no Status of the API, but plain text.
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Ok(false),
        Err(error) => Err(error),
    }
}

/// Starts a watch of every kind, in one namespace or in all; of PodMonitors where Kubernetes knows them, as a watch of an unknown kind
/// would ask for it for ever.
pub fn watch(
    client: &Client,
    namespace: Option<&str>,
    knows_pod_monitors: bool,
) -> Started<
    impl Stream<Item = Result<ChatCluster, watcher::Error>> + Send + use<>,
    impl Stream<Item = ObjectRef<ChatCluster>> + Send + use<>,
> {
    let (triggers, touched) = mpsc::channel(TRIGGERS_MAX);
    let unlisted = Arc::new(watch::Sender::new(BTreeSet::new()));
    let receiver = unlisted.subscribe();
    let (store, writer) = reflector::store();
    let watches = Watches { client, namespace, clusters: &store, triggers, unlisted };
    let clusters = watches.listen(watcher::Config::default(), strip, writer);
    let caches = Caches {
        unlisted: receiver,
        clusters: store.clone(),
        service_accounts: watches.start(ours(), strip),
        secrets: watches.start(ours(), strip),
        config_maps: watches.start(ours(), strip),
        services: watches.start(watcher::Config::default(), strip_service),
        stateful_sets: watches.start(ours(), strip),
        deployments: watches.start(ours(), strip),
        pod_disruption_budgets: watches.start(ours(), strip),
        network_policies: watches.start(ours(), strip),
        pod_monitors: knows_pod_monitors.then(|| watches.start(ours(), strip)),
        claims: watches.start(volumes_of_servers(), strip),
        pods: watches.start(ours(), pods::strip),
    };
    Started { caches, clusters, touched }
}

/// The objects that the operator made.
fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", names::LABEL_MANAGED_BY, names::FIELD_MANAGER))
}

/// The claims of servers' volumes. Kubernetes made them, with the labels that select the servers.
fn volumes_of_servers() -> watcher::Config {
    watcher::Config::default().labels(&format!(
        "{}={},{}={}",
        names::LABEL_NAME,
        names::APPLICATION,
        names::LABEL_COMPONENT,
        Component::Server
    ))
}

/// The API of a kind, in one namespace or in all.
pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
    client: &Client,
    namespace: Option<&str>,
) -> Api<K> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

struct Watches<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    clusters: &'a Store<ChatCluster>,
    triggers: Sender<ObjectRef<ChatCluster>>,
    unlisted: Arc<watch::Sender<BTreeSet<String>>>,
}

/// What the watches are about.
trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static
{
}

impl Watches<'_> {
    /// A watch that fills a store, and gives every object that changed or went.
    fn listen<K: Watched>(
        &self,
        config: watcher::Config,
        strip: fn(&mut K),
        writer: Writer<K>,
    ) -> impl Stream<Item = Result<K, watcher::Error>> + Send + use<K> {
        let kind = K::kind(&()).into_owned();
        self.unlisted.send_modify(|unlisted| {
            unlisted.insert(kind.clone());
        });
        let unlisted = Arc::clone(&self.unlisted);
        let on_event = move |event: &Result<watcher::Event<K>, watcher::Error>| match event {
            Ok(watcher::Event::InitDone) => {
                unlisted.send_if_modified(|unlisted| unlisted.remove(&kind));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%kind, %error, "a watch failed, and is tried again: is the kind there?");
            }
        };
        watcher(api::<K>(self.client, self.namespace), config)
            .default_backoff()
            .modify(strip)
            .reflect(writer)
            .inspect(on_event)
            .touched_objects()
    }

    /// A watch in a task of its own, whose objects bring their clusters to the controller's attention.
    fn start<K: Watched>(&self, config: watcher::Config, strip: fn(&mut K)) -> Store<K> {
        let (store, writer) = reflector::store();
        let objects = self.listen(config, strip, writer);
        let (clusters, mut triggers) = (self.clusters.clone(), self.triggers.clone());
        tokio::spawn(async move {
            let mut objects = pin!(objects);
            while let Some(event) = objects.next().await {
                for cluster in event.iter().flat_map(|object| concerned(object, &clusters)) {
                    // Nobody listens any more only when the process ends.
                    if triggers.send(cluster).await.is_err() {
                        return;
                    }
                }
            }
        });
        store
    }
}

/// The clusters to look at when this object changed: its owner; for a pod or a volume's claim, which Kubernetes made, the one that its
/// label names; and, for a plain name, all of its namespace, as one may now get it.
fn concerned<K: Resource<DynamicType = ()>>(
    object: &K,
    clusters: &Store<ChatCluster>,
) -> Vec<ObjectRef<ChatCluster>> {
    let metadata = object.meta();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    if K::kind(&()) == "Service" && metadata.name.as_deref().is_some_and(names::is_alias) {
        let neighbours =
            clusters.state_filter(|cluster| cluster.meta().namespace.as_deref() == Some(namespace));
        return neighbours.iter().map(|cluster| ObjectRef::from_obj(cluster.as_ref())).collect();
    }
    if matches!(K::kind(&()).as_ref(), "Pod" | "PersistentVolumeClaim") {
        let name = object.labels().get(names::LABEL_INSTANCE);
        return name.map(|name| ObjectRef::new(name).within(namespace)).into_iter().collect();
    }
    let owner = owning_cluster(metadata);
    owner.map(|owner| ObjectRef::new(&owner.name).within(namespace)).into_iter().collect()
}

/// Forgets what the operator never reads.
pub fn strip<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

fn strip_service(service: &mut Service) {
    strip(service);
    if owning_cluster(&service.metadata).is_none() {
        service.spec = None;
        service.status = None;
        service.metadata.annotations = None;
    }
}
