//! What exists: read from the watches' caches, so that looking costs the API server nothing.
//!
//! All kinds but Services are watched by the operator's label. Services are watched all, as a plain alias may belong to anybody; of
//! those that are not ours only the owner is kept. How little is kept of the rest: [`live`].

pub mod live;
pub mod shelf;

use crate::{
    build::owning_cluster,
    names::{self, Component},
    pods,
    resource::{ChatCluster, Json, PodMonitor},
    volumes,
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
use live::Live;
use serde::de::DeserializeOwned;
use shelf::{Listed, Shelf};
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

/// Objects in one page of a watch's first list.
const LIST_PAGE: u32 = 50;

/// Objects of one kind and one namespace, by name.
pub type Found<K> = BTreeMap<String, Arc<K>>;

/// What exists of a cluster, and under the names that it may want. Not all of it belongs to it, or to us.
#[derive(Debug, Default)]
pub struct Observed {
    /// ServiceAccounts.
    pub service_accounts: Found<Live<ServiceAccount>>,
    /// Secrets.
    pub secrets: Found<Live<Secret>>,
    /// ConfigMaps.
    pub config_maps: Found<Live<ConfigMap>>,
    /// Services, whoever made them.
    pub services: Found<Live<Service>>,
    /// StatefulSets.
    pub stateful_sets: Found<Live<StatefulSet>>,
    /// Deployments.
    pub deployments: Found<Live<Deployment>>,
    /// PodDisruptionBudgets.
    pub pod_disruption_budgets: Found<Live<PodDisruptionBudget>>,
    /// NetworkPolicies.
    pub network_policies: Found<Live<NetworkPolicy>>,
    /// PodMonitors, where Kubernetes knows the kind.
    pub pod_monitors: Option<Found<Live<PodMonitor>>>,
    /// Claims of volumes.
    pub claims: Found<PersistentVolumeClaim>,
    /// Pods of the StatefulSets, as far as [`crate::pods`] reads them.
    pub pods: Found<Json>,
}

impl Observed {
    /// The StatefulSets as far as they are read.
    ///
    /// # Errors
    /// When one cannot be read, which came from the API server as one.
    pub fn sets(&self) -> Result<Found<StatefulSet>, serde_json::Error> {
        read(self.stateful_sets.iter().map(|(name, live)| (name, &live.read)))
    }

    /// The Deployments as far as they are read.
    ///
    /// # Errors
    /// As for [`Self::sets`].
    pub fn deployments(&self) -> Result<Found<Deployment>, serde_json::Error> {
        read(self.deployments.iter().map(|(name, live)| (name, &live.read)))
    }

    /// The pods of the StatefulSets as far as they are read.
    ///
    /// # Errors
    /// As for [`Self::sets`].
    pub fn pods(&self) -> Result<Found<Pod>, serde_json::Error> {
        read(self.pods.iter().map(|(name, pod)| (name, pod.as_ref())))
    }
}

fn read<'a, K: DeserializeOwned>(
    objects: impl Iterator<Item = (&'a String, &'a Json)>,
) -> Result<Found<K>, serde_json::Error> {
    objects.map(|(name, json)| Ok((name.clone(), Arc::new(json.read()?)))).collect()
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
    service_accounts: Shelf<Live<ServiceAccount>>,
    secrets: Shelf<Live<Secret>>,
    config_maps: Shelf<Live<ConfigMap>>,
    services: Shelf<Live<Service>>,
    stateful_sets: Shelf<Live<StatefulSet>>,
    deployments: Shelf<Live<Deployment>>,
    pod_disruption_budgets: Shelf<Live<PodDisruptionBudget>>,
    network_policies: Shelf<Live<NetworkPolicy>>,
    pod_monitors: Option<Shelf<Live<PodMonitor>>>,
    claims: Shelf<PersistentVolumeClaim>,
    pods: Shelf<Json>,
}

impl Caches {
    /// Waits for the first list of every kind.
    ///
    /// # Errors
    /// When the watches ended, which happens only when the process ends.
    pub async fn wait_until_ready(&self) -> Result<(), WatchesEnded> {
        self.unlisted.clone().wait_for(BTreeSet::is_empty).await.map(drop).map_err(|_| WatchesEnded)
    }

    /// What the caches hold of a cluster.
    #[must_use]
    pub fn observe(&self, namespace: &str, cluster: &str) -> Observed {
        let mut services = self.services.of_cluster(namespace, cluster);
        services.extend(self.services.of_names(namespace, names::every_service(cluster)));
        Observed {
            service_accounts: self.service_accounts.of_cluster(namespace, cluster),
            secrets: self.secrets.of_cluster(namespace, cluster),
            config_maps: self.config_maps.of_cluster(namespace, cluster),
            services,
            stateful_sets: self.stateful_sets.of_cluster(namespace, cluster),
            deployments: self.deployments.of_cluster(namespace, cluster),
            pod_disruption_budgets: self.pod_disruption_budgets.of_cluster(namespace, cluster),
            network_policies: self.network_policies.of_cluster(namespace, cluster),
            pod_monitors: self.pod_monitors.as_ref().map(|shelf| shelf.of_cluster(namespace, cluster)),
            claims: self.claims.of_cluster(namespace, cluster),
            pods: self.pods.of_cluster(namespace, cluster),
        }
    }
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
    let clusters = watches.clusters(writer);
    let caches = Caches {
        unlisted: receiver,
        clusters: store.clone(),
        service_accounts: watches.start(ours(), Live::of),
        secrets: watches.start(ours(), Live::of),
        config_maps: watches.start(ours(), Live::of),
        services: watches.start(all(), Live::of),
        stateful_sets: watches.start(ours(), Live::of),
        deployments: watches.start(ours(), Live::of),
        pod_disruption_budgets: watches.start(ours(), Live::of),
        network_policies: watches.start(ours(), Live::of),
        pod_monitors: knows_pod_monitors.then(|| watches.start(ours(), Live::of)),
        claims: watches.start(volumes_of_servers(), |claim| Ok(volumes::stripped(claim))),
        pods: watches.start(pods_of_stateful_sets(), |pod| Json::of(&pods::stripped(pod))),
    };
    Started { caches, clusters, touched }
}

