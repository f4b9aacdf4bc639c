//! What clients ask: which services, of what, how often.

use crate::checker::Target;
use crate::random::Random;

/// Channels that everybody may create. One is the beginning of another, one is also a user's name.
pub const CHANNELS: [&str; 4] = ["geral", "ger", "dev", "bia"];

/// The name of a user. One is the beginning of another.
#[must_use]
pub fn user_name(number: usize) -> String {
    match number {
        0 => "ana".to_owned(),
        1 => "anabela".to_owned(),
        2 => "bia".to_owned(),
        other => format!("caio{other}"),
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Log in as oneself.
    Login,
    /// Create a channel, that others may create too.
    Channel(String),
    /// Create a channel that nobody else creates.
    OwnChannel(String),
    /// Write to a channel or to a user.
    Post(Target),
    /// Who is there.
    Users,
    /// Which channels are.
    Channels,
    /// What was written to a channel.
    History(String),
    /// What was written to a channel since the last such request.
    Walk(String),
    /// What was written from and to oneself.
    OwnHistory,
    /// Everything.
    Sync,
    /// Nothing that can be read.
    Garbage,
}

/// Channels that a client knows beside those of everybody.
#[derive(Debug)]
pub struct Known<'a> {
    /// Those that it created.
    pub own: &'a [String],
    /// Those that others created and told of, the newest last.
    pub told: &'a [String],
}

impl Ask {
    /// Draws one.
    #[must_use]
    pub fn draw(random: &mut Random, users: usize, client: usize, serial: u64, known: &Known<'_>) -> Self {
        let channel =
            |random: &mut Random| match (random.within(0, 8), random.pick(known.own), known.told.last()) {
                (0 | 1, Some(channel), _) | (2..=4, _, Some(channel)) => channel.clone(),
                _ => random.pick(&CHANNELS).map(|channel| (*channel).to_owned()).unwrap_or_default(),
            };
        match random.within(0, 100) {
            0..50 => Self::Post(Target::Channel(channel(random))),
            50..65 => Self::Post(Target::User(user_name(random.below(users)))),
            65..67 => Self::Channel(channel(random)),
            67..74 => Self::OwnChannel(format!("own-{client}-{serial}")),
            74..77 => Self::Login,
            77..82 => Self::History(channel(random)),
            82..89 => Self::Walk(random.pick(&CHANNELS).map(|name| (*name).to_owned()).unwrap_or_default()),
            89..93 => Self::OwnHistory,
            93..95 => Self::Channels,
            95..97 => Self::Users,
            97..99 => Self::Sync,
            _ => Self::Garbage,
        }
    }

    /// The service, and its fields beside the author.
    #[must_use]
    pub fn fields<'a>(
        &'a self,
        user: &'a str,
        named: bool,
        text: &'a str,
    ) -> (&'static str, Vec<(&'a str, &'a str)>) {
        match self {
            Self::Login => ("login", vec![("user", user)]),
            Self::Channel(channel) | Self::OwnChannel(channel) => ("channel", vec![("channel", channel)]),
            Self::Post(Target::Channel(channel)) => {
                let mut fields = vec![("channel", channel.as_str()), ("message", text)];
                fields.extend(named.then_some(("user", user)));
                ("publish", fields)
            }
            Self::Post(Target::User(dst)) => {
                let mut fields = vec![("dst", dst.as_str()), ("message", text)];
                fields.extend(named.then_some(("src", user)));
                ("message", fields)
            }
            Self::Users => ("users", Vec::new()),
            Self::Channels => ("channels", Vec::new()),
            Self::History(channel) | Self::Walk(channel) => ("history", vec![("channel", channel)]),
            Self::OwnHistory => ("history", vec![("user", user)]),
            Self::Sync => ("sync", Vec::new()),
            Self::Garbage => ("publish", Vec::new()),
        }
    }
}
