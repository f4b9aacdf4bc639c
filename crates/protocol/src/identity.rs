//! What makes an operation one and the same: dots, boots, request keys, and the identity by which everybody dedupes.

use crate::names::ServerName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// 64 random bits drawn at every start of a process, so that a lost or rolled-back volume never reuses a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(pub u64);

impl Boot {
    /// Reads the sixteen hexadecimal digits that [`Display`](fmt::Display) writes; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if digits { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

/// As text, since many programs read the numbers of JSON with 53 bits.
impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where an operation was first written: the `seq`-th of one boot of one server. Contiguous from 1 per (origin, boot).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The server that appended it.
    pub origin: ServerName,
    /// That server's boot.
    pub boot: Boot,
    /// From 1, without gaps.
    pub seq: u64,
}

/// Names one request for as long as it is retried: drawn by the broker, or by a server for a direct request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestKey {
    /// Boot of the process that drew the key.
    pub boot: Boot,
    /// Counts up within that boot.
    pub counter: u64,
}

impl RequestKey {
    /// Sixteen bytes, big endian: boot, counter.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.boot.0) << 64) | u128::from(self.counter)).to_be_bytes()
    }

    /// Reads [`Self::to_bytes`]; `None` for any other length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let whole = u128::from_be_bytes(bytes.try_into().ok()?);
        let [high, low] = [(whole >> 64), whole & u128::from(u64::MAX)].map(|half| u64::try_from(half).ok());
        Some(Self { boot: Boot(high?), counter: low? })
    }
}

/// Sixteen bytes that name an operation for clients, replicas and proxies alike (`message_id` on the wire).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    /// SHA-256 over the length-prefixed parts, cut to 16 bytes. The parts say what is done, by whom, to what, with which
    /// content, and the client's own id; so different content is never hidden by a reused id (design section 4).
    #[must_use]
    pub fn of_content(
        service: &str,
        author: &str,
        target: &str,
        content: &[u8],
        client_id: &[u8; 16],
    ) -> Self {
        Self::hash(&[
            b"content",
            service.as_bytes(),
            author.as_bytes(),
            target.as_bytes(),
            content,
            client_id,
        ])
    }

    /// The identity of a request whose client gave no id: derived from the key, which stays the same in every redispatch.
    #[must_use]
    pub fn of_key(key: RequestKey) -> Self {
        Self::hash(&[b"key", &key.to_bytes()])
    }

    /// Thirty-two hexadecimal digits, with or without a UUID's hyphens; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.split('-').collect();
        let hexadecimal = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !(hexadecimal && matches!(text.len(), 32 | 36)) {
            return None;
        }
        u128::from_str_radix(&digits, 16).ok().map(|number| Self(number.to_be_bytes()))
    }

    fn hash(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest = hasher.finalize();
        let mut identity = [0; 16];
        for (to, from) in identity.iter_mut().zip(digest.iter()) {
            *to = *from;
        }
        Self(identity)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_key_round_trips_and_refuses_other_lengths() {
        let key = RequestKey { boot: Boot(7), counter: u64::MAX };
        assert_eq!(RequestKey::from_bytes(&key.to_bytes()), Some(key));
        assert_eq!(RequestKey::from_bytes(b"short"), None);
    }

    #[test]
    fn boots_are_read_from_sixteen_digits() {
        assert_eq!(Boot(0xab).to_string(), "00000000000000ab");
        assert_eq!(Boot::parse("FFFFFFFFFFFFFFFF"), Some(Boot(u64::MAX)));
        for none in ["", "ab", "+0000000000000ab", "00000000000000abc"] {
            assert_eq!(Boot::parse(none), None, "{none}");
        }
    }

    #[test]
    fn identities_are_read_from_digits_and_uuids() {
        let identity = Identity([0xab; 16]);
        assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        assert_eq!(Identity::parse("ABABABAB-abab-abab-abab-abababababab"), Some(identity));
        for none in ["", "ab", "+babababababababababababababababa", &"-".repeat(36)] {
            assert_eq!(Identity::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_reused_client_id_with_other_content_is_another_identity() {
        let id = [1; 16];
        let first = Identity::of_content("publish", "ana", "geral", b"oi", &id);
        assert_eq!(first, Identity::of_content("publish", "ana", "geral", b"oi", &id));
        assert_ne!(first, Identity::of_content("publish", "ana", "geral", b"tchau", &id));
        assert_ne!(first, Identity::of_content("publish", "anag", "eral", b"oi", &id));
    }
}
