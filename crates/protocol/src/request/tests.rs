use super::*;

const LIMITS: Limits = Limits::REQUEST;

fn read(json: &str) -> Result<Request, Box<BadRequest>> {
    read_request(json.as_bytes(), &LIMITS)
}

fn call(json: &str) -> Call {
    read(json).unwrap_or_else(|bad| panic!("{json}: {bad:?}")).call
}

fn refusal(json: &str) -> Refusal {
    match read(json) {
        Ok(request) => panic!("{json}: {request:?}"),
        Err(bad) => bad.refusal,
    }
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn publish(user: Option<&str>, channel: &str, message: &str) -> Call {
    let user = user.map(|name| UserName::new(name).unwrap());
    Call::Publish { user, channel: ChannelName::new(channel).unwrap(), message: message.to_owned() }
}

fn history(scope: HistoryScope, shape: HistoryShape) -> Call {
    Call::History { scope, shape, cursor: None, limit: None }
}

#[test]
fn b05_the_seeds_login_is_read() {
    let login = b"\x82\xa7service\xa5login\xa4data\x82\xa4user\xa5alice\xa9timestamp\xce\x49\x96\x02\xd2";
    let request = read_request(login, &LIMITS).unwrap();
    assert_eq!(request.call, Call::Login { user: user("alice") });
    assert_eq!(request.timestamp, Some(SentTimestamp::Int(1_234_567_890)));
    let style = ReplyStyle {
        encoding: Encoding::MessagePack,
        timestamp: TimestampStyle::Seconds,
        service: "login".to_owned(),
    };
    assert_eq!(request.style, style);
    assert_eq!((request.clock.get(), request.absurd_clock, request.client_id), (0, false, None));
}

#[test]
fn c01_to_c12_every_service_is_read_in_every_dialect() {
    let message =
        |src: Option<&str>| Call::Message { src: src.map(user), dst: user("bob"), message: "oi".to_owned() };
    let of_channel = || HistoryScope::Channel(channel("geral"));
    let of_user = || HistoryScope::User(user("ana"));
    for (json, expected) in [
        (r#"{"service":"login","data":{"user":"ana"}}"#, Call::Login { user: user("ana") }),
        (r#"{"service":"login","data":{"username":"ana"}}"#, Call::Login { user: user("ana") }),
        (r#"{"service":"login","data":{"name":"ana"}}"#, Call::Login { user: user("ana") }),
        (r#"{"service":"register_user","data":{"username":"ana"}}"#, Call::Login { user: user("ana") }),
        (r#"{"service":"login","user":"ana"}"#, Call::Login { user: user("ana") }),
        (r#"{"service":"login","user":"ana","data":null}"#, Call::Login { user: user("ana") }),
        (r#"{"service":"login","data":{"user":42}}"#, Call::Login { user: user("42") }),
        (r#"{"Service":"Login","Data":{"User":"ana"}}"#, Call::Login { user: user("ana") }),
        (r#"{"service":"users","data":{}}"#, Call::Users),
        (r#"{"service":"users"}"#, Call::Users),
        (
            r#"{"service":"channel","data":{"channel":"geral"}}"#,
            Call::CreateChannel { channel: channel("geral") },
        ),
        (
            r#"{"service":"channel","data":{"name":"geral"}}"#,
            Call::CreateChannel { channel: channel("geral") },
        ),
        (r#"{"service":"channels","data":{}}"#, Call::Channels),
        (r#"{"service":"list_channels"}"#, Call::Channels),
        (
            r#"{"service":"publish","data":{"user":"ana","channel":"geral","message":"oi"}}"#,
            publish(Some("ana"), "geral", "oi"),
        ),
        (r#"{"service":"publish","data":{"channel":"Geral","msg":"Olá"}}"#, publish(None, "Geral", "Olá")),
        (
            r#"{"service":"publish","data":{"username":"ana","topic":"geral","content":"oi"}}"#,
            publish(Some("ana"), "geral", "oi"),
        ),
        (
            r#"{"service":"publish","data":{"user":"","channel":"geral","message":""}}"#,
            publish(None, "geral", ""),
        ),
        (r#"{"service":"publish","data":{"channel":"geral","message":7}}"#, publish(None, "geral", "7")),
        (r#"{"service":"message","data":{"src":"ana","dst":"bob","message":"oi"}}"#, message(Some("ana"))),
        (r#"{"service":"message","data":{"from":"ana","to":"bob","msg":"oi"}}"#, message(Some("ana"))),
        (r#"{"service":"message","data":{"user":"ana","to":"bob","content":"oi"}}"#, message(Some("ana"))),
        (r#"{"service":"message","data":{"dst":"bob","msg":"oi"}}"#, message(None)),
        (
            r#"{"service":"subscribe","data":{"user":"ana","topic":"geral"}}"#,
            Call::Subscribe { topic: "geral".to_owned() },
        ),
        (
            r#"{"service":"unsubscribe","data":{"user":"ana","channel":"geral"}}"#,
            Call::Unsubscribe { topic: "geral".to_owned() },
        ),
        (r#"{"service":"heartbeat","data":{"user":"ana"}}"#, Call::Heartbeat),
        (r#"{"service":"history","data":{"channel":"geral"}}"#, history(of_channel(), HistoryShape::Papo)),
        (r#"{"service":"history","data":{"user":"ana"}}"#, history(of_user(), HistoryShape::Papo)),
        (
            r#"{"service":"history","data":{"user":"ana","channel":"geral"}}"#,
            history(of_channel(), HistoryShape::Papo),
        ),
        (
            r#"{"service":"history_channel","data":{"channel":"geral"}}"#,
            history(of_channel(), HistoryShape::Publications),
        ),
        (
            r#"{"service":"get_publications","data":{"channel":"geral"}}"#,
            history(of_channel(), HistoryShape::Publications),
        ),
        (
            r#"{"service":"history_messages","data":{"user":"ana"}}"#,
            history(of_user(), HistoryShape::Messages),
        ),
        (
            r#"{"service":"get_messages","data":{"username":"ana"}}"#,
            history(of_user(), HistoryShape::Messages),
        ),
        (r#"{"service":"sync","data":{"last_sync":1234567000}}"#, Call::Sync { last_sync: 1_234_567_000 }),
        (
            r#"{"service":"sync","data":{"last_sync":"2009-02-13T23:16:40Z"}}"#,
            Call::Sync { last_sync: 1_234_567_000 },
        ),
        (r#"{"service":"sync"}"#, Call::Sync { last_sync: 0 }),
        (r#"{"service":"ping"}"#, Call::Ping),
        (r#"{"service":"clock"}"#, Call::Clock),
        (r#"{"service":"election"}"#, Call::Election),
        (r#"{"service":"adjust","data":{"adjustment":5}}"#, Call::Adjust),
        (r#"{"service":"adjust_clock"}"#, Call::Adjust),
    ] {
        assert_eq!(call(json), expected, "{json}");
    }
}

#[test]
fn b02_b04_the_largest_clock_of_any_place_counts() {
    for (json, clock, absurd) in [
        (r#"{"service":"users"}"#, 0, false),
        (r#"{"service":"users","data":{"clock":5},"clock":3}"#, 5, false),
        (r#"{"service":"users","data":{"clock":5},"lamport_clock":9}"#, 9, false),
        (r#"{"service":"users","Data":{"Lamport_Clock":4}}"#, 4, false),
        (r#"{"service":"users","clock":7.9}"#, 7, false),
        (r#"{"service":"users","clock":-7}"#, 0, false),
        (r#"{"service":"users","clock":"7"}"#, 0, false),
        (r#"{"service":"users","clock":null}"#, 0, false),
        (r#"{"service":"users","clock":9007199254740992}"#, 1 << 53, false),
        (r#"{"service":"users","clock":9007199254740993,"data":{"clock":2}}"#, 2, true),
        (r#"{"service":"users","clock":1e300}"#, 0, true),
    ] {
        let request = read(json).unwrap();
        assert_eq!((request.clock.get(), request.absurd_clock), (clock, absurd), "{json}");
    }
    let not_a_number = b"\x82\xa7service\xa5users\xa5clock\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00";
    assert_eq!(read_request(not_a_number, &LIMITS).unwrap().clock.get(), 0);
}

#[test]
fn b03_the_timestamp_is_read_from_either_place_and_sets_the_replys_type() {
    for (json, style) in [
        (r#"{"service":"users","timestamp":"2025-01-31T12:00:00"}"#, TimestampStyle::IsoWithoutZone),
        (r#"{"service":"users","data":{"timestamp":1.5}}"#, TimestampStyle::FloatSeconds),
        (r#"{"service":"users"}"#, TimestampStyle::Seconds),
    ] {
        assert_eq!(read(json).unwrap().style.timestamp, style, "{json}");
    }
}

#[test]
fn papo_id_is_sixteen_bytes_or_a_uuid_and_a_plain_id_is_not_read() {
    let id = |json: &str| read(json).unwrap().client_id;
    let uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    let bytes = std::array::from_fn(|at| u8::try_from(at).unwrap());
    assert_eq!(id(&format!(r#"{{"service":"users","data":{{"papo_id":"{uuid}"}}}}"#)), Some(bytes));
    assert_eq!(id(&format!(r#"{{"service":"users","data":{{"id":"{uuid}"}}}}"#)), None);
    assert_eq!(id(r#"{"service":"users","data":{"papo_id":"mine"}}"#), None);
    assert_eq!(id(r#"{"service":"users","data":{"papo_id":7}}"#), None);
    let mut binary = b"\x82\xa7service\xa5users\xa4data\x81\xa7papo_id\xc4\x10".to_vec();
    binary.extend(bytes);
    assert_eq!(read_request(&binary, &LIMITS).unwrap().client_id, Some(bytes));
}

#[test]
fn history_takes_a_cursor_and_a_limit() {
    let json = r#"{"service":"history","data":{"channel":"geral","papo_cursor":"AQID","limit":"10"}}"#;
    let cursor = Some(Bytes::from_static(&[1, 2, 3]));
    let scope = HistoryScope::Channel(channel("geral"));
    assert_eq!(call(json), Call::History { scope, shape: HistoryShape::Papo, cursor, limit: Some(10) });
    let broken = r#"{"service":"history","data":{"channel":"geral","papo_cursor":"!"}}"#;
    assert_eq!(refusal(broken).code, Code::CursorInvalid);
}

#[test]
fn c15_each_malformed_request_is_refused_with_code_field_and_remedy() {
    let long = format!(r#"{{"service":"login","data":{{"user":"{}"}}}}"#, "a".repeat(129));
    for (json, code, says) in [
        ("", Code::BadRequest, "the message ends early at the start"),
        ("oi", Code::BadRequest, "more bytes follow the message at the start"),
        ("{", Code::BadRequest, "at the start"),
        ("{}", Code::BadRequest, "`service` is missing: send {service, data}"),
        (r#"{"service":null}"#, Code::BadRequest, "`service` is missing"),
        (r#"{"service":["login"]}"#, Code::BadRequest, "`service` is missing"),
        (r#"{"service":"login","data":7}"#, Code::BadRequest, "`data` must be a map"),
        (r#"{"service":"login","data":[]}"#, Code::BadRequest, "`data` must be a map"),
        (r#"{"service":"login","data":{"user":nul}}"#, Code::BadRequest, "at data.user"),
        (r#"{"service":"login","data":{}} x"#, Code::BadRequest, "trailing characters"),
        (
            r#"{"service":"login","data":{}}"#,
            Code::BadRequest,
            "`user` is missing: send it as text in `data`",
        ),
        (r#"{"service":"login","data":{"user":{}}}"#, Code::BadRequest, "`user` must be text"),
        (r#"{"service":"login","data":{"user":" "}}"#, Code::BadRequest, "`user`: a name must not be empty"),
        (
            r#"{"service":"login","data":{"user":"a\nb"}}"#,
            Code::BadRequest,
            "`user`: a name must not contain control",
        ),
        (&long, Code::BadRequest, "at most 128 bytes"),
        (
            r#"{"service":"login","data":{"user":"servers"}}"#,
            Code::ReservedName,
            "`user`: the name `servers` is reserved",
        ),
        (r#"{"service":"channel","data":{"channel":"replica"}}"#, Code::ReservedName, "`channel`"),
        (r#"{"service":"channel","data":{}}"#, Code::BadRequest, "`channel` is missing"),
        (r#"{"service":"publish","data":{"message":"oi"}}"#, Code::BadRequest, "`channel` is missing"),
        (r#"{"service":"publish","data":{"channel":"geral"}}"#, Code::BadRequest, "`message` is missing"),
        (
            r#"{"service":"publish","data":{"channel":"geral","message":[]}}"#,
            Code::BadRequest,
            "`message` must be text",
        ),
        (r#"{"service":"message","data":{"message":"oi"}}"#, Code::BadRequest, "`dst` is missing"),
        (r#"{"service":"history","data":{}}"#, Code::BadRequest, "`channel` or `user` is missing"),
        (r#"{"service":"subscribe","data":{}}"#, Code::BadRequest, "`topic` is missing"),
        (r#"{"service":"voar"}"#, Code::UnknownService, "Serviço desconhecido: voar"),
        (r#"{"service":"coordinator"}"#, Code::UnknownService, "Serviço desconhecido: coordinator"),
        (r#"{"service":"replicate"}"#, Code::UnknownService, "Serviço desconhecido: replicate"),
        (r#"{"service":"register"}"#, Code::UnknownService, "Serviço desconhecido: register"),
        (r#"{"service":"list_servers"}"#, Code::UnknownService, "Serviço desconhecido: list_servers"),
        (r#"{"service":"sync_request"}"#, Code::UnknownService, "Serviço desconhecido: sync_request"),
    ] {
        let refusal = refusal(json);
        assert_eq!(refusal.code, code, "{json}");
        assert!(refusal.text.contains(says), "{json}: {}", refusal.text);
        assert!(!refusal.retry);
    }
    let no_map = read_request(b"\x91\xa5login", &LIMITS).unwrap_err();
    assert!(no_map.refusal.text.contains("must be a map"));
}

#[test]
fn a_refused_request_keeps_its_style_and_clock() {
    let bad = read(r#"{"service":"voar","clock":7,"timestamp":"2025-01-31T12:00:00Z"}"#).unwrap_err();
    assert_eq!((bad.clock.get(), bad.style.timestamp), (7, TimestampStyle::Rfc3339));
    assert_eq!((bad.style.encoding, bad.style.service.as_str()), (Encoding::Json, "voar"));
    let too_large = read_request(&vec![b' '; LIMITS.bytes + 1], &LIMITS).unwrap_err();
    assert_eq!((too_large.refusal.code, too_large.style.encoding), (Code::TooLarge, Encoding::Json));
    let long = format!(r#"{{"service":"{}"}}"#, "é".repeat(200));
    assert_eq!(read(&long).unwrap_err().style.service, "é".repeat(64));
}

#[test]
fn old_encoders_and_float_integers_are_read() {
    let binary = b"\x82\xc4\x07service\xc4\x05login\xc4\x04data\x81\xc4\x04user\xc4\x03ana";
    assert_eq!(read_request(binary, &LIMITS).unwrap().call, Call::Login { user: user("ana") });
}
