//! Cursors: where a reader stands in one channel or in one user's messages, on whatever server it reads on.
//!
//! Version 1: `version, scope (16 bytes)`, then for each origin the length of its name (1), the name, how many boots follow (4),
//! and `boot (8), count (8)` of each. Integers are big endian. The scope is a hash of the cluster's id and of the channel or user,
//! so that a cursor from elsewhere is known for what it is. The rest is a version vector of what the reader has.

use crate::vector::{VersionVector, Writer};
use bytes::{BufMut, Bytes, BytesMut};
use papo_protocol::request::HistoryScope;
use papo_protocol::{Boot, ServerName};
use sha2::{Digest, Sha256};

const CURSOR_VERSION: u8 = 1;
const SCOPE_BYTES: usize = 16;

/// The bytes are no cursor, or one of another channel, user or cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this channel or user")]
pub(crate) struct BadCursor;

fn scope_hash(cluster_id: &str, scope: &HistoryScope) -> [u8; SCOPE_BYTES] {
    let (kind, name) = match scope {
        HistoryScope::Channel(channel) => ("channel", channel.as_str()),
        HistoryScope::User(user) => ("user", user.as_str()),
    };
    let mut hasher = Sha256::new();
    for part in ["cursor", cluster_id, kind, name] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut hash = [0; SCOPE_BYTES];
    hash.iter_mut().zip(hasher.finalize()).for_each(|(byte, hashed)| *byte = hashed);
    hash
}

/// As bytes.
pub(crate) fn write_cursor(cluster_id: &str, scope: &HistoryScope, have: &VersionVector) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(CURSOR_VERSION);
    bytes.put_slice(&scope_hash(cluster_id, scope));
    let entries: Vec<(&Writer, u64)> = have.iter().collect();
    for of_origin in entries.chunk_by(|a, b| a.0.origin == b.0.origin) {
        let Some((first, _)) = of_origin.first() else { continue };
        let name = first.origin.as_str().as_bytes();
        // Names have at most 128 bytes, and a vector that large fits no memory.
        bytes.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.put_slice(name);
        bytes.put_u32(u32::try_from(of_origin.len()).unwrap_or(u32::MAX));
        for (writer, count) in of_origin {
            bytes.put_u64(writer.boot.0);
            bytes.put_u64(*count);
        }
    }
    bytes.freeze()
}

/// Reads a cursor of this scope. The empty one stands before the first operation.
pub(crate) fn read_cursor(
    cluster_id: &str,
    scope: &HistoryScope,
    bytes: &[u8],
) -> Result<VersionVector, BadCursor> {
    let mut have = VersionVector::default();
    if bytes.is_empty() {
        return Ok(have);
    }
    let rest = bytes.strip_prefix(&[CURSOR_VERSION]).ok_or(BadCursor)?;
    let mut rest = rest.strip_prefix(&scope_hash(cluster_id, scope)[..]).ok_or(BadCursor)?;
    while !rest.is_empty() {
        let (&length, after) = rest.split_first().ok_or(BadCursor)?;
        let (name, after) = after.split_at_checked(usize::from(length)).ok_or(BadCursor)?;
        let name = std::str::from_utf8(name).ok().and_then(|name| ServerName::new(name).ok());
        let origin = name.ok_or(BadCursor)?;
        let (boots, mut after) = after.split_first_chunk::<4>().ok_or(BadCursor)?;
        for _ in 0..u32::from_be_bytes(*boots) {
            let (boot, next) = after.split_first_chunk::<8>().ok_or(BadCursor)?;
            let (count, next) = next.split_first_chunk::<8>().ok_or(BadCursor)?;
            let boot = Boot(u64::from_be_bytes(*boot));
            have.raise(Writer { origin: origin.clone(), boot }, u64::from_be_bytes(*count));
            after = next;
        }
        rest = after;
    }
    Ok(have)
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_protocol::{ChannelName, UserName};
    use proptest::prelude::*;

    fn geral() -> HistoryScope {
        HistoryScope::Channel(ChannelName::new("geral").unwrap())
    }

    fn vector() -> impl Strategy<Value = VersionVector> {
        let entry = ("[a-z]{1,20}", 0..4_u64, any::<u64>());
        prop::collection::vec(entry, 0..20).prop_map(|entries| {
            let entries = entries.into_iter();
            let named =
                entries.map(|(name, boot, count)| (ServerName::new(&name).unwrap(), Boot(boot), count));
            VersionVector::from(named.collect::<Vec<_>>())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_cursor_survives_the_way(have in vector()) {
            let bytes = write_cursor("default/papo", &geral(), &have);
            prop_assert_eq!(read_cursor("default/papo", &geral(), &bytes), Ok(have));
        }

        #[test]
        fn no_cursor_panics(have in vector(), cut in any::<prop::sample::Index>(), flip in any::<(prop::sample::Index, u8)>()) {
            let mut bytes = write_cursor("default/papo", &geral(), &have).to_vec();
            let place = flip.0.index(bytes.len());
            bytes[place] ^= flip.1;
            let _ = read_cursor("default/papo", &geral(), &bytes);
            let _ = read_cursor("default/papo", &geral(), &bytes[..cut.index(bytes.len())]);
        }
    }

    #[test]
    fn a_cursor_of_another_scope_or_cluster_is_invalid() {
        let bytes = write_cursor("default/papo", &geral(), &VersionVector::default());
        let user = HistoryScope::User(UserName::new("geral").unwrap());
        let avisos = HistoryScope::Channel(ChannelName::new("avisos").unwrap());
        assert!(read_cursor("default/papo", &geral(), &bytes).is_ok());
        assert_eq!(read_cursor("default/papo", &user, &bytes), Err(BadCursor));
        assert_eq!(read_cursor("default/papo", &avisos, &bytes), Err(BadCursor));
        assert_eq!(read_cursor("default/outro", &geral(), &bytes), Err(BadCursor));
        assert_eq!(read_cursor("default/papo", &geral(), b"cursor"), Err(BadCursor));
        assert_eq!(read_cursor("default/papo", &geral(), b""), Ok(VersionVector::default()));
    }
}
