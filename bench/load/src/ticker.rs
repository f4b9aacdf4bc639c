//! A timer of the kernel that says how many messages are due: the poll itself waits in whole milliseconds.

use anyhow::Context as _;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::time::Duration;

/// Ticks at a rate.
pub struct Ticker(OwnedFd);

impl Ticker {
    /// Begins to tick so many times a second, at least once.
    ///
    /// # Errors
    /// When the kernel has no timer.
    pub fn start(rate: u32, registry: &Registry, token: usize) -> anyhow::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let interval = Timespec::try_from(Duration::from_secs(1) / rate.max(1))?;
        let times = Itimerspec { it_interval: interval, it_value: interval };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), Token(token), Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Ticks since the last call.
    ///
    /// # Errors
    /// When the timer cannot be read.
    pub fn due(&mut self) -> anyhow::Result<u64> {
        let mut ticks = [0; size_of::<u64>()];
        match rustix::io::read(&self.0, &mut ticks) {
            Ok(_) => Ok(u64::from_ne_bytes(ticks)),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error).context("timer"),
        }
    }
}
