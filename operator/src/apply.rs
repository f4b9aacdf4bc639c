//! Does what the plan says, by server-side apply. The only step that talks to the API server about objects.
//!
//! The order of the kinds: the Secret first, as the pods' template depends on which token it holds; identity and settings, without
//! which pods do not start; the nodes' Services, so that names resolve when pods first ask; StatefulSets before Deployments, as servers
//! take longest; volumes' sizes and what tells Prometheus, which nothing waits for; clients' Services, budgets and who may connect, which
//! matter when pods are there; the aliases last, as they may fail without harm. A kind that fails stops those after it. What is no
//! longer wanted of a kind goes after the rest of the kind is there. Objects of one kind go at once.

mod error;

pub use error::{ApplyError, says_namespace_is_going};

use crate::{
    build::{ON_DELETE, Token, Volume},
    metrics::Metrics,
    names::{self, Component},
    observe::{Found, live::Owner},
    plan::{Apply, Cause, Delete, Plan, Steps, holder},
    resource::{ChatCluster, PodMonitor},
    rollout::Target,
    validate::ValidatedCluster,
};
use error::{CONFLICT, NOT_FOUND};
use futures::future::join_all;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{PersistentVolumeClaim, Pod, Secret},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Debug, sync::Arc, time::Duration};

/// How long one request may take: an API server that does not answer must not hold a cluster for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What has been done.
#[derive(Debug, Default)]
pub struct Applied {
    /// StatefulSets as the API server has them now, where they were applied.
    pub stateful_sets: Vec<StatefulSet>,
    /// Deployments as the API server has them now, where they were applied.
    pub deployments: Vec<Deployment>,
    /// What could not be done.
    pub failures: Vec<ApplyError>,
}

/// Does it.
pub async fn apply(client: &Client, metrics: &Metrics, cluster: &ValidatedCluster, plan: Plan) -> Applied {
    // Without `..`: a kind that nobody applies does not compile.
    let Plan {
        secrets,
        service_accounts,
        config_maps,
        node_services,
        client_services,
        taken_over,
        stateful_sets,
        deployments,
        pod_disruption_budgets,
        network_policies,
        pod_monitors,
        grow,
        aliases,
    } = plan;
    let own = Stage { client, metrics, cluster, manager: names::FIELD_MANAGER.to_owned() };
    let alias = Stage { manager: names::alias_field_manager(&cluster.name), ..own.clone() };
    let mut applied = Applied::default();
    let failures = &mut applied.failures;
    // What pods need to start, all at once: none of it needs the other.
    let mut failed: [Vec<ApplyError>; 4] = Default::default();
    let [secret, account, map, service] = &mut failed;
    let (secrets, accounts, maps, services) = futures::join!(
        own.run_secrets(secrets, secret),
        own.run(service_accounts, account),
        own.run(config_maps, map),
        own.run(node_services, service),
    );
    failures.extend(failed.into_iter().flatten());
    if !secrets || accounts.is_none() || maps.is_none() || services.is_none() {
        return applied;
    }
    let taken_over = join_all(taken_over.iter().map(|name| own.take_over(name))).await;
    let refused: Vec<ApplyError> = taken_over.into_iter().filter_map(Result::err).collect();
    if !refused.is_empty() {
        failures.extend(refused);
        return applied;
    }
    let Some(done) = own.run(stateful_sets, failures).await else { return applied };
    applied.stateful_sets = done;
    let Some(done) = own.run(deployments, failures).await else { return applied };
    applied.deployments = done;
    // Each of these may fail without harm to the others, and to what comes after.
    own.grow(grow, failures).await;
    match pod_monitors {
        Some(steps) => drop(own.run(steps, failures).await),
        None => failures.push(ApplyError::UnknownKind { kind: PodMonitor::kind(&()).into_owned() }),
    }
    if own.run(client_services, failures).await.is_some()
        && own.run(pod_disruption_budgets, failures).await.is_some()
        && own.run(network_policies, failures).await.is_some()
    {
        // Taken aliases are no failure: the status has a condition for them.
        alias.run(Steps { taken: Vec::new(), ..aliases }, failures).await;
    }
    applied
}

/// Notes the cluster's membership where it is looked up: on the StatefulSet of servers, which exists.
///
/// # Errors
/// [`ApplyError`] as of any request.
pub async fn write_membership(
    client: &Client,
    metrics: &Metrics,
    cluster: &ValidatedCluster,
) -> Result<(), ApplyError> {
    let api: Api<StatefulSet> = Api::namespaced(client.clone(), &cluster.namespace);
    let name = names::component(&cluster.name, Component::Server);
    let membership = cluster.membership.to_json();
    let body =
        serde_json::json!({ "metadata": { "annotations": { names::ANNOTATION_MEMBERSHIP: membership } } });
    let parameters =
        PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(&body);
    let patched = api.patch_metadata(&name, &parameters, &patch);
    request::<StatefulSet, _>(metrics, "note the membership on", &name, patched).await.map(drop)
}

