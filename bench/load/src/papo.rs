//! The few of papo's requests that a load needs, as any client would write them in MessagePack, and what it looks for in replies.

/// The channel of all posts; it must be there.
pub const CHANNEL: &str = "bench";
/// The channel of the posts that are waited for.
pub const PROBE_CHANNEL: &str = "bench-probe";

/// A post to a channel.
pub fn publish(user: &str, channel: &str, text: &str) -> Vec<u8> {
    let mut bytes = request("publish", 3);
    for (key, value) in [("user", user), ("channel", channel), ("message", text)] {
        put_text(&mut bytes, key);
        put_text(&mut bytes, value);
    }
    bytes
}

/// The newest post of a channel.
pub fn newest(channel: &str) -> Vec<u8> {
    let mut bytes = request("history", 2);
    put_text(&mut bytes, "channel");
    put_text(&mut bytes, channel);
    put_text(&mut bytes, "limit");
    bytes.push(1);
    bytes
}

/// Whether a reply says that a post is done.
pub fn is_posted(reply: &[u8]) -> bool {
    contains(reply, b"\xa6status\xa2OK")
}

/// Whether a text is somewhere in a reply.
pub fn contains(reply: &[u8], text: &[u8]) -> bool {
    reply.windows(text.len()).any(|window| window == text)
}

/// `{service, data: {`, of so many fields.
fn request(service: &str, fields: u8) -> Vec<u8> {
    let mut bytes = vec![0x82];
    put_text(&mut bytes, "service");
    put_text(&mut bytes, service);
    put_text(&mut bytes, "data");
    bytes.push(0x80 | fields);
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length), _) if length < 32 => bytes.push(0xa0 | length),
        (Ok(length), _) => bytes.extend_from_slice(&[0xd9, length]),
        (_, Ok(length)) => {
            bytes.push(0xda);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            bytes.push(0xdb);
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_golden() {
        let golden =
            b"\x82\xa7service\xa7publish\xa4data\x83\xa4user\xa1a\xa7channel\xa5bench\xa7message\xa2oi";
        assert_eq!(publish("a", CHANNEL, "oi"), golden);
        let golden = b"\x82\xa7service\xa7history\xa4data\x82\xa7channel\xa5bench\xa5limit\x01";
        assert_eq!(newest(CHANNEL), golden);
        let long = publish("a", CHANNEL, &"x".repeat(200));
        assert!(contains(&long, b"\xa7message\xd9\xc8xxx"));
    }

    #[test]
    fn only_a_reply_that_says_ok_is_a_post() {
        assert!(is_posted(b"\x81\xa4data\x82\xa7success\xc3\xa6status\xa2OK"));
        assert!(!is_posted(b"\x81\xa4data\x82\xa7success\xc2\xa6status\xa4erro"));
        assert!(!is_posted(b""));
    }
}
