//! What a person can type.

use std::time::Duration;

/// How long `/expect` waits when it names no time.
const EXPECT_DEFAULT: Duration = Duration::from_secs(10);
/// Longest `/sleep` and `/expect`: a day, which only a slip of the pen exceeds.
const WAIT_MAX_SECONDS: f64 = 86_400.0;

/// One typed line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// An empty line, or a comment in a script.
    Nothing,
    /// Plain text: a post to the current channel.
    Post(String),
    /// `/join CHANNEL`
    Join(String),
    /// `/leave [CHANNEL]`
    Leave(Option<String>),
    /// `/channels`
    Channels,
    /// `/users`
    Users,
    /// `/create CHANNEL`
    Create(String),
    /// `/msg USER TEXT`
    Message {
        /// To whom.
        to: String,
        /// What.
        text: String,
    },
    /// `/history [N]`
    History(Option<usize>),
    /// `/who`
    Who,
    /// `/help`
    Help,
    /// `/quit`
    Quit,
    /// `/sleep SECONDS`
    Sleep(Duration),
    /// `/expect [SECONDS] TEXT`
    Expect {
        /// How long to wait for it.
        within: Duration,
        /// A part of the line to come.
        text: String,
    },
}

/// The commands, as `/help` shows them and as the tab key completes them.
pub(super) const COMMANDS: [(&str, &str, &str); 11] = [
    ("/join", "CHANNEL", "enter a channel, creating it when it is new"),
    ("/leave", "[CHANNEL]", "leave a channel"),
    ("/channels", "", "list the channels"),
    ("/users", "", "list the users"),
    ("/create", "CHANNEL", "create a channel without entering it"),
    ("/msg", "USER TEXT", "send a direct message"),
    ("/history", "[N]", "show the last messages of this channel"),
    ("/who", "", "who and where you are"),
    ("/help", "", "this list"),
    ("/quit", "", "leave the chat (also Ctrl-D)"),
    ("//TEXT", "", "post a text that begins with /"),
];

/// Commands that make sense in scripts only.
pub(super) const SCRIPT_COMMANDS: [(&str, &str, &str); 2] = [
    ("/sleep", "SECONDS", "wait"),
    ("/expect", "[SECONDS] TEXT", "wait for a line with TEXT, else exit with status 1"),
];

/// Reads a line.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn parse(line: &str) -> Result<Command, String> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(Command::Nothing);
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Command::Post(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Command::Post(command.to_owned()));
    }
    let (name, rest) = split_word(command);
    match name.to_lowercase().as_str() {
        "join" | "j" => required(channel(rest), "/join CHANNEL").map(Command::Join),
        "leave" | "part" => Ok(Command::Leave(channel(rest))),
        "channels" => Ok(Command::Channels),
        "users" => Ok(Command::Users),
        "create" => required(channel(rest), "/create CHANNEL").map(Command::Create),
        "msg" | "m" => message(rest),
        "history" => history(rest),
        "who" => Ok(Command::Who),
        "help" | "?" => Ok(Command::Help),
        "quit" | "exit" | "q" => Ok(Command::Quit),
        "sleep" => required(seconds(rest), "/sleep SECONDS").map(Command::Sleep),
        "expect" => expect(rest),
        _ => Err(format!("no command /{name}: /help lists them")),
    }
}

fn required<T>(value: Option<T>, usage: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("write it as {usage}"))
}

/// The first word and the rest; a word in double quotes may hold spaces, as names may.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    if let Some((word, rest)) = text.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
        return (word, rest.trim_start());
    }
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// A channel's name is the whole rest: it may hold spaces. People write `#` before it.
fn channel(rest: &str) -> Option<String> {
    let name = rest.trim().trim_matches('"');
    let name = name.strip_prefix('#').unwrap_or(name);
    (!name.is_empty()).then(|| name.to_owned())
}

fn message(rest: &str) -> Result<Command, String> {
    let (to, text) = split_word(rest);
    let to = to.strip_prefix('@').unwrap_or(to);
    if to.is_empty() || text.is_empty() {
        return Err("write it as /msg USER TEXT".to_owned());
    }
    Ok(Command::Message { to: to.to_owned(), text: text.to_owned() })
}

fn history(rest: &str) -> Result<Command, String> {
    match rest.trim() {
        "" => Ok(Command::History(None)),
        number => match number.parse() {
            Ok(count) if count > 0 => Ok(Command::History(Some(count))),
            Ok(_) | Err(_) => Err("write it as /history [N], N from 1".to_owned()),
        },
    }
}

fn expect(rest: &str) -> Result<Command, String> {
    let (first, after) = split_word(rest);
    let (within, text) = match seconds(first) {
        Some(within) if !after.is_empty() => (within, after),
        Some(_) | None => (EXPECT_DEFAULT, rest),
    };
    if text.is_empty() {
        return Err("write it as /expect [SECONDS] TEXT".to_owned());
    }
    Ok(Command::Expect { within, text: text.to_owned() })
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    (0.0..=WAIT_MAX_SECONDS).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_posted_and_commands_are_read() {
        assert_eq!(parse("  "), Ok(Command::Nothing));
        assert_eq!(parse("oi gente "), Ok(Command::Post("oi gente".into())));
        assert_eq!(parse("//etc"), Ok(Command::Post("/etc".into())));
        assert_eq!(parse("/join #sala de estar"), Ok(Command::Join("sala de estar".into())));
        assert_eq!(parse("/LEAVE"), Ok(Command::Leave(None)));
        assert_eq!(parse("/history 5"), Ok(Command::History(Some(5))));
    }

    #[test]
    fn a_quoted_recipient_may_hold_spaces() {
        let message = |to: &str| Ok(Command::Message { to: to.into(), text: "tudo bem?".into() });
        assert_eq!(parse("/msg bia tudo bem?"), message("bia"));
        assert_eq!(parse("/msg @bia  tudo bem?"), message("bia"));
        assert_eq!(parse("/msg \"José da Silva\" tudo bem?"), message("José da Silva"));
    }

    #[test]
    fn expect_takes_a_time_only_before_a_text() {
        let expect = |seconds, text: &str| {
            Ok(Command::Expect { within: Duration::from_secs_f64(seconds), text: text.into() })
        };
        assert_eq!(parse("/expect 2.5 ana: oi"), expect(2.5, "ana: oi"));
        assert_eq!(parse("/expect ana: oi"), expect(10.0, "ana: oi"));
        assert_eq!(parse("/expect 42"), expect(10.0, "42"));
    }

    #[test]
    fn a_wrong_line_says_how_to_write_it() {
        for (line, text) in [
            ("/join", "/join CHANNEL"),
            ("/msg bia", "/msg USER TEXT"),
            ("/history 0", "N from 1"),
            ("/sleep long", "/sleep SECONDS"),
            ("/sleep -1", "/sleep SECONDS"),
            ("/expect", "/expect [SECONDS] TEXT"),
            ("/dance", "no command /dance"),
        ] {
            assert!(parse(line).unwrap_err().contains(text), "{line}");
        }
    }
}
