//! The reference service (wire.md section 2): `rank`, `list`, `heartbeat`, `clock`, and papo's own `claim`, `report` and `resign`, both
//! sides.

mod claim;

use crate::client::{read_reply, write_data};
use crate::codec::{Encoding, Limits};
use crate::envelope::{Envelope, Fields};
use crate::epoch::Epoch;
use crate::lamport::Lamport;
use crate::names::ServerName;
use crate::reply::Refusal;
use crate::request::{BadRequest, ReplyStyle};
use crate::superset::{Out, OutEnvelope, OutFields};
use crate::time::UnixMillis;
use crate::value::Value;
use bytes::Bytes;
pub use claim::{Claim, ClaimAnswer, ClaimRefusal, Report, Resign};

/// What is asked of the reference service.
#[derive(Debug, Clone, PartialEq)]
pub enum ReferenceCall {
    /// `rank`: registers and ranks a server.
    Rank(Registration),
    /// `heartbeat`: keeps it listed; registers an unknown name.
    Heartbeat(Registration),
    /// `list`, `list_servers`.
    List,
    /// `clock`.
    Clock,
    /// `claim`: only from papo's own servers, as the next two.
    Claim(Claim),
    /// `report`.
    Report(Report),
    /// `resign`.
    Resign(Resign),
}

impl ReferenceCall {
    /// Its name on the wire.
    #[must_use]
    pub fn service(&self) -> &'static str {
        match self {
            Self::Rank(_) => "rank",
            Self::Heartbeat(_) => "heartbeat",
            Self::List => "list",
            Self::Clock => "clock",
            Self::Claim(_) => "claim",
            Self::Report(_) => "report",
            Self::Resign(_) => "resign",
        }
    }

    /// Whether only papo's own servers may ask this.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        match self {
            Self::Claim(_) | Self::Report(_) | Self::Resign(_) => true,
            Self::Rank(_) | Self::Heartbeat(_) | Self::List | Self::Clock => false,
        }
    }
}

/// Who registers, and the extras that some servers send, kept and listed as they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Under `user`, `name`, `username`, `server` ...
    pub name: ServerName,
    /// `addr`, `address`, `host`: at most 256 bytes, none of them control characters.
    pub address: Option<String>,
    /// `port`, 0 to 65535.
    pub port: Option<u16>,
}

/// A request to the reference service.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceRequest {
    /// How to answer.
    pub style: ReplyStyle,
    /// The sender's Lamport value.
    pub clock: Lamport,
    /// What is asked.
    pub call: ReferenceCall,
}

/// One server of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedServer {
    /// Its name and extras.
    pub registration: Registration,
    /// Its rank, from 1.
    pub rank: u32,
    /// Last heartbeat.
    pub last_beat: UnixMillis,
}

/// What the reference service answers.
#[derive(Debug, Clone, PartialEq)]
pub enum ReferenceReply {
    /// `rank`.
    Rank(u32),
    /// `heartbeat`: `timestamp`, `clock` and `status: "OK"`.
    Alive,
    /// `list`: an array under `list`, a map under `servers` (`as_map`: the map under `list` too).
    List {
        /// By rank.
        servers: Vec<ListedServer>,
        /// `compat.listAsMap`.
        as_map: bool,
    },
    /// `clock`: `time`, an int unless the request's timestamps say otherwise.
    Time,
    /// `claim`.
    Claimed(ClaimAnswer),
    /// `report`, `resign`: the highest epoch that the reference service knows of.
    Reported(Epoch),
}

/// What the reference service said, as a server uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceAnswer {
    /// It is there: to a heartbeat, and to what else says nothing of more use.
    Alive,
    /// To `rank`.
    Rank(u32),
    /// To `claim`.
    Claimed(ClaimAnswer),
    /// To `claim`, too: an error, as of a service that does not know this server's token, or knows no epochs.
    Denied,
    /// To `report` and `resign`: its own epoch.
    Reported(Epoch),
}

