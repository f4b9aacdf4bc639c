use super::*;
use crate::codec::decode;
use crate::reply::Code;
use crate::time::TimestampStyle;

const AT: UnixMillis = UnixMillis(1_234_567_890_500);

fn registration(name: &str, address: Option<&str>, port: Option<u16>) -> Registration {
    Registration { name: ServerName::new(name).unwrap(), address: address.map(str::to_owned), port }
}

fn clock() -> Lamport {
    Lamport::new(7).unwrap()
}

fn json(reply: &ReferenceReply) -> String {
    let style = ReplyStyle {
        encoding: Encoding::Json,
        timestamp: TimestampStyle::Seconds,
        service: "list".to_owned(),
    };
    String::from_utf8(write_reference_reply(&style, reply, clock(), AT).to_vec()).unwrap()
}

fn read(json: &str) -> Result<ReferenceCall, Code> {
    let read = read_reference_request(json.as_bytes(), &Limits::REQUEST);
    read.map(|request| request.call).map_err(|bad| bad.refusal.code)
}

#[test]
fn f01_f02_f03_f06_requests_are_read_in_every_dialect() {
    let plain = registration("server-1", None, None);
    let full = registration("server-1", Some("10.0.0.1"), Some(5555));
    for (json, call) in [
        (r#"{"service":"rank","data":{"user":"server-1"}}"#, ReferenceCall::Rank(plain.clone())),
        (r#"{"service":"rank","data":{"name":"server-1"}}"#, ReferenceCall::Rank(plain.clone())),
        (r#"{"service":"rank","name":"server-1"}"#, ReferenceCall::Rank(plain.clone())),
        (
            r#"{"service":"rank","data":{"user":"server-1","addr":"10.0.0.1","port":5555}}"#,
            ReferenceCall::Rank(full.clone()),
        ),
        (
            r#"{"service":"heartbeat","data":{"user":"server-1","host":"10.0.0.1","port":"5555"}}"#,
            ReferenceCall::Heartbeat(full),
        ),
        (
            r#"{"service":"heartbeat","data":{"user":"server-1","port":70000}}"#,
            ReferenceCall::Heartbeat(plain),
        ),
        (r#"{"service":"list"}"#, ReferenceCall::List),
        (r#"{"service":"list_servers","data":{}}"#, ReferenceCall::List),
        (r#"{"service":"clock"}"#, ReferenceCall::Clock),
    ] {
        assert_eq!(read(json), Ok(call), "{json}");
    }
    assert_eq!(read(r#"{"service":"rank","data":{}}"#), Err(Code::BadRequest));
    assert_eq!(read(r#"{"service":"login","data":{"user":"ana"}}"#), Err(Code::UnknownService));
}

#[test]
fn our_requests_are_golden_and_read_back() {
    let written =
        write_reference_request(&ReferenceCall::Rank(registration("s", None, Some(5555))), clock(), AT);
    let stamps = b"\xa9timestamp\xce\x49\x96\x02\xd2\xa5clock\x07";
    let data = b"\xa4data\x84\xa4user\xa1s\xa4port\xcd\x15\xb3";
    assert_eq!(written, [b"\x84\xa7service\xa4rank", &data[..], stamps, stamps].concat());
    for call in [
        ReferenceCall::Rank(registration("server-1", Some("10.0.0.1"), Some(5555))),
        ReferenceCall::Heartbeat(registration("server-1", None, None)),
        ReferenceCall::List,
        ReferenceCall::Clock,
    ] {
        let read =
            read_reference_request(&write_reference_request(&call, clock(), AT), &Limits::REQUEST).unwrap();
        assert_eq!((read.call, read.clock), (call, clock()));
    }
}

#[test]
fn f02_list_is_an_array_and_a_map() {
    let servers = vec![
        ListedServer {
            registration: registration("s1", Some("10.0.0.1"), Some(5555)),
            rank: 1,
            last_beat: AT,
        },
        ListedServer { registration: registration("s2", None, None), rank: 2, last_beat: AT },
    ];
    let first = r#""rank":1,"last_beat":1234567890,"addr":"10.0.0.1","port":5555"#;
    let second = r#""rank":2,"last_beat":1234567890"#;
    let map = format!(r#"{{"s1":{{{first}}},"s2":{{{second}}}}}"#);
    let array = format!(r#"[{{{first},"name":"s1"}},{{{second},"name":"s2"}}]"#);
    for (as_map, list) in [(false, &array), (true, &map)] {
        let reply = json(&ReferenceReply::List { servers: servers.clone(), as_map });
        let fields = format!(r#""success":true,"list":{list},"servers":{map}"#);
        let stamps = r#""timestamp":1234567890,"clock":7"#;
        assert_eq!(reply, format!(r#"{{"service":"list","data":{{{fields},{stamps}}},{stamps},{fields}}}"#));
        let (_, value) = decode(reply.as_bytes(), &Limits::REPLY).unwrap();
        let names = [("s1", 1), ("s2", 2)].map(|(name, rank)| (ServerName::new(name).unwrap(), rank));
        assert_eq!(read_list(&value), names);
    }
}

#[test]
fn f01_rank_is_a_real_integer_wherever_it_stands() {
    let style = ReplyStyle {
        encoding: Encoding::MessagePack,
        timestamp: TimestampStyle::Seconds,
        service: "rank".to_owned(),
    };
    let reply = write_reference_reply(&style, &ReferenceReply::Rank(3), clock(), AT);
    let (_, value) = decode(&reply, &Limits::REPLY).unwrap();
    assert_eq!(value.get("rank"), Some(&Value::Int(3)));
    assert_eq!(read_rank(&value), Some(3));
    for (json, rank) in [
        (r#"{"rank":2}"#, Some(2)),
        (r#"{"data":{"rank":2.0},"clock":1}"#, Some(2)),
        (r#"{"data":{}}"#, None),
        (r#"{"rank":-1}"#, None),
    ] {
        let (_, value) = decode(json.as_bytes(), &Limits::REPLY).unwrap();
        assert_eq!(read_rank(&value), rank, "{json}");
    }
    assert!(read_list(&Value::Null).is_empty());
}

#[test]
fn f03_f06_heartbeat_and_clock_are_answered() {
    assert!(json(&ReferenceReply::Alive).contains(r#""status":"OK","timestamp":1234567890,"clock":7"#));
    assert!(json(&ReferenceReply::Time).contains(r#""time":1234567890,"timestamp":1234567890"#));
}