/// Everything of a kind. A list comes in pages, of all kinds at once, and memory that a page has taken is hardly given back: with
/// kube's own 500 objects a page, the lists take more of it than all that is kept.
fn all() -> watcher::Config {
    watcher::Config::default().page_size(LIST_PAGE)
}

/// The objects that the operator made.
fn ours() -> watcher::Config {
    all().labels(&format!("{}={}", names::LABEL_MANAGED_BY, names::FIELD_MANAGER))
}

/// Pods that the operator replaces itself. Of the others, their Deployments say enough.
fn pods_of_stateful_sets() -> watcher::Config {
    all().labels(&format!(
        "{}={},{} in ({},{})",
        names::LABEL_MANAGED_BY,
        names::FIELD_MANAGER,
        names::LABEL_COMPONENT,
        Component::Server,
        Component::Ref
    ))
}

/// The claims of servers' volumes. Kubernetes made them, with the labels that select the servers.
fn volumes_of_servers() -> watcher::Config {
    all().labels(&format!(
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
    /// The watch of the ChatClusters, which fills a store and gives every one that changed or went.
    fn clusters(
        &self,
        writer: Writer<ChatCluster>,
    ) -> impl Stream<Item = Result<ChatCluster, watcher::Error>> + Send + use<> {
        self.listen(all()).modify(strip_cluster).reflect(writer).touched_objects()
    }

    /// A watch that counts as unlisted until it has brought its first list, and whose failures are logged.
    fn listen<K: Watched>(
        &self,
        config: watcher::Config,
    ) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + use<K> {
        let kind = K::kind(&()).into_owned();
        self.unlisted.send_modify(|unlisted| {
            unlisted.insert(kind.clone());
        });
        let unlisted = Arc::clone(&self.unlisted);
        watcher(api::<K>(self.client, self.namespace), config).default_backoff().inspect(move |event| {
            match event {
                Ok(watcher::Event::InitDone) => {
                    unlisted.send_if_modified(|unlisted| unlisted.remove(&kind));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%kind, %error, "a watch failed, and is tried again: is the kind there?");
                }
            }
        })
    }

    /// A watch in a task of its own, whose objects bring their clusters to the controller's attention.
    fn start<K: Watched, T: Send + Sync + 'static>(
        &self,
        config: watcher::Config,
        keep: fn(K) -> Result<T, serde_json::Error>,
    ) -> Shelf<T> {
        let shelf = Shelf::default();
        let events = self.listen::<K>(config);
        let (clusters, mut triggers, filled) = (self.clusters.clone(), self.triggers.clone(), shelf.clone());
        tokio::spawn(async move {
            let (mut events, mut listed) = (pin!(events), Listed::default());
            while let Some(event) = events.next().await {
                let Ok(event) = event else { continue };
                for cluster in take(&filled, &mut listed, event, keep, &clusters) {
                    // Nobody listens any more only when the process ends.
                    if triggers.send(cluster).await.is_err() {
                        return;
                    }
                }
            }
        });
        shelf
    }
}

/// Does to a shelf what a watch tells; gives the clusters to look at.
fn take<K: Watched, T>(
    shelf: &Shelf<T>,
    listed: &mut Listed,
    event: watcher::Event<K>,
    keep: fn(K) -> Result<T, serde_json::Error>,
    clusters: &Store<ChatCluster>,
) -> Vec<ObjectRef<ChatCluster>> {
    let (object, is_listed, is_there) = match event {
        watcher::Event::Init => {
            *listed = Listed::default();
            return Vec::new();
        }
        watcher::Event::InitDone => {
            shelf.keep_only(&std::mem::take(listed));
            return Vec::new();
        }
        watcher::Event::InitApply(object) => (object, true, true),
        watcher::Event::Apply(object) => (object, false, true),
        watcher::Event::Delete(object) => (object, false, false),
    };
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let (concerned, cluster) = (concerned(&object, clusters), home(&object));
    if is_listed {
        listed.add(&namespace, &name);
    }
    if is_there {
        let mut object = object;
        strip(&mut object);
        match keep(object) {
            Ok(kept) => shelf.put(&namespace, &name, cluster.as_deref(), kept),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %namespace, %name, %error, "an object could not be kept");
            }
        }
    } else {
        shelf.remove(&namespace, &name);
    }
    concerned
}

/// The cluster that an object belongs to: its owner; for a pod or a volume's claim, which Kubernetes made, the one that its label names.
fn home<K: Resource<DynamicType = ()>>(object: &K) -> Option<String> {
    if matches!(K::kind(&()).as_ref(), "Pod" | "PersistentVolumeClaim") {
        return object.labels().get(names::LABEL_INSTANCE).cloned();
    }
    owning_cluster(object.meta()).map(|owner| owner.name.clone())
}

/// The clusters to look at when this object changed: the one that it belongs to; and, for a plain name, all of its namespace, as one may
/// now get it.
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
    home(object).map(|cluster| ObjectRef::new(&cluster).within(namespace)).into_iter().collect()
}

/// Forgets what the operator never reads.
fn strip<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

fn strip_cluster(cluster: &mut ChatCluster) {
    strip(cluster);
    // What kubectl notes for itself, as long as the spec.
    cluster.metadata.annotations = None;
}
