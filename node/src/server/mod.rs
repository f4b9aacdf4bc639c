//! The role `server`: the body around the mind of `papo_replica`.
//!
//! A write: client or broker link -> [`Replica`] -> storage thread (fsync) -> [`Replica`] -> PUB links, then the reply. One task
//! owns everything; it moves bytes, time and outcomes, and must not know what an operation means.

mod chronicle;
mod members;
mod notices;
mod peers;
mod publisher;
mod reference_link;
mod requests;

use crate::export;
use crate::http::{self, SurfaceOwner};
use crate::metrics::{METRICS_INTERVAL, ServerMetrics};
use crate::role::{self, Context, now};
use crate::storage::{Along, Ceilings, Opened, Outcome, Storage};
use crate::targets;
use anyhow::Context as _;
use chronicle::Chronicle;
pub use members::PeerSource;
use notices::Notices;
use papo_protocol::ServerName;
use papo_replica::{Effect, Input, Moment, Replica, ReplicaSettings, Restoring};
use papo_settings::Address;
use papo_zmtp::{Endpoint, SocketType};
use peers::Peers;
use publisher::Publisher;
use reference_link::ReferenceLink;
use requests::Requests;
use std::mem;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// How long a stopping server answers what it has begun, waits for its peers to hold what it holds, and for another to lead.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// How soon to look again whether a broker has read its replies.
const ROOM_POLL: Duration = Duration::from_millis(10);

/// The newest operations stay in memory: some tens of thousands, minutes of a busy chat. Older ones are read from the disk.
const RECENT_BYTES_MAX: usize = 8 << 20;

/// What a server is told.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// REP, for clients that address this server.
    pub listen: Vec<SocketAddr>,
    /// ROUTER, for the other servers.
    pub peer_listen: Vec<SocketAddr>,
    /// HTTP.
    pub http: SocketAddr,
    /// Where the history is kept.
    pub data: PathBuf,
    /// Brokers' worker addresses.
    pub brokers: Vec<Address>,
    /// Proxies' XSUB addresses.
    pub proxies: Vec<Address>,
    /// The reference service.
    pub reference: Option<Address>,
    /// Where the other servers' addresses come from.
    pub peers: PeerSource,
    /// Between heartbeats to the reference service.
    pub heartbeat: Duration,
    /// Of the mind.
    pub replica: ReplicaSettings,
}