/// Longest address that is kept, in bytes; a longer one is left out, and so is one that would break logs and terminals.
const ADDRESS_BYTES_MAX: usize = 256;
/// Under which servers send their names, the exercise's own first.
const NAME: &[&str] = &["user", "name", "username", "server", "server_name", "from", "src"];
/// Under which some send an address.
const ADDRESS: &[&str] = &["addr", "address", "host"];

/// Reads a request to the reference service. A refusal is written with [`crate::reply::write_reply`].
///
/// # Errors
/// As [`crate::request::read_request`].
pub fn read_reference_request(bytes: &[u8], limits: &Limits) -> Result<ReferenceRequest, Box<BadRequest>> {
    let envelope = Envelope::open(bytes, limits)?;
    match read_call(&envelope) {
        Ok(call) => Ok(ReferenceRequest { style: envelope.style, clock: envelope.clock, call }),
        Err(refusal) => Err(envelope.refuse(refusal)),
    }
}

fn read_call(envelope: &Envelope) -> Result<ReferenceCall, Refusal> {
    let fields = envelope.fields();
    Ok(match envelope.service().as_str() {
        "rank" => ReferenceCall::Rank(Registration::read(&fields)?),
        "heartbeat" => ReferenceCall::Heartbeat(Registration::read(&fields)?),
        "list" | "list_servers" => ReferenceCall::List,
        "clock" => ReferenceCall::Clock,
        "claim" => ReferenceCall::Claim(Claim::read(&fields)?),
        "report" => ReferenceCall::Report(Report::read(&fields)?),
        "resign" => ReferenceCall::Resign(Resign::read(&fields)?),
        _ => return Err(envelope.unknown_service()),
    })
}

impl Registration {
    fn read(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let readable =
            |address: &str| address.len() <= ADDRESS_BYTES_MAX && !address.chars().any(char::is_control);
        let address = fields.find(ADDRESS).and_then(Value::to_text);
        Ok(Self {
            name: fields.required_name(NAME, ServerName::new)?,
            address: address.filter(|address| readable(address)).map(String::from),
            port: fields.find(&["port"]).and_then(Value::to_u64).and_then(|port| u16::try_from(port).ok()),
        })
    }

    fn to_fields(&self) -> Vec<(String, Value)> {
        let mut fields = vec![("user".to_owned(), Value::Text(self.name.to_string()))];
        fields.extend(self.address.clone().map(|address| ("addr".to_owned(), Value::Text(address))));
        fields.extend(self.port.map(|port| ("port".to_owned(), Value::Int(port.into()))));
        fields
    }
}

/// Writes its reply.
#[must_use]
pub fn write_reference_reply(
    style: &ReplyStyle,
    reply: &ReferenceReply,
    clock: Lamport,
    at: UnixMillis,
) -> Bytes {
    let timestamp = style.timestamp.render(at);
    let mut fields = OutFields::default();
    fields.add(&["success"], true);
    match reply {
        ReferenceReply::Rank(rank) => fields.add(&["rank"], *rank),
        ReferenceReply::Alive => fields.add(&["status"], "OK"),
        ReferenceReply::Time => fields.add(&["time"], timestamp.clone()),
        ReferenceReply::Claimed(answer) => answer.write(&mut fields),
        ReferenceReply::Reported(epoch) => fields.add(&["epoch"], epoch.to_value()),
        ReferenceReply::List { servers, as_map } => {
            let by_name = servers
                .iter()
                .map(|server| (server.registration.name.as_str(), Out::Map(listed(server, style))));
            let by_name = Out::ByName(by_name.collect());
            if *as_map {
                fields.add(&["list", "servers"], by_name);
            } else {
                let array = servers.iter().map(|server| {
                    let mut fields = listed(server, style);
                    fields.add(&["name"], server.registration.name.as_str());
                    Out::Map(fields)
                });
                fields.add(&["list"], Out::List(array.collect()));
                fields.add(&["servers"], by_name);
            }
        }
    }
    OutEnvelope { service: &style.service, fields: &fields, timestamp: &timestamp, clock }
        .write(style.encoding)
}

