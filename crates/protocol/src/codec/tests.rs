use super::*;
use crate::value::Value;
use bytes::Bytes;
use proptest::prelude::*;

/// Row B05: the login of the seeds, byte by byte.
const LOGIN: &[u8] =
    b"\x82\xa7service\xa5login\xa4data\x82\xa4user\xa5alice\xa9timestamp\xce\x49\x96\x02\xd2";
const LOGIN_JSON: &[u8] = br#"{"service":"login","data":{"user":"alice","timestamp":1234567890}}"#;
const LIMITS: Limits = Limits { bytes: 1 << 16, depth: 8, values: 1000 };

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn message_pack(bytes: &[u8]) -> Result<Value, DecodeError> {
    decode(bytes, &LIMITS).map(|(_, value)| value)
}

fn place_of(bytes: &[u8]) -> (String, String) {
    match decode(bytes, &LIMITS) {
        Err(DecodeError::Malformed { what, place }) => (what, place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn b05_login_is_47_bytes_of_messagepack_and_66_of_json() {
    let login = map(vec![
        ("service", text("login")),
        ("data", map(vec![("user", text("alice")), ("timestamp", Value::Int(1_234_567_890))])),
    ]);
    assert_eq!(encode(&login, Encoding::MessagePack), LOGIN);
    assert_eq!(encode(&login, Encoding::Json), LOGIN_JSON);
    assert_eq!((LOGIN.len(), LOGIN_JSON.len()), (47, 66));
    assert_eq!(decode(LOGIN, &LIMITS), Ok((Encoding::MessagePack, login.clone())));
    assert_eq!(decode(LOGIN_JSON, &LIMITS), Ok((Encoding::Json, login)));
}

#[test]
fn b01_the_first_byte_tells_the_encoding() {
    for json in [&b"{\"a\":1}"[..], b" {\"a\":1}", b"\n{\"a\":1}", b"\t\r\n {\"a\":1} \n"] {
        assert_eq!(decode(json, &LIMITS), Ok((Encoding::Json, map(vec![("a", Value::Int(1))]))));
    }
    assert_eq!(Encoding::detect(b"\x81\xa1a\x01"), Encoding::MessagePack);
    assert_eq!(Encoding::detect(b"\xde\x00\x00"), Encoding::MessagePack);
    assert_eq!(Encoding::detect(b""), Encoding::MessagePack);
}

#[test]
fn old_encoders_are_read() {
    let ana = Value::Bytes(Bytes::from_static(b"ana"));
    assert_eq!(message_pack(b"\x81\xc4\x04user\xc4\x03ana"), Ok(map(vec![("user", ana)])), "bin keys");
    assert_eq!(message_pack(b"\x81\x07\xc3"), Ok(map(vec![("7", Value::Bool(true))])), "integer keys");
    assert_eq!(message_pack(b"\xa1\xff"), Ok(Value::Bytes(Bytes::from_static(b"\xff"))), "bytes in a str");
}

#[test]
fn extension_types_read_as_seconds_or_nothing() {
    assert_eq!(message_pack(b"\xd6\xff\x49\x96\x02\xd2"), Ok(Value::Int(1_234_567_890)));
    let nanoseconds_and_seconds = (500_000_000_u64 << 34) | 1_234_567_890;
    let mut timestamp64 = b"\xd7\xff".to_vec();
    timestamp64.extend(nanoseconds_and_seconds.to_be_bytes());
    assert_eq!(message_pack(&timestamp64), Ok(Value::Float(1_234_567_890.5)));
    let mut timestamp96 = b"\xc7\x0c\xff\x00\x00\x00\x00".to_vec();
    timestamp96.extend((-1_i64).to_be_bytes());
    assert_eq!(message_pack(&timestamp96), Ok(Value::Int(-1)));
    assert_eq!(message_pack(b"\xd4\x05\x00"), Ok(Value::Null));
    assert_eq!(message_pack(b"\x92\xd4\x05\x00\x01"), Ok(Value::List(vec![Value::Null, Value::Int(1)])));
}

#[test]
fn claimed_lengths_allocate_nothing() {
    for claim in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdd\xff\xff\xff\xff\xdd\xff\xff\xff\xff",
    ] {
        let (what, _) = place_of(claim);
        assert_eq!(what, "the message ends early");
    }
}

#[test]
fn errors_say_what_and_where() {
    assert_eq!(place_of(b""), ("the message ends early".into(), "the start".into()));
    assert_eq!(place_of(&LOGIN[..30]), ("the message ends early".into(), "data.user".into()));
    assert_eq!(place_of(b"\x81\xa4data\x92\x01\xc1").1, "data[1]");
    assert_eq!(place_of(b"\x80\x01"), ("more bytes follow the message".into(), "the start".into()));
    assert_eq!(place_of(b"\x81\x80\x01"), ("a map as key".into(), "the start".into()));
    assert_eq!(place_of(br#"{"data":{"user":nul}}"#).1, "data.user");
    assert_eq!(place_of(b"{} x").1, "the start");
    let long_key = format!("{{\"{}\":nul}}", "k".repeat(100));
    assert_eq!(place_of(long_key.as_bytes()).1, "k".repeat(32));
}

#[test]
fn limits_of_size_depth_and_count_hold() {
    let large = vec![0; LIMITS.bytes + 1];
    assert_eq!(decode(&large, &LIMITS), Err(DecodeError::TooLarge { bytes: 65_537, limit: 65_536 }));
    for (depth, fits) in [(8, true), (9, false), (60_000, false)] {
        let lists = [vec![0x91; depth], vec![0xc0]].concat();
        assert_eq!(decode(&lists, &LIMITS).is_ok(), fits, "{depth} lists");
        let maps = [[0x81, 0x01].repeat(depth.min(30_000)), vec![0xc0]].concat();
        assert_eq!(decode(&maps, &LIMITS).is_ok(), fits, "{depth} maps");
        let empty = [vec![0x91; depth - 1], vec![0x80]].concat();
        assert_eq!(decode(&empty, &LIMITS).is_ok(), fits, "{depth} with an empty map inside");
        let maps =
            [br#"{"":"#.repeat(depth.min(10_000)), b"1".to_vec(), vec![b'}'; depth.min(10_000)]].concat();
        assert_eq!(decode(&maps, &LIMITS).is_ok(), fits, "{depth} JSON maps");
    }
    let unlimited = Limits { depth: usize::MAX, bytes: usize::MAX, values: usize::MAX };
    assert!(decode(&vec![0x91; 1 << 20], &unlimited).is_err(), "the stack is safe whatever the limits say");
    let list = |items: u16| [&[0xdc][..], &items.to_be_bytes(), &vec![0xc0; usize::from(items)]].concat();
    assert!(decode(&list(999), &LIMITS).is_ok());
    assert_eq!(place_of(&list(1000)), ("more than 1000 values".into(), "[999]".into()));
}

#[test]
fn integers_take_the_fewest_bytes_and_stay_integers() {
    for (value, bytes) in [
        (0, &b"\x00"[..]),
        (127, b"\x7f"),
        (128, b"\xcc\x80"),
        (256, b"\xcd\x01\x00"),
        (-32, b"\xe0"),
        (-33, b"\xd0\xdf"),
        (1 << 32, b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        (u64::MAX.into(), b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
    ] {
        assert_eq!(encode(&Value::Int(value), Encoding::MessagePack), bytes);
        assert_eq!(message_pack(bytes), Ok(Value::Int(value)));
    }
}

#[test]
fn json_writes_bytes_as_base64url_and_no_number_as_null() {
    let value =
        map(vec![("id", Value::Bytes(Bytes::from_static(&[0xfb; 3]))), ("x", Value::Float(f64::NAN))]);
    assert_eq!(encode(&value, Encoding::Json), br#"{"id":"-_v7","x":null}"#);
    assert_eq!(Base64Url::read("-_v7"), Some(vec![0xfb; 3]));
    assert_eq!(Base64Url::read("+/v7"), None);
}

/// Any value that both encodings carry, 4 deep; floats of few digits, since JSON readers round.
fn any_value(with_bytes: bool) -> impl Strategy<Value = Value> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|value| Value::Int(value.into())),
        any::<u64>().prop_map(|value| Value::Int(value.into())),
        any::<i32>().prop_map(|value| Value::Float(f64::from(value) / 8.0)),
        ".{0,40}".prop_map(Value::Text),
        bytes.prop_map(move |bytes| if with_bytes { Value::Bytes(bytes.into()) } else { Value::Null }),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::vec((".{0,8}", inner), 0..8).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn values_round_trip_through_messagepack(value in any_value(true)) {
        prop_assume!(Encoding::detect(&encode(&value, Encoding::MessagePack)) == Encoding::MessagePack);
        prop_assert_eq!(message_pack(&encode(&value, Encoding::MessagePack)), Ok(value));
    }

    #[test]
    fn values_round_trip_through_json(entries in prop::collection::vec((".{0,8}", any_value(false)), 0..8)) {
        let value = Value::Map(entries);
        prop_assert_eq!(decode(&encode(&value, Encoding::Json), &LIMITS), Ok((Encoding::Json, value)));
    }

    #[test]
    fn no_bytes_panic_or_pass_the_limits(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((_, value)) = decode(&bytes, &LIMITS) {
            let (values, depth) = measure(&value);
            prop_assert!(values <= LIMITS.values && depth <= LIMITS.depth);
        }
    }
}

/// Values and depth as [`Limits`] counts them.
fn measure(value: &Value) -> (usize, usize) {
    let children: Vec<_> = match value {
        Value::List(items) => items.iter().map(measure).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(_, value)| measure(value)).map(|(n, d)| (n + 1, d)).collect()
        }
        _ => return (1, 0),
    };
    let values = children.iter().map(|(values, _)| values).sum::<usize>();
    let depth = children.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
    (values + 1, depth + 1)
}
