//! Names that travel: of users, channels and servers. Parsed once at the edge; inside, a name is valid.
//!
//! A user's or channel's name is also a topic, so the reserved topics (row D06) can be neither.

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// Longest name of a user, channel or server, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;

/// Topics that papo keeps for itself (wire.md section 4): no user or channel can be named so.
pub const RESERVED_TOPICS: [&str; 4] = ["servers", "replica", "replication", "replicate"];

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or white space only.
    #[error("a name must not be empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// A control character, which would break logs, exports and terminals.
    #[error("a name must not contain control characters")]
    Control,
    /// One of [`RESERVED_TOPICS`].
    #[error("the name `{0}` is reserved")]
    Reserved(String),
}

/// Whether papo keeps this topic for itself.
#[must_use]
pub fn is_reserved_topic(topic: &str) -> bool {
    RESERVED_TOPICS.contains(&topic)
}

fn check(text: &str) -> Result<(), NameError> {
    if text.trim().is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

fn check_topic(text: &str) -> Result<(), NameError> {
    check(text)?;
    if is_reserved_topic(text) {
        return Err(NameError::Reserved(text.to_owned()));
    }
    Ok(())
}

/// Reads a text and checks it, without a copy between.
struct NameVisitor<N>(fn(&str) -> Result<N, NameError>);

impl<N> Visitor<'_> for NameVisitor<N> {
    type Value = N;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<N, E> {
        (self.0)(text).map_err(E::custom)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// Checks the text.
            ///
            /// # Errors
            /// [`NameError`] says which rule it breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Tables of names can be asked by text.
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(NameVisitor(Self::new))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A user: also the topic of the direct messages to that user (row D02).
    UserName,
    check_topic
);
name!(
    /// A channel: also its topic (row D01).
    ChannelName,
    check_topic
);
name!(
    /// A server replica, such as `server-1`.
    ServerName,
    check
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d06_reserved_topics_are_no_names() {
        for topic in RESERVED_TOPICS {
            assert_eq!(UserName::new(topic), Err(NameError::Reserved(topic.to_owned())));
            assert_eq!(ChannelName::new(topic), Err(NameError::Reserved(topic.to_owned())));
        }
    }

    #[test]
    fn names_are_bounded_and_printable() {
        assert_eq!(UserName::new(" "), Err(NameError::Empty));
        assert_eq!(UserName::new("a\nb"), Err(NameError::Control));
        assert_eq!(UserName::new(&"a".repeat(129)), Err(NameError::TooLong(129)));
        assert_eq!(UserName::new("José da Silva").unwrap().as_str(), "José da Silva");
    }
}
