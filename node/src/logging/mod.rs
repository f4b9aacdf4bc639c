//! Logs: text on a terminal, JSON otherwise, or as the setting says; always on standard error, so that standard output stays
//! for what a command prints.
//!
//! What the seeds' texts quote is a [`Happening`]: [`plain`] logs it with a fixed message and fields, and under `logging.style: seeds`
//! [`seeds`] says it again in their very words.

mod plain;
mod seeds;

use papo_protocol::{Lamport, ServerName, UserName};
use papo_replica::Notice;
use papo_settings::{LogFormat, LogStyle, LoggingSpec};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Of this process.
static STYLE: OnceLock<LogStyle> = OnceLock::new();

/// Starts logging for this process. `RUST_LOG` wins over the setting, for whoever debugs one module.
pub fn start(logging: &LoggingSpec) {
    // A process starts logging once; a test that does so again keeps what there is.
    let _ = STYLE.set(logging.style);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(logging.level.as_str()));
    let terminal = std::io::stderr().is_terminal();
    let json = match logging.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    } else {
        builder.compact().init();
    }
}

/// Whether the seeds' words are wanted.
#[must_use]
pub fn speaks_as_the_seeds() -> bool {
    STYLE.get() == Some(&LogStyle::Seeds)
}

/// Logs it, in one style or in both.
pub fn tell(happening: &Happening<'_>) {
    plain::log(happening);
    if speaks_as_the_seeds() {
        for line in seeds::lines(happening) {
            tracing::info!("{line}");
        }
    }
}

/// What the seeds have words for.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// A broker listens (section K).
    BrokerListens {
        /// ROUTER.
        clients: &'a [SocketAddr],
        /// DEALER.
        workers: &'a [SocketAddr],
    },
    /// A proxy listens (section K).
    ProxyListens {
        /// XSUB.
        publishers: &'a [SocketAddr],
        /// XPUB.
        subscribers: &'a [SocketAddr],
    },
    /// The reference service listens (row F07).
    ReferenceListens {
        /// REP.
        servers: &'a [SocketAddr],
    },
    /// The reference service gave this server a rank (section K).
    RankGiven {
        /// This server.
        server: &'a ServerName,
        /// From 1.
        rank: u32,
    },
    /// A server's mind did something (rows E09, G07; section K).
    Noticed {
        /// This server.
        server: &'a ServerName,
        /// What.
        notice: &'a Notice,
        /// No coordinator was known here before.
        first_coordinator: bool,
    },
    /// A user registered here and is on this disk (rows E05, H15).
    UserRegistered {
        /// Who.
        user: &'a UserName,
        /// Of the operation.
        clock: Lamport,
        /// How many servers are told.
        others: usize,
    },
    /// Another server has on its disk what was registered here (row H15).
    ReplicatedTo {
        /// Which.
        server: &'a ServerName,
    },
    /// An operation of another server is on this disk (rows H15, L05; S1:161).
    Replicated {
        /// This server.
        server: &'a ServerName,
        /// The other one.
        origin: &'a ServerName,
        /// `publish`, `login` ...
        service: &'a str,
        /// The user of a login.
        user: Option<&'a UserName>,
    },
    /// This server starts, and asks another for all that it lacks (row H15).
    SyncAsked {
        /// Whom.
        of: &'a ServerName,
    },
    /// It has all that those had whom it asked.
    Synced(Merged),
    /// A bot begins (row J02).
    BotStarted {
        /// Its name.
        user: &'a UserName,
        /// Lamport.
        clock: Lamport,
    },
    /// A bot got a message (row J02).
    BotReceived {
        /// The bot.
        user: &'a UserName,
        /// `#` and the channel, or `@` and who wrote to the bot alone.
        place: &'a str,
        /// The message.
        text: &'a str,
        /// Lamport.
        clock: Lamport,
    },
}

/// How many operations of each kind came from others since a server's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// Logins.
    pub logins: u64,
    /// Channels.
    pub channels: u64,
    /// Posts to channels.
    pub posts: u64,
    /// Direct messages.
    pub messages: u64,
}
