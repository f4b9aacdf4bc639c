//! The client's side: requests as papo's own clients write them, replies and publications as they read them (leniently, so that
//! they also work against foreign servers).

use crate::codec::{Base64Url, DecodeError, Encoding, Limits, decode, encode};
use crate::envelope::Fields;
use crate::identity::Identity;
use crate::lamport::Lamport;
use crate::time::{SentTimestamp, TimestampStyle, UnixMillis};
use crate::value::Value;
use bytes::Bytes;
use std::mem;

/// Writes `{service, data: {...fields, timestamp, clock}, timestamp, clock}`. With `id`, adds `papo_id` (in JSON a UUID without hyphens).
#[must_use]
pub fn write_request(
    service: &str,
    fields: &[(&str, &str)],
    id: Option<[u8; 16]>,
    clock: Lamport,
    at: UnixMillis,
    encoding: Encoding,
) -> Bytes {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut data: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
    if let Some(id) = id {
        let id = match encoding {
            Encoding::MessagePack => Value::Bytes(Bytes::copy_from_slice(&id)),
            Encoding::Json => Value::Text(Identity(id).to_string()),
        };
        data.push(("papo_id".to_owned(), id));
    }
    write_data(service, data, clock, at, encoding)
}

/// As [`write_request`], with fields of any type.
pub(crate) fn write_data(
    service: &str,
    mut data: Vec<(String, Value)>,
    clock: Lamport,
    at: UnixMillis,
    encoding: Encoding,
) -> Bytes {
    let stamps = || {
        let timestamp = TimestampStyle::Seconds.render(at);
        [("timestamp".to_owned(), timestamp), ("clock".to_owned(), Value::Int(clock.get().into()))]
    };
    data.extend(stamps());
    let mut whole =
        vec![("service".to_owned(), Value::Text(service.to_owned())), ("data".to_owned(), Value::Map(data))];
    whole.extend(stamps());
    encode(&Value::Map(whole), encoding).into()
}

/// A reply as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadReply {
    /// The server's Lamport value, 0 where absent.
    pub clock: Lamport,
    /// Whether `status` (or `success`, or an `error` field) says it failed; `None` where the reply has no status at all.
    pub failure: Option<Failure>,
    /// `data`, or the top level of a flat reply: always a map.
    pub data: Value,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// papo's code, where there is one.
    pub code: Option<String>,
    /// The text for people.
    pub text: String,
    /// Whether to repeat with the same id.
    pub retry: bool,
}

impl ReadReply {
    /// Names under the first of these keys that holds a list of texts.
    #[must_use]
    pub fn names(&self, keys: &[&str]) -> Vec<String> {
        let texts = |key: &&str| -> Option<Vec<String>> {
            self.data.get(key)?.as_list()?.iter().map(|item| item.to_text().map(String::from)).collect()
        };
        keys.iter().find_map(texts).unwrap_or_default()
    }

    /// The messages of a history reply (`messages` or `publications`), unreadable entries left out.
    #[must_use]
    pub fn messages(&self) -> Vec<ReadMessage> {
        let list = ["messages", "publications"].iter().find_map(|key| self.data.get(key)?.as_list());
        let readable = |entry: &Value| {
            let fields = Fields::of(entry.as_map()?);
            fields.find(MESSAGE).map(|_| read_message(&fields))
        };
        list.unwrap_or_default().iter().filter_map(readable).collect()
    }