/// Runs until stopped.
///
/// # Errors
/// When an address cannot be listened on, or the data folder cannot be used.
pub async fn run(context: Context, options: ServerOptions) -> anyhow::Result<()> {
    anyhow::ensure!(
        context.token.is_some() || matches!(&options.peers, PeerSource::Listed(peers) if peers.is_empty()),
        "a server with peers needs the cluster token: name its file with --token-file"
    );
    let (owner, surface) = SurfaceOwner::new();
    let (exports, mut shown_asked) = export::serving::routes(options.data.clone());
    http::serve(options.http, surface, exports, context.http_stop.clone(), &context.tracker).await?;
    let metrics = ServerMetrics::register(&owner.registry)?;

    let name = options.replica.name.clone();
    // Elsewhere than on this thread: a long history takes long to read, and liveness must answer meanwhile.
    let replica_settings = options.replica.clone();
    let data = options.data.clone();
    let (mut storage, mut outcomes, mut replica) =
        tokio::task::spawn_blocking(move || open(&data, replica_settings))
            .await
            .context("opening the data folder")??;
    tracing::info!(server = %name, operations = replica.history().len(), "history read");
    let mut members = members::follow(&context, &name, options.replica.membership.clone(), options.peers);

    let receives = role::request_receives(options.replica.limits.bytes);
    let (mut direct, direct_handle) = Endpoint::new(context.plain_endpoint(SocketType::Rep, receives));
    let (mut brokers, broker_handle) =
        Endpoint::new(context.papo_endpoint(SocketType::Rep, receives, "server"));
    let (mut proxies, mut publisher) =
        Publisher::connect(&context, &options.proxies, metrics.publisher.clone());
    let (mut listener, mut dialer, mut peers) =
        Peers::open(&context, &options.peer_listen, members.peers).await?;
    let (mut reference_events, mut reference) =
        ReferenceLink::connect(&context, options.reference.as_slice(), name.clone(), options.heartbeat);
    let mut requests = Requests::new(direct_handle.clone(), broker_handle.clone(), name.clone());
    role::listen(&direct_handle, &options.listen, "clients (REP)").await?;
    targets::follow_fixed(&context, broker_handle.clone(), &options.brokers);
    tracing::info!(server = %name, listen = ?options.listen, peers = ?options.peer_listen, "server listens");

    let mut effects = Vec::new();
    let mut notices = Notices::new(name.clone());
    let mut chronicle = Chronicle::new(name.clone());
    let mut second = tokio::time::interval(METRICS_INTERVAL);
    let mut beat = tokio::time::interval(papo_exchange::constants::WORKER_BEAT_INTERVAL);
    let mut drain_until = None;
    // What is shown to others is not what it was.
    let mut is_news = true;
    loop {
        let due = role::until(replica.next_tick());
        if due.is_zero() {
            // Not left to `select!`, which under load may never come to its timer.
            replica.tick(now(), &mut effects);
        }
        let has_room = requests.has_room();
        let wait = if has_room { due } else { due.min(ROOM_POLL) };
        let input = tokio::select! {
            outcome = outcomes.recv() => match outcome {
                Some(Outcome::Stored(batch)) => {
                    chronicle.on_stored(batch, &replica);
                    Some(Input::Stored { batch })
                }
                Some(Outcome::Full(batch)) => {
                    chronicle.on_refused(batch);
                    Some(Input::StorageFull { batch })
                }
                None => anyhow::bail!("the storage thread is gone: nothing can be acknowledged any more"),
            },
            Some(event) = direct.next() => {
                metrics.clients.observe(&event);
                requests.on_direct(event)
            }
            Some(event) = brokers.next(), if has_room => {
                metrics.brokers.observe(&event);
                requests.on_broker(&context, event)
            }
            Some(event) = dialer.next() => {
                metrics.peers_dialled.observe(&event);
                peers.on_dialer(&context, event)
            }
            Some(event) = listener.next() => {
                metrics.peers.observe(&event);
                peers.on_listener(&context, event)
            }
            Some(event) = proxies.next() => {
                metrics.proxies.observe(&event);
                publisher.on_event(&context, now().monotonic, event);
                None
            }
            Some(event) = reference_events.next() => {
                metrics.reference.observe(&event);
                reference.on_event(event, replica.stamped(now()), replica.lamport()).map(Input::Reference)
            }
            () = tokio::time::sleep(wait) => { replica.tick(now(), &mut effects); None }
            Ok(()) = members.membership.changed() => {
                Some(Input::Members(members.membership.borrow_and_update().clone()))
            }
            Some(asked) = shown_asked.recv() => {
                // Whoever asked may be gone.
                let _ = asked.send(replica.history().shown().clone());
                None
            }
            _ = beat.tick() => { requests.beat(); None }
            _ = second.tick() => {
                reference.on_second(replica.stamped(now()), replica.lamport());
                is_news = true;
                None
            }
            () = context.stop.cancelled(), if drain_until.is_none() => {
                owner.set_ready(false);
                requests.leave();
                direct_handle.stop_listening();
                drain_until = Some(now().monotonic + DRAIN_MAX);
                Some(Input::Drain)
            }
        };
        if let Some(input) = input {
            replica.handle(now(), input, &mut effects);
        }
        storage.cover(Ceilings { lamport: replica.lamport(), clock: replica.kept_clock() }).await;
        for effect in effects.drain(..) {
            match effect {
                Effect::Store { batch, ops, shown, epoch } => {
                    chronicle.on_store(batch, &ops, &replica);
                    storage.store(batch, ops, Along { shown, epoch });
                }
                Effect::Publish { topic, body, meta } => {
                    publisher.publish(now().monotonic, &topic, &body, &meta);
                }
                Effect::Reply { id, cookie, body } => {
                    if let Some(after) = requests.reply(id, cookie, body) {
                        metrics.answered(after);
                    }
                }
                Effect::Elsewhere { id } => requests.elsewhere(id),
                Effect::Unknown { id } => requests.unknown(id),
                Effect::ToPeer { link, bytes } => peers.send(link, bytes),
                Effect::AskReference(call) => reference.ask(call, replica.stamped(now()), replica.lamport()),
                Effect::Notice(notice) => {
                    is_news = true;
                    metrics.notice(&notice);
                    notices.tell(&notice);
                }
            }
        }
        chronicle.on_turn(&replica);
        // Publications first: whoever has a reply may rely on it that the others hear of it, also when this server dies now.
        publisher.flush();
        requests.flush();
        peers.flush();
        if mem::take(&mut is_news) {
            metrics.update(&replica, requests.in_flight());
            owner.set_status(status(&name, &context, &replica, &reference, &peers, &requests, &publisher));
        }
        // Of those it was told of, one each: what comes in can be answered, and what is answered is heard. Were it to wait for all,
        // one dead broker would stop a rolling update of the servers.
        let connected = (requests.brokers() > 0 || options.brokers.is_empty())
            && (publisher.connected() > 0 || options.proxies.is_empty());
        // A server that has not caught up once would show less than its clients saw before. A disk that hangs is no reason to be
        // restarted, which would not help, but one to be spared.
        let able = replica.has_caught_up() && !storage.is_stuck();
        owner.set_ready(drain_until.is_none() && connected && able);
        let done = || requests.in_flight() == 0 && replica.has_parted() && replica.has_left_office();
        if drain_until.is_some_and(|until| done() || now().monotonic > until) {
            break;
        }
    }
    for handle in [&direct_handle, &broker_handle, publisher.handle(), reference.handle()]
        .into_iter()
        .chain(peers.handles())
    {
        handle.shutdown();
    }
    for endpoint in [&mut direct, &mut brokers, &mut proxies] {
        while endpoint.next().await.is_some() {}
    }
    storage.settle(replica.kept_clock(), replica.history().shown());
    Ok(())
}

