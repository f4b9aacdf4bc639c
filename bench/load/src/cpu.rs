//! Processor time of another process: the nanoseconds that the kernel's scheduler has counted, over all its threads.

use anyhow::Context as _;
use std::time::Duration;

/// Time on a processor of all threads of this process that live now; a proxy's threads live as long as it does.
///
/// # Errors
/// When there is no such process.
pub fn time_of(pid: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))
        .with_context(|| format!("no process {pid}"))?
        .flatten()
    {
        // A thread that ended meanwhile has no file any more.
        let line = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        nanoseconds +=
            line.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_busy_process_is_seen_to_use_time() {
        let before = time_of(std::process::id()).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {}
        assert!(time_of(std::process::id()).unwrap() > before);
    }

    #[test]
    fn no_process_is_an_error() {
        assert!(time_of(u32::MAX).is_err());
    }
}
