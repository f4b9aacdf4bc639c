//! One person in the chat: carries commands out and shows what came of them.

use super::ChatOptions;
use super::catch_up::{CatchUp, NEWEST, Places, catch_up, show_live, unseen, watch_link};
use super::command::{COMMANDS, Command, SCRIPT_COMMANDS};
use super::complete::Names;
use super::history::History;
use super::line::{self, Line, Message, Place};
use super::screen::Screen;
use crate::client::{Client, Link, LiveStream, RequestError, Seen, SharedClock, now};
use papo_protocol::client::ReadReply;
use papo_protocol::reply::Code;
use papo_protocol::{Identity, UserName, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The channel that everybody enters first: the exercise's "general".
pub(super) const FIRST_CHANNEL: &str = "geral";
/// Messages shown on joining, and by `/history` without a number.
const HISTORY_SHOWN: usize = 20;
/// Direct messages shown at the start: what came while away.
const INBOX_SHOWN: usize = 10;
/// How often, and how far apart, a channel is looked for that one server says is there.
const APPEAR_TRIES: usize = 10;
const APPEAR_PAUSE: Duration = Duration::from_millis(200);
/// A post comes back live within this; one that does not has the histories read on.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// How often, at most, the names for completion are asked for.
const NAMES_EVERY: Duration = Duration::from_secs(15);

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// Carried out.
    Well,
    /// Refused, or nobody answered; already shown.
    Badly,
}

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
pub(super) struct Session {
    client: Client,
    live: LiveStream,
    history: History,
    seen: Seen,
    screen: Screen,
    names: Names,
    names_asked: Option<Instant>,
    user: UserName,
    places: Places,
    current: Option<String>,
    wake: Arc<Notify>,
    asked: String,
    /// Ends with the session.
    background: JoinSet<()>,
}

