//! A user who has entered: the connections, and what runs beside the person's own requests. How the person speaks to it, by
//! [`super::session`]'s commands or by [`super::menu`]'s numbers, it must not know.

use super::ChatOptions;
use super::catch_up::{CatchUp, NEWEST, Places, catch_up, show_live, unseen, watch_link};
use super::complete::Names;
use super::history::History;
use super::line::{Line, Message, Place};
use super::screen::Screen;
use crate::client::{Client, LiveStream, RequestError, Seen, SharedClock};
use papo_protocol::client::ReadReply;
use papo_protocol::{Identity, UserName, Value};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Why a person cannot enter.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnterError {
    /// The server knows papo's codes and refuses this name.
    #[error("cannot enter as {name}: {source}")]
    Refused { name: UserName, source: RequestError },
    /// Nobody answered.
    #[error("cannot enter: {source}")]
    Unreachable { source: RequestError },
}

/// A person who has entered.
pub(super) struct Presence {
    pub(super) user: UserName,
    pub(super) client: Client,
    pub(super) live: LiveStream,
    pub(super) history: History,
    pub(super) seen: Seen,
    pub(super) screen: Screen,
    pub(super) names: Names,
    pub(super) places: Places,
    /// Has the histories read on.
    pub(super) wake: Arc<Notify>,
    /// Whom requests are sent to, in words.
    pub(super) asked: String,
    /// Ends with the presence.
    pub(super) background: JoinSet<()>,
}

impl Presence {
    /// Logs in and follows the user's own topic.
    ///
    /// # Errors
    /// When the name is refused, or nobody answers.
    pub(super) async fn enter(
        options: &ChatOptions,
        user: UserName,
        screen: Screen,
        names: Names,
    ) -> Result<Self, EnterError> {
        let (clock, seen) = (SharedClock::default(), Seen::default());
        let (asked, addresses) = options.asked();
        let client = Client::open(addresses.clone(), clock.clone());
        let wake = Arc::new(Notify::new());
        let mut background = JoinSet::new();
        background.spawn(watch_link(client.link(), asked.clone(), screen.clone(), wake.clone()));

        let login = client.write("login", &[("user", user.as_str())]).await;
        let history = History::new(client.clone());
        let reader = history.over(Client::open(addresses, clock.clone()));
        match login {
            Ok(reply) => history.learn(&reply),
            // Some foreign servers refuse whoever has entered before, and then serve them well.
            Err(RequestError::Refused(failure)) if failure.code.is_none() => {
                screen.problem(format!("the server says: {}; going on as {user}", failure.text));
            }
            Err(source @ RequestError::Refused(_)) => return Err(EnterError::Refused { name: user, source }),
            Err(source) => return Err(EnterError::Unreachable { source }),
        }

        let (heard, addresses) = options.heard();
        let (live, messages) = LiveStream::open(addresses, clock, seen.clone());
        live.follow(user.as_str());
        background.spawn(watch_link(live.link(), heard, screen.clone(), wake.clone()));
        let me = user.as_str().to_owned();
        background.spawn(show_live(messages, me, screen.clone(), names.clone(), wake.clone()));
        let places = Places::default();
        background.spawn(catch_up(CatchUp {
            history: reader,
            live: live.clone(),
            places: places.clone(),
            seen: seen.clone(),
            screen: screen.clone(),
            wake: wake.clone(),
        }));
        Ok(Self { user, client, live, history, seen, screen, names, places, wake, asked, background })
    }

    /// Shows the last of a place's history; from there it is read on in the background, also when this failed. A place that is
    /// followed already is read on from where it was.
    ///
    /// # Errors
    /// As any request.
    pub(super) async fn read_from_now(&self, place: Place, count: usize) -> Result<(), RequestError> {
        if self.places.has(&place) {
            return Ok(());
        }
        let read = self.history.newest(&place, NEWEST).await;
        let (cursor, read) = match read {
            Ok(page) => {
                self.show_last(unseen(page.messages, &place, &self.seen), count);
                (page.cursor, Ok(()))
            }
            Err(error) => (None, Err(error)),
        };
        self.places.add(place, cursor);
        read
    }

    /// The last of what is new.
    fn show_last(&self, messages: Vec<Message>, count: usize) {
        let skipped = messages.len().saturating_sub(count);
        for message in messages.into_iter().skip(skipped) {
            self.screen.show(&Line::Message(message));
        }
    }

    /// The channels that there are.
    ///
    /// # Errors
    /// As any request.
    pub(super) async fn list_channels(&self) -> Result<Vec<String>, RequestError> {
        let reply = self.client.read("channels", &[]).await?;
        self.history.learn(&reply);
        // The exercise's own statement answers under `users`.
        let channels = reply.names(&["channels", "lista", "users"]);
        self.names.add_channels(channels.clone());
        Ok(channels)
    }

    /// The users that there are.
    ///
    /// # Errors
    /// As any request.
    pub(super) async fn list_users(&self) -> Result<Vec<String>, RequestError> {
        let users = self.client.read("users", &[]).await?.names(&["users", "lista"]);
        self.names.add_users(users.clone());
        Ok(users)
    }

    /// Makes a channel.
    ///
    /// # Errors
    /// As any request.
    pub(super) async fn create_channel(&self, channel: &str) -> Result<(), RequestError> {
        let reply =
            self.client.write("channel", &[("channel", channel), ("user", self.user.as_str())]).await?;
        self.history.learn(&reply);
        self.names.add_channels([channel.to_owned()]);
        Ok(())
    }

    /// Posts to a channel.
    ///
    /// # Errors
    /// As any request.
    pub(super) async fn publish(&self, channel: &str, text: &str) -> Result<ReadReply, RequestError> {
        let fields = [("user", self.user.as_str()), ("channel", channel), ("message", text)];
        self.client.write("publish", &fields).await
    }

    /// Sends a direct message.
    ///
    /// # Errors
    /// As any request.
    pub(super) async fn send(&self, to: &str, text: &str) -> Result<ReadReply, RequestError> {
        let fields = [("src", self.user.as_str()), ("dst", to), ("message", text)];
        let reply = self.client.write("message", &fields).await?;
        self.names.add_users([to.to_owned()]);
        Ok(reply)
    }

    /// What went wrong, in words.
    pub(super) fn explain(&self, error: &RequestError) -> String {
        match error {
            RequestError::NoAnswer { .. } => format!("no answer from {}", self.asked),
            other => other.to_string(),
        }
    }
}

/// The identity of what was written, where the server has one.
pub(super) fn message_id(reply: &ReadReply) -> Option<Identity> {
    match reply.data.get("message_id") {
        Some(Value::Bytes(bytes)) => bytes.as_ref().try_into().ok().map(Identity),
        _ => None,
    }
}
