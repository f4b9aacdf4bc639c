//! One line of output: the same text for people and scripts, with colours added for people.

use crate::client::Publication;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use papo_protocol::client::ReadMessage;
use papo_protocol::time::UnixMillis;

/// Colours for names (ANSI codes): none of those below, so that a name never looks like a channel or a problem.
const NAME_COLOURS: [u8; 6] = [32, 33, 34, 92, 94, 95];
const DIM: u8 = 2;
const BOLD: u8 = 1;
const CHANNEL_COLOUR: u8 = 36;
const DIRECT_COLOUR: u8 = 35;
const PROBLEM_COLOUR: u8 = 31;

/// Where a message went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A channel.
    Channel(String),
    /// One user.
    User(String),
}

/// A message as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) at: UnixMillis,
    pub(super) place: Place,
    pub(super) user: String,
    pub(super) text: String,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Somebody's message.
    Message(Message),
    /// Something the chat says: `* ...`.
    Note(String),
    /// Something that failed: `! ...`.
    Problem(String),
}

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As a chat of any kind: `[12:24:01] #geral ana: bom dia!`
    Chat,
    /// As the exercise's menus: `📺 [#geral] ana: bom dia!`
    Menu,
}

impl Message {
    /// From a live publication on a topic that `me` follows.
    pub(super) fn of_publication(publication: Publication, me: &str, now: UnixMillis) -> Self {
        let Publication { topic, message } = publication;
        // Some foreign servers name the recipient of a direct message in the topic alone.
        let to_me = message.dst.is_some() || (topic == me && message.channel.is_none());
        let place = if to_me { Place::User(topic) } else { Place::Channel(topic) };
        Self::of(message, place, now)
    }

    /// From a history of `scope`.
    pub(super) fn of_history(message: ReadMessage, scope: &Place, now: UnixMillis) -> Self {
        let place = match (scope, &message.dst) {
            (Place::User(_), Some(dst)) => Place::User(dst.clone()),
            (Place::User(_), None) | (Place::Channel(_), _) => scope.clone(),
        };
        Self::of(message, place, now)
    }

    fn of(message: ReadMessage, place: Place, now: UnixMillis) -> Self {
        Self { at: message.at.unwrap_or(now), place, user: message.user, text: message.message }
    }

    /// In the form of the menus.
    fn menu_line(&self) -> String {
        let (user, text) = (printable(&self.user), printable(&self.text));
        match &self.place {
            Place::Channel(channel) => format!("📺 [#{}] {user}: {text}", printable(channel)),
            Place::User(_) => format!("💬 [DM de {user}]: {text}"),
        }
    }
}

impl Line {
    /// The line as text, without its end.
    pub(super) fn render(&self, form: Form, colours: bool) -> String {
        let paint = |code: u8, text: &str| paint(colours, code, text);
        match self {
            Self::Message(message) if form == Form::Menu => message.menu_line(),
            Self::Message(message) => {
                let time = paint(DIM, &format!("[{}]", clock_time(message.at)));
                let name = |name: &str| paint(name_colour(name), &printable(name));
                let text = printable(&message.text);
                match &message.place {
                    Place::Channel(channel) => {
                        let channel = paint(CHANNEL_COLOUR, &format!("#{}", printable(channel)));
                        format!("{time} {channel} {}: {text}", name(&message.user))
                    }
                    Place::User(to) => {
                        let who = format!("@{} -> {}", printable(&message.user), printable(to));
                        format!("{time} {}: {text}", paint(DIRECT_COLOUR, &who))
                    }
                }
            }
            Self::Note(text) => paint(DIM, &format!("* {}", printable(text))),
            Self::Problem(text) => paint(PROBLEM_COLOUR, &format!("! {}", printable(text))),
        }
    }
}

/// The prompt: plain, and with colours of the same width.
pub(super) fn prompt(user: &str, channel: Option<&str>, colours: bool) -> (String, String) {
    let user = printable(user);
    let channel = channel.map(printable);
    let plain = match &channel {
        Some(channel) => format!("{user}@{channel}> "),
        None => format!("{user}> "),
    };
    let name = paint(colours, name_colour(&user), &user);
    let styled = match &channel {
        Some(channel) => format!("{name}@{}> ", paint(colours, CHANNEL_COLOUR, channel)),
        None => format!("{name}> "),
    };
    (plain, styled)
}

/// A heading of `/help`.
pub(super) fn strong(colours: bool, text: &str) -> String {
    paint(colours, BOLD, text)
}

fn paint(colours: bool, code: u8, text: &str) -> String {
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Everybody has the same colour on every screen.
fn name_colour(name: &str) -> u8 {
    let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    NAME_COLOURS.get(sum % NAME_COLOURS.len()).copied().unwrap_or(BOLD)
}

/// Text from others never moves the cursor, changes colours, or fakes a line of its own.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' => '\u{23ce}',
            '\t' => ' ',
            control if control.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// The local time of day.
fn clock_time(at: UnixMillis) -> String {
    match Timestamp::from_millisecond(at.0) {
        Ok(at) => at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string(),
        // Out of the calendar: only a foreign server sends such a time.
        Err(_) => "--:--:--".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(place: Place, text: &str) -> Line {
        Line::Message(Message { at: UnixMillis(i64::MAX), place, user: "ana".into(), text: text.into() })
    }

    #[test]
    fn lines_have_a_stable_form() {
        let channel = message(Place::Channel("geral".into()), "oi");
        assert_eq!(channel.render(Form::Chat, false), "[--:--:--] #geral ana: oi");
        assert_eq!(
            message(Place::User("bia".into()), "oi").render(Form::Chat, false),
            "[--:--:--] @ana -> bia: oi"
        );
        assert_eq!(
            message(Place::Channel("geral".into()), "oi").render(Form::Menu, true),
            "📺 [#geral] ana: oi"
        );
        assert_eq!(message(Place::User("bia".into()), "oi").render(Form::Menu, false), "💬 [DM de ana]: oi");
        assert_eq!(Line::Note("joined #geral".into()).render(Form::Chat, false), "* joined #geral");
        assert_eq!(Line::Problem("no".into()).render(Form::Chat, false), "! no");
        assert_eq!(clock_time(UnixMillis(1_234_567_890_000)).len(), 8);
    }

    #[test]
    fn text_from_others_cannot_drive_the_terminal() {
        let line = message(Place::Channel("geral".into()), "a\x1b[2J\r\nb");
        assert_eq!(line.render(Form::Chat, false), "[--:--:--] #geral ana: a\u{fffd}[2J\u{fffd}\u{23ce}b");
    }

    #[test]
    fn colours_do_not_change_the_text() {
        let line = message(Place::User("bia".into()), "oi");
        let mut plain = String::new();
        let mut inside = false;
        for character in line.render(Form::Chat, true).chars() {
            match character {
                '\x1b' => inside = true,
                'm' if inside => inside = false,
                other if !inside => plain.push(other),
                _ => {}
            }
        }
        assert_eq!(plain, line.render(Form::Chat, false));
    }

    #[test]
    fn a_foreign_direct_message_is_known_by_its_topic() {
        let read = ReadMessage {
            user: "bia".into(),
            channel: None,
            dst: None,
            message: "oi".into(),
            at: None,
            clock: papo_protocol::Lamport::default(),
            message_id: None,
        };
        let place = |topic: &str| {
            let publication = Publication { topic: topic.into(), message: read.clone() };
            Message::of_publication(publication, "ana", UnixMillis(0)).place
        };
        assert_eq!(place("ana"), Place::User("ana".into()));
        assert_eq!(place("geral"), Place::Channel("geral".into()));
    }
}
