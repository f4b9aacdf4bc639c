//! Readers that go on where they stopped: a cursor for each channel, and what was read with it.

use crate::checker::Invariant;
use crate::shared::Shared;
use papo_protocol::Value;
use papo_protocol::client::ReadReply;
use std::collections::{BTreeMap, BTreeSet};

/// Messages of a page. Few, so that a walk has many pages.
pub const PAGE: &str = "3";

/// A walk through one channel.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// Where the next page begins, as text; none before the first.
    pub cursor: Option<String>,
    /// What was read.
    pub texts: BTreeSet<String>,
    /// Whether there is more now.
    pub more: bool,
}

/// All walks of one reader, by channel.
pub type Walks = BTreeMap<String, Walk>;

impl Walk {
    /// Takes a page in: nothing on it may have been read before.
    pub fn on_page(&mut self, shared: &mut Shared, reader: &str, reply: &ReadReply) {
        for message in reply.messages() {
            if !self.texts.insert(message.message.clone()) {
                let text = message.message;
                shared.violate(Invariant::Once, || format!("the cursor of {reader} gives {text} again"));
            }
        }
        self.more = reply.data.get("more") == Some(&Value::Bool(true));
        match reply.data.get("papo_cursor") {
            Some(Value::Bytes(cursor)) => self.cursor = Some(base64url(cursor)),
            Some(Value::Text(cursor)) => self.cursor = Some(cursor.clone()),
            _ => shared.violate(Invariant::Once, || format!("{reader} gets no cursor")),
        }
    }
}

/// As text, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let word =
            part.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - part.len()));
        for place in 0..=part.len() {
            let digit = usize::try_from((word >> (18 - 6 * place)) & 63).unwrap_or(0);
            text.extend(DIGITS.get(digit).map(|digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_written_as_base64url() {
        assert_eq!(base64url(b""), "");
        assert_eq!(base64url(b"f"), "Zg");
        assert_eq!(base64url(b"fo"), "Zm8");
        assert_eq!(base64url(b"foo"), "Zm9v");
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