    /// Where the reader of a history stands now, as text: a request takes it so in either encoding.
    #[must_use]
    pub fn cursor(&self) -> Option<String> {
        match self.data.get("papo_cursor")? {
            Value::Bytes(bytes) => Some(Base64Url(bytes).to_text()),
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// Whether another page of a history follows at once.
    #[must_use]
    pub fn more(&self) -> bool {
        self.data.get("more") == Some(&Value::Bool(true))
    }
}

/// A publication or a history entry as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadMessage {
    /// Its author, under `user`, `src`, `from` ...; empty where absent.
    pub user: String,
    /// Its channel.
    pub channel: Option<String>,
    /// Its recipient, when it is a direct message.
    pub dst: Option<String>,
    /// Its text.
    pub message: String,
    /// The time it was sent, in milliseconds, where any dialect's timestamp is readable.
    pub at: Option<UnixMillis>,
    /// The Lamport value.
    pub clock: Lamport,
    /// `message_id`, which foreign servers do not send.
    pub message_id: Option<Identity>,
}

/// The text of a message, in every dialect.
const MESSAGE: &[&str] = &["message", "msg", "content"];

/// Reads a reply.
///
/// # Errors
/// When it is neither MessagePack nor JSON, or no map.
pub fn read_reply(bytes: &[u8], limits: &Limits) -> Result<ReadReply, DecodeError> {
    let mut whole = decode_map(bytes, limits)?;
    let clock = Fields::of(whole.as_map().unwrap_or_default()).clock().0;
    let nested = whole.get("data").filter(|data| data.as_map().is_some_and(|entries| !entries.is_empty()));
    let failure = read_failure([nested.unwrap_or(&whole), &whole]);
    let data = if nested.is_some() { whole.get_mut("data").map(mem::take) } else { None };
    Ok(ReadReply { clock, failure, data: data.unwrap_or(whole) })
}

/// Reads a publication's body.
///
/// # Errors
/// When it is neither MessagePack nor JSON, or no map.
pub fn read_publication(body: &[u8], limits: &Limits) -> Result<ReadMessage, DecodeError> {
    let whole = decode_map(body, limits)?;
    Ok(read_message(&Fields::of(whole.as_map().unwrap_or_default())))
}

fn decode_map(bytes: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
    match decode(bytes, limits)? {
        (_, map @ Value::Map(_)) => Ok(map),
        _ => Err(DecodeError::Malformed { what: "no map".to_owned(), place: "the start".to_owned() }),
    }
}

/// What says failure: a `status` of `erro` and its kin; without a telling status `success: false`, or an `error`. A key is
/// looked for in the first place, then in the next.
fn read_failure(places: [&Value; 2]) -> Option<Failure> {
    let find = |key: &str| places.iter().find_map(|place| place.get(key));
    let text = |key: &str| find(key).and_then(Value::to_text).filter(|text| !text.is_empty());
    let status = text("status").map(|status| status.to_lowercase());
    let status_says = |words: &[&str]| {
        status.as_ref().is_some_and(|status| words.iter().any(|word| status.starts_with(word)))
    };
    let failed = if status_says(&["err", "fail", "falh"]) {
        true
    } else if status_says(&["ok", "success", "sucesso"]) {
        false
    } else {
        find("success") == Some(&Value::Bool(false)) || text("error").is_some()
    };
    failed.then(|| Failure {
        code: text("code").map(String::from),
        text: ["description", "message", "error", "status"]
            .iter()
            .find_map(|key| text(key))
            .unwrap_or_default()
            .into(),
        retry: find("retry") == Some(&Value::Bool(true)),
    })
}

fn read_message(fields: &Fields<'_>) -> ReadMessage {
    let text = |names: &[&str]| fields.find(names).and_then(Value::to_text).map(String::from);
    ReadMessage {
        user: text(&["user", "src", "from", "username"]).unwrap_or_default(),
        channel: text(&["channel", "topic"]),
        dst: text(&["dst", "to"]),
        message: text(MESSAGE).unwrap_or_default(),
        at: fields.timestamp().and_then(SentTimestamp::read).and_then(|sent| sent.to_millis()),
        clock: fields.clock().0,
        message_id: fields.find(&["message_id"]).and_then(read_identity),
    }
}

/// Reads a `message_id`: sixteen bytes, or in JSON their base64url text, a UUID or hexadecimal digits.
#[must_use]
pub fn read_identity(value: &Value) -> Option<Identity> {
    let sixteen = |bytes: &[u8]| bytes.try_into().ok().map(Identity);
    match value {
        Value::Bytes(bytes) => sixteen(bytes),
        Value::Text(text) => Identity::parse(text).or_else(|| sixteen(&Base64Url::read(text)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
