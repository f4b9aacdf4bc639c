use super::*;
use crate::client::{ReadReply, read_reply};
use crate::codec::{Encoding, Limits, decode};
use crate::identity::Boot;
use crate::names::ServerName;
use crate::request::ReplyStyle;
use crate::time::TimestampStyle;
use crate::value::Value;

const AT: UnixMillis = UnixMillis(1_234_567_890_500);

fn style(encoding: Encoding, service: &str) -> ReplyStyle {
    ReplyStyle { encoding, timestamp: TimestampStyle::Seconds, service: service.to_owned() }
}

fn position() -> Position {
    let dot = Dot { origin: ServerName::new("server-1").unwrap(), boot: Boot(0xb), seq: 2 };
    Position { lamport: Lamport::new(6).unwrap(), dot }
}

fn receipt() -> Receipt {
    Receipt { message_id: Identity([1; 16]), position: position(), durable: Durable { fsynced: 2, of: 3 } }
}

fn entry(target: Target, message: &str) -> HistoryEntry {
    HistoryEntry {
        user: UserName::new("ana").unwrap(),
        target,
        message: message.to_owned(),
        sent: Some(SentTimestamp::Text("2025-01-31T12:00:00".to_owned())),
        at: AT,
        message_id: Identity([1; 16]),
        position: position(),
    }
}

fn geral() -> Target {
    Target::Channel(ChannelName::new("geral").unwrap())
}

fn bob() -> Target {
    Target::User(UserName::new("bob").unwrap())
}

fn write(style: &ReplyStyle, reply: &Reply) -> Bytes {
    write_reply(style, reply, Lamport::new(7).unwrap(), AT, Compat::default())
}

fn json(service: &str, reply: &Reply) -> String {
    String::from_utf8(write(&style(Encoding::Json, service), reply).to_vec()).unwrap()
}

/// `fields` as they stand in `data` and again at the top.
fn superset(service: &str, fields: &str) -> String {
    format!(
        r#"{{"service":"{service}","data":{{{fields},"timestamp":1234567890,"clock":7}},"timestamp":1234567890,"clock":7,{fields}}}"#
    )
}

const RECEIPT: &str = r#""message_id":"AQEBAQEBAQEBAQEBAQEBAQ","position":{"lamport":6,"server":"server-1","boot":"000000000000000b","seq":2},"durable":{"fsynced":2,"of":3}"#;
const CHANNEL_ENTRY: &str = r#"{"user":"ana","src":"ana","from":"ana","channel":"geral","message":"oi","message_id":"AQEBAQEBAQEBAQEBAQEBAQ","position":{"lamport":6,"server":"server-1","boot":"000000000000000b","seq":2},"timestamp":"2025-01-31T12:00:00","clock":6}"#;
const DIRECT_ENTRY: &str = r#"{"user":"ana","src":"ana","from":"ana","dst":"bob","to":"bob","message":"oi","message_id":"AQEBAQEBAQEBAQEBAQEBAQ","position":{"lamport":6,"server":"server-1","boot":"000000000000000b","seq":2},"timestamp":"2025-01-31T12:00:00","clock":6}"#;

