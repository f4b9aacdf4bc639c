//! The sans-IO parts, by properties: round trips however the bytes are cut, and nothing but errors from arbitrary bytes.

use bytes::{Bytes, BytesMut};
use papo_zmtp::{
    Encoded, Limits, SocketType,
    codec::{DecodeError, Decoder, GREETING_BYTES, Greeting, Item, decode_greeting, encode_greeting},
    command::Command,
    handshake::{Handshake, HandshakeError, Step},
};
use proptest::{collection::vec, prelude::*, sample::select};

/// Small, so that arbitrary bytes reach them.
fn tight() -> Limits {
    Limits { frame_bytes: 600, message_bytes: 1000, parts: 4, topic_bytes: 64, ..Limits::default() }
}

/// Feeds the pieces one after the other and collects what comes out, up to the first error.
fn feed(limits: Limits, pieces: &[&[u8]]) -> (Vec<Item>, Option<DecodeError>) {
    let bound = limits.command_bytes().max(limits.frame_bytes);
    let message_bytes = limits.message_bytes;
    let mut decoder = Decoder::new(limits);
    let mut buffer = BytesMut::new();
    let mut items = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next_item(&mut buffer) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
        assert!(decoder.held_bytes() <= message_bytes);
        assert!(buffer.len() <= bound, "the decoder waits for more than a frame may have");
        assert!(decoder.missing_bytes(&buffer) <= bound);
    }
    (items, None)
}

fn cut<'a>(wire: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
    places.extend([0, wire.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &wire[ends[0]..ends[1]]).collect()
}

fn any_command() -> impl Strategy<Value = Command> {
    let context = || vec(any::<u8>(), 0..=16).prop_map(Bytes::from);
    let topic = || vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        vec(("[A-Za-z-]{1,20}", topic()), 0..6).prop_map(|properties| Command::Ready { properties }),
        "[ -~]{0,200}".prop_map(|reason| Command::Error { reason }),
        topic().prop_map(|topic| Command::Subscribe { topic }),
        topic().prop_map(|topic| Command::Cancel { topic }),
        (any::<u16>(), context())
            .prop_map(|(ttl_deciseconds, context)| Command::Ping { ttl_deciseconds, context }),
        context().prop_map(|context| Command::Pong { context }),
        "X[A-Z]{1,20}".prop_map(|name| Command::Unknown { name }),
    ]
}

fn any_item() -> impl Strategy<Value = Item> {
    let frame = prop_oneof![9 => 0_usize..600, 1 => 16_000_usize..40_000]
        .prop_flat_map(|size| any::<u8>().prop_map(move |fill| Bytes::from(vec![fill; size])));
    prop_oneof![vec(frame, 1..5).prop_map(Item::Message), any_command().prop_map(Item::Command)]
}

