//! What a bot does, round after round.

use super::Plan;
use crate::client::{Client, LiveStream, Publication, RequestError, SharedClock};
use crate::logging::{self, Happening};
use papo_protocol::UserName;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// With fewer channels than this, a bot creates one (the exercise's statement of 2026, row J01).
const CHANNELS_WANTED: usize = 5;
/// Channels that a bot follows (the same).
const CHANNELS_FOLLOWED: usize = 3;
/// First pause after a failure; doubled after each, up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const RETRY_MAX: Duration = Duration::from_secs(30);

pub(super) struct Bot {
    client: Client,
    live: LiveStream,
    clock: SharedClock,
    plan: Plan,
    user: UserName,
    followed: BTreeSet<String>,
    sent: u64,
}

impl Bot {
    pub(super) fn new(client: Client, live: LiveStream, clock: SharedClock, plan: Plan) -> Self {
        let user = plan.name.clone().unwrap_or_else(random_name);
        Self { client, live, clock, plan, user, followed: BTreeSet::new(), sent: 0 }
    }

    /// Until the messages of the plan are sent; without a number, for ever.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Publication>) {
        let mut retry = RETRY_MIN;
        while let Err(error) = self.enter().await {
            self.pause_after(&error, &mut retry).await;
        }
        logging::tell(&Happening::BotStarted { user: &self.user, clock: self.clock.now() });
        self.live.follow(self.user.as_str());
        let (user, clock) = (self.user.clone(), self.clock.clone());
        let (heard, last_heard) = watch::channel(None);
        let rounds = async {
            while !self.is_done() {
                match self.round(&last_heard).await {
                    Ok(()) => {
                        retry = RETRY_MIN;
                        if !self.is_done() {
                            sleep(self.pause()).await;
                        }
                    }
                    Err(error) => self.pause_after(&error, &mut retry).await,
                }
            }
        };
        let listen = async {
            while let Some(Publication { topic, message }) = messages.recv().await {
                let is_direct = topic == user.as_str();
                if !is_direct && message.user != user.as_str() && !message.user.is_empty() {
                    heard.send_replace(Some(message.user.clone()));
                }
                logging::tell(&Happening::BotReceived {
                    user: &user,
                    place: &if is_direct { format!("@{}", message.user) } else { format!("#{topic}") },
                    text: &message.message,
                    clock: clock.now(),
                });
            }
            // Without live messages it goes on writing.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = rounds => {}
            () = listen => {}
        }
    }

    async fn enter(&mut self) -> Result<(), RequestError> {
        match self.client.write("login", &[("user", self.user.as_str())]).await {
            Ok(_) => Ok(()),
            // Some foreign servers refuse whoever has entered before, and then serve them well.
            Err(RequestError::Refused(failure)) if failure.code.is_none() => Ok(()),
            Err(error) => {
                if matches!(error, RequestError::Refused(_)) && self.plan.name.is_none() {
                    self.user = random_name();
                }
                Err(error)
            }
        }
    }

    /// One round: look after the channels, write to one of them, and then to whom it heard last in any (S0:18 has bots talk in private,
    /// too).
    async fn round(&mut self, last_heard: &watch::Receiver<Option<String>>) -> Result<(), RequestError> {
        let mut channels = self.channels().await?;
        if channels.is_empty() {
            for channel in self.plan.spec.channels.clone() {
                self.create(channel, &mut channels).await?;
            }
        }
        if channels.len() < CHANNELS_WANTED {
            let channel = self.new_channel(&channels);
            self.create(channel, &mut channels).await?;
        }
        self.follow(&channels);
        let Some(channel) = pick(&channels).cloned() else { return Ok(()) };
        for place in 0..self.plan.spec.messages {
            if self.is_done() {
                break;
            }
            if place > 0 {
                sleep(self.plan.spec.message_interval()).await;
            }
            self.post(&channel).await?;
        }
        let neighbour = last_heard.borrow().clone();
        match neighbour {
            Some(neighbour) => self.whisper(&neighbour).await,
            None => Ok(()),
        }
    }

    async fn channels(&self) -> Result<Vec<String>, RequestError> {
        let reply = self.client.read("channels", &[]).await?;
        Ok(reply.names(&["channels", "lista", "users"]))
    }

    async fn create(&self, channel: String, channels: &mut Vec<String>) -> Result<(), RequestError> {
        match self.client.write("channel", &[("channel", &channel), ("user", self.user.as_str())]).await {
            Ok(_) => {
                tracing::info!(clock = self.clock.now().get(), channel, "channel created");
                channels.push(channel);
                Ok(())
            }
            // Another bot was faster, or a user has that name: the next round sees.
            Err(error @ RequestError::Refused(_)) => {
                tracing::debug!(channel, %error, "channel not created");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The first of the plan's names that is missing, else a random one.
    fn new_channel(&self, channels: &[String]) -> String {
        let missing = self.plan.spec.channels.iter().find(|name| !channels.contains(name));
        missing.cloned().unwrap_or_else(|| format!("canal{}", rand::random_range(100..1000)))
    }

    fn follow(&mut self, channels: &[String]) {
        while self.followed.len() < CHANNELS_FOLLOWED {
            let others: Vec<_> =
                channels.iter().filter(|channel| !self.followed.contains(*channel)).cloned().collect();
            let Some(channel) = pick(&others) else { return };
            self.live.follow(channel);
            self.followed.insert(channel.clone());
        }
    }

    async fn post(&mut self, channel: &str) -> Result<(), RequestError> {
        let text = text(self.sent + 1, &self.user);
        let fields = [("user", self.user.as_str()), ("channel", channel), ("message", text.as_str())];
        self.client.write("publish", &fields).await?;
        self.sent += 1;
        tracing::debug!(clock = self.clock.now().get(), channel, text, "posted");
        Ok(())
    }

    async fn whisper(&self, neighbour: &str) -> Result<(), RequestError> {
        let text = text(self.sent, &self.user);
        let fields = [("src", self.user.as_str()), ("dst", neighbour), ("message", text.as_str())];
        match self.client.write("message", &fields).await {
            // Who only posts need not be a user.
            Ok(_) | Err(RequestError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_done(&self) -> bool {
        self.plan.messages.is_some_and(|messages| self.sent >= messages)
    }

    fn pause(&self) -> Duration {
        let spec = &self.plan.spec.pause_seconds;
        let (shortest, longest) = (u64::from(spec.min) * 1000, u64::from(spec.max.max(spec.min)) * 1000);
        self.plan.pause.unwrap_or_else(|| Duration::from_millis(rand::random_range(shortest..=longest)))
    }

    async fn pause_after(&self, error: &RequestError, retry: &mut Duration) {
        tracing::warn!(clock = self.clock.now().get(), user = %self.user, %error, pause = ?*retry, "failed; trying again");
        sleep(*retry).await;
        *retry = (*retry * 2).min(RETRY_MAX);
    }
}

fn random_name() -> UserName {
    let name = format!("user{}", rand::random_range(1000..10_000));
    #[expect(clippy::expect_used, reason = "four letters and four digits break no rule of names")]
    UserName::new(&name).expect("a name of letters and digits")
}

fn pick(names: &[String]) -> Option<&String> {
    if names.is_empty() { None } else { names.get(rand::random_range(0..names.len())) }
}

/// What a bot writes (row J02).
pub(super) fn text(number: u64, user: &UserName) -> String {
    format!("auto-msg {number} de {user}")
}