/// An object as the API server has it now.
///
/// # Errors
/// [`ApplyError`] as of any request.
pub async fn get<K>(metrics: &Metrics, api: &Api<K>, name: &str) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    request::<K, _>(metrics, "get", name, api.get(name)).await
}

/// Deletes a pod, whose workload makes it anew.
///
/// # Errors
/// [`ApplyError`] as of any request.
pub async fn delete_pod(
    client: &Client,
    metrics: &Metrics,
    cluster: &ValidatedCluster,
    target: &Target,
) -> Result<(), ApplyError> {
    let stage = Stage { client, metrics, cluster, manager: names::FIELD_MANAGER.to_owned() };
    stage.delete::<Pod>(&Delete { name: target.name.clone(), uid: target.uid.clone() }).await
}

/// The pods and StatefulSets of a cluster as the API server has them now.
///
/// # Errors
/// [`ApplyError`] as of any request.
pub async fn look_again(
    client: &Client,
    metrics: &Metrics,
    cluster: &ValidatedCluster,
) -> Result<(Found<Pod>, Found<StatefulSet>), ApplyError> {
    let selector = format!("{}={}", names::LABEL_INSTANCE, cluster.name);
    let parameters = ListParams::default().labels(&selector);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &cluster.namespace);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &cluster.namespace);
    let pods = request::<Pod, _>(metrics, "list", &cluster.name, pods.list(&parameters)).await?;
    let sets = request::<StatefulSet, _>(metrics, "list", &cluster.name, sets.list(&parameters)).await?;
    Ok((by_name(pods.items), by_name(sets.items)))
}

fn by_name<K: Resource>(objects: Vec<K>) -> Found<K> {
    objects.into_iter().map(|object| (object.name_any(), Arc::new(object))).collect()
}

/// Has the kubelets look at the servers' mounted settings at once. Where that fails they do within a minute, so it is no failure.
pub async fn touch_servers(client: &Client, metrics: &Metrics, cluster: &ValidatedCluster) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &cluster.namespace);
    let generation = cluster.membership.generation.to_string();
    let body =
        serde_json::json!({ "metadata": { "annotations": { names::ANNOTATION_GENERATION: generation } } });
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&body));
    let touched = (1..=cluster.membership.pods()).map(async |number| {
        let name = names::server_pod(&cluster.name, number);
        let touched =
            request::<Pod, _>(metrics, "touch", &name, api.patch_metadata(&name, &parameters, &patch)).await;
        if let Err(error) = touched {
            tracing::debug!(pod = %name, %error, "a pod was not touched");
        }
    });
    join_all(touched).await;
}

/// Writes a ChatCluster's status.
///
/// # Errors
/// [`ApplyError`] as of any request.
pub async fn write_status<S: Serialize + Debug>(
    client: &Client,
    metrics: &Metrics,
    namespace: &str,
    name: &str,
    status: &S,
) -> Result<(), ApplyError> {
    let api: Api<ChatCluster> = Api::namespaced(client.clone(), namespace);
    let body = serde_json::json!({
        "apiVersion": ChatCluster::api_version(&()),
        "kind": ChatCluster::kind(&()),
        "metadata": { "name": name },
        "status": status,
    });
    let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    request::<ChatCluster, _>(
        metrics,
        "write the status of",
        name,
        api.patch_status(name, &parameters, &patch),
    )
    .await
    .map(drop)
}

/// What the requests for one cluster have in common.
#[derive(Clone)]
struct Stage<'a> {
    client: &'a Client,
    metrics: &'a Metrics,
    cluster: &'a ValidatedCluster,
    manager: String,
}

