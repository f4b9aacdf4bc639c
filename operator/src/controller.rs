//! The steps put together: whenever a ChatCluster or something that it owns is touched, look at it as a whole.
//!
//! Each ChatCluster has its own task and its own backoff, so that a bad one never delays a good one.

mod rolling;

use crate::{
    apply::{self, ApplyError},
    backoff::Backoff,
    build::{self, BuildError, Token},
    events::{self, Note, Teller},
    membership::{Change, Membership, Reports, Step},
    metrics::{Ending, Metrics},
    names::{self, Component},
    observe::{self, Caches, Found, Observed, Started, WatchesEnded},
    pace::{News, Pace},
    plan::{self, Plan, PlanError, Taken},
    probe::Prober,
    resource::ChatCluster,
    status::{self, ChatClusterStatus, Outcome, Page, Workload},
    validate::{self, ValidatedCluster},
};
use futures::{Stream, StreamExt, future};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Config, Controller,
        controller::Action,
        reflector::{ObjectRef, Store},
    },
};
use rolling::{Fleets, Rolling};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Events of one cluster within this time are looked at once: what one reconcile touches comes back as a dozen events.
const DEBOUNCE: Duration = Duration::from_millis(30);
/// Between two looks at servers that come or go.
const STEP: Duration = Duration::from_secs(2);
/// Between two looks at a cluster at rest: its servers are asked how they stand, and the API server is asked nothing.
const REST: Duration = Duration::from_secs(30);
/// The same while a server catches up, or one is chosen that coordinates.
const UNREST: Duration = Duration::from_secs(5);
/// ChatClusters whose objects are applied at one moment. A plan is held for as long as its requests take, and after a start all are due
/// at once; whoever has nothing to apply waits for nobody.
const APPLYING_MAX: usize = 4;
/// Wait for watches that are behind.
const BEHIND: Duration = Duration::from_millis(200);

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The watches ended.
    #[error("cannot look at what exists")]
    Watches(#[source] WatchesEnded),
    /// What the watches have brought could not be read.
    #[error("cannot read what exists")]
    Cache(#[source] serde_json::Error),
    /// No randomness for a token.
    #[error("cannot make a cluster token")]
    Token(#[source] getrandom::Error),
    /// The objects could not be built.
    #[error("cannot build the objects")]
    Build(#[source] BuildError),
    /// What to do could not be told.
    #[error("cannot plan")]
    Plan(#[source] PlanError),
    /// Some objects are not as they shall be; the status says which.
    #[error("{failures} objects are not as they shall be, first: {first}")]
    Apply {
        /// How many.
        failures: usize,
        /// The first of them.
        first: String,
    },
    /// The membership could not be looked up or noted.
    #[error("cannot change who the servers are")]
    Membership(#[source] ApplyError),
    /// A pod could not be replaced.
    #[error("cannot replace a pod")]
    Rollout(#[source] ApplyError),
    /// The status could not be written.
    #[error("cannot write the status")]
    Status(#[source] ApplyError),
}

/// How a change of the servers goes on.
enum Changing {
    /// The next membership has just been written.
    Stepped,
    /// For this.
    Waits(String),
}

impl Changing {
    fn waits_for(&self) -> &str {
        match self {
            Self::Stepped => "the servers to hear of the new membership",
            Self::Waits(what) => what,
        }
    }
}

/// What every reconcile needs.
pub struct Operator {
    client: Client,
    caches: Caches,
    metrics: Metrics,
    prober: Prober,
    teller: Teller,
    default_image: String,
    applying: Semaphore,
    backoff: Mutex<Backoff<ObjectRef<ChatCluster>>>,
    pace: Mutex<Pace<ObjectRef<ChatCluster>>>,
    /// The uids of ChatClusters whose namespaces are being deleted: nothing more can be made there, whatever is found to be missing
    /// while all goes.
    going: Mutex<HashSet<String>>,
}

/// The running controller: [`Self::caches`] fill, and [`Self::reconciles`] does the work while it is polled.
pub struct Running<S> {
    /// What the watches have brought.
    pub caches: Caches,
    /// Ends on SIGTERM and Ctrl-C, after the reconciles under way.
    pub reconciles: S,
}

/// Starts the watches and the controller. `namespace` bounds both; `knows_pod_monitors` is whether Kubernetes does; `default_image` is
/// for clusters that name none.
pub fn start(
    client: Client,
    namespace: Option<&str>,
    knows_pod_monitors: bool,
    default_image: String,
    metrics: Metrics,
) -> Running<impl Stream<Item = ()>> {
    let Started { caches, clusters, touched } = observe::watch(&client, namespace, knows_pod_monitors);
    // Failures of the watch are logged there; here they would hold back the other triggers.
    let clusters = clusters.filter(|event| future::ready(event.is_ok()));
    let operator = Arc::new(Operator {
        teller: Teller::new(client.clone(), metrics.clone()),
        client,
        caches: caches.clone(),
        metrics,
        prober: Prober::default(),
        default_image,
        applying: Semaphore::new(APPLYING_MAX),
        backoff: Mutex::default(),
        pace: Mutex::default(),
        going: Mutex::default(),
    });
    let reconciles = Controller::for_stream(clusters, caches.clusters.clone())
        .with_config(Config::default().debounce(DEBOUNCE))
        .reconcile_on(touched)
        .shutdown_on_signal()
        .run(reconcile, on_error, operator)
        // Errors were logged where they happened; a cluster that is gone by now is none.
        .map(drop);
    Running { caches, reconciles }
}

async fn reconcile(cluster: Arc<ChatCluster>, operator: Arc<Operator>) -> Result<Action, ReconcileError> {
    operator.caches.wait_until_ready().await.map_err(ReconcileError::Watches)?;
    let began = Instant::now();
    // On the heap: it holds the plan of every kind.
    let result = Box::pin(operator.reconcile(&cluster)).await;
    let (ending, result) = match result {
        Ok((ending, action)) => {
            operator.backoff().on_success(&ObjectRef::from_obj(cluster.as_ref()));
            (ending, Ok(action))
        }
        Err(error) => (Ending::Failed, Err(error)),
    };
    operator.metrics.on_reconcile(ending, began.elapsed());
    result
}

// The signature is the controller's.
#[allow(clippy::needless_pass_by_value)]
fn on_error(cluster: Arc<ChatCluster>, error: &ReconcileError, operator: Arc<Operator>) -> Action {
    let clusters: Store<ChatCluster> = operator.caches.clusters.clone();
    let key = ObjectRef::from_obj(cluster.as_ref());
    let wait =
        operator.backoff().on_failure(Instant::now(), key, rand::random(), |key| clusters.get(key).is_some());
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(
        cluster = %cluster.name_any(), namespace = cluster.namespace(), %error, cause, retry_in = ?wait,
        "a ChatCluster could not be brought up to date"
    );
    Action::requeue(wait)
}

impl Operator {
    fn backoff(&self) -> std::sync::MutexGuard<'_, Backoff<ObjectRef<ChatCluster>>> {
        // Counts of failures are right whatever panicked.
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn going(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A namespace that is being deleted is, whatever panicked.
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a ChatCluster alone from now on; forgets those that are gone.
    fn leave_alone(&self, cluster: &ChatCluster) {
        let clusters = self.caches.clusters.state();
        let mut going = self.going();
        going.retain(|uid| clusters.iter().any(|cluster| cluster.metadata.uid.as_ref() == Some(uid)));
        going.extend(cluster.uid());
    }

    async fn reconcile(&self, raw: &ChatCluster) -> Result<(Ending, Action), ReconcileError> {
        let metadata = raw.meta();
        let is_left_alone = |uid: &String| self.going().contains(uid);
        if metadata.deletion_timestamp.is_some() || metadata.uid.as_ref().is_some_and(is_left_alone) {
            // Kubernetes deletes what it owned; to make it again now would be a race.
            return Ok((Ending::Unchanged, Action::await_change()));
        }
        let (name, namespace) = (raw.name_any(), raw.namespace().unwrap_or_default());
        let observed = self.caches.observe(&namespace, &name);
        let mut sets = observed.sets().map_err(ReconcileError::Cache)?;
        let pods = observed.pods().map_err(ReconcileError::Cache)?;
        let previous: Option<ChatClusterStatus> = raw.status.read().ok();
        let page = Page {
            generation: metadata.generation.unwrap_or_default(),
            previous: previous.as_ref(),
            now: Timestamp::now(),
        };
        let servers = sets.get(&names::component(&name, Component::Server)).cloned();
        let cluster = match validate::validate(raw, servers.as_deref(), &self.default_image) {
            Ok(cluster) => cluster,
            Err(problems) => {
                let status = status::of_invalid(page, &name, &problems);
                let told = self.write_status(raw, previous.as_ref(), &status).await?;
                return Ok((
                    Ending::Invalid,
                    told.again_after().map_or_else(Action::await_change, Action::requeue),
                ));
            }
        };
        let fleets = Fleets::of(&cluster, &sets, &pods);
        let said = self.prober.ask(&fleets.servers.addresses()).await;
        let Some((cluster, change)) =
            self.step(cluster, servers.is_some(), fleets.is_rolling(), &said).await?
        else {
            // Nothing is applied by what is no longer in force.
            return Ok((Ending::Unchanged, Action::requeue(BEHIND)));
        };
        let mut plan = self.plan(&cluster, &observed)?;
        let turn = if plan.is_empty() {
            None
        } else {
            drop(plan);
            // Nobody closes it.
            let turn = self.applying.acquire().await.ok();
            plan = self.plan(&cluster, &self.caches.observe(&namespace, &name))?;
            turn
        };
        let aliases_taken: Vec<Taken> = plan.aliases.taken.clone();
        let nothing_to_apply = plan.is_empty();
        // Also without anything to send: what is taken under our own names is told by it.
        let applied = apply::apply(&self.client, &self.metrics, &cluster, plan).await;
        drop(turn);
        if applied.failures.iter().any(|failure| matches!(failure, ApplyError::Behind { .. })) {
            return Ok((Ending::Unchanged, Action::requeue(BEHIND)));
        }
        if applied.failures.iter().any(ApplyError::says_namespace_is_going) {
            tracing::info!(cluster = %name, %namespace, "the namespace is being deleted: left alone");
            self.leave_alone(raw);
            return Ok((Ending::Unchanged, Action::await_change()));
        }
        let failures: Vec<String> = applied.failures.iter().map(ToString::to_string).collect();
        let stepped = matches!(change, Some(Changing::Stepped));
        if failures.is_empty() && stepped {
            apply::touch_servers(&self.client, &self.metrics, &cluster).await;
        }
        // The newest that is known: what was just applied, Kubernetes has not taken note of yet.
        sets.extend(applied.stateful_sets.iter().map(|live| (live.name_any(), Arc::new(live.clone()))));
        let fleets = Fleets::of(&cluster, &sets, &pods);
        // Not when one is only wanted, and waits for the rollout.
        let changing = cluster.membership.change != Change::None;
        let rolling = if failures.is_empty() {
            self.roll(&cluster, &fleets, changing, &said).await?
        } else {
            Rolling::Settled
        };
        let mut deployments = observed.deployments().map_err(ReconcileError::Cache)?;
        deployments.extend(applied.deployments.iter().map(|live| (live.name_any(), Arc::new(live.clone()))));
        let workloads = workloads(&cluster, &sets, &deployments);
        let words = rolling.words();
        let outcome = Outcome {
            workloads: &workloads,
            unknown_fields: &cluster.unknown_fields,
            aliases_taken: &aliases_taken,
            failures: &failures,
            change: change.as_ref().map(Changing::waits_for),
            rollout: words.as_deref().map(|words| match rolling {
                Rolling::Stuck(_) => status::Rollout::Stuck(words),
                Rolling::Settled | Rolling::Waits(_) | Rolling::Replaced(_) => status::Rollout::Waits(words),
            }),
            servers: &fleets.servers,
            said: &said,
        };
        let status = status::of_outcome(page, &cluster, outcome);
        let mut notes = Vec::new();
        if stepped {
            let membership = cluster.membership;
            notes.push(Note::changes_servers(membership.generation, membership.members, membership.pods()));
        }
        if let Rolling::Replaced(targets) = &rolling {
            notes.extend(targets.iter().map(Note::replaces));
        }
        self.teller.tell(raw, &notes).await;
        let told = self.write_status(raw, previous.as_ref(), &status).await?;
        if let Some(first) = failures.first() {
            return Err(ReconcileError::Apply { failures: failures.len(), first: first.clone() });
        }
        let unchanged = nothing_to_apply && notes.is_empty() && told != Told::Now;
        let ending = if unchanged { Ending::Unchanged } else { Ending::Changed };
        let under_way = change.is_some() || !matches!(rolling, Rolling::Settled);
        let again = [
            under_way.then_some(STEP),
            (!fleets.servers.addresses().is_empty()).then_some(if status.is_at_rest() {
                REST
            } else {
                UNREST
            }),
            told.again_after(),
        ];
        let again = again.into_iter().flatten().min();
        Ok((ending, again.map_or_else(Action::await_change, Action::requeue)))
    }

    /// Where servers come or go, takes the next step if it may be taken. A cluster that begins has nobody to ask. `None` while the
    /// watches have not brought the membership in force.
    ///
    /// What has begun goes first, be it a change of the servers or a rollout: two half-done things at once would leave a cluster
    /// short of two servers.
    async fn step(
        &self,
        cluster: ValidatedCluster,
        exists: bool,
        rolling: bool,
        said: &Reports,
    ) -> Result<Option<(ValidatedCluster, Option<Changing>)>, ReconcileError> {
        let (membership, wanted) = (cluster.membership, cluster.spec.replicas);
        if !exists || membership.step(wanted, &Reports::new()) == Step::Settled {
            return Ok(Some((cluster, None)));
        }
        if rolling && membership.change == Change::None {
            let what = "the rollout that is under way, before servers come or go".to_owned();
            return Ok(Some((cluster, Some(Changing::Waits(what)))));
        }
        let next = match membership.step(wanted, said) {
            Step::Settled => return Ok(Some((cluster, None))),
            Step::Wait(what) => return Ok(Some((cluster, Some(Changing::Waits(what))))),
            Step::Next(next) => next,
        };
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), &cluster.namespace);
        let name = names::component(&cluster.name, Component::Server);
        let live = apply::get(&self.metrics, &api, &name).await.map_err(ReconcileError::Membership)?;
        if Membership::in_force(&live) != Some(membership) {
            return Ok(None);
        }
        tracing::info!(
            cluster = %cluster.name, namespace = %cluster.namespace, generation = next.generation,
            members = next.members, change = ?next.change, "membership"
        );
        // Before anything that follows from it: a number of a generation never gets a second meaning.
        let cluster = cluster.with_membership(next);
        let noted = apply::write_membership(&self.client, &self.metrics, &cluster).await;
        noted.map_err(ReconcileError::Membership)?;
        Ok(Some((cluster, Some(Changing::Stepped))))
    }

    fn plan(&self, cluster: &ValidatedCluster, observed: &Observed) -> Result<Plan, ReconcileError> {
        let there = observed.secrets.get(&names::token(&cluster.name)).and_then(|secret| secret.read.clone());
        let token = match there {
            Some(token) => token,
            None => Token::random().map_err(ReconcileError::Token)?,
        };
        let desired = build::build(cluster, &token).map_err(ReconcileError::Build)?;
        plan::plan(&cluster.uid, desired, observed).map_err(ReconcileError::Plan)
    }

    /// Writes the status when it says something new, and tells what that is.
    async fn write_status(
        &self,
        cluster: &ChatCluster,
        previous: Option<&ChatClusterStatus>,
        status: &ChatClusterStatus,
    ) -> Result<Told, ReconcileError> {
        if previous == Some(status) {
            return Ok(Told::Nothing);
        }
        let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
        let key = ObjectRef::from_obj(cluster);
        let same_states = previous.is_some_and(|previous| previous.has_the_states_of(status));
        let news = if same_states { News::Words } else { News::States };
        let wait = self.pace().wait(Instant::now(), &key, news);
        if !wait.is_zero() {
            return Ok(Told::Later(wait));
        }
        tracing::info!(cluster = %name, %namespace, phase = status.phase.as_str(), ready = status.ready_replicas, "status");
        let written = apply::write_status(&self.client, &self.metrics, &namespace, &name, status).await;
        match written {
            // It was deleted in this moment, and there is nobody to tell.
            Err(error) if error.is_gone() => return Ok(Told::Nothing),
            written => written.map_err(ReconcileError::Status)?,
        }
        self.pace().on_written(Instant::now(), key);
        self.teller.tell(cluster, &events::between(previous, status)).await;
        Ok(Told::Now)
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace<ObjectRef<ChatCluster>>> {
        // Times are right whatever panicked.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a status was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It says nothing new.
    Nothing,
    /// It was.
    Now,
    /// What is new can wait so long.
    Later(Duration),
}

impl Told {
    fn again_after(self) -> Option<Duration> {
        match self {
            Self::Later(wait) => Some(wait),
            Self::Nothing | Self::Now => None,
        }
    }
}

/// How far every workload of the cluster is, by the newest that is known of it.
fn workloads(
    cluster: &ValidatedCluster,
    sets: &Found<StatefulSet>,
    deployments: &Found<Deployment>,
) -> Vec<Workload> {
    let spec = &cluster.spec;
    let stateful = |component, wanted| {
        let live = sets.get(&names::component(&cluster.name, component));
        Workload::of_stateful_set(component, wanted, live.map(AsRef::as_ref))
    };
    let stateless = |component, wanted| {
        let live = deployments.get(&names::component(&cluster.name, component));
        Workload::of_deployment(component, wanted, live.map(AsRef::as_ref))
    };
    vec![
        stateful(Component::Server, cluster.membership.pods()),
        stateful(Component::Ref, 1),
        stateless(Component::Broker, spec.broker.replicas),
        stateless(Component::Proxy, spec.proxy.replicas),
        stateless(Component::Bot, spec.bots.replicas),
    ]
}
