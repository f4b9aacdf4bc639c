//! Cursors: where a reader stands in one channel or in one user's messages, on whatever server it reads on.
//!
//! Version 2: `version, scope (16 bytes)`, then for each origin the length of its name (1), the name, how many boots follow (4),
//! and `boot (8), count` of each. Integers are big endian, but for the count: that is a LEB128 as in DWARF (seven bits a byte, the
//! lowest first), since most servers are restarted long before they have written two million times. Version 1 had counts of 8
//! bytes. The scope is a hash of the cluster's id and of the channel or user,
//! so that a cursor from elsewhere is known for what it is. The rest is a version vector of what the reader has.

use crate::vector::{VersionVector, Writer};
use bytes::{BufMut, Bytes, BytesMut};
use papo_protocol::request::HistoryScope;
use papo_protocol::{Boot, ServerName};
use sha2::{Digest, Sha256};

const CURSOR_VERSION: u8 = 2;
/// Still read: a client may keep a cursor for as long as it likes.
const CURSOR_VERSION_LONG_COUNTS: u8 = 1;
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
            put_count(&mut bytes, *count);
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
    let (version, rest) = bytes.split_first().ok_or(BadCursor)?;
    let take_count = match *version {
        CURSOR_VERSION => take_count,
        CURSOR_VERSION_LONG_COUNTS => take_long_count,
        _ => return Err(BadCursor),
    };
    let mut rest = rest.strip_prefix(&scope_hash(cluster_id, scope)[..]).ok_or(BadCursor)?;
    while !rest.is_empty() {
        let (&length, after) = rest.split_first().ok_or(BadCursor)?;
        let (name, after) = after.split_at_checked(usize::from(length)).ok_or(BadCursor)?;
        let name = std::str::from_utf8(name).ok().and_then(|name| ServerName::new(name).ok());
        let origin = name.ok_or(BadCursor)?;
        let (boots, mut after) = after.split_first_chunk::<4>().ok_or(BadCursor)?;
        for _ in 0..u32::from_be_bytes(*boots) {
            let (boot, next) = after.split_first_chunk::<8>().ok_or(BadCursor)?;
            let (count, next) = take_count(next).ok_or(BadCursor)?;
            let boot = Boot(u64::from_be_bytes(*boot));
            have.raise(Writer { origin: origin.clone(), boot }, count);
            after = next;
        }
        rest = after;
    }
    Ok(have)
}

const MORE: u8 = 0x80;
const LOW_BITS: u64 = 0x7f;

fn put_count(bytes: &mut BytesMut, mut count: u64) {
    while count > LOW_BITS {
        bytes.put_u8(low_bits(count) | MORE);
        count >>= 7;
    }
    bytes.put_u8(low_bits(count));
}

fn low_bits(count: u64) -> u8 {
    // Seven bits always fit.
    u8::try_from(count & LOW_BITS).unwrap_or_default()
}

/// `None` where it ends too early or is larger than any count.
fn take_count(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut count: u64 = 0;
    for (index, byte) in (0_u32..).zip(bytes) {
        let bits = u64::from(byte & !MORE);
        let placed = bits.checked_shl(7 * index)?;
        if placed >> (7 * index) != bits {
            return None;
        }
        count |= placed;
        if byte & MORE == 0 {
            return Some((count, bytes.get(usize::try_from(index).ok()? + 1..)?));
        }
    }
    None
}

fn take_long_count(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*count), rest))
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
    fn a_count_of_any_size_survives_and_one_that_is_larger_is_refused() {
        for count in [0, 1, 127, 128, 16_383, 16_384, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut bytes = BytesMut::new();
            put_count(&mut bytes, count);
            bytes.put_u8(7);
            assert_eq!(take_count(&bytes), Some((count, &[7][..])), "{count}");
        }
        let too_large = [&[0xff; 9][..], &[0x02]].concat();
        assert_eq!((take_count(&too_large), take_count(&[0x80; 40]), take_count(&[])), (None, None, None));
    }

    #[test]
    fn a_cursor_of_version_1_is_still_read() {
        let mut bytes = BytesMut::from(&[1][..]);
        bytes.put_slice(&scope_hash("default/papo", &geral()));
        bytes.put_slice(b"\x08server-1\0\0\0\x01");
        bytes.put_u64(7);
        bytes.put_u64(300);
        let have = VersionVector::from(vec![(ServerName::new("server-1").unwrap(), Boot(7), 300)]);
        assert_eq!(read_cursor("default/papo", &geral(), &bytes), Ok(have));
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
