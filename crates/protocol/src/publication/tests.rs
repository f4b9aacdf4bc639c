use super::*;
use crate::identity::{Boot, Dot};
use crate::names::{ChannelName, UserName};
use crate::reply::Position;
use crate::time::SentTimestamp;

const AT: UnixMillis = UnixMillis(1_234_567_890_500);

fn server() -> ServerName {
    ServerName::new("server-1").unwrap()
}

fn clock() -> Lamport {
    Lamport::new(7).unwrap()
}

fn entry(target: Target, sent: Option<SentTimestamp>) -> HistoryEntry {
    let dot = Dot { origin: server(), boot: Boot(0xb), seq: 2 };
    HistoryEntry {
        user: UserName::new("ana").unwrap(),
        target,
        message: "oi".to_owned(),
        sent,
        at: AT,
        message_id: Identity([1; 16]),
        position: Position { lamport: Lamport::new(6).unwrap(), dot },
    }
}

fn geral() -> Target {
    Target::Channel(ChannelName::new("geral").unwrap())
}

fn bob() -> Target {
    Target::User(UserName::new("bob").unwrap())
}

const POSITION: &[u8] =
    b"\xa8position\x84\xa7lamport\x06\xa6server\xa8server-1\xa4boot\xb0000000000000000b\xa3seq\x02";
const ID: &[u8] = b"\xa2id\xd9\x2001010101010101010101010101010101";
const MESSAGE_ID: &[u8] =
    b"\xaamessage_id\xc4\x10\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01";

/// A map of `service`, `data`, the stamps and the fields, with data repeating fields and stamps.
fn golden(service: &[u8], names: u8, fields: &[u8], stamps: &[u8]) -> Vec<u8> {
    let map = |names: u8| if names < 16 { vec![0x80 | names] } else { vec![0xde, 0, names] };
    let (top, data) = (map(names + 4), map(names + 2));
    [&top[..], b"\xa7service", service, b"\xa4data", &data, fields, stamps, stamps, fields].concat()
}

#[test]
fn c16_golden_bytes_of_a_channels_publication() {
    let fields = [
        b"\xa4user\xa3ana\xa3src\xa3ana\xa4from\xa3ana\xa7channel\xa5geral\xa7message\xa2oi",
        MESSAGE_ID,
        POSITION,
        b"\xa4type\xa7publish\xa6origin\xa8server-1",
        ID,
    ]
    .concat();
    let stamps = b"\xa9timestamp\xce\x49\x96\x02\xd2\xa5clock\x07";
    let written = write_publication(&entry(geral(), None), clock(), &server(), Encoding::MessagePack);
    assert_eq!(written, golden(b"\xa7publish", 10, &fields, stamps));
}

#[test]
fn c17_golden_bytes_of_a_direct_message() {
    let fields = [
        b"\xa4user\xa3ana\xa3src\xa3ana\xa4from\xa3ana\xa3dst\xa3bob\xa2to\xa3bob\xa7message\xa2oi",
        MESSAGE_ID,
        POSITION,
        b"\xa4type\xa7message\xa6origin\xa8server-1",
        ID,
    ]
    .concat();
    let stamps = b"\xa9timestamp\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00\xa5clock\x07";
    let sent = Some(SentTimestamp::Float(0.5));
    let written = write_publication(&entry(bob(), sent), clock(), &server(), Encoding::MessagePack);
    assert_eq!(written, golden(b"\xa7message", 11, &fields, stamps));
}

#[test]
fn d03_golden_bytes_of_a_coordinators_announcement() {
    let fields = b"\xa4type\xabcoordinator\xabcoordinator\xa8server-1\xa4rank\x01\xa5epoch\x09";
    let stamps = b"\xa9timestamp\xce\x49\x96\x02\xd2\xa5clock\x07";
    let written = write_coordinator(&server(), 1, 9, clock(), AT);
    assert_eq!(written, golden(b"\xa8election", 4, fields, stamps));
}

#[test]
fn a_publication_repeats_the_senders_timestamp_in_json_too() {
    let sent = Some(SentTimestamp::Text("2025-01-31T12:00:00".to_owned()));
    let written = write_publication(&entry(geral(), sent), clock(), &server(), Encoding::Json);
    let text = std::str::from_utf8(&written).unwrap();
    assert_eq!(text.matches(r#""timestamp":"2025-01-31T12:00:00","clock":7"#).count(), 2);
    assert_eq!(text.matches(r#""message_id":"AQEBAQEBAQEBAQEBAQEBAQ""#).count(), 2);
}

#[test]
fn meta_is_eighteen_bytes_and_anything_else_is_foreign() {
    for kind in [PublicationKind::Channel, PublicationKind::Direct, PublicationKind::Servers] {
        let meta = PublicationMeta { kind, identity: Identity([7; 16]) };
        assert_eq!(meta.to_bytes().len(), 18);
        assert_eq!(PublicationMeta::from_bytes(&meta.to_bytes()), Some(meta));
    }
    let golden = [&b"\x01D"[..], &[7; 16]].concat();
    let meta = PublicationMeta { kind: PublicationKind::Direct, identity: Identity([7; 16]) };
    assert_eq!(meta.to_bytes(), golden);
    for foreign in [
        &b""[..],
        &golden[..17],
        &[&golden[..], &[0]].concat(),
        &[&b"\x02D"[..], &[7; 16]].concat(),
        b"\x01X",
    ] {
        assert_eq!(PublicationMeta::from_bytes(foreign), None);
    }
}

#[test]
fn d02_a_foreign_body_that_names_a_person_is_not_public() {
    for (body, public) in [
        (&br#"{"user":"ana","message":"oi"}"#[..], true),
        (br#"{"data":{"user":"ana","message":"oi"}}"#, true),
        (br#"{"from":"ana","message":"oi"}"#, false),
        (br#"{"SRC":"ana","message":"oi"}"#, false),
        (br#"{"data":{"to":"bob"}}"#, false),
        (br#"{"dst":"bob"}"#, false),
        (b"\x81\xa3dst\xa3bob", false),
        (b"ola", true),
        (b"", true),
    ] {
        assert_eq!(foreign_body_is_public(body, &Limits::REQUEST), public, "{}", body.escape_ascii());
    }
    let limits = Limits { bytes: 4, ..Limits::REQUEST };
    assert!(!foreign_body_is_public(b"\x81\xa3dst\xa3bob", &limits), "too large to be known as public");
}

#[test]
fn b01_in_json_a_publication_has_the_same_fields_and_what_is_no_map_stays_as_it_came() {
    let written = |encoding| write_publication(&entry(geral(), None), clock(), &server(), encoding);
    let in_json = publication_in_json(&written(Encoding::MessagePack), &Limits::REPLY);
    assert_eq!(in_json, written(Encoding::Json));
    assert_eq!(publication_in_json(&in_json, &Limits::REPLY), in_json, "JSON already");
    for foreign in [&b"oi"[..], b"\x07", b"\x93\x01\x02\x03", b"\x81\xa1a", b""] {
        let foreign = Bytes::copy_from_slice(foreign);
        assert_eq!(publication_in_json(&foreign, &Limits::REPLY), foreign);
    }
}
