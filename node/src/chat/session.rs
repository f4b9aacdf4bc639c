//! One person in the chat: carries commands out and shows what came of them.

use super::ChatOptions;
use super::command::{COMMANDS, Command, SCRIPT_COMMANDS};
use super::complete::Names;
use super::line::{self, Line, Message, Place};
use super::presence::{EnterError, Presence, message_id};
use super::screen::Screen;
use crate::client::{Link, RequestError, now};
use papo_protocol::UserName;
use papo_protocol::client::ReadReply;
use papo_protocol::reply::Code;
use std::time::{Duration, Instant};

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

/// A person who has entered.
pub(super) struct Session {
    here: Presence,
    names_asked: Option<Instant>,
    current: Option<String>,
}

impl Session {
    /// Logs in, and follows the user's own topic.
    pub(super) async fn enter(
        options: &ChatOptions,
        user: UserName,
        screen: Screen,
        names: Names,
    ) -> Result<Self, EnterError> {
        let here = Presence::enter(options, user, screen, names).await?;
        here.screen.note(format!("you are {}; /help lists the commands", here.user));
        Ok(Self { here, names_asked: None, current: None })
    }

    /// The channel where plain text goes.
    pub(super) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    pub(super) fn user(&self) -> &UserName {
        &self.here.user
    }

    pub(super) fn screen(&self) -> &Screen {
        &self.here.screen
    }

    /// Shows what came while away, and enters the first channel.
    pub(super) async fn begin(&mut self) -> Done {
        let inbox = Place::User(self.here.user.as_str().to_owned());
        // Whatever went wrong is tried again in the background.
        let _ = self.here.read_from_now(inbox, INBOX_SHOWN).await;
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
        match self.here.publish(&channel, text).await {
            Ok(reply) => {
                // It comes back as a live message; without that connection it is shown here.
                if matches!(*self.here.live.link().borrow(), Link::Up { .. }) {
                    self.expect_back(&reply);
                } else {
                    self.show_own(&reply, Place::Channel(channel), text);
                }
                Done::Well
            }
            Err(error) => self.failed(format!("not posted ({}): {text}", self.here.explain(&error))),
        }
    }

    async fn message(&mut self, to: &str, text: &str) -> Done {
        match self.here.send(to, text).await {
            Ok(reply) => {
                self.show_own(&reply, Place::User(to.to_owned()), text);
                Done::Well
            }
            Err(error) => self.failed(format!("not sent to {to} ({}): {text}", self.here.explain(&error))),
        }
    }

    async fn join(&mut self, channel: &str) -> Done {
        match self.here.list_channels().await {
            Ok(channels) if channels.iter().any(|known| known == channel) => {}
            Ok(_) => {
                // Somebody else may have created it since it was looked for; that is as good.
                if let Err(error) = self.request_channel(channel).await
                    && !(is_name_taken(&error) && self.appears(channel).await)
                {
                    return self.failed(format!("cannot create #{channel}: {}", self.here.explain(&error)));
                }
            }
            Err(error) => {
                return self.failed(format!("cannot join #{channel}: {}", self.here.explain(&error)));
            }
        }
        // Followed first, read afterwards: what comes in between is in one of the two, and shown once.
        self.here.live.follow(channel);
        self.current = Some(channel.to_owned());
        self.here.screen.note(format!("joined #{channel}"));
        let read = self.here.read_from_now(Place::Channel(channel.to_owned()), HISTORY_SHOWN).await;
        self.here.wake.notify_one();
        match read {
            Ok(()) => Done::Well,
            Err(error) => self.failed(format!("no history of #{channel}: {}", self.here.explain(&error))),
        }
    }

    fn leave(&mut self, channel: Option<String>) -> Done {
        let Some(channel) = channel.or_else(|| self.current.clone()) else {
            return self.failed("you are in no channel".to_owned());
        };
        if !self.here.places.remove(&Place::Channel(channel.clone())) {
            return self.failed(format!("you are not in #{channel}"));
        }
        // A user may have the channel's name: direct messages go on.
        if channel != self.here.user.as_str() {
            self.here.live.unfollow(&channel);
        }
        if self.current.as_ref() == Some(&channel) {
            self.current = self.here.places.channels().pop();
        }
        match &self.current {
            Some(current) => self.here.screen.note(format!("left #{channel}; you write to #{current} now")),
            None => self.here.screen.note(format!("left #{channel}")),
        }
        Done::Well
    }

    /// Whether a channel that one server knows of is soon known to the others, which may be asked next.
    async fn appears(&mut self, channel: &str) -> bool {
        for _ in 0..APPEAR_TRIES {
            if self
                .here
                .list_channels()
                .await
                .is_ok_and(|channels| channels.iter().any(|known| known == channel))
            {
                return true;
            }
            tokio::time::sleep(APPEAR_PAUSE).await;
        }
        false
    }

    async fn request_channel(&mut self, channel: &str) -> Result<(), RequestError> {
        self.here.create_channel(channel).await?;
        self.here.screen.note(format!("created #{channel}"));
        Ok(())
    }

