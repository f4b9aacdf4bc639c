//! Replies to bytes: the fields of each kind of reply, and lists cut to what fits.

use super::refusal::write_refusal;
use super::{Compat, HistoryEntry, Position, REPLY_BYTES_MAX, Receipt, Reply, Target};
use crate::codec::{Encoding, to_bytes};
use crate::lamport::Lamport;
use crate::request::{HistoryShape, ReplyStyle};
use crate::superset::{Out, OutEnvelope, OutFields};
use crate::time::{SentTimestamp, TimestampStyle, UnixMillis};
use crate::value::Value;
use bytes::Bytes;

/// Room kept beside lists for what is not measured with them: their own lengths, and `truncated`.
const LIST_ROOM_BYTES: usize = 256;
/// Inside `data`, and beside it.
const HISTORY_COPIES: usize = 2;

/// Writes a reply: `{service, data: {...}}` with `timestamp` and `clock` both inside and beside `data`, and the fields of `data`
/// merged into the top level for flat clients.
#[must_use]
pub fn write_reply(
    style: &ReplyStyle,
    reply: &Reply,
    clock: Lamport,
    at: UnixMillis,
    compat: Compat,
) -> Bytes {
    if let Reply::Refused(refusal) = reply {
        return write_refusal(style, refusal, clock, at);
    }
    let timestamp = style.timestamp.render(at);
    let write = |fields: &OutFields<'_>| {
        OutEnvelope { service: &style.service, fields, timestamp: &timestamp, clock }.write(style.encoding)
    };
    let mut fields = OutFields::default();
    fields.add(&["success"], true);
    match reply {
        Reply::Success(receipt) => {
            fields.add(&["status"], "sucesso");
            if let Some(receipt) = receipt {
                add_receipt(&mut fields, receipt);
            }
        }
        Reply::Posted(receipt) => {
            fields.add(&["status"], if compat.publish_says_sucesso { "sucesso" } else { "OK" });
            add_receipt(&mut fields, receipt);
        }
        Reply::Alive => fields.add(&["status"], "ok"),
        Reply::Pong => fields.add(&["pong", "status"], "OK"),
        Reply::Time => fields.add(&["time"], timestamp.clone()),
        Reply::ElectionOk => fields.add(&["election", "status"], "OK"),
        Reply::Adjusted => fields.add(&["status"], "OK"),
        Reply::Users(users) => {
            let mut room = Room::beside(&write(&fields), style);
            // Written under two names, in two places.
            fields.add(&["users", "lista"], room.list(users, 4, |user| user.as_str().into()));
            room.say_whether_cut(&mut fields, false);
        }
        Reply::Channels(channels) => {
            let mut room = Room::beside(&write(&fields), style);
            let list = room.list(channels, 6, |channel| channel.as_str().into());
            fields.add(&["channels", "users", "lista"], list);
            room.say_whether_cut(&mut fields, false);
        }
        Reply::History { shape, entries, truncated, cursor, more } => {
            fields.add(&["more"], *more);
            if let Some(cursor) = cursor {
                fields.add(&["papo_cursor"], Out::Bytes(cursor));
            }
            let mut room = Room::beside(&write(&fields), style);
            let names: &[&str] = match shape {
                HistoryShape::Papo | HistoryShape::Messages => &["messages"],
                HistoryShape::Publications => &["publications"],
            };
            fields.add(names, room.list(entries, HISTORY_COPIES, history_entry));
            room.say_whether_cut(&mut fields, *truncated);
        }
        Reply::Sync { logins, channels, messages, truncated } => {
            let mut room = Room::beside(&write(&fields), style);
            let logins = room.list(logins, 2, |(user, at)| {
                let mut login = OutFields::default();
                login.add(&["username"], user.as_str());
                login.add(&["timestamp"], style.timestamp.render(*at));
                Out::Map(login)
            });
            let channels = room.list(channels, 2, |channel| channel.as_str().into());
            let (mut to_channels, mut to_users) = (Vec::new(), Vec::new());
            for (message, written) in room.newest(messages, HISTORY_COPIES, history_entry) {
                match message.target {
                    Target::Channel(_) => to_channels.push(written),
                    Target::User(_) => to_users.push(written),
                }
            }
            fields.add(&["logins"], logins);
            fields.add(&["channels"], channels);
            fields.add(&["channel_messages"], Out::List(to_channels));
            fields.add(&["user_messages"], Out::List(to_users));
            room.say_whether_cut(&mut fields, *truncated);
        }
        // Written above, before any field could say success.
        Reply::Refused(_) => {}
    }
    write(&fields)
}

