//! `papo bot`: a client that chats by itself (rows J01, J02), through the same [`crate::client`] as a person's.
//!
//! It enters under a random name, creates the initial channels when there are none, and then goes on in rounds: some messages to
//! a random channel, one to whom it heard last in any, and a pause. Whatever fails is tried again after a growing pause, for a bot has
//! nobody to tell. It must not know papo's servers beyond what any client of the exercise may know.

mod rounds;
#[cfg(test)]
mod tests;

use crate::chat::ChatOptions;
use crate::cli::{LogStyleArg, first};
use crate::client::{Client, LiveStream, Seen, SharedClock};
use anyhow::Context as _;
use papo_protocol::UserName;
use papo_settings::{Address, BotsSpec, ChatCluster, Environment, NodeSettings};
use rounds::Bot;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Options of `papo bot`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BotOptions {
    /// Its name [default: user and a random number]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The broker, or one server; of several, the next when one dies [default: 127.0.0.1:5555]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub broker: Vec<Address>,
    /// The proxy; of several, the next when one dies [default: 127.0.0.1:5558]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub proxy: Vec<Address>,
    /// Settings file, as `papo local` and the operator write it
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Milliseconds between two messages [default: from the settings, 1000]
    #[arg(long, value_name = "MS")]
    pub interval_ms: Option<u32>,
    /// Milliseconds between two rounds [default: from the settings, at random from 5000 to 10000]
    #[arg(long, value_name = "MS")]
    pub pause_ms: Option<u32>,
    /// Stop after so many messages [default: never]
    #[arg(long, value_name = "N")]
    pub messages: Option<u64>,
    /// Wording of log lines: papo's own, or beside it what the texts of the exercise quote [default: from the settings, plain]
    #[arg(long, value_name = "STYLE")]
    pub log_style: Option<LogStyleArg>,
    /// Stop when standard input closes, as a child of another process
    #[arg(long)]
    pub exit_on_stdin_close: bool,
}

impl From<ChatOptions> for BotOptions {
    /// A person's client that writes by itself, as `AUTO_CLIENT` says (row A16).
    fn from(options: ChatOptions) -> Self {
        Self {
            user: options.user.or(options.suggested_user),
            broker: options.server.map_or(options.broker, |server| vec![server]),
            proxy: options.proxy,
            ..Self::default()
        }
    }
}

impl BotOptions {
    /// What no flag says, the environment may say.
    #[must_use]
    pub fn or_environment(self, environment: &Environment) -> Self {
        let server = environment.server.as_slice();
        Self {
            user: self.user.or_else(|| environment.user.clone()),
            broker: first(&self.broker, server, &environment.brokers),
            proxy: first(&self.proxy, &environment.proxies_to_subscribe, &[]),
            settings: self.settings.or_else(|| environment.settings.clone()),
            ..self
        }
    }
}

/// How a bot behaves.
#[derive(Debug, Clone)]
struct Plan {
    /// Given by a person; otherwise names are drawn until one is free.
    name: Option<UserName>,
    spec: BotsSpec,
    /// A fixed pause for the random one of the spec.
    pause: Option<Duration>,
    messages: Option<u64>,
}

/// Chats until SIGTERM, Ctrl-C, or the number of messages asked for.
///
/// # Errors
/// When the settings cannot be read or the name is none. Failures of the network are none: they are tried again.
pub async fn run(options: BotOptions) -> anyhow::Result<ExitCode> {
    let mut settings = settings(&options)?;
    LogStyleArg::overrides(options.log_style, &mut settings.spec.logging);
    crate::logging::start(&settings.spec.logging);
    let name = options.user.as_deref().map(UserName::new).transpose().context("--user")?;
    let mut spec = settings.spec.bots;
    spec.message_milliseconds = options.interval_ms.unwrap_or(spec.message_milliseconds);
    let pause = options.pause_ms.map(|pause| Duration::from_millis(u64::from(pause)));
    let plan = Plan { name, spec, pause, messages: options.messages };

    let tracker = TaskTracker::new();
    let stop = crate::shutdown::on_signal(&tracker, options.exit_on_stdin_close)
        .context("cannot listen for signals")?;
    tokio::select! {
        () = chat(options.broker, options.proxy, plan) => {}
        () = stop.cancelled() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn chat(brokers: Vec<Address>, proxies: Vec<Address>, plan: Plan) {
    let clock = SharedClock::default();
    let client = Client::open(brokers, clock.clone());
    let (live, messages) = LiveStream::open(proxies, clock.clone(), Seen::default());
    Bot::new(client, live, clock, plan).run(messages).await;
}

fn settings(options: &BotOptions) -> anyhow::Result<NodeSettings> {
    let Some(path) = &options.settings else {
        return Ok(NodeSettings::of(&ChatCluster::with_defaults("papo")));
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the settings {}: name them with --settings", path.display()))?;
    NodeSettings::read(&text).with_context(|| format!("the settings {}", path.display()))
}