impl Session {
    /// Logs in, follows the user's own topic, shows the latest direct messages, and joins [`FIRST_CHANNEL`].
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
        let session = Self {
            client,
            live,
            history,
            seen,
            screen,
            names,
            names_asked: None,
            user,
            places,
            current: None,
            wake,
            asked,
            background,
        };
        session.screen.note(format!("you are {}; /help lists the commands", session.user));
        Ok(session)
    }

    /// The channel where plain text goes.
    pub(super) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    pub(super) fn user(&self) -> &UserName {
        &self.user
    }

    pub(super) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Shows what came while away, and enters the first channel.
    pub(super) async fn begin(&mut self) -> Done {
        let inbox = Place::User(self.user.as_str().to_owned());
        // Whatever went wrong is tried again in the background.
        let _ = self.read_from_now(inbox, INBOX_SHOWN).await;
        self.join(FIRST_CHANNEL).await
    }

    /// Carries out a command. Those that end or delay a script are its runner's.
    pub(super) async fn carry_out(&mut self, command: Command) -> Done {
        match command {
            Command::Nothing | Command::Quit | Command::Sleep(_) | Command::Expect { .. } => Done::Well,
            Command::Post(text) => self.post(&text).await,
            Command::Join(channel) => self.join(&channel).await,
            Command::Leave(channel) => self.leave(channel),
            Command::Channels => self.channels().await,
            Command::Users => self.users().await,
            Command::Create(channel) => self.create(&channel).await,
            Command::Message { to, text } => self.message(&to, &text).await,
            Command::History(count) => self.show_history(count.unwrap_or(HISTORY_SHOWN)).await,
            Command::Who => self.who(),
            Command::Help => self.help(),
        }
    }

    async fn post(&mut self, text: &str) -> Done {
        let Some(channel) = self.current.clone() else {
            return self.failed("you are in no channel: /join CHANNEL enters one".to_owned());
        };
        let fields = [("user", self.user.as_str()), ("channel", channel.as_str()), ("message", text)];
        match self.client.write("publish", &fields).await {
            Ok(reply) => {
                // It comes back as a live message; without that connection it is shown here.
                if matches!(*self.live.link().borrow(), Link::Up { .. }) {
                    self.expect_back(&reply);
                } else {
                    self.show_own(&reply, Place::Channel(channel), text);
                }
                Done::Well
            }
            Err(error) => self.failed(format!("not posted ({}): {text}", self.explain(&error))),
        }
    }

    async fn message(&mut self, to: &str, text: &str) -> Done {
        let fields = [("src", self.user.as_str()), ("dst", to), ("message", text)];
        match self.client.write("message", &fields).await {
            Ok(reply) => {
                self.names.add_users([to.to_owned()]);
                self.show_own(&reply, Place::User(to.to_owned()), text);
                Done::Well
            }
            Err(error) => self.failed(format!("not sent to {to} ({}): {text}", self.explain(&error))),
        }
    }

    async fn join(&mut self, channel: &str) -> Done {
        match self.list_channels().await {
            Ok(channels) if channels.iter().any(|known| known == channel) => {}
            Ok(_) => {
                // Somebody else may have created it since it was looked for; that is as good.
                if let Err(error) = self.request_channel(channel).await
                    && !(is_name_taken(&error) && self.appears(channel).await)
                {
                    return self.failed(format!("cannot create #{channel}: {}", self.explain(&error)));
                }
            }
            Err(error) => return self.failed(format!("cannot join #{channel}: {}", self.explain(&error))),
        }
        // Followed first, read afterwards: what comes in between is in one of the two, and shown once.
        self.live.follow(channel);
        self.current = Some(channel.to_owned());
        self.screen.note(format!("joined #{channel}"));
        let read = self.read_from_now(Place::Channel(channel.to_owned()), HISTORY_SHOWN).await;
        self.wake.notify_one();
        match read {
            Ok(()) => Done::Well,
            Err(error) => self.failed(format!("no history of #{channel}: {}", self.explain(&error))),
        }
    }

    /// Shows the last of a place's history; from there it is read on in the background, also when this failed.
    async fn read_from_now(&self, place: Place, count: usize) -> Result<(), RequestError> {
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

    fn leave(&mut self, channel: Option<String>) -> Done {
        let Some(channel) = channel.or_else(|| self.current.clone()) else {
            return self.failed("you are in no channel".to_owned());
        };
        if !self.places.remove(&Place::Channel(channel.clone())) {
            return self.failed(format!("you are not in #{channel}"));
        }
        // A user may have the channel's name: direct messages go on.
        if channel != self.user.as_str() {
            self.live.unfollow(&channel);
        }
        if self.current.as_ref() == Some(&channel) {
            self.current = self.places.channels().pop();
        }
        match &self.current {
            Some(current) => self.screen.note(format!("left #{channel}; you write to #{current} now")),
            None => self.screen.note(format!("left #{channel}")),
        }
        Done::Well
    }

    /// Whether a channel that one server knows of is soon known to the others, which may be asked next.
    async fn appears(&mut self, channel: &str) -> bool {
        for _ in 0..APPEAR_TRIES {
            if self.list_channels().await.is_ok_and(|channels| channels.iter().any(|known| known == channel))
            {
                return true;
            }
            tokio::time::sleep(APPEAR_PAUSE).await;
        }
        false
    }

    async fn request_channel(&mut self, channel: &str) -> Result<(), RequestError> {
        let reply =
            self.client.write("channel", &[("channel", channel), ("user", self.user.as_str())]).await?;
        self.history.learn(&reply);
        self.names.add_channels([channel.to_owned()]);
        self.screen.note(format!("created #{channel}"));
        Ok(())
    }

    async fn create(&mut self, channel: &str) -> Done {
        match self.request_channel(channel).await {
            Ok(()) => Done::Well,
            Err(error) => self.failed(format!("cannot create #{channel}: {}", self.explain(&error))),
        }
    }

    async fn channels(&mut self) -> Done {
        match self.list_channels().await {
            Ok(channels) => {
                let joined = self.places.channels();
                let mark = |channel: &String| if joined.contains(channel) { " (joined)" } else { "" };
                let channels: Vec<_> =
                    channels.iter().map(|channel| format!("#{channel}{}", mark(channel))).collect();
                self.screen.note(listed("channel", &channels));
                Done::Well
            }
            Err(error) => self.failed(format!("cannot list the channels: {}", self.explain(&error))),
        }
    }

    async fn users(&mut self) -> Done {
        match self.client.read("users", &[]).await {
            Ok(reply) => {
                let users = reply.names(&["users", "lista"]);
                self.names.add_users(users.clone());
                self.screen.note(listed("user", &users));
                Done::Well
            }
            Err(error) => self.failed(format!("cannot list the users: {}", self.explain(&error))),
        }
    }

    async fn show_history(&mut self, count: usize) -> Done {
        let scope = match &self.current {
            Some(channel) => Place::Channel(channel.clone()),
            None => Place::User(self.user.as_str().to_owned()),
        };
        if !self.history.is_available() {
            return self.failed("this server keeps no history".to_owned());
        }
        match self.history.newest(&scope, count).await {
            Ok(page) if page.messages.is_empty() => {
                self.screen.note("nothing was said here yet");
                Done::Well
            }
            Ok(page) => {
                for message in page.messages {
                    self.seen.is_new(message.message_id.as_ref());
                    self.screen.show(&Line::Message(Message::of_history(message, &scope, now())));
                }
                Done::Well
            }
            Err(error) => self.failed(format!("no history: {}", self.explain(&error))),
        }
    }

    fn who(&self) -> Done {
        let joined: Vec<_> = self.places.channels().iter().map(|channel| format!("#{channel}")).collect();
        let place = self
            .current
            .as_ref()
            .map_or("in no channel".to_owned(), |channel| format!("writing to #{channel}"));
        self.screen.note(format!(
            "you are {}, {place}; joined: {}; asking {}",
            self.user,
            joined.join(" "),
            self.asked
        ));
        Done::Well
    }

    fn help(&self) -> Done {
        let show = |commands: &[(&str, &str, &str)]| {
            for (name, arguments, what) in commands {
                let usage = format!("{:<24}", format!("{name} {arguments}"));
                self.screen.write(format!("  {} {what}", line::strong(self.screen.colours(), &usage)));
            }
        };
        self.screen
            .write("Text is posted to the channel you are in; what begins with / is a command:".to_owned());
        show(&COMMANDS);
        self.screen.write("In scripts also:".to_owned());
        show(&SCRIPT_COMMANDS);
        Done::Well
    }

    /// In the background, and not more often than every [`NAMES_EVERY`]: asks for the names that the tab key offers.
    pub(super) fn refresh_names(&mut self) {
        let fresh = self.names_asked.is_some_and(|asked| asked.elapsed() < NAMES_EVERY);
        if fresh || *self.client.link().borrow() == Link::Lost {
            return;
        }
        self.names_asked = Some(Instant::now());
        let (client, names) = (self.client.clone(), self.names.clone());
        self.background.spawn(async move {
            // Completion is a convenience: without an answer it offers what it knows.
            if let Ok(reply) = client.read("users", &[]).await {
                names.add_users(reply.names(&["users", "lista"]));
            }
            if let Ok(reply) = client.read("channels", &[]).await {
                names.add_channels(reply.names(&["channels", "lista", "users"]));
            }
        });
        while self.background.try_join_next().is_some() {}
    }

    async fn list_channels(&self) -> Result<Vec<String>, RequestError> {
        let reply = self.client.read("channels", &[]).await?;
        self.history.learn(&reply);
        // The exercise's own statement answers under `users`.
        let channels = reply.names(&["channels", "lista", "users"]);
        self.names.add_channels(channels.clone());
        Ok(channels)
    }

    /// The last of what is new.
    fn show_last(&self, messages: Vec<Message>, count: usize) {
        let skipped = messages.len().saturating_sub(count);
        for message in messages.into_iter().skip(skipped) {
            self.screen.show(&Line::Message(message));
        }
    }

    /// A message of one's own, unless it came back live already.
    fn show_own(&self, reply: &ReadReply, place: Place, text: &str) {
        if self.seen.is_new(message_id(reply).as_ref()) {
            let user = self.user.as_str().to_owned();
            self.screen.show(&Line::Message(Message { at: now(), place, user, text: text.to_owned() }));
        }
    }

    /// Has the histories read on when this post does not come back live.
    fn expect_back(&mut self, reply: &ReadReply) {
        let Some(identity) = message_id(reply) else { return };
        let (seen, wake) = (self.seen.clone(), self.wake.clone());
        self.background.spawn(async move {
            tokio::time::sleep(BACK_WITHIN).await;
            if !seen.knows(&identity) {
                wake.notify_one();
            }
        });
        while self.background.try_join_next().is_some() {}
    }

    fn failed(&self, text: String) -> Done {
        self.screen.problem(text);
        Done::Badly
    }

    fn explain(&self, error: &RequestError) -> String {
        match error {
            RequestError::NoAnswer { .. } => format!("no answer from {}", self.asked),
            other => other.to_string(),
        }
    }
}

/// Whether a name was refused because it is there already; foreign servers give no code.
fn is_name_taken(error: &RequestError) -> bool {
    match error {
        RequestError::Refused(failure) => {
            failure.code.as_deref().is_none_or(|code| code == Code::NameTaken.as_str())
        }
        RequestError::NoAnswer { .. } | RequestError::Unreadable { .. } | RequestError::Closed => false,
    }
}

fn message_id(reply: &ReadReply) -> Option<Identity> {
    match reply.data.get("message_id") {
        Some(Value::Bytes(bytes)) => bytes.as_ref().try_into().ok().map(Identity),
        _ => None,
    }
}

/// Such as `2 users: ana, bia`.
fn listed(what: &str, names: &[String]) -> String {
    match names {
        [] => format!("no {what}s yet"),
        [name] => format!("1 {what}: {name}"),
        names => format!("{} {what}s: {}", names.len(), names.join(", ")),
    }
}
