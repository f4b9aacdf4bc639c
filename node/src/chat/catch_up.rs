//! What runs beside the typed lines: showing live messages, telling when a connection is lost and back, and afterwards fetching
//! what was missed meanwhile.

use super::complete::Names;
use super::line::{Line, Message, Place};
use super::screen::Screen;
use crate::client::{Client, Link, Publication, RequestError, Seen, now};
use papo_protocol::Value;
use papo_protocol::client::{ReadMessage, ReadReply};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// Messages asked for in each scope, so that what was shown before a loss and what came meanwhile overlap.
pub(super) const CATCH_UP: usize = 200;

/// How long after a new subscription the history is read again: by then the subscription has reached the proxy.
const SETTLE: Duration = Duration::from_secs(1);

/// The channels that were joined, in that order. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined(Arc<Mutex<Vec<String>>>);

impl Joined {
    pub(super) fn add(&self, channel: &str) {
        self.with(|channels| {
            channels.retain(|joined| joined != channel);
            channels.push(channel.to_owned());
        });
    }

    /// Whether it was joined.
    pub(super) fn remove(&self, channel: &str) -> bool {
        self.with(|channels| {
            let before = channels.len();
            channels.retain(|joined| joined != channel);
            channels.len() < before
        })
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.with(|channels| channels.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<String>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The service `history`, which only papo has. It is asked only once a reply has shown that papo answers: some foreign
/// servers hang for good after a service they do not know.
#[derive(Debug, Clone)]
pub(super) struct History {
    client: Client,
    available: Arc<AtomicBool>,
}

impl History {
    pub(super) fn new(client: Client) -> Self {
        Self { client, available: Arc::default() }
    }

    /// Takes note of a reply that only papo writes: one with a `message_id`, or a list under all its names.
    pub(super) fn learn(&self, reply: &ReadReply) {
        let has = |key| field(reply, key).is_some();
        if has("message_id") || ["channels", "users", "lista"].into_iter().all(has) {
            self.available.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// The newest `limit` messages, oldest first; none from a foreign server.
    ///
    /// # Errors
    /// As any request.
    pub(super) async fn fetch(&self, scope: &Place, limit: usize) -> Result<Vec<ReadMessage>, RequestError> {
        if !self.is_available() {
            return Ok(Vec::new());
        }
        let (key, name) = match scope {
            Place::Channel(channel) => ("channel", channel),
            Place::User(user) => ("user", user),
        };
        let reply = self.client.read("history", &[(key, name), ("limit", &limit.to_string())]).await?;
        let mut messages = reply.messages();
        messages.drain(..messages.len().saturating_sub(limit));
        Ok(messages)
    }
}

/// A field of a reply's `data`.
pub(super) fn field<'a>(reply: &'a ReadReply, key: &str) -> Option<&'a Value> {
    let Value::Map(entries) = &reply.data else { return None };
    entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
}

/// Shows live messages until the stream ends.
pub(super) async fn show_live(
    mut messages: mpsc::Receiver<Publication>,
    me: String,
    screen: Screen,
    names: Names,
) {
    while let Some(publication) = messages.recv().await {
        let message = Message::of_publication(publication, &me, now());
        if !message.user.is_empty() {
            names.add_users([message.user.clone()]);
        }
        screen.show(&Line::Message(message));
    }
}

/// Tells once when a connection is lost and once when it is back, and then wakes [`catch_up`].
pub(super) async fn watch_link(
    mut link: watch::Receiver<Link>,
    peer: String,
    screen: Screen,
    wake: Arc<Notify>,
) {
    let mut lost = false;
    while link.changed().await.is_ok() {
        let state = *link.borrow_and_update();
        match state {
            Link::Fresh => {}
            Link::Lost if lost => {}
            Link::Lost => {
                lost = true;
                screen.problem(format!("no connection to {peer}: trying again"));
            }
            Link::Up { connection } => {
                if lost {
                    screen.note(format!("connected to {peer} again"));
                }
                if lost || connection > 1 {
                    wake.notify_one();
                }
                lost = false;
            }
        }
    }
}

/// What [`catch_up`] needs.
pub(super) struct CatchUp {
    pub(super) history: History,
    pub(super) me: String,
    pub(super) joined: Joined,
    pub(super) seen: Seen,
    pub(super) screen: Screen,
    pub(super) wake: Arc<Notify>,
}

/// Whenever woken: shows the messages of the joined channels, and those from and to this user, that were not shown yet.
pub(super) async fn catch_up(task: CatchUp) {
    loop {
        task.wake.notified().await;
        tokio::time::sleep(SETTLE).await;
        let channels = task.joined.all().into_iter().map(Place::Channel);
        let mut missed = Vec::new();
        for scope in channels.chain([Place::User(task.me.clone())]) {
            match task.history.fetch(&scope, CATCH_UP).await {
                Ok(messages) => missed.extend(unseen(messages, &scope, &task.seen)),
                // A connection that comes back wakes this again.
                Err(error) => tracing::debug!(?scope, %error, "nothing caught up"),
            }
        }
        missed.sort_by_key(|message| message.at);
        for message in missed {
            task.screen.show(&Line::Message(message));
        }
    }
}

/// Those that were not shown; without an identity nobody can tell, so they are left out.
pub(super) fn unseen(messages: Vec<ReadMessage>, scope: &Place, seen: &Seen) -> Vec<Message> {
    let new = messages
        .into_iter()
        .filter(|message| message.message_id.is_some() && seen.is_new(message.message_id.as_ref()));
    new.map(|message| Message::of_history(message, scope, now())).collect()
}