fn encode(item: &Item) -> Bytes {
    match item {
        Item::Message(frames) => Encoded::new(frames).into_bytes(),
        Item::Command(command) => command.encode(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_is_decoded_however_it_is_cut(
        items in vec(any_item(), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let wire: Vec<u8> = items.iter().flat_map(encode).collect();
        let mut decoder = Decoder::new(Limits::default());
        let mut buffer = BytesMut::new();
        let mut decoded = Vec::new();
        for piece in cut(&wire, &cuts) {
            buffer.extend_from_slice(piece);
            while let Some(item) = decoder.next_item(&mut buffer).unwrap() {
                decoded.push(item);
            }
        }
        prop_assert_eq!(decoded, items);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn arbitrary_bytes_in_arbitrary_pieces_neither_panic_nor_pile_up(
        wire in vec(prop_oneof![3 => 0_u8..8, 1 => any::<u8>()], 0..3000),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let pieces = cut(&wire, &cuts);
        let (items, error) = feed(tight(), &pieces);
        // The same whole: how the bytes are cut changes nothing.
        prop_assert_eq!(feed(tight(), &[&wire]), (items, error));
    }

    #[test]
    fn mutated_traffic_neither_panics_nor_piles_up(
        items in vec(any_item(), 1..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut wire: Vec<u8> = items.iter().flat_map(encode).collect();
        for (place, byte) in changes {
            let place = place.index(wire.len());
            wire[place] = byte;
        }
        feed(tight(), &cut(&wire, &cuts));
    }

    #[test]
    fn a_message_within_the_bounds_passes_and_any_other_is_refused(
        sizes in vec(0_usize..700, 1..7),
    ) {
        let frames: Vec<_> = sizes.iter().map(|size| Bytes::from(vec![0; *size])).collect();
        let within = sizes.len() <= 4 && sizes.iter().all(|size| *size <= 600) && sizes.iter().sum::<usize>() <= 1000;
        let (items, error) = feed(tight(), &[&Encoded::new(&frames).into_bytes()]);
        prop_assert_eq!(items.len(), usize::from(within));
        prop_assert_eq!(matches!(error, Some(DecodeError::TooLarge { .. })), !within);
    }

    #[test]
    fn a_mutated_greeting_is_refused_or_makes_no_difference(
        place in 0..GREETING_BYTES,
        byte in any::<u8>(),
        length in 0..=GREETING_BYTES,
    ) {
        let mut wire = BytesMut::from(&encode_greeting()[..]);
        wire[place] = byte;
        wire.truncate(length);
        match decode_greeting(&mut wire) {
            Ok(Some(_)) => prop_assert!(wire.is_empty() && length == GREETING_BYTES),
            Ok(None) => prop_assert!(length < GREETING_BYTES),
            Err(_) => prop_assert!(place == 0 || (9..32).contains(&place)),
        }
    }

    #[test]
    fn arbitrary_bytes_never_finish_nor_panic_a_handshake(
        greeted in any::<bool>(),
        wire in vec(any::<u8>(), 0..400),
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut handshake = Handshake::new(SocketType::Router, &[], &tight());
        let mut buffer = BytesMut::new();
        if greeted {
            buffer.extend_from_slice(&encode_greeting());
        }
        'pieces: for piece in cut(&wire, &cuts) {
            buffer.extend_from_slice(piece);
            loop {
                match handshake.on_bytes(&mut buffer) {
                    Ok(Step::Wait) => break,
                    Ok(Step::Send(_)) => {}
                    Ok(Step::Done(_)) => prop_assert!(false, "chance said READY"),
                    Err(_) => break 'pieces,
                }
            }
        }
    }

    #[test]
    fn two_handshakes_agree_on_who_may_talk_to_whom(
        ours in select(ALL),
        theirs in select(ALL),
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let properties = [("X-Papo-Token".to_owned(), Bytes::from_static(b"secret"))];
        let mut far = Handshake::new(theirs, &properties, &Limits::default());
        let mut wire = encode_greeting().to_vec();
        let Ok(Step::Send(ready)) = far.on_bytes(&mut BytesMut::from(&encode_greeting()[..])) else {
            panic!("no READY after a greeting");
        };
        wire.extend_from_slice(&ready);
        // Data pipelined behind READY stays for the decoder.
        wire.extend_from_slice(b"\x00\x02hi");
        let mut near = Handshake::new(ours, &[], &Limits::default());
        let mut buffer = BytesMut::new();
        let mut outcome = None;
        for piece in cut(&wire, &cuts) {
            buffer.extend_from_slice(piece);
            while outcome.is_none() {
                match near.on_bytes(&mut buffer) {
                    Ok(Step::Wait) => break,
                    Ok(Step::Send(_)) => {}
                    Ok(Step::Done(ready)) => outcome = Some(Ok(ready)),
                    Err(error) => outcome = Some(Err(error)),
                }
            }
        }
        prop_assert_eq!(ours.may_talk_to(theirs), theirs.may_talk_to(ours));
        match outcome.unwrap() {
            Ok(ready) => {
                prop_assert!(ours.may_talk_to(theirs));
                prop_assert_eq!((ready.socket, ready.minor), (theirs, 1));
                prop_assert!(ready.properties.contains(&("x-papo-token".to_owned(), "secret".into())));
                prop_assert_eq!(&buffer[..], b"\x00\x02hi");
            }
            Err(error) => {
                prop_assert!(!ours.may_talk_to(theirs));
                prop_assert_eq!(error, HandshakeError::Mismatch { ours, theirs });
            }
        }
    }
}

const ALL: &[SocketType] = &[
    SocketType::Req,
    SocketType::Rep,
    SocketType::Dealer,
    SocketType::Router,
    SocketType::Pub,
    SocketType::Sub,
    SocketType::Xpub,
    SocketType::Xsub,
    SocketType::Pair,
];

#[test]
fn golden_bytes_of_the_wire() {
    assert_eq!(encode_greeting()[..16], *b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL");
    let two = Encoded::new(&["".into(), "ana".into()]);
    assert_eq!((&two.clone().into_bytes()[..], two.wire_bytes()), (b"\x01\x00\x00\x03ana".as_slice(), 7));
    let long = Encoded::new(&[vec![5; 256].into()]).into_bytes();
    assert_eq!(long[..9], *b"\x02\0\0\0\0\0\0\x01\0");
    let subscribe = Command::Subscribe { topic: "ana".into() };
    assert_eq!(&subscribe.encode()[..], b"\x04\x0d\x09SUBSCRIBEana");
    let ping = Command::Ping { ttl_deciseconds: 0x0102, context: "c".into() };
    assert_eq!(&ping.encode()[..], b"\x04\x08\x04PING\x01\x02c");
    let ready = Command::Ready { properties: vec![("Identity".to_owned(), Bytes::new())] };
    assert_eq!(&ready.encode()[..], b"\x04\x13\x05READY\x08Identity\0\0\0\0");
}

#[test]
fn a_command_between_the_frames_of_a_message_leaves_it_whole() {
    let wire = [b"\x01\x01a".as_slice(), b"\x04\x08\x04PING\0\0c", b"\x00\x01b"].concat();
    let (items, error) = feed(Limits::default(), &[&wire]);
    assert_eq!(error, None);
    assert_eq!(
        items,
        [
            Item::Command(Command::Ping { ttl_deciseconds: 0, context: "c".into() }),
            Item::Message(vec!["a".into(), "b".into()])
        ]
    );
}

#[test]
fn a_long_ping_context_is_cut_to_sixteen_bytes() {
    let long = Command::Ping { ttl_deciseconds: 0, context: Bytes::from(vec![1; 100]) };
    let (items, _) = feed(Limits::default(), &[&long.encode()]);
    assert_eq!(
        items,
        [Item::Command(Command::Ping { ttl_deciseconds: 0, context: Bytes::from(vec![1; 16]) })]
    );
}

#[test]
fn greetings_of_other_kinds_are_named() {
    let decode = |bytes: &[u8]| decode_greeting(&mut BytesMut::from(bytes));
    // ZMTP 1.0: a short frame with an identity. HTTP: a letter. ZMTP 2.0: revision 1, and it sends no 64 bytes.
    assert_eq!(decode(b"\x01\x00"), Err(DecodeError::BadSignature));
    assert_eq!(decode(b"GET / HTTP/1.1\r\n"), Err(DecodeError::BadSignature));
    assert_eq!(decode(b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05"), Err(DecodeError::OldVersion(1)));
    let mut curve = encode_greeting().to_vec();
    curve[12..17].copy_from_slice(b"CURVE");
    assert_eq!(decode(&curve), Err(DecodeError::BadMechanism("CURVE".to_owned())));
    let mut future = encode_greeting().to_vec();
    future[10] = 4;
    future[11] = 0;
    assert_eq!(decode(&future), Ok(Some(Greeting { minor: 1 })));
}