/// Reads the folder, however long that takes.
fn open(
    data: &Path,
    settings: ReplicaSettings,
) -> anyhow::Result<(Storage, UnboundedReceiver<Outcome>, Replica)> {
    let Opened { storage, outcomes, stored, reader, facts, shown } =
        Storage::open(data, &settings.cluster_id, &settings.name)?;
    tracing::debug!(shown = shown.digest(), "data folder opened");
    let mut history = Restoring::new(reader, RECENT_BYTES_MAX);
    stored.headings(|heading| history.add(heading)).context("reading the history")??;
    let replica = Replica::open(settings, history.finish(&shown), facts, now())?;
    Ok((storage, outcomes, replica))
}

/// What `/status` shows.
fn status(
    name: &ServerName,
    context: &Context,
    replica: &Replica,
    reference: &ReferenceLink,
    peers: &Peers,
    requests: &Requests,
    publisher: &Publisher,
) -> serde_json::Value {
    let history = replica.history();
    serde_json::json!({
        "server": name,
        "boot": format!("{:016x}", context.boot.0),
        "rank": reference.rank(),
        "lamport": replica.lamport(),
        "operations": history.len(),
        "users": history.state().users().len(),
        "channels": history.state().channels().len(),
        "shown": history.shown().iter().map(|(_, count)| count).sum::<u64>(),
        "caughtUp": replica.has_caught_up(),
        "inSync": replica.is_in_sync(now()),
        "generation": replica.membership().generation,
        "standing": replica.standing().as_str(),
        "released": replica.is_released(),
        "coordinator": replica.leadership().coordinator,
        "epoch": replica.leadership().epoch.to_string(),
        "role": replica.leadership().role.as_str(),
        "diverged": replica.diverged().collect::<Vec<_>>(),
        "vector": history.vector().iter().map(|(writer, seq)| serde_json::json!({
            "server": writer.origin,
            "boot": format!("{:016x}", writer.boot.0),
            "seq": seq,
        })).collect::<Vec<_>>(),
        "clock": clock(replica),
        "digest": history.shown().digest(),
        "peers": peers.connected(),
        "brokers": requests.brokers(),
        "proxies": publisher.connected(),
        "inFlight": requests.in_flight(),
    })
}

/// The clock, in microseconds.
fn clock(replica: &Replica) -> serde_json::Value {
    let (monotonic, calendar) = role::clocks();
    let clock = replica.clock(monotonic);
    let adjusted = clock.adjusted.map(|(error, ago)| {
        serde_json::json!({"errorMicros": error.get().as_micros(), "secondsAgo": ago.as_secs()})
    });
    let last_round = replica.timekeeping().last_round().map(|round| {
        let readings =
            round.readings.iter().map(|(name, calendar)| (name.to_string(), calendar.micros().into()));
        let adjustments = round.adjustments.iter().map(|(name, by)| (name.to_string(), by.micros().into()));
        serde_json::json!({
            "outcome": round.outcome.as_str(),
            "readingsMicros": serde_json::Map::from_iter(readings),
            "meanMicros": round.mean.map(Moment::micros),
            "adjustmentsMicros": serde_json::Map::from_iter(adjustments),
        })
    });
    serde_json::json!({
        "timeMicros": clock.time.micros(),
        // Of this machine's calendar, to the microsecond.
        "offsetMicros": clock.time.micros().saturating_sub(calendar),
        "aheadMicros": clock.ahead.micros(),
        "adjusted": adjusted,
        "lastRound": last_round,
    })
}
