//! Opens a request's envelope, `{service, data: {...}}` or flat, and reads fields by any of their names.
//!
//! Shared by the services of chat and of the reference. This module must not know any service.

use crate::codec::{DecodeError, Encoding, Limits, decode};
use crate::lamport::Lamport;
use crate::names::NameError;
use crate::reply::{Code, Refusal};
use crate::request::{BadRequest, ReplyStyle};
use crate::time::{SentTimestamp, TimestampStyle};
use crate::value::{Value, get};
use std::borrow::Cow;

/// Longest service name that is echoed, in bytes.
const SERVICE_ECHO_BYTES_MAX: usize = 128;
/// Where dialects put the sender's Lamport value, at the top or in `data`.
const CLOCK: [&str; 2] = ["clock", "lamport_clock"];

/// A request of which only the envelope is understood.
pub(crate) struct Envelope {
    pub(crate) style: ReplyStyle,
    pub(crate) clock: Lamport,
    pub(crate) absurd_clock: bool,
    pub(crate) timestamp: Option<SentTimestamp>,
    whole: Value,
}

impl Envelope {
    /// Reads what every request has. `data` may be absent: then the fields stand at the top.
    pub(crate) fn open(bytes: &[u8], limits: &Limits) -> Result<Self, Box<BadRequest>> {
        let unread = |refusal| {
            let encoding = Encoding::detect(bytes);
            let style = ReplyStyle { encoding, timestamp: TimestampStyle::default(), service: String::new() };
            Box::new(BadRequest { style, clock: Lamport::default(), refusal })
        };
        let (encoding, whole) = decode(bytes, limits).map_err(|error| unread(undecodable(&error)))?;
        let Some(top) = whole.as_map() else {
            return Err(unread(bad("a request must be a map: send {service, data}".to_owned())));
        };
        let fields = Fields::of(top);
        let timestamp = fields.timestamp();
        let service = get(top, "service").and_then(Value::to_text).unwrap_or_default();
        let cut = service.floor_char_boundary(SERVICE_ECHO_BYTES_MAX);
        let (clock, absurd_clock) = fields.clock();
        let envelope = Self {
            style: ReplyStyle {
                encoding,
                timestamp: timestamp.map(TimestampStyle::of).unwrap_or_default(),
                service: service.get(..cut).unwrap_or_default().to_owned(),
            },
            clock,
            absurd_clock,
            timestamp: timestamp.and_then(SentTimestamp::read),
            whole,
        };
        if envelope.style.service.is_empty() {
            return Err(
                envelope.refuse(bad("the field `service` is missing: send {service, data}".to_owned()))
            );
        }
        match envelope.whole.get("data") {
            None | Some(Value::Null | Value::Map(_)) => Ok(envelope),
            Some(_) => Err(envelope.refuse(bad("the field `data` must be a map".to_owned()))),
        }
    }

    /// The fields of the request.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::of(self.whole.as_map().unwrap_or_default())
    }

    /// The service in lower case, for matching.
    pub(crate) fn service(&self) -> String {
        self.style.service.trim().to_ascii_lowercase()
    }

    /// The answer to a request that asks for what is not here.
    pub(crate) fn unknown_service(&self) -> Refusal {
        let text = format!("Serviço desconhecido: {}", self.style.service);
        Refusal { code: Code::UnknownService, text, retry: false }
    }

    /// This request, refused.
    pub(crate) fn refuse(self, refusal: Refusal) -> Box<BadRequest> {
        Box::new(BadRequest { style: self.style, clock: self.clock, refusal })
    }
}

/// `bad_request` with this text.
pub(crate) fn bad(text: String) -> Refusal {
    Refusal { code: Code::BadRequest, text, retry: false }
}

fn undecodable(error: &DecodeError) -> Refusal {
    match error {
        DecodeError::TooLarge { .. } => {
            Refusal { code: Code::TooLarge, text: error.to_string(), retry: false }
        }
        DecodeError::Malformed { .. } => bad(error.to_string()),
    }
}

/// The fields of a message: of `data` where it has any, else of the top level.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    top: &'a [(String, Value)],
    data: &'a [(String, Value)],
}

impl<'a> Fields<'a> {
    /// Of a message's top level.
    pub(crate) fn of(top: &'a [(String, Value)]) -> Self {
        let data = get(top, "data").and_then(Value::as_map).unwrap_or_default();
        Self { top, data }
    }

    /// The value under the first of these names that has one; `null` counts as none.
    pub(crate) fn find(&self, names: &[&str]) -> Option<&'a Value> {
        let entries = if self.data.is_empty() { self.top } else { self.data };
        names.iter().find_map(|name| get(entries, name).filter(|value| **value != Value::Null))
    }

    /// Text under one of these names; the first is the name that errors show.
    pub(crate) fn text(&self, names: &[&str]) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(value) = self.find(names) else { return Ok(None) };
        match value.to_text() {
            Some(text) => Ok(Some(text)),
            None => Err(bad(format!("the field `{}` must be text", first(names)))),
        }
    }

    /// As [`Self::text`], and it must be there.
    pub(crate) fn required_text(&self, names: &[&str]) -> Result<Cow<'a, str>, Refusal> {
        self.text(names)?.ok_or_else(|| missing(names))
    }

    /// A name that may be absent; empty text counts as absent.
    pub(crate) fn name<T>(
        &self,
        names: &[&str],
        parse: fn(&str) -> Result<T, NameError>,
    ) -> Result<Option<T>, Refusal> {
        let text = self.text(names)?.filter(|text| !text.is_empty());
        text.map(|text| parse(&text).map_err(|error| bad_name(first(names), &error))).transpose()
    }

    /// A name that must be there.
    pub(crate) fn required_name<T>(
        &self,
        names: &[&str],
        parse: fn(&str) -> Result<T, NameError>,
    ) -> Result<T, Refusal> {
        let text = self.required_text(names)?;
        parse(&text).map_err(|error| bad_name(first(names), &error))
    }

    /// The largest Lamport value in any of its places, and whether an absurd one was left out. Absent, NaN, negative or no
    /// number counts as 0.
    pub(crate) fn clock(&self) -> (Lamport, bool) {
        let places = [self.data, self.top];
        let values = places.iter().flat_map(|entries| CLOCK.iter().filter_map(|name| get(entries, name)));
        let (mut largest, mut absurd) = (Lamport::default(), false);
        for value in values {
            let number = match value {
                Value::Int(number) => *number,
                #[expect(clippy::cast_possible_truncation, reason = "NaN becomes 0, infinities the bounds")]
                Value::Float(number) => *number as i128,
                _ => 0,
            };
            match Lamport::new(u64::try_from(number.max(0)).unwrap_or(u64::MAX)) {
                Some(clock) => largest = largest.max(clock),
                None => absurd = true,
            }
        }
        (largest, absurd)
    }

    /// The sender's timestamp, from `data` or from the top.
    pub(crate) fn timestamp(&self) -> Option<&'a Value> {
        [self.data, self.top].iter().find_map(|entries| get(entries, "timestamp"))
    }
}

fn first<'a>(names: &[&'a str]) -> &'a str {
    names.first().copied().unwrap_or_default()
}

fn missing(names: &[&str]) -> Refusal {
    bad(format!("the field `{}` is missing: send it as text in `data`", first(names)))
}

fn bad_name(field: &str, error: &NameError) -> Refusal {
    let code = match error {
        NameError::Reserved(_) => Code::ReservedName,
        NameError::Empty | NameError::TooLong(_) | NameError::Control => Code::BadRequest,
    };
    Refusal { code, text: format!("the field `{field}`: {error}; choose another"), retry: false }
}