    async fn create(&mut self, channel: &str) -> Done {
        match self.request_channel(channel).await {
            Ok(()) => Done::Well,
            Err(error) => self.failed(format!("cannot create #{channel}: {}", self.here.explain(&error))),
        }
    }

    async fn channels(&mut self) -> Done {
        match self.here.list_channels().await {
            Ok(channels) => {
                let joined = self.here.places.channels();
                let mark = |channel: &String| if joined.contains(channel) { " (joined)" } else { "" };
                let channels: Vec<_> =
                    channels.iter().map(|channel| format!("#{channel}{}", mark(channel))).collect();
                self.here.screen.note(listed("channel", &channels));
                Done::Well
            }
            Err(error) => self.failed(format!("cannot list the channels: {}", self.here.explain(&error))),
        }
    }

    async fn users(&mut self) -> Done {
        match self.here.list_users().await {
            Ok(users) => {
                self.here.screen.note(listed("user", &users));
                Done::Well
            }
            Err(error) => self.failed(format!("cannot list the users: {}", self.here.explain(&error))),
        }
    }

    async fn show_history(&mut self, count: usize) -> Done {
        let scope = match &self.current {
            Some(channel) => Place::Channel(channel.clone()),
            None => Place::User(self.here.user.as_str().to_owned()),
        };
        if !self.here.history.is_available() {
            return self.failed("this server keeps no history".to_owned());
        }
        match self.here.history.newest(&scope, count).await {
            Ok(page) if page.messages.is_empty() => {
                self.here.screen.note("nothing was said here yet");
                Done::Well
            }
            Ok(page) => {
                for message in page.messages {
                    self.here.seen.is_new(message.message_id.as_ref());
                    self.here.screen.show(&Line::Message(Message::of_history(message, &scope, now())));
                }
                Done::Well
            }
            Err(error) => self.failed(format!("no history: {}", self.here.explain(&error))),
        }
    }

    fn who(&self) -> Done {
        let joined: Vec<_> =
            self.here.places.channels().iter().map(|channel| format!("#{channel}")).collect();
        let place = self
            .current
            .as_ref()
            .map_or("in no channel".to_owned(), |channel| format!("writing to #{channel}"));
        self.here.screen.note(format!(
            "you are {}, {place}; joined: {}; asking {}",
            self.here.user,
            joined.join(" "),
            self.here.asked
        ));
        Done::Well
    }

    fn help(&self) -> Done {
        let show = |commands: &[(&str, &str, &str)]| {
            for (name, arguments, what) in commands {
                let usage = format!("{:<24}", format!("{name} {arguments}"));
                self.here
                    .screen
                    .write(format!("  {} {what}", line::strong(self.here.screen.colours(), &usage)));
            }
        };
        self.here
            .screen
            .write("Text is posted to the channel you are in; what begins with / is a command:".to_owned());
        show(&COMMANDS);
        self.here.screen.write("In scripts also:".to_owned());
        show(&SCRIPT_COMMANDS);
        Done::Well
    }

    /// In the background, and not more often than every [`NAMES_EVERY`]: asks for the names that the tab key offers.
    pub(super) fn refresh_names(&mut self) {
        let fresh = self.names_asked.is_some_and(|asked| asked.elapsed() < NAMES_EVERY);
        if fresh || *self.here.client.link().borrow() == Link::Lost {
            return;
        }
        self.names_asked = Some(Instant::now());
        let (client, names) = (self.here.client.clone(), self.here.names.clone());
        self.here.background.spawn(async move {
            // Completion is a convenience: without an answer it offers what it knows.
            if let Ok(reply) = client.read("users", &[]).await {
                names.add_users(reply.names(&["users", "lista"]));
            }
            if let Ok(reply) = client.read("channels", &[]).await {
                names.add_channels(reply.names(&["channels", "lista", "users"]));
            }
        });
        while self.here.background.try_join_next().is_some() {}
    }

    /// A message of one's own, unless it came back live already.
    fn show_own(&self, reply: &ReadReply, place: Place, text: &str) {
        if self.here.seen.is_new(message_id(reply).as_ref()) {
            let user = self.here.user.as_str().to_owned();
            self.here.screen.show(&Line::Message(Message { at: now(), place, user, text: text.to_owned() }));
        }
    }

    /// Has the histories read on when this post does not come back live.
    fn expect_back(&mut self, reply: &ReadReply) {
        let Some(identity) = message_id(reply) else { return };
        let (seen, wake) = (self.here.seen.clone(), self.here.wake.clone());
        self.here.background.spawn(async move {
            tokio::time::sleep(BACK_WITHIN).await;
            if !seen.knows(&identity) {
                wake.notify_one();
            }
        });
        while self.here.background.try_join_next().is_some() {}
    }

    fn failed(&self, text: String) -> Done {
        self.here.screen.problem(text);
        Done::Badly
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

/// Such as `2 users: ana, bia`.
fn listed(what: &str, names: &[String]) -> String {
    match names {
        [] => format!("no {what}s yet"),
        [name] => format!("1 {what}: {name}"),
        names => format!("{} {what}s: {}", names.len(), names.join(", ")),
    }
}