impl Stage<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.cluster.namespace)
    }

    /// Does the steps of one kind; none when one of them failed.
    async fn run<K>(&self, steps: Steps<K>, failures: &mut Vec<ApplyError>) -> Option<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Serialize
            + DeserializeOwned
            + Debug,
    {
        let Steps { apply, delete, taken } = steps;
        let before = failures.len();
        failures.extend(taken.into_iter().map(ApplyError::Taken));
        let mut done = Vec::new();
        for result in join_all(apply.iter().map(|step| self.apply(step))).await {
            match result {
                Ok(object) => done.push(object),
                Err(error) => failures.push(error),
            }
        }
        if failures.len() == before {
            let deleted = join_all(delete.iter().map(|step| self.delete::<K>(step))).await;
            failures.extend(deleted.into_iter().filter_map(Result::err));
        }
        (failures.len() == before).then_some(done)
    }

    /// As [`Self::run`]; but a missing Secret is created, so that one that the watches have not heard of is never overwritten.
    async fn run_secrets(&self, mut steps: Steps<Secret>, failures: &mut Vec<ApplyError>) -> bool {
        let (missing, rest) = steps.apply.into_iter().partition(|step| step.cause == Cause::Missing);
        steps.apply = rest;
        let missing: Vec<Apply<Secret>> = missing;
        let created = join_all(missing.iter().map(|step| self.create_secret(&step.object))).await;
        let before = failures.len();
        failures.extend(created.into_iter().filter_map(Result::err));
        failures.len() == before && self.run(steps, failures).await.is_some()
    }

    async fn create_secret(&self, secret: &Secret) -> Result<(), ApplyError> {
        let api: Api<Secret> = self.api();
        let name = secret.name_any();
        let parameters = PostParams { field_manager: Some(self.manager.clone()), ..PostParams::default() };
        match request::<Secret, _>(self.metrics, "create", &name, api.create(&parameters, secret)).await {
            Err(error) if error.status() == Some(CONFLICT) => {
                let live = request::<Secret, _>(self.metrics, "get", &name, api.get(&name)).await?;
                if is_owned_by(&live, &self.cluster.uid) && Token::of(&live).is_some() {
                    Err(ApplyError::Behind { name })
                } else {
                    Err(taken(&live))
                }
            }
            other => other.map(drop),
        }
    }

    async fn apply<K>(&self, step: &Apply<K>) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Serialize
            + DeserializeOwned
            + Debug,
    {
        let api: Api<K> = self.api();
        let name = step.object.name_any();
        tracing::info!(kind = %K::kind(&()), %name, namespace = %self.cluster.namespace, cause = ?step.cause, "apply");
        let patch = Patch::Apply(&step.object);
        let gentle = PatchParams::apply(&self.manager);
        let firm = gentle.clone().force();
        match step.cause {
            // Ours, as the watches know: whoever set our fields meant well, but is put right.
            Cause::Differs => {
                request::<K, _>(self.metrics, "apply", &name, api.patch(&name, &firm, &patch)).await
            }
            Cause::Missing => {
                let result =
                    request::<K, _>(self.metrics, "apply", &name, api.patch(&name, &gentle, &patch)).await;
                match result {
                    // Something is there without our label: ours with its label edited, or somebody else's.
                    Err(error) if error.status() == Some(CONFLICT) => {
                        let live = request::<K, _>(self.metrics, "get", &name, api.get(&name)).await?;
                        if !is_owned_by(&live, &self.cluster.uid) {
                            return Err(taken(&live));
                        }
                        request::<K, _>(self.metrics, "apply", &name, api.patch(&name, &firm, &patch)).await
                    }
                    other => other,
                }
            }
        }
    }

    /// Asks for larger volumes; the storage makes them so while they are in use.
    async fn grow(&self, volumes: Vec<Volume>, failures: &mut Vec<ApplyError>) {
        let api: Api<PersistentVolumeClaim> = self.api();
        let parameters = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let grown = volumes.iter().map(async |Volume { claim, size }| {
            tracing::info!(%claim, %size, namespace = %self.cluster.namespace, "grow");
            let body = serde_json::json!({ "spec": { "resources": { "requests": { "storage": size } } } });
            let patch = Patch::Merge(&body);
            let patched = api.patch_metadata(claim, &parameters, &patch);
            request::<PersistentVolumeClaim, _>(self.metrics, "grow", claim, patched).await
        });
        failures.extend(join_all(grown).await.into_iter().filter_map(Result::err));
    }

    /// From now on the operator chooses which pod of a StatefulSet is replaced.
    async fn take_over(&self, name: &str) -> Result<(), ApplyError> {
        let api: Api<StatefulSet> = self.api();
        let strategy = serde_json::json!({ "type": ON_DELETE, "rollingUpdate": null });
        let body = serde_json::json!({ "spec": { "updateStrategy": strategy } });
        let parameters = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let patch = Patch::Merge(&body);
        let patched = api.patch(name, &parameters, &patch);
        request::<StatefulSet, _>(self.metrics, "take over", name, patched).await.map(drop)
    }

    async fn delete<K>(&self, step: &Delete) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        tracing::info!(kind = %K::kind(&()), name = %step.name, namespace = %self.cluster.namespace, "delete");
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(step.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        let api: Api<K> = self.api();
        let result =
            request::<K, _>(self.metrics, "delete", &step.name, api.delete(&step.name, &parameters)).await;
        match result {
            // Gone already, or another object by now.
            Err(error) if matches!(error.status(), Some(NOT_FOUND | CONFLICT)) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn taken<K: Resource<DynamicType = ()>>(live: &K) -> ApplyError {
    ApplyError::Taken(crate::plan::Taken {
        kind: K::kind(&()).into_owned(),
        name: live.name_any(),
        holder: holder(Owner::of(live.meta()).as_ref()),
    })
}

fn is_owned_by<K: Resource>(live: &K, uid: &str) -> bool {
    Owner::of(live.meta()).is_some_and(|owner| *owner.uid == *uid)
}

/// One request: counted, bounded in time, its error with a name.
async fn request<K: Resource<DynamicType = ()>, T>(
    metrics: &Metrics,
    verb: &'static str,
    name: &str,
    answer: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApplyError> {
    let kind = K::kind(&()).into_owned();
    metrics.on_request(&kind);
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => {
            Err(ApplyError::Request { verb, kind, name: name.to_owned(), source: Box::new(source) })
        }
        Err(_elapsed) => Err(ApplyError::Timeout { verb, kind, name: name.to_owned() }),
    }
}
