//! What runs beside the typed lines: showing live messages, telling when a connection is lost and back, and reading the histories
//! on from where they were last read, so that nothing is missed and nothing shown twice.
//!
//! Live messages are fast and may be lost: with a connection, with a proxy, or by a proxy that hangs, which ZeroMQ does not tell.
//! Histories are complete: read from cursor to cursor, they give each message once. So every followed place has a cursor, which is
//! advanced now and then; what comes both ways is known by its identity. What comes late is shown late.

use super::complete::Names;
use super::history::{History, is_cursor_refused};
use super::line::{Line, Message, Place};
use super::screen::Screen;
use crate::client::{Link, LiveStream, Publication, RequestError, Seen, now};
use papo_protocol::client::ReadMessage;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

/// Messages asked for where there is no cursor, so that what was shown before a loss and what came meanwhile overlap.
pub(super) const NEWEST: usize = 200;

/// How long after a new subscription the history is read on: by then the subscription has reached the proxy.
const SETTLE: Duration = Duration::from_secs(1);

/// How often the histories are read on while all is well (design, "History": a live reader asks every 30 s). Up to a fifth more,
/// by chance, so that readers who came at once do not ask at once.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How soon again when something was missed, or nothing can come live.
const CHECK_AGAIN: Duration = Duration::from_secs(2);

/// So many live messages also have them read on: [`Seen`] remembers eight times as many until a page has them.
const CHECK_AFTER: usize = 4096;

/// What a person follows, and how far each is read; channels in the order in which they were joined. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Vec<Reading>>>);

#[derive(Debug, Clone)]
struct Reading {
    place: Place,
    /// `None` where none could be had: then the newest are read.
    cursor: Option<String>,
}

impl Places {
    /// Follows another place, which is read up to here.
    pub(super) fn add(&self, place: Place, cursor: Option<String>) {
        self.with(|all| all.push(Reading { place, cursor }));
    }

    /// Whether it was followed.
    pub(super) fn remove(&self, place: &Place) -> bool {
        self.with(|all| {
            let before = all.len();
            all.retain(|reading| reading.place != *place);
            all.len() < before
        })
    }

    /// Whether it is followed.
    pub(super) fn has(&self, place: &Place) -> bool {
        self.with(|all| all.iter().any(|reading| reading.place == *place))
    }

    pub(super) fn channels(&self) -> Vec<String> {
        let channel = |reading: &Reading| match &reading.place {
            Place::Channel(channel) => Some(channel.clone()),
            Place::User(_) => None,
        };
        self.with(|all| all.iter().filter_map(channel).collect())
    }

    fn all(&self) -> Vec<Reading> {
        self.with(|all| all.clone())
    }

    /// The place is read up to here, if it is still followed.
    fn read_to(&self, place: &Place, cursor: Option<String>) {
        self.with(|all| {
            if let Some(reading) = all.iter_mut().find(|reading| reading.place == *place) {
                reading.cursor = cursor;
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Reading>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Shows live messages until the stream ends.
pub(super) async fn show_live(
    mut messages: mpsc::Receiver<Publication>,
    me: String,
    screen: Screen,
    names: Names,
    wake: Arc<Notify>,
) {
    let mut shown = 0_usize;
    while let Some(publication) = messages.recv().await {
        let message = Message::of_publication(publication, &me, now());
        if !message.user.is_empty() {
            names.add_users([message.user.clone()]);
        }
        screen.show(&Line::Message(message));
        shown += 1;
        if shown.is_multiple_of(CHECK_AFTER) {
            wake.notify_one();
        }
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
                wake.notify_one();
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
    /// Over a connection of its own: a person's request never waits behind it.
    pub(super) history: History,
    pub(super) live: LiveStream,
    pub(super) places: Places,
    pub(super) seen: Seen,
    pub(super) screen: Screen,
    pub(super) wake: Arc<Notify>,
}

/// What reading on has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing that had not come live.
    Nothing,
    /// Messages that had not come live.
    Missed,
    /// Nobody answered, or not with a history.
    Trouble,
}

/// Reads on whenever woken, and now and then; shows what was not shown yet.
pub(super) async fn catch_up(task: CatchUp) {
    let mut found = Found::Nothing;
    loop {
        let heard = task.live.heard();
        tokio::select! {
            () = task.wake.notified() => sleep(SETTLE).await,
            () = sleep(pause(found, *task.live.link().borrow())) => {}
        }
        if found == Found::Missed && task.live.heard() == heard {
            // Perhaps nobody has spoken since. If somebody did, the proxy hangs: a new connection costs little.
            task.live.suspect();
        }
        found = task.read_on().await;
    }
}

fn pause(found: Found, live: Link) -> Duration {
    if found == Found::Nothing && matches!(live, Link::Up { .. }) {
        CHECK_EVERY.mul_f64(rand::random_range(1.0..1.2))
    } else {
        CHECK_AGAIN
    }
}

impl CatchUp {
    async fn read_on(&self) -> Found {
        let mut found = Found::Nothing;
        for Reading { place, cursor } in self.places.all() {
            match self.read_on_in(&place, cursor).await {
                Ok(false) => {}
                Ok(true) if found == Found::Nothing => found = Found::Missed,
                Ok(true) => {}
                Err(error) => {
                    tracing::debug!(?place, %error, "not read on");
                    if is_cursor_refused(&error) {
                        self.places.read_to(&place, None);
                    }
                    found = Found::Trouble;
                }
            }
        }
        found
    }

    /// Page after page; says whether one of them held what was not shown yet.
    async fn read_on_in(&self, place: &Place, mut cursor: Option<String>) -> Result<bool, RequestError> {
        let mut missed = false;
        loop {
            let page = match &cursor {
                Some(cursor) => self.history.after(place, cursor).await?,
                None => self.history.newest(place, NEWEST).await?,
            };
            for message in unseen(page.messages, place, &self.seen) {
                missed = true;
                self.screen.show(&Line::Message(message));
            }
            let stands_still = page.cursor == cursor;
            cursor = page.cursor;
            self.places.read_to(place, cursor.clone());
            if !page.more || stands_still {
                return Ok(missed);
            }
        }
    }
}

/// Those that were not shown; without an identity nobody can tell, so they are left out.
pub(super) fn unseen(messages: Vec<ReadMessage>, place: &Place, seen: &Seen) -> Vec<Message> {
    let is_new =
        |message: &ReadMessage| message.message_id.as_ref().is_some_and(|id| seen.is_new_in_history(id));
    let new = messages.into_iter().filter(is_new);
    new.map(|message| Message::of_history(message, place, now())).collect()
}
