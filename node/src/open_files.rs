//! The number of files, connections included, that the process may have open. The usual soft limit of 1,024 is for programs that use
//! `select`; a role needs one for each connection that its settings allow.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: the history, its log, the listening sockets, links to peers, HTTP, standard streams.
const OTHERS: u64 = 256;

/// Raises the soft limit to the hard one, and warns where even that is less than `connections` need.
pub fn raise_limit(connections: u32) {
    let limit = getrlimit(Resource::Nofile);
    // No value means no limit.
    let (Some(soft), hard) = (limit.current, limit.maximum) else { return };
    let needed = u64::from(connections) + OTHERS;
    let aim = hard.unwrap_or(needed.max(soft));
    if soft < aim
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(aim), maximum: hard })
    {
        tracing::warn!(%error, soft, "cannot raise the limit of open files");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if now < needed {
        tracing::warn!(
            limit = now,
            needed,
            "fewer files may be open than limits.connections asks for: raise the hard limit (ulimit -Hn) or lower the setting"
        );
    }
}
