//! The body of a command frame: what is read is written and read as the same.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use papo_zmtp::Limits;
use papo_zmtp::codec::{Decoder, Item};
use papo_zmtp::command::Command;

fuzz_target!(|body: &[u8]| {
    let Ok(command) = Command::parse(Bytes::copy_from_slice(body)) else { return };
    // Text that was no UTF-8 has become longer, and may not fit its length any more.
    let kept = match &command {
        Command::Error { reason: text } | Command::Unknown { name: text } => !text.contains('\u{FFFD}'),
        _ => true,
    };
    let limits = Limits { topic_bytes: 1 << 20, ..Limits::default() };
    let again = Decoder::new(limits).next_item(&mut BytesMut::from(&command.encode()[..])).unwrap();
    if kept {
        assert_eq!(again, Some(Item::Command(command)));
    }
});
