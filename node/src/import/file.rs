//! `server_data.json`, the exercise's file (row I01, S2), as other programs may have written it, and what it says in the order in
//! which it is to be written. It must not know how that is sent.

use papo_protocol::identity::Identity;
use papo_protocol::names::{ChannelName, NameError, UserName};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: name a server_data.json", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not JSON, or has another shape. The source says line, column and field.
    #[error("{} is no server_data.json: it has `logins`, `channels`, `channel_messages` and `user_messages`", path.display())]
    Shape {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A name that cannot be one.
    #[error("{}: {entry}: the name `{name}` cannot be imported: change it in the file", path.display())]
    Name {
        /// Which file.
        path: PathBuf,
        /// Which entry, such as `logins[3]`.
        entry: String,
        /// The name.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
}

/// The file. A list that is missing is empty; anything else in it is left alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServerData {
    logins: Vec<LoginEntry>,
    channels: Vec<String>,
    channel_messages: Vec<ChannelMessage>,
    user_messages: Vec<UserMessage>,
}

#[derive(Debug, Deserialize)]
struct LoginEntry {
    #[serde(alias = "user")]
    username: String,
    timestamp: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct ChannelMessage {
    user: String,
    channel: String,
    message: String,
    timestamp: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct UserMessage {
    src: String,
    dst: String,
    message: String,
    timestamp: Option<Timestamp>,
}

/// In any type that a dialect has (row B03); it goes on as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Timestamp {
    /// Seconds or milliseconds.
    Int(i64),
    /// Seconds.
    Float(f64),
    /// ISO 8601.
    Text(String),
}

/// One thing that the file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where it stands, such as `channel_messages[3]`.
    pub place: String,
    /// What is to be done.
    pub what: What,
    /// The sender's timestamp.
    pub timestamp: Option<Timestamp>,
    /// Made of all that the entry says, and of how many equal ones stand before it: the same in every import.
    pub id: Identity,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A login.
    Login {
        /// Who.
        user: UserName,
    },
    /// A channel.
    Channel {
        /// Which.
        channel: ChannelName,
    },
    /// A post.
    Publish {
        /// Its author.
        user: UserName,
        /// Where to.
        channel: ChannelName,
        /// Its text.
        message: String,
    },
    /// A direct message.
    Message {
        /// Its author.
        src: UserName,
        /// Whom to.
        dst: UserName,
        /// Its text.
        message: String,
    },
}

impl What {
    /// Service, author, target and content.
    fn parts(&self) -> [&str; 4] {
        match self {
            Self::Login { user } => ["login", user.as_str(), "", ""],
            Self::Channel { channel } => ["channel", "", channel.as_str(), ""],
            Self::Publish { user, channel, message } => ["publish", user.as_str(), channel.as_str(), message],
            Self::Message { src, dst, message } => ["message", src.as_str(), dst.as_str(), message],
        }
    }

    /// Its service.
    #[must_use]
    pub fn service(&self) -> &'static str {
        match self {
            Self::Login { .. } => "login",
            Self::Channel { .. } => "channel",
            Self::Publish { .. } => "publish",
            Self::Message { .. } => "message",
        }
    }
}

/// What a file says: names first, since messages need them, then messages in the order of the file.
#[derive(Debug, Default)]
pub struct Entries {
    /// Logins, then channels.
    pub names: Vec<Entry>,
    /// Posts, then direct messages.
    pub messages: Vec<Entry>,
}

/// Reads a file whole: an error in its last entry is said before anything is written.
///
/// # Errors
/// [`FileError`] names file, place and remedy.
pub fn read(path: &Path) -> Result<Entries, FileError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Open { path: path.to_owned(), source })?;
    let data: ServerData = serde_json::from_slice(&bytes)
        .map_err(|source| FileError::Shape { path: path.to_owned(), source })?;
    Reader { path, equal: HashMap::new() }.entries(data)
}

struct Reader<'a> {
    path: &'a Path,
    /// How often each identity without a number was seen.
    equal: HashMap<Identity, u128>,
}

