//! Heartbeats of one link (RFC 37): when to send PING, and when silence means that the peer is gone.
//!
//! A PING is for silence: whoever heard the peer and said something itself within the interval sends none, as both ends know already
//! what it would tell. So of two ends that beat, one pings at a time. To say nothing for the interval is silence too: the peer may have
//! been told by an earlier PING how soon to give this end up.
//!
//! Time enters as an argument. This module must not know sockets.

use crate::{command::Command, limits::Limits};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// The heart of a link whose peer knows PING.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    /// When the peer last gave a sign of life.
    heard: Instant,
    pinged: Instant,
    next_ping: Instant,
}

/// Which end of the link this is. Silence begins for both at once: the one that accepted the link lets the other break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Dialled,
    Accepted,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing yet.
    Wait,
    /// This is to be sent.
    Ping(Bytes),
    /// The peer has been silent for too long.
    Silent,
}

impl Heartbeat {
    /// `None` when heartbeats are off.
    pub(crate) fn new(limits: &Limits, end: End, now: Instant) -> Option<Self> {
        let timeout = limits.heartbeat_timeout;
        let interval = match end {
            End::Dialled => limits.heartbeat_interval,
            End::Accepted => limits.heartbeat_interval + limits.heartbeat_interval / 8,
        };
        let next_ping = now + interval;
        (!interval.is_zero()).then_some(Self { interval, timeout, heard: now, pinged: now, next_ping })
    }

    /// The peer gave a sign of life, or could not have: while the owner takes no events, its PONG waits unread.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// To be asked at [`Self::due`], or at any other time. This end last said something at `said`.
    pub(crate) fn beat(&mut self, now: Instant, said: Instant) -> Beat {
        if self.heard + self.timeout <= now {
            return Beat::Silent;
        }
        self.next_ping = self.heard.min(said).max(self.pinged) + self.interval;
        if now < self.next_ping {
            return Beat::Wait;
        }
        self.pinged = now;
        self.next_ping = now + self.interval;
        // The TTL lets a peer without heartbeats of its own notice that this end died, at the time at which we would.
        let ttl_deciseconds = u16::try_from(self.timeout.as_millis() / 100).unwrap_or(u16::MAX);
        Beat::Ping(Command::Ping { ttl_deciseconds, context: Bytes::new() }.encode())
    }

    /// When something is due, unless the peer is heard before.
    pub(crate) fn due(&self) -> Instant {
        self.next_ping.min(self.heard + self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_at_the_interval_and_gives_up_after_the_timeout_of_silence() {
        let limits = Limits {
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_timeout: Duration::from_secs(3),
            ..Limits::default()
        };
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut heart = Heartbeat::new(&limits, End::Dialled, start).unwrap();
        assert_eq!((heart.beat(at(999), start), heart.due()), (Beat::Wait, at(1000)));
        assert!(matches!(heart.beat(at(1000), start), Beat::Ping(_)));
        assert_eq!((heart.beat(at(1001), at(1000)), heart.due()), (Beat::Wait, at(2000)));
        heart.heard(at(1500));
        assert!(matches!(heart.beat(at(3000), at(1000)), Beat::Ping(_)));
        assert_eq!(heart.beat(at(3999), at(3000)), Beat::Wait);
        assert_eq!(heart.due(), at(4000));
        assert!(matches!(heart.beat(at(4499), at(3000)), Beat::Ping(_)));
        assert_eq!(heart.due(), at(4500));
        assert_eq!(heart.beat(at(4500), at(4499)), Beat::Silent);
    }

    #[test]
    fn no_ping_where_both_ends_have_spoken() {
        let limits = Limits { heartbeat_interval: Duration::from_secs(1), ..Limits::default() };
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut heart = Heartbeat::new(&limits, End::Dialled, start).unwrap();
        heart.heard(at(800));
        assert_eq!((heart.beat(at(1000), at(700)), heart.due()), (Beat::Wait, at(1700)));
        heart.heard(at(1600));
        assert!(matches!(heart.beat(at(1700), at(700)), Beat::Ping(_)), "this end was silent");
        heart.heard(at(2000));
        assert!(matches!(heart.beat(at(3000), at(2900)), Beat::Ping(_)), "the peer was silent");
    }

    #[test]
    fn the_end_that_accepted_the_link_waits_a_little_longer() {
        let limits = Limits { heartbeat_interval: Duration::from_secs(8), ..Limits::default() };
        let start = Instant::now();
        let heart = |end| Heartbeat::new(&limits, end, start).unwrap();
        assert_eq!(heart(End::Dialled).due(), start + Duration::from_secs(8));
        assert_eq!(heart(End::Accepted).due(), start + Duration::from_secs(9));
    }

    #[test]
    fn an_interval_of_zero_means_no_heartbeats() {
        let limits = Limits { heartbeat_interval: Duration::ZERO, ..Limits::default() };
        assert!(Heartbeat::new(&limits, End::Accepted, Instant::now()).is_none());
    }
}
