use super::*;
use crate::codec::decode;
use crate::identity::Boot;
use crate::reply::Code;
use crate::time::TimestampStyle;
use proptest::prelude::*;

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

#[test]
fn a_claim_is_golden() {
    let claim = ReferenceCall::Claim(Claim {
        name: ServerName::new("server-2").unwrap(),
        boot: Boot(0xab),
        seen: Epoch { number: 6, boot: Boot(u64::MAX) },
        reached: 2,
    });
    let written = write_reference_request(&claim, clock(), AT);
    let stamps = b"\xa9timestamp\xce\x49\x96\x02\xd2\xa5clock\x07";
    let data = [
        &b"\xa4data\x86\xa4user\xa8server-2\xa4boot\xb000000000000000ab"[..],
        b"\xa4seen\x82\xa6number\x06\xa4boot\xb0ffffffffffffffff\xa7reached\x02",
    ];
    assert_eq!(written, [&b"\x84\xa7service\xa5claim"[..], &data.concat(), stamps, stamps].concat());
}

#[test]
fn the_answer_to_a_claim_is_golden() {
    let style = ReplyStyle {
        encoding: Encoding::Json,
        timestamp: TimestampStyle::Seconds,
        service: "claim".to_owned(),
    };
    let answer = ReferenceReply::Claimed(ClaimAnswer::Refused {
        epoch: Epoch { number: 6, boot: Boot(0xab) },
        holder: Some(ServerName::new("server-3").unwrap()),
        why: ClaimRefusal::Held,
    });
    let fields =
        r#""success":true,"claim":"held","epoch":{"number":6,"boot":"00000000000000ab"},"holder":"server-3""#;
    let stamps = r#""timestamp":1234567890,"clock":7"#;
    let written = String::from_utf8(write_reference_reply(&style, &answer, clock(), AT).to_vec()).unwrap();
    assert_eq!(written, format!(r#"{{"service":"claim","data":{{{fields},{stamps}}},{stamps},{fields}}}"#));
}

#[test]
fn a_claim_without_a_whole_epoch_is_refused() {
    for bad in [
        r#"{"service":"claim","data":{"user":"s","boot":"00000000000000ab","reached":1}}"#,
        r#"{"service":"claim","data":{"user":"s","boot":"ab","seen":{"number":1,"boot":"00000000000000ab"},"reached":1}}"#,
        r#"{"service":"claim","data":{"user":"s","boot":"00000000000000ab","seen":{"number":-1,"boot":"00000000000000ab"},"reached":1}}"#,
        r#"{"service":"report","data":{"user":"s","epoch":{"number":1},"reached":1}}"#,
        r#"{"service":"report","data":{"user":"s","epoch":{"number":1,"boot":"00000000000000ab"},"reached":4294967296}}"#,
        r#"{"service":"resign","data":{"epoch":{"number":1,"boot":"00000000000000ab"}}}"#,
    ] {
        assert_eq!(read(bad), Err(Code::BadRequest), "{bad}");
    }
}

#[test]
fn a_refusal_answers_nothing() {
    let call = ReferenceCall::Heartbeat(registration("server-1", None, None));
    let answer = |reply: &[u8]| read_reference_answer(&call, reply, &Limits::REPLY);
    assert_eq!(
        answer(br#"{"service":"heartbeat","data":{"timestamp":1,"clock":2}}"#),
        Some(ReferenceAnswer::Alive)
    );
    assert_eq!(answer(br#"{"service":"heartbeat","data":{"status":"erro","description":"nao"}}"#), None);
    assert_eq!(answer(b"not a map"), None);
}

fn names() -> impl Strategy<Value = ServerName> {
    "[a-z\u{e9}\"-]{1,20}".prop_map(|name| ServerName::new(&name).unwrap())
}

fn epochs() -> impl Strategy<Value = Epoch> {
    (any::<u64>(), any::<u64>()).prop_map(|(number, boot)| Epoch { number, boot: Boot(boot) })
}

fn coordinators_calls() -> impl Strategy<Value = ReferenceCall> {
    prop_oneof![
        (names(), any::<u64>(), epochs(), any::<u32>()).prop_map(|(name, boot, seen, reached)| {
            ReferenceCall::Claim(Claim { name, boot: Boot(boot), seen, reached })
        }),
        (names(), epochs(), any::<u32>()).prop_map(|(name, epoch, reached)| ReferenceCall::Report(Report {
            name,
            epoch,
            reached
        })),
        (names(), epochs()).prop_map(|(name, epoch)| ReferenceCall::Resign(Resign { name, epoch })),
    ]
}

fn claim_answers() -> impl Strategy<Value = ClaimAnswer> {
    let refusals = (epochs(), prop::option::of(names()), prop::sample::select(ClaimRefusal::ALL.to_vec()));
    prop_oneof![
        epochs().prop_map(ClaimAnswer::Granted),
        refusals.prop_map(|(epoch, holder, why)| ClaimAnswer::Refused { epoch, holder, why }),
    ]
}

proptest! {
    #[test]
    fn what_a_coordinator_asks_is_read_as_it_was_written(call in coordinators_calls()) {
        let read = read_reference_request(&write_reference_request(&call, clock(), AT), &Limits::REQUEST).unwrap();
        prop_assert!(call.needs_token());
        prop_assert_eq!(read.call, call);
    }

    #[test]
    fn answers_are_read_as_they_were_written(
        call in coordinators_calls(),
        answer in claim_answers(),
        epoch in epochs(),
        json in any::<bool>(),
    ) {
        let (reply, expected) = match call {
            ReferenceCall::Claim(_) => (ReferenceReply::Claimed(answer.clone()), ReferenceAnswer::Claimed(answer)),
            _ => (ReferenceReply::Reported(epoch), ReferenceAnswer::Reported(epoch)),
        };
        let style = ReplyStyle {
            encoding: if json { Encoding::Json } else { Encoding::MessagePack },
            timestamp: TimestampStyle::Seconds,
            service: "any".to_owned(),
        };
        let written = write_reference_reply(&style, &reply, clock(), AT);
        prop_assert_eq!(read_reference_answer(&call, &written, &Limits::REPLY), Some(expected));
    }
}