impl Reader<'_> {
    fn entries(mut self, data: ServerData) -> Result<Entries, FileError> {
        let mut entries = Entries::default();
        for (index, login) in data.logins.into_iter().enumerate() {
            let place = format!("logins[{index}]");
            let what = What::Login { user: self.name(&place, &login.username, UserName::new)? };
            entries.names.push(self.entry(place, what, login.timestamp));
        }
        for (index, channel) in data.channels.into_iter().enumerate() {
            let place = format!("channels[{index}]");
            let what = What::Channel { channel: self.name(&place, &channel, ChannelName::new)? };
            entries.names.push(self.entry(place, what, None));
        }
        for (index, post) in data.channel_messages.into_iter().enumerate() {
            let place = format!("channel_messages[{index}]");
            let user = self.name(&place, &post.user, UserName::new)?;
            let channel = self.name(&place, &post.channel, ChannelName::new)?;
            let what = What::Publish { user, channel, message: post.message };
            entries.messages.push(self.entry(place, what, post.timestamp));
        }
        for (index, direct) in data.user_messages.into_iter().enumerate() {
            let place = format!("user_messages[{index}]");
            let src = self.name(&place, &direct.src, UserName::new)?;
            let dst = self.name(&place, &direct.dst, UserName::new)?;
            let what = What::Message { src, dst, message: direct.message };
            entries.messages.push(self.entry(place, what, direct.timestamp));
        }
        Ok(entries)
    }

    fn name<'n, N>(
        &self,
        place: &str,
        name: &'n str,
        check: impl Fn(&'n str) -> Result<N, NameError>,
    ) -> Result<N, FileError> {
        check(name).map_err(|source| FileError::Name {
            path: self.path.to_owned(),
            entry: place.to_owned(),
            name: name.to_owned(),
            source,
        })
    }

    fn entry(&mut self, place: String, what: What, timestamp: Option<Timestamp>) -> Entry {
        let identity = |number: u128| {
            let [service, author, target, content] = what.parts();
            let content = format!("{timestamp:?} {content}");
            Identity::of_content(
                &format!("import {service}"),
                author,
                target,
                content.as_bytes(),
                &number.to_be_bytes(),
            )
        };
        let number = self.equal.entry(identity(0)).or_default();
        *number += 1;
        let id = identity(*number);
        Entry { place, what, timestamp, id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Entries, FileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server_data.json");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn message(error: FileError) -> String {
        format!("{:#}", anyhow::Error::from(error))
    }

    #[test]
    fn i01_the_file_of_the_exercise_is_read_names_first_and_messages_in_its_order() {
        let entries = read_text(
            r#"{
                "logins": [{"username": "alice", "timestamp": 1234567890}],
                "channels": ["geral", "tech"],
                "channel_messages": [{"user": "alice", "channel": "geral", "message": "Olá!", "timestamp": 1234567890.5}],
                "user_messages": [{"src": "alice", "dst": "bob", "message": "Oi", "timestamp": "2025-01-31T12:00:00"}],
                "something": "else"
            }"#,
        )
        .unwrap();
        let services = |entries: &[Entry]| {
            entries.iter().map(|entry| (entry.what.service(), entry.place.clone())).collect::<Vec<_>>()
        };
        assert_eq!(
            services(&entries.names),
            [("login", "logins[0]"), ("channel", "channels[0]"), ("channel", "channels[1]")]
                .map(|(service, place)| (service, place.to_owned()))
        );
        assert_eq!(
            services(&entries.messages),
            [("publish", "channel_messages[0]"), ("message", "user_messages[0]")]
                .map(|(service, place)| (service, place.to_owned()))
        );
        assert_eq!(entries.messages[0].timestamp, Some(Timestamp::Float(1_234_567_890.5)));
        assert_eq!(entries.messages[1].timestamp, Some(Timestamp::Text("2025-01-31T12:00:00".into())));
    }

    #[test]
    fn an_entry_has_the_same_id_in_every_file_and_equal_entries_have_their_own() {
        let post = r#"{"user": "ana", "channel": "geral", "message": "oi", "timestamp": 1}"#;
        let later = r#"{"user": "ana", "channel": "geral", "message": "oi", "timestamp": 2}"#;
        let ids = |posts: &[&str]| {
            let text = format!(r#"{{"channel_messages": [{}]}}"#, posts.join(","));
            read_text(&text).unwrap().messages.iter().map(|entry| entry.id).collect::<Vec<_>>()
        };
        let (one, all) = (ids(&[post]), ids(&[later, post, post]));
        assert_eq!(one[0], all[1], "wherever it stands");
        assert_ne!(all[1], all[2], "it was said twice");
        assert_ne!(all[0], all[1], "it was said at another time");
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_place_and_the_remedy() {
        let shape = message(read_text("{\n\"channel_messages\": [{\"user\": \"ana\"}]}").unwrap_err());
        assert!(shape.contains("server_data.json: it has `logins`"), "{shape}");
        assert!(shape.contains("missing field `channel` at line 2"), "{shape}");
        let name = message(read_text(r#"{"logins": [{"username": "ana"}, {"username": " "}]}"#).unwrap_err());
        assert!(name.contains("logins[1]: the name ` ` cannot be imported: change it in the file"), "{name}");
        let absent = message(read(Path::new("/nowhere/server_data.json")).unwrap_err());
        assert!(absent.contains("cannot read /nowhere/server_data.json"), "{absent}");
    }
}
