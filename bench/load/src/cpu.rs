//! Processor time of another process: the nanoseconds that the kernel's scheduler has counted, over all its threads.

use anyhow::Context as _;
use std::time::Duration;

/// Time on a processor of all threads of this process that live now. What ended threads used is not in it: a proxy's threads
/// live as long as it does.
///
/// # Errors
/// When there is no such process.
pub fn time_of(pid: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in
        std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))?.flatten()
    {
        // A thread that ended meanwhile has no file any more.
        let line = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        nanoseconds +=
            line.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::Instant;

    /// A process that has something to do.
    pub(crate) struct Busy(Child);

    impl Busy {
        pub(crate) fn start() -> Self {
            Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
        }

        pub(crate) fn pid(&self) -> u32 {
            self.0.id()
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_busy_process_is_seen_to_use_time() {
        let process = Busy::start();
        let before = time_of(process.pid()).unwrap();
        let begun = Instant::now();
        while time_of(process.pid()).unwrap() <= before {
            assert!(begun.elapsed() < Duration::from_secs(30), "it got no processor");
        }
    }

    #[test]
    fn no_process_is_an_error() {
        assert!(time_of(u32::MAX).is_err());
    }
}
