use super::*;
use crate::request::{Call, read_request};

const AT: UnixMillis = UnixMillis(1_234_567_890_500);

fn clock() -> Lamport {
    Lamport::new(7).unwrap()
}

fn reply(json: &str) -> ReadReply {
    read_reply(json.as_bytes(), &Limits::REPLY).unwrap()
}

#[test]
fn requests_are_golden_in_both_encodings() {
    let fields = [("user", "ana")];
    let written = write_request("login", &fields, Some([1; 16]), clock(), AT, Encoding::Json);
    let stamps = r#""timestamp":1234567890,"clock":7"#;
    let id = r#""papo_id":"01010101010101010101010101010101""#;
    assert_eq!(written, format!(r#"{{"service":"login","data":{{"user":"ana",{id},{stamps}}},{stamps}}}"#));
    let written = write_request("login", &fields, None, clock(), AT, Encoding::MessagePack);
    let stamps = b"\xa9timestamp\xce\x49\x96\x02\xd2\xa5clock\x07";
    let golden = [b"\x84\xa7service\xa5login\xa4data\x83\xa4user\xa3ana", &stamps[..], stamps].concat();
    assert_eq!(written, golden);
}

#[test]
fn what_a_client_writes_a_server_reads() {
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let fields = [("user", "ana"), ("channel", "geral"), ("message", "oi")];
        let written = write_request("publish", &fields, Some([1; 16]), clock(), AT, encoding);
        let request = read_request(&written, &Limits::REQUEST).unwrap();
        assert_eq!((request.clock, request.client_id), (clock(), Some([1; 16])));
        assert_eq!(request.style.encoding, encoding);
        assert!(matches!(request.call, Call::Publish { message, .. } if message == "oi"));
    }
}

#[test]
fn a_cursor_comes_back_as_a_request_takes_it_from_either_encoding() {
    let json = reply(r#"{"data":{"messages":[],"papo_cursor":"AQL_","more":true}}"#);
    assert_eq!((json.cursor().as_deref(), json.more()), (Some("AQL_"), true));
    let bytes = Value::Bytes(Bytes::from_static(&[1, 2, 255]));
    let packed = encode(&Value::Map(vec![("papo_cursor".to_owned(), bytes)]), Encoding::MessagePack);
    let packed = read_reply(&packed, &Limits::REPLY).unwrap();
    assert_eq!((packed.cursor().as_deref(), packed.more()), (Some("AQL_"), false));
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let fields = [("channel", "geral"), ("papo_cursor", "AQL_")];
        let written = write_request("history", &fields, None, clock(), AT, encoding);
        let Call::History { cursor, .. } = read_request(&written, &Limits::REQUEST).unwrap().call else {
            panic!("no history")
        };
        assert_eq!(cursor.as_deref(), Some(&[1, 2, 255][..]));
    }
    assert_eq!(reply(r#"{"data":{"messages":[]}}"#).cursor(), None);
}

#[test]
fn every_dialects_failure_is_seen() {
    for (json, failure) in [
        (r#"{"data":{"status":"sucesso"}}"#, None),
        (r#"{"data":{"status":"OK","message":"enviada","error":"x"}}"#, None),
        (r#"{"data":{"users":[]}}"#, None),
        (r#"{"success":true,"message":"enviada"}"#, None),
        (r#"{"data":{"status":"ok","error":null}}"#, None),
        (r#"{"data":{"status":"erro","description":"não"}}"#, Some("não")),
        (r#"{"data":{"status":"ERRO","message":"não"}}"#, Some("não")),
        (r#"{"data":{"status":"error"}}"#, Some("error")),
        (r#"{"success":false,"message":"não"}"#, Some("não")),
        (r#"{"error":"Serviço desconhecido: X"}"#, Some("Serviço desconhecido: X")),
        (r#"{"data":{"timestamp":1},"error":"não"}"#, Some("não")),
    ] {
        assert_eq!(reply(json).failure.map(|failure| failure.text).as_deref(), failure, "{json}");
    }
    let failure = reply(r#"{"data":{"status":"erro","code":"unknown","retry":true}}"#).failure.unwrap();
    assert_eq!((failure.code.as_deref(), failure.retry), (Some("unknown"), true));
}

#[test]
fn lists_are_read_under_the_first_key_that_has_one() {
    let read = reply(r#"{"data":{"users":["geral"],"channels":"none"},"clock":9}"#);
    assert_eq!(read.names(&["channels", "users"]), ["geral"]);
    assert_eq!(read.clock.get(), 9);
    assert_eq!(reply(r#"{"lista":["ana"],"data":{}}"#).names(&["users", "lista"]), ["ana"]);
    assert!(reply("{}").names(&["users"]).is_empty());
}

#[test]
fn c16_c17_publications_of_every_dialect_are_read() {
    for (json, user, channel, dst) in [
        (
            r#"{"user":"ana","channel":"geral","message":"oi","timestamp":1234567890}"#,
            "ana",
            Some("geral"),
            None,
        ),
        (r#"{"from":"ana","message":"oi","timestamp":"2009-02-13T23:31:30"}"#, "ana", None, None),
        (r#"{"src":"ana","to":"bob","msg":"oi","timestamp":1234567890.0}"#, "ana", None, Some("bob")),
        (
            r#"{"service":"message","data":{"src":"ana","dst":"bob","message":"oi","timestamp":1234567890}}"#,
            "ana",
            None,
            Some("bob"),
        ),
    ] {
        let read = read_publication(json.as_bytes(), &Limits::REPLY).unwrap();
        assert_eq!((read.user.as_str(), read.message.as_str()), (user, "oi"), "{json}");
        assert_eq!((read.channel.as_deref(), read.dst.as_deref()), (channel, dst), "{json}");
        assert_eq!(read.at, Some(UnixMillis(1_234_567_890_000)), "{json}");
    }
}

#[test]
fn message_ids_are_read_in_every_form() {
    let json = |id: &str| format!(r#"{{"message":"oi","message_id":"{id}","clock":3}}"#);
    for id in
        ["AQEBAQEBAQEBAQEBAQEBAQ", "01010101-0101-0101-0101-010101010101", "01010101010101010101010101010101"]
    {
        let read = read_publication(json(id).as_bytes(), &Limits::REPLY).unwrap();
        assert_eq!((read.message_id, read.clock.get()), (Some(Identity([1; 16])), 3), "{id}");
    }
    let foreign = read_publication(json("7").as_bytes(), &Limits::REPLY).unwrap();
    assert_eq!(foreign.message_id, None);
}

#[test]
fn unreadable_history_entries_are_left_out() {
    let read = reply(r#"{"data":{"publications":[{"user":"ana","message":"oi"},7,{"user":"ana"}]}}"#);
    assert_eq!(read.messages().len(), 1);
}

#[test]
fn what_is_no_map_is_an_error() {
    for bytes in [&b""[..], b"\x01", b"\x90", b"{"] {
        assert!(read_reply(bytes, &Limits::REPLY).is_err());
        assert!(read_publication(bytes, &Limits::REPLY).is_err());
    }
}