fn add_receipt<'a>(fields: &mut OutFields<'a>, receipt: &'a Receipt) {
    fields.add(&["message_id"], Out::Bytes(&receipt.message_id.0));
    fields.add(&["position"], position(&receipt.position));
    let mut durable = OutFields::default();
    durable.add(&["fsynced"], receipt.durable.fsynced);
    durable.add(&["of"], receipt.durable.of);
    fields.add(&["durable"], Out::Map(durable));
}

/// Sixty-four random bits are no exact number in JavaScript, so the boot is text: sixteen hexadecimal digits, which order as the
/// number does.
fn position(position: &Position) -> Out<'_> {
    let mut fields = OutFields::default();
    fields.add(&["lamport"], position.lamport.get());
    fields.add(&["server"], position.dot.origin.as_str());
    fields.add(&["boot"], position.dot.boot.to_string());
    fields.add(&["seq"], position.dot.seq);
    Out::Map(fields)
}

/// What a history entry and a publication say alike, under the names of every dialect.
pub(crate) fn message_fields(entry: &HistoryEntry) -> OutFields<'_> {
    let mut fields = OutFields::default();
    fields.add(&["user", "src", "from"], entry.user.as_str());
    match &entry.target {
        Target::Channel(channel) => fields.add(&["channel"], channel.as_str()),
        Target::User(user) => fields.add(&["dst", "to"], user.as_str()),
    }
    fields.add(&["message"], entry.message.as_str());
    fields.add(&["message_id"], Out::Bytes(&entry.message_id.0));
    fields.add(&["position"], position(&entry.position));
    fields
}

/// The author's own timestamp, or the server's in seconds.
pub(crate) fn message_timestamp(entry: &HistoryEntry) -> Value {
    let own = entry.sent.as_ref().map(SentTimestamp::to_value);
    own.unwrap_or_else(|| TimestampStyle::Seconds.render(entry.at))
}

/// How many bytes an entry takes in a history's reply, where it is written twice.
#[must_use]
pub fn history_entry_bytes(entry: &HistoryEntry, encoding: Encoding) -> usize {
    HISTORY_COPIES * (to_bytes(&history_entry(entry), encoding).len() + separator_bytes(encoding))
}

fn history_entry(entry: &HistoryEntry) -> Out<'_> {
    let mut fields = message_fields(entry);
    fields.add(&["timestamp"], message_timestamp(entry));
    fields.add(&["clock"], entry.position.lamport.get());
    Out::Map(fields)
}

/// Between the items of a list.
fn separator_bytes(encoding: Encoding) -> usize {
    match encoding {
        Encoding::MessagePack => 0,
        Encoding::Json => 1,
    }
}

/// What is left of [`REPLY_BYTES_MAX`] for lists.
struct Room {
    bytes: usize,
    encoding: Encoding,
    cut: bool,
}

impl Room {
    /// Beside a reply that is whole but for its lists.
    fn beside(written: &Bytes, style: &ReplyStyle) -> Self {
        let bytes = REPLY_BYTES_MAX.saturating_sub(written.len() + LIST_ROOM_BYTES);
        Self { bytes, encoding: style.encoding, cut: false }
    }

    /// [`Self::newest`], as they are written.
    fn list<'a, T>(&mut self, items: &'a [T], copies: usize, write: impl Fn(&'a T) -> Out<'a>) -> Out<'a> {
        Out::List(self.newest(items, copies, write).into_iter().map(|(_, written)| written).collect())
    }

    /// The newest (last) items that fit when each is written `copies` times, oldest first. Each item is measured once. One that would
    /// not even fit by itself is left out, and hides none of those before it.
    fn newest<'a, T>(
        &mut self,
        items: &'a [T],
        copies: usize,
        write: impl Fn(&'a T) -> Out<'a>,
    ) -> Vec<(&'a T, Out<'a>)> {
        let (separator, room) = (separator_bytes(self.encoding), self.bytes);
        let mut fitting = Vec::new();
        for item in items.iter().rev() {
            let written = write(item);
            let bytes = copies * (to_bytes(&written, self.encoding).len() + separator);
            if bytes > room {
                self.cut = true;
                continue;
            }
            let Some(left) = self.bytes.checked_sub(bytes) else {
                self.cut = true;
                break;
            };
            self.bytes = left;
            fitting.push((item, written));
        }
        fitting.reverse();
        fitting
    }

    fn say_whether_cut(&self, fields: &mut OutFields<'_>, before: bool) {
        if self.cut || before {
            fields.add(&["truncated"], true);
        }
    }
}
