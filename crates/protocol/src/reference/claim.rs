//! What coordinators and claimants say to the reference service: `claim`, `report`, `resign`, and its answers. Only papo's own servers
//! speak this; foreign ones get an `erro`.

use super::NAME;
use crate::envelope::{Fields, bad};
use crate::epoch::Epoch;
use crate::identity::Boot;
use crate::names::ServerName;
use crate::reply::Refusal;
use crate::superset::OutFields;
use crate::value::Value;

/// A server wants to be coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub name: ServerName,
    /// In which boot: the epoch it is granted bears it.
    pub boot: Boot,
    /// The highest epoch it knows of.
    pub seen: Epoch,
    /// How many members it reaches, itself included.
    pub reached: u32,
}

/// The coordinator says every second that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who.
    pub name: ServerName,
    /// Its epoch.
    pub epoch: Epoch,
    /// How many members it reaches, itself included.
    pub reached: u32,
}

/// The coordinator of this epoch stops being one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resign {
    /// Who.
    pub name: ServerName,
    /// Its epoch.
    pub epoch: Epoch,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// This epoch is the claimant's, and on the disk of the reference service.
    Granted(Epoch),
    /// Nothing is granted.
    Refused {
        /// The highest epoch that the reference service knows of.
        epoch: Epoch,
        /// Who holds it; `None` when nobody does, or its holder resigned.
        holder: Option<ServerName>,
        /// The reason.
        why: ClaimRefusal,
    },
}

/// Why a claim is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimRefusal {
    /// There is a higher epoch than the claimant knew of: it persists that one and may claim again at once.
    Superseded,
    /// Another server holds the epoch, said so lately, and reaches at least as many members.
    Held,
    /// The reference service has just started: a living holder must have the time to say so.
    TooSoon,
    /// What the claimant has seen is too far above all that was granted.
    Jump,
}

impl ClaimRefusal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Superseded, Self::Held, Self::TooSoon, Self::Jump];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Held => "held",
            Self::TooSoon => "too_soon",
            Self::Jump => "jump",
        }
    }
}

/// The name of the outcome on the wire when an epoch is granted.
const GRANTED: &str = "granted";

impl Claim {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let boot = fields.find(&["boot"]).and_then(Value::to_text).and_then(|text| Boot::parse(&text));
        Ok(Self {
            name: read_name(fields)?,
            boot: boot.ok_or_else(|| bad("the field `boot` must be 16 hexadecimal digits".to_owned()))?,
            seen: read_epoch(fields, "seen")?,
            reached: read_reached(fields)?,
        })
    }

    pub(super) fn to_fields(&self) -> Vec<(String, Value)> {
        vec![
            user(&self.name),
            ("boot".to_owned(), Value::Text(self.boot.to_string())),
            ("seen".to_owned(), self.seen.to_value()),
            ("reached".to_owned(), Value::Int(self.reached.into())),
        ]
    }
}

impl Report {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Refusal> {
        Ok(Self {
            name: read_name(fields)?,
            epoch: read_epoch(fields, "epoch")?,
            reached: read_reached(fields)?,
        })
    }

    pub(super) fn to_fields(&self) -> Vec<(String, Value)> {
        vec![
            user(&self.name),
            ("epoch".to_owned(), self.epoch.to_value()),
            ("reached".to_owned(), Value::Int(self.reached.into())),
        ]
    }
}

impl Resign {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Refusal> {
        Ok(Self { name: read_name(fields)?, epoch: read_epoch(fields, "epoch")? })
    }

    pub(super) fn to_fields(&self) -> Vec<(String, Value)> {
        vec![user(&self.name), ("epoch".to_owned(), self.epoch.to_value())]
    }
}

impl ClaimAnswer {
    pub(super) fn write<'a>(&'a self, fields: &mut OutFields<'a>) {
        match self {
            Self::Granted(epoch) => {
                fields.add(&["claim"], GRANTED);
                fields.add(&["epoch"], epoch.to_value());
            }
            Self::Refused { epoch, holder, why } => {
                fields.add(&["claim"], why.as_str());
                fields.add(&["epoch"], epoch.to_value());
                if let Some(holder) = holder {
                    fields.add(&["holder"], holder.as_str());
                }
            }
        }
    }

    pub(super) fn read(fields: &Fields<'_>) -> Option<Self> {
        let epoch = Epoch::of_value(fields.find(&["epoch"])?)?;
        let outcome = fields.find(&["claim"])?.to_text()?;
        if outcome == GRANTED {
            return Some(Self::Granted(epoch));
        }
        let why = ClaimRefusal::ALL.into_iter().find(|why| why.as_str() == outcome)?;
        let holder = match fields.find(&["holder"]) {
            Some(holder) => Some(ServerName::new(&holder.to_text()?).ok()?),
            None => None,
        };
        Some(Self::Refused { epoch, holder, why })
    }
}

fn user(name: &ServerName) -> (String, Value) {
    ("user".to_owned(), Value::Text(name.to_string()))
}

fn read_name(fields: &Fields<'_>) -> Result<ServerName, Refusal> {
    fields.required_name(NAME, ServerName::new)
}

fn read_epoch(fields: &Fields<'_>, name: &str) -> Result<Epoch, Refusal> {
    fields
        .find(&[name])
        .and_then(Epoch::of_value)
        .ok_or_else(|| bad(format!("the field `{name}` must be an epoch: {{number, boot}}")))
}

fn read_reached(fields: &Fields<'_>) -> Result<u32, Refusal> {
    fields
        .find(&["reached"])
        .and_then(Value::to_u64)
        .and_then(|reached| u32::try_from(reached).ok())
        .ok_or_else(|| bad("the field `reached` must be a number of members".to_owned()))
}
