//! The command line. Flags win over the environment, which wins over the settings file, which wins over defaults.

use clap::{Args, Parser, Subcommand};
use papo_settings::{Address, Environment, ListenAddress, LogStyle, LoggingSpec, NodeSettings, Peer};
use std::path::PathBuf;

/// A replicated chat service that any ZeroMQ client can talk to.
#[derive(Debug, Parser)]
#[command(name = "papo", version, about, propagate_version = true, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Start here:  papo local -f chatcluster.yaml --chat

Roles also read the environment: PAPO_NAME, PAPO_SETTINGS, PAPO_DATA, PAPO_TOKEN_FILE, PAPO_BROKER, PAPO_PROXY, PAPO_REF, PAPO_PEERS,
PAPO_PEER_DOMAIN,
PAPO_SERVER, PAPO_LISTEN, PAPO_WORKER_LISTEN, PAPO_XSUB_LISTEN, PAPO_PEER_LISTEN, PAPO_HTTP, PAPO_DRAIN_SECONDS, PAPO_USER. A flag
wins over the environment, the environment over the settings file. Exit status: 0 done, 1 failed, 2 used wrongly,
74 a server's disk failed.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole ChatCluster on this machine
    Local(crate::local::LocalOptions),
    /// Chat
    Chat(crate::chat::ChatOptions),
    /// Run a server replica
    Server(ServerArgs),
    /// Run a broker: ROUTER for clients, DEALER for servers
    Broker(BrokerArgs),
    /// Run a proxy: XSUB for servers, XPUB for subscribers
    Proxy(ProxyArgs),
    /// Run the reference service: ranks, list, heartbeats
    Ref(ReferenceArgs),
    /// Run a bot that chats by itself
    Bot(crate::bot::BotOptions),
    /// Show a whole cluster at a glance
    Status(crate::status::StatusOptions),
    /// Write a server's history in the exercise's formats
    Export(crate::export::ExportOptions),
    /// Write what a server_data.json says into a running cluster
    Import(crate::import::ImportOptions),
    /// Have the broker or proxy of this machine leave, and wait until it takes no new clients
    Drain(DrainArgs),
    /// Print shell completions
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// What every role takes.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// Settings file, as `papo local` and the operator write it
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// File with the cluster token: peers without it are foreign
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// HTTP address for /metrics, /livez, /readyz [default: *:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<ListenAddress>,
    /// Wording of log lines: papo's own, or beside it what the texts of the exercise quote [default: from the settings, plain]
    #[arg(long, value_name = "STYLE")]
    pub log_style: Option<LogStyleArg>,
    /// Stop when standard input closes, as a child of another process
    #[arg(long)]
    pub exit_on_stdin_close: bool,
}

/// `logging.style`, as a flag says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogStyleArg {
    /// A fixed message with fields
    Plain,
    /// The literal lines of the exercise's texts beside that
    Seeds,
}

impl LogStyleArg {
    /// A flag wins over the settings.
    pub fn overrides(flag: Option<Self>, logging: &mut LoggingSpec) {
        match flag {
            Some(Self::Plain) => logging.style = LogStyle::Plain,
            Some(Self::Seeds) => logging.style = LogStyle::Seeds,
            None => {}
        }
    }
}

/// `papo server`.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// This server's name, such as server-1
    #[arg(long)]
    pub name: Option<String>,
    /// Folder of the history [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// REP address for clients [default: *:5555]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Vec<ListenAddress>,
    /// Address for the other servers [default: *:5550]
    #[arg(long, value_name = "ADDRESS")]
    pub peer_listen: Option<ListenAddress>,
    /// Brokers' worker addresses, such as broker:5556
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub broker: Vec<Address>,
    /// Proxies' XSUB addresses, such as proxy:5557
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub proxy: Vec<Address>,
    /// The reference service, such as ref:5559
    #[arg(long = "ref", value_name = "ADDRESS")]
    pub reference: Option<Address>,
    /// The other servers, such as server-2=server-2.peers:5550
    #[arg(long, value_name = "NAME=ADDRESS", value_delimiter = ',')]
    pub peers: Vec<Peer>,
    /// Pattern of the other servers' host names, a member's number standing as `n` in braces; who they are, the settings file says
    #[arg(long, value_name = "PATTERN", conflicts_with = "peers")]
    pub peer_domain: Option<String>,
    /// For tests: how many seconds this machine's calendar is to be ahead, and `:` how many microseconds it gains a second
    #[arg(long, hide = true, value_name = "SECONDS[:DRIFT]", allow_hyphen_values = true)]
    pub test_calendar: Option<crate::role::TestCalendar>,
}

/// `papo broker`.
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// ROUTER address for clients [default: *:5555]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Vec<ListenAddress>,
    /// DEALER address for servers [default: *:5556]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub worker_listen: Vec<ListenAddress>,
    /// Seconds to serve on after SIGTERM, at least, for clients still led here by a list that lags behind [default: 0]
    #[arg(long, value_name = "N")]
    pub drain_seconds: Option<u32>,
}

/// `papo proxy`.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// XPUB addresses for subscribers [default: *:5558,*:5560, those that the settings do not give to JSON]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Vec<ListenAddress>,
    /// XPUB addresses for subscribers that read JSON [default: none, or as the settings say]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub json_listen: Vec<ListenAddress>,
    /// XSUB address for servers [default: *:5557]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub xsub_listen: Vec<ListenAddress>,
    /// Seconds to serve on after SIGTERM, at least, for clients still led here by a list that lags behind [default: 0]
    #[arg(long, value_name = "N")]
    pub drain_seconds: Option<u32>,
}

/// `papo drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// The role's HTTP address [default: *:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<ListenAddress>,
    /// Seconds that the role serves on, as it was told itself [default: 0]
    #[arg(long, value_name = "N")]
    pub drain_seconds: Option<u32>,
}

/// `papo ref`.
#[derive(Debug, Clone, Args)]
pub struct ReferenceArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Folder of the ranks [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// REP addresses for servers [default: *:5559,*:6000]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Vec<ListenAddress>,
}

/// The first of flag and environment that says something, else the default.
#[must_use]
pub fn first<T: Clone>(flag: &[T], environment: &[T], default: &[T]) -> Vec<T> {
    [flag, environment].into_iter().find(|list| !list.is_empty()).unwrap_or(default).to_vec()
}

/// The settings file that flag or environment name.
#[must_use]
pub fn settings_file(common: &CommonArgs, environment: &Environment) -> Option<PathBuf> {
    common.settings.as_ref().or(environment.settings.as_ref()).cloned()
}

/// Reads the settings file that flag or environment name; without one, the defaults of a cluster named `papo`.
///
/// # Errors
/// When the file cannot be read or says something wrong.
pub fn settings(common: &CommonArgs, environment: &Environment) -> anyhow::Result<NodeSettings> {
    use anyhow::Context;
    let mut settings = match settings_file(common, environment) {
        None => NodeSettings::of(&papo_settings::ChatCluster::with_defaults("papo")),
        Some(path) => {
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!("cannot read the settings {}: name them with --settings", path.display())
            })?;
            NodeSettings::read(&text).with_context(|| format!("the settings {}", path.display()))?
        }
    };
    LogStyleArg::overrides(common.log_style, &mut settings.spec.logging);
    Ok(settings)
}

/// How many servers the settings name; none when no settings were given, since the defaults know nothing of what really runs.
#[must_use]
pub fn servers_expected(common: &CommonArgs, environment: &Environment, settings: &NodeSettings) -> usize {
    if settings_file(common, environment).is_some() { settings.members.len() } else { 0 }
}
