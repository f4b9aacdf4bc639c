//! What was sent from here and must not be sent lower after a restart, however that comes about: Lamport values and the time. A ceiling
//! above both is on disk before they leave, with room to spare, so that the disk is seldom waited for.
//!
//! A stop stores the exact time; a crash leaves a ceiling somewhat ahead, where the next start begins.

use super::schema::{read_fact, write_fact};
use papo_protocol::lamport::Lamport;
use papo_replica::{KeptClock, Moment, Offset};
use rusqlite::Connection;
use std::time::Duration;
use tokio::sync::oneshot;

/// A process that stopped uncleanly may have sent Lamport values up to this far above the last one that it stored.
const LAMPORT_LEASE: u64 = 100_000;
/// So much of it may be left when more is asked for: nobody waits for the disk while it keeps up.
const LAMPORT_LEASE_LEFT: u64 = LAMPORT_LEASE / 2;

/// So far ahead may a server's time begin after a crash; it is level after twice as long.
const TIME_LEASE: Duration = Duration::from_secs(2);
/// So much of it may be left when more is asked for: once a second while times are given out.
const TIME_LEASE_LEFT: Duration = Duration::from_secs(1);
/// A time that is not covered waits so long for the disk, once. Less than the coordinator is silent between two beats (0.5 s): a slow
/// disk must not look like a death. After that a crash might repeat times, if somebody also sets the calendar back before the start.
pub(super) const TIME_WAIT: Duration = Duration::from_millis(250);

const FACT_LAMPORT_CEILING: &str = "lamport_ceiling";
const FACT_TIME_CEILING: &str = "time_ceiling";
const FACT_CLOCK_OFFSET: &str = "clock_offset";

/// What the disk has, or what it shall have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Nothing above was sent.
    pub lamport: Lamport,
    /// No later time was given out.
    pub clock: KeptClock,
}

impl Ceilings {
    /// A program before these facts left none; each is then as low as can be.
    pub(super) fn read(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let lamport = read_fact::<i64>(connection, FACT_LAMPORT_CEILING)?;
        let time = read_fact::<i64>(connection, FACT_TIME_CEILING)?;
        let offset = read_fact::<i64>(connection, FACT_CLOCK_OFFSET)?;
        Ok(Self {
            lamport: lamport.and_then(|value| Lamport::new(value.cast_unsigned())).unwrap_or_default(),
            clock: KeptClock {
                ceiling: Moment::from(time.unwrap_or_default()),
                offset: Offset::from_micros(offset.unwrap_or_default()),
            },
        })
    }

    pub(super) fn write(self, connection: &mut Connection) -> Result<(), rusqlite::Error> {
        let transaction = connection.transaction()?;
        write_fact(&transaction, FACT_LAMPORT_CEILING, self.lamport.get().cast_signed())?;
        write_fact(&transaction, FACT_TIME_CEILING, self.clock.ceiling.micros())?;
        write_fact(&transaction, FACT_CLOCK_OFFSET, self.clock.offset.micros())?;
        transaction.commit()
    }

    /// Whether little of the lease of Lamport values is left once these were sent.
    pub(super) fn are_near_lamport(self, sent: Lamport) -> bool {
        self.lamport < Lamport::MAX && sent.get().saturating_add(LAMPORT_LEASE_LEFT) > self.lamport.get()
    }

    /// Whether little of the lease of time is left once this one was given out.
    pub(super) fn are_near_time(self, given_out: Moment) -> bool {
        given_out + Offset::from(TIME_LEASE_LEFT) > self.clock.ceiling
    }

    /// Ceilings that leave room above what was sent.
    pub(super) fn raised_above(self, sent: Self) -> Self {
        let lamport = if self.are_near_lamport(sent.lamport) {
            Lamport::new(sent.lamport.get().saturating_add(LAMPORT_LEASE)).unwrap_or(Lamport::MAX)
        } else {
            self.lamport
        };
        let ceiling = self.clock.ceiling.max(sent.clock.ceiling + Offset::from(TIME_LEASE));
        Self { lamport, clock: KeptClock { ceiling, offset: sent.clock.offset } }
    }
}

/// Higher ceilings that are being stored.
pub(super) struct Raise {
    pub(super) to: Ceilings,
    pub(super) done: oneshot::Receiver<()>,
    /// A time has waited for it, and no other shall.
    pub(super) is_late: bool,
}