/// What is listed of a server beside its name.
fn listed<'a>(server: &'a ListedServer, style: &ReplyStyle) -> OutFields<'a> {
    let mut fields = OutFields::default();
    fields.add(&["rank"], server.rank);
    fields.add(&["last_beat"], style.timestamp.render(server.last_beat));
    if let Some(address) = &server.registration.address {
        fields.add(&["addr"], address.as_str());
    }
    if let Some(port) = server.registration.port {
        fields.add(&["port"], u32::from(port));
    }
    fields
}

/// A server's request, MessagePack: `{service, data: {user, timestamp, clock, ...}}`.
#[must_use]
pub fn write_reference_request(call: &ReferenceCall, clock: Lamport, at: UnixMillis) -> Bytes {
    let data = match call {
        ReferenceCall::Rank(registration) | ReferenceCall::Heartbeat(registration) => {
            registration.to_fields()
        }
        ReferenceCall::List | ReferenceCall::Clock => Vec::new(),
        ReferenceCall::Claim(claim) => claim.to_fields(),
        ReferenceCall::Report(report) => report.to_fields(),
        ReferenceCall::Resign(resign) => resign.to_fields(),
    };
    write_data(call.service(), data, clock, at, Encoding::MessagePack)
}

/// Reads the reply to `call`. `None` when it is a refusal, or does not say what was asked; a claim is denied then.
#[must_use]
pub fn read_reference_answer(call: &ReferenceCall, reply: &[u8], limits: &Limits) -> Option<ReferenceAnswer> {
    let reply = read_reply(reply, limits).ok().filter(|reply| reply.failure.is_none());
    let data = reply.as_ref().map(|reply| &reply.data);
    let fields = data.and_then(Value::as_map).map(Fields::of);
    match call {
        ReferenceCall::Rank(_) => Some(ReferenceAnswer::Rank(read_rank(data?)?)),
        ReferenceCall::Heartbeat(_) | ReferenceCall::List | ReferenceCall::Clock => {
            fields.map(|_| ReferenceAnswer::Alive)
        }
        ReferenceCall::Claim(_) => {
            let answer = fields.and_then(|fields| ClaimAnswer::read(&fields));
            Some(answer.map_or(ReferenceAnswer::Denied, ReferenceAnswer::Claimed))
        }
        ReferenceCall::Report(_) | ReferenceCall::Resign(_) => {
            Some(ReferenceAnswer::Reported(Epoch::of_value(fields?.find(&["epoch"])?)?))
        }
    }
}

/// The `rank` of a rank reply, in `data` or at the top.
#[must_use]
pub fn read_rank(reply: &Value) -> Option<u32> {
    let rank = Fields::of(reply.as_map()?).find(&["rank"])?.to_u64()?;
    u32::try_from(rank).ok()
}

/// Names and ranks of a list reply: an array under `list`, or a map by name under `list` or `servers`. What is unreadable is
/// left out.
#[must_use]
pub fn read_list(reply: &Value) -> Vec<(ServerName, u32)> {
    let Some(list) = reply.as_map().and_then(|top| Fields::of(top).find(&["list", "servers"])) else {
        return Vec::new();
    };
    let ranked = |name: &str, server: &Value| {
        let rank = if let Value::Map(_) = server { server.get("rank")? } else { server };
        Some((ServerName::new(name).ok()?, u32::try_from(rank.to_u64()?).ok()?))
    };
    match list {
        Value::List(servers) => {
            servers.iter().filter_map(|server| ranked(&server.get("name")?.to_text()?, server)).collect()
        }
        Value::Map(servers) => servers.iter().filter_map(|(name, server)| ranked(name, server)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
