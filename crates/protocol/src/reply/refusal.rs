//! `erro` replies. One known client searches a reply's raw bytes for `OK` or `sucesso` and takes either for a success, so no
//! refusal contains them: not in a name that its text quotes, not in the echoed service, not even as the bytes of a number.

use super::Refusal;
use crate::codec::{Encoding, Limits};
use crate::envelope::Envelope;
use crate::lamport::{Lamport, LamportClock};
use crate::request::ReplyStyle;
use crate::superset::{OutEnvelope, OutFields};
use crate::time::UnixMillis;
use crate::value::Value;
use bytes::Bytes;
use std::ops::Range;

/// Longest error text, in bytes; longer ones are cut.
const TEXT_BYTES_MAX: usize = 512;
/// An `erro` for a raw request that nobody decoded: used by the broker, which answers for absent servers.
#[must_use]
pub fn write_refusal_for(request: &[u8], refusal: &Refusal, at: UnixMillis) -> Bytes {
    let (style, received) = match Envelope::open(request, &Limits::REQUEST) {
        Ok(envelope) => (envelope.style, envelope.clock),
        Err(bad) => (bad.style, bad.clock),
    };
    // The broker has no clock of its own; the client's must still go up.
    let mut clock = LamportClock::default();
    clock.on_receive(received);
    write_refusal(&style, refusal, clock.on_send(), at)
}

pub(super) fn write_refusal(style: &ReplyStyle, refusal: &Refusal, clock: Lamport, at: UnixMillis) -> Bytes {
    let (mut clock, mut timestamp) = (clock, style.timestamp.render(at));
    if style.encoding == Encoding::MessagePack {
        clock = Lamport::new(without_ok(clock.get())).unwrap_or(clock);
        timestamp = match timestamp {
            Value::Int(number) => {
                u64::try_from(number).map_or(Value::Int(number), |n| Value::Int(without_ok(n).into()))
            }
            Value::Float(number) => Value::Float(f64::from_bits(without_ok(number.to_bits()))),
            other => other,
        };
    }
    let service = if without_success(&style.service) != style.service { "" } else { &style.service };
    let mut fields = OutFields::default();
    fields.add(&["success"], false);
    fields.add(&["status"], "erro");
    fields.add(&["description", "message", "error"], without_success(&refusal.text));
    fields.add(&["code"], refusal.code.as_str());
    fields.add(&["retry"], refusal.retry);
    OutEnvelope { service, fields: &fields, timestamp: &timestamp, clock }.write(style.encoding)
}

/// The number, or the next one whose big-endian bytes do not spell `OK`: for a time stamp in seconds at most 256 s away, and
/// that for four minutes in half a year.
fn without_ok(number: u64) -> u64 {
    let spelled = (0..=48).rev().step_by(8).find(|shift| (number >> shift) & 0xffff == 0x4f4b);
    spelled.map_or(number, |shift| ((number >> shift) + 1) << shift)
}

/// The text, cut, with `…` for each word that stands for success.
fn without_success(text: &str) -> String {
    let mut text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().to_owned();
    while let Some(word) = success_word(&text) {
        text.replace_range(word, "…");
    }
    // MessagePack writes the length 79 as the byte `O`.
    if text.len() == 79 && text.starts_with('K') {
        text.push('.');
    }
    text
}

/// `OK` in this case only: in lower case it is part of too many words.
fn success_word(text: &str) -> Option<Range<usize>> {
    let find = |text: &str, word: &str| text.find(word).map(|start| start..start + word.len());
    find(text, "OK").or_else(|| find(&text.to_ascii_lowercase(), "sucesso"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Code;
    use crate::time::TimestampStyle;
    use proptest::prelude::*;

    const AT: UnixMillis = UnixMillis(1_738_324_800_123);

    fn says_success(bytes: &[u8]) -> bool {
        bytes.windows(2).any(|window| window == b"OK")
            || bytes.windows(7).any(|window| window.eq_ignore_ascii_case(b"sucesso"))
    }

    #[test]
    fn numbers_step_over_bytes_that_spell_ok() {
        assert_eq!(without_ok(0x4f4b), 0x4f4c);
        assert_eq!(without_ok(0x694f_4b12), 0x694f_4c00);
        assert_eq!(without_ok(0x4f4b_4f4b), 0x4f4c_0000);
        assert_eq!(without_ok(0x4f4c), 0x4f4c);
        let clock = Lamport::new(0x4f4b).unwrap();
        let style = ReplyStyle {
            encoding: Encoding::MessagePack,
            timestamp: TimestampStyle::Seconds,
            service: "publish".to_owned(),
        };
        let refusal =
            Refusal { code: Code::UnknownChannel, text: "canal desconhecido".to_owned(), retry: false };
        assert!(!says_success(&write_refusal(&style, &refusal, clock, UnixMillis(0x694f_4b12_i64 * 1000))));
    }

    #[test]
    fn quoted_names_cannot_say_success() {
        assert_eq!(without_success("canal desconhecido: Sucesso"), "canal desconhecido: …");
        assert_eq!(without_success("OOKK, SUCESSOsucesso, token"), "O…K, ……, token");
        assert_eq!(without_success(&"é".repeat(300)).len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn the_broker_refuses_in_the_clients_dialect() {
        let refusal =
            Refusal { code: Code::NoServer, text: "no server took the request".to_owned(), retry: true };
        let request = br#" {"service":"publish","data":{"timestamp":"2025-01-31T12:00:00Z"},"clock":7}"#;
        let reply = write_refusal_for(request, &refusal, AT);
        let text = std::str::from_utf8(&reply).unwrap();
        assert!(
            text.starts_with(r#"{"service":"publish","data":{"success":false,"status":"erro""#),
            "{text}"
        );
        assert!(
            text.contains(
                r#""code":"no_server","retry":true,"timestamp":"2025-01-31T12:00:00.123Z","clock":9"#
            )
        );
        let garbage = write_refusal_for(b"\xc1", &refusal, AT);
        assert_eq!(garbage.first(), Some(&0x8b), "a map of eleven fields, in MessagePack");
    }

    proptest! {
        #[test]
        fn no_refusal_says_success(
            service in "[KOk suceo]{0,130}",
            text in "([KOk]|OK|sucesso|SuceSSo|[a-z]){0,90}",
            clock in prop_oneof![0..=1_u64 << 53, Just(0x4f), Just(0x4b), Just(0x4f4b_4f4b)],
            millis in 0..4_102_444_800_000_i64,
            encoding in prop_oneof![Just(Encoding::MessagePack), Just(Encoding::Json)],
            timestamp in prop::sample::select(vec![
                TimestampStyle::Seconds, TimestampStyle::FloatSeconds, TimestampStyle::Millis, TimestampStyle::Rfc3339,
            ]),
        ) {
            let style = ReplyStyle { encoding, timestamp, service };
            let refusal = Refusal { code: Code::Unknown, text, retry: true };
            let clock = Lamport::new(clock).unwrap();
            prop_assert!(!says_success(&write_refusal(&style, &refusal, clock, UnixMillis(millis))));
        }
    }
}