#[test]
fn c01_to_c12_each_kind_of_reply_is_the_superset_of_its_dialects() {
    let users = Reply::Users(vec![UserName::new("ana").unwrap(), UserName::new("bob").unwrap()]);
    let channels = Reply::Channels(vec![ChannelName::new("geral").unwrap()]);
    let history = |shape| Reply::History {
        shape,
        entries: vec![entry(geral(), "oi")],
        truncated: shape == HistoryShape::Papo,
        cursor: (shape == HistoryShape::Papo).then(|| Bytes::from_static(&[1, 2, 3])),
        more: false,
    };
    let sync = Reply::Sync {
        logins: vec![(UserName::new("ana").unwrap(), AT)],
        channels: vec![ChannelName::new("geral").unwrap()],
        messages: vec![entry(geral(), "oi"), entry(bob(), "oi")],
        truncated: false,
    };
    for (service, reply, fields) in [
        ("login", Reply::Success(Some(receipt())), format!(r#""success":true,"status":"sucesso",{RECEIPT}"#)),
        ("subscribe", Reply::Success(None), r#""success":true,"status":"sucesso""#.to_owned()),
        ("publish", Reply::Posted(receipt()), format!(r#""success":true,"status":"OK",{RECEIPT}"#)),
        ("heartbeat", Reply::Alive, r#""success":true,"status":"ok""#.to_owned()),
        ("users", users, r#""success":true,"users":["ana","bob"],"lista":["ana","bob"]"#.to_owned()),
        (
            "channels",
            channels,
            r#""success":true,"channels":["geral"],"users":["geral"],"lista":["geral"]"#.to_owned(),
        ),
        (
            "history",
            history(HistoryShape::Papo),
            format!(
                r#""success":true,"more":false,"papo_cursor":"AQID","messages":[{CHANNEL_ENTRY}],"truncated":true"#
            ),
        ),
        (
            "get_publications",
            history(HistoryShape::Publications),
            format!(r#""success":true,"more":false,"publications":[{CHANNEL_ENTRY}]"#),
        ),
        (
            "get_messages",
            history(HistoryShape::Messages),
            format!(r#""success":true,"more":false,"messages":[{CHANNEL_ENTRY}]"#),
        ),
        (
            "sync",
            sync,
            format!(
                r#""success":true,"logins":[{{"username":"ana","timestamp":1234567890}}],"channels":["geral"],"channel_messages":[{CHANNEL_ENTRY}],"user_messages":[{DIRECT_ENTRY}]"#
            ),
        ),
        ("ping", Reply::Pong, r#""success":true,"pong":"OK","status":"OK""#.to_owned()),
        ("clock", Reply::Time, r#""success":true,"time":1234567890"#.to_owned()),
        ("election", Reply::ElectionOk, r#""success":true,"election":"OK","status":"OK""#.to_owned()),
        ("adjust", Reply::Adjusted, r#""success":true,"status":"OK""#.to_owned()),
    ] {
        assert_eq!(json(service, &reply), superset(service, &fields));
    }
}

#[test]
fn c15_a_refusal_says_so_under_every_name() {
    let text = "canal desconhecido: geral".to_owned();
    let refusal = Reply::Refused(Refusal { code: Code::UnknownChannel, text, retry: false });
    let text = r#""description":"canal desconhecido: geral","message":"canal desconhecido: geral","error":"canal desconhecido: geral""#;
    let fields = format!(r#""success":false,"status":"erro",{text},"code":"unknown_channel","retry":false"#);
    assert_eq!(json("publish", &refusal), superset("publish", &fields));
}

#[test]
fn b01_golden_bytes_of_a_login_and_of_a_refusal() {
    let login = write(&style(Encoding::MessagePack, "login"), &Reply::Success(None));
    let stamps = b"\xa9timestamp\xce\x49\x96\x02\xd2\xa5clock\x07";
    let fields = b"\xa7success\xc3\xa6status\xa7sucesso";
    let golden = [b"\x86\xa7service\xa5login\xa4data\x84", &fields[..], stamps, stamps, fields].concat();
    assert_eq!(login, golden);

    let refusal = Refusal { code: Code::Unknown, text: "repita".to_owned(), retry: true };
    let refused = write(&style(Encoding::MessagePack, "publish"), &Reply::Refused(refusal));
    let fields =
        b"\xa7success\xc2\xa6status\xa4erro\xabdescription\xa6repita\xa7message\xa6repita\xa5error\xa6repita\
        \xa4code\xa7unknown\xa5retry\xc3";
    let golden = [b"\x8b\xa7service\xa7publish\xa4data\x89", &fields[..], stamps, stamps, fields].concat();
    assert_eq!(refused, golden);
}

#[test]
fn message_id_is_binary_and_counts_are_integers_in_messagepack() {
    let reply = write(&style(Encoding::MessagePack, "publish"), &Reply::Posted(receipt()));
    let (_, value) = decode(&reply, &Limits::REPLY).unwrap();
    for place in [&value, value.get("data").unwrap()] {
        assert_eq!(place.get("message_id"), Some(&Value::Bytes(Bytes::from_static(&[1; 16]))));
        assert_eq!(place.get("durable").and_then(|durable| durable.get("of")), Some(&Value::Int(3)));
        assert_eq!(place.get("clock"), Some(&Value::Int(7)));
        assert_eq!(place.get("timestamp"), Some(&Value::Int(1_234_567_890)));
    }
}

#[test]
fn b03_the_reply_uses_the_requests_type_of_timestamp() {
    let style = ReplyStyle { timestamp: TimestampStyle::Rfc3339, ..style(Encoding::Json, "clock") };
    let reply = String::from_utf8(write(&style, &Reply::Time).to_vec()).unwrap();
    assert!(
        reply.contains(
            r#""time":"2009-02-13T23:31:30.500Z","timestamp":"2009-02-13T23:31:30.500Z","clock":7"#
        )
    );
}

#[test]
fn compat_lets_publish_say_sucesso() {
    let compat = Compat { publish_says_sucesso: true };
    let style = style(Encoding::Json, "publish");
    let reply = write_reply(&style, &Reply::Posted(receipt()), Lamport::default(), AT, compat);
    assert!(String::from_utf8(reply.to_vec()).unwrap().contains(r#""status":"sucesso""#));
}

#[test]
fn every_code_has_the_name_that_serde_gives_it() {
    for code in [
        Code::BadRequest,
        Code::TooLarge,
        Code::UnknownService,
        Code::UnknownUser,
        Code::UnknownChannel,
        Code::NameTaken,
        Code::ReservedName,
        Code::FrozenChannel,
        Code::Unknown,
        Code::NoServer,
        Code::CursorAhead,
        Code::CursorInvalid,
    ] {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}

/// Reads a reply that had to be cut: it fits, and not by much less.
fn read_cut(encoding: Encoding, reply: &Reply, item_bytes_max: usize) -> ReadReply {
    let bytes = write(&style(encoding, "x"), reply);
    assert!(bytes.len() <= REPLY_BYTES_MAX, "{} bytes", bytes.len());
    assert!(bytes.len() > REPLY_BYTES_MAX - item_bytes_max - 1024, "{} bytes", bytes.len());
    let read = read_reply(&bytes, &Limits { values: usize::MAX, ..Limits::REPLY }).unwrap();
    assert_eq!(read.data.get("truncated"), Some(&Value::Bool(true)));
    read
}

#[test]
fn lists_are_cut_to_the_newest_that_fit() {
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let names = (0..60_000).map(|at| format!("canal-de-nome-comprido-{at:06}"));
        let channels = Reply::Channels(names.map(|name| ChannelName::new(&name).unwrap()).collect());
        let read = read_cut(encoding, &channels, 6 * 40).names(&["channels"]);
        assert!(read.len() > 10_000);
        assert_eq!(read.last().unwrap(), "canal-de-nome-comprido-059999");

        let entries = (0..30).map(|at| entry(geral(), &format!("{at} {}", "x".repeat(100_000)))).collect();
        let history = Reply::History {
            shape: HistoryShape::Papo,
            entries,
            truncated: false,
            cursor: Some(Bytes::from_static(&[0; 100])),
            more: true,
        };
        let messages = read_cut(encoding, &history, 201_000).messages();
        assert_eq!(messages.len(), 20);
        assert!(messages.last().unwrap().message.starts_with("29 "));

        let messages = (0..30).map(|at| {
            let target = if at % 2 == 0 { geral() } else { bob() };
            entry(target, &format!("{at} {}", "x".repeat(100_000)))
        });
        let sync = Reply::Sync {
            logins: Vec::new(),
            channels: Vec::new(),
            messages: messages.collect(),
            truncated: false,
        };
        let read = read_cut(encoding, &sync, 201_000);
        for key in ["channel_messages", "user_messages"] {
            assert_eq!(read.data.get(key).and_then(Value::as_list).map(<[Value]>::len), Some(10), "{key}");
        }
    }
}

#[test]
fn c18_h08_a_message_too_large_for_any_reply_is_left_out_and_hides_no_other() {
    // A control character is one byte of MessagePack and six of JSON: whoever reads JSON gets the others.
    let huge = "\u{1}".repeat(1 << 20);
    let entries = || [entry(geral(), "antes"), entry(geral(), &huge), entry(geral(), "depois")].to_vec();
    let history =
        |shape| Reply::History { shape, entries: entries(), truncated: false, cursor: None, more: false };
    let sync =
        Reply::Sync { logins: Vec::new(), channels: Vec::new(), messages: entries(), truncated: false };
    for (reply, key) in [
        (history(HistoryShape::Papo), "messages"),
        (history(HistoryShape::Publications), "publications"),
        (sync, "channel_messages"),
    ] {
        let bytes = write(&style(Encoding::Json, "x"), &reply);
        assert!(bytes.len() <= REPLY_BYTES_MAX);
        let read = read_reply(&bytes, &Limits::REPLY).unwrap().data;
        assert_eq!(read.get("truncated"), Some(&Value::Bool(true)), "{key}");
        let texts = read.get(key).and_then(Value::as_list).unwrap().iter();
        let texts: Vec<_> =
            texts.map(|entry| entry.get("message").and_then(Value::to_text).unwrap()).collect();
        assert_eq!(texts, ["antes", "depois"], "{key}");
        // In MessagePack it fits.
        let bytes = write(&style(Encoding::MessagePack, "x"), &reply);
        let read = read_reply(&bytes, &Limits::REPLY).unwrap().data;
        assert_eq!(read.get(key).and_then(Value::as_list).map(<[Value]>::len), Some(3), "{key}");
    }
}
