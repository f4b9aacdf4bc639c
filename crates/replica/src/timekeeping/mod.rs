//! What time it is: one time for all servers, which never runs backwards on any of them and follows no single calendar.
//!
//! ```text
//!                 Rounds (at the coordinator)                     Readings (at each member)
//! every 10 messages, every 30 s:  Probe {token} ------------------->  notes what its clock says now
//!                                      <---------- Reading {token, calendar, time}
//! fault_tolerant_mean(calendars)
//!                                 Adjust {token, by} -------------->  Timekeeper: steps forward, or runs at half rate
//! ```
//!
//! This is Berkeley's algorithm (Gusella and Zatti, "The accuracy of the clock synchronization achieved by TEMPO in Berkeley UNIX
//! 4.3BSD", 1989; rows E06 to E08) with three differences. A calendar far from the others' does not count ([`mean`]). What is measured
//! is the offset between clocks and half of the probe's round trip bounds its error (Cristian 1989); of a few probes the quickest
//! counts. And no machine's calendar is ever set: each server keeps a time of its own ([`clock`]), of which all stamps are made.
//!
//! Nothing here knows a clock, a socket or a disk: readings of the machine's clocks are arguments, members are known by their names,
//! and the host keeps [`KeptClock`] on disk.

mod clock;
mod mean;
mod message;
mod moment;
mod office;
mod rounds;
#[cfg(test)]
mod tests;

pub use clock::{KeptClock, Timekeeper};
pub(crate) use message::Message;
pub use moment::{ErrorBound, Moment, Offset};
pub(crate) use office::Place;
pub use office::{ClockStatus, ClockSync, RoundReport, Timekeeping};
pub use rounds::RoundOutcome;
