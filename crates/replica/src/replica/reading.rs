//! Histories as replies: functions of what is shown.

use crate::constants::{CURSOR_BYTES_MAX, ENTRY_OVERHEAD_BYTES, PAGE_RESERVE_BYTES, REPLY_ENTRIES_BYTES_MAX};
use crate::cursor::write_cursor;
use crate::history::{Fit, History};
use crate::op::{Op, OpKind};
use crate::vector::VersionVector;
use bytes::Bytes;
use papo_protocol::codec::Encoding;
use papo_protocol::reply::{HistoryEntry, REPLY_BYTES_MAX, Reply, history_entry_bytes};
use papo_protocol::request::{HistoryScope, HistoryShape};
use papo_protocol::time::UnixMillis;
use std::sync::Arc;

/// Everything since `last_sync`, in Unix seconds (row H08). What was taken in that very second is given again: the exercise
/// merges without duplicates.
pub(super) fn sync_reply(history: &History, last_sync: i64) -> Reply {
    let since = UnixMillis(last_sync.saturating_mul(1000));
    let newest_first = history.newest_since(since).map(|place| history.op(place));
    let mut truncated = false;
    let (mut logins, mut messages) = (Vec::new(), Vec::new());
    for op in within_reply(newest_first, &mut truncated) {
        match &op.kind {
            OpKind::Login { user } => logins.push((user.clone(), op.at)),
            OpKind::CreateChannel { .. } => {}
            OpKind::Publish { .. } | OpKind::Message { .. } => messages.extend(op.to_history_entry()),
        }
    }
    logins.reverse();
    messages.reverse();
    let channels = history.state().channels().cloned().collect();
    Reply::Sync { logins, channels, messages, truncated }
}

/// The newest of these (newest first) whose text fits a reply. One that fits no reply hides none of those before it; `left_out` says
/// so.
fn within_reply(
    newest_first: impl Iterator<Item = Arc<Op>>,
    left_out: &mut bool,
) -> impl Iterator<Item = Arc<Op>> {
    let fitting = newest_first.scan(0, move |total, op| {
        let bytes = op.text_bytes() + ENTRY_OVERHEAD_BYTES;
        if bytes > REPLY_ENTRIES_BYTES_MAX {
            *left_out = true;
            return Some(None);
        }
        *total += bytes;
        if *total > REPLY_ENTRIES_BYTES_MAX {
            *left_out = true;
            return None;
        }
        Some(Some(op))
    });
    fitting.flatten()
}

/// Who reads a history, and how.
pub(super) struct Reader<'a> {
    pub(super) history: &'a History,
    pub(super) cluster_id: &'a str,
    pub(super) encoding: Encoding,
    pub(super) scope: &'a HistoryScope,
    pub(super) shape: HistoryShape,
    pub(super) limit: Option<usize>,
    /// For a planted bug.
    pub(super) skips_late: bool,
}

impl Reader<'_> {
    /// The newest messages that fit the limit and the reply, oldest first, and a cursor that stands after all of them.
    pub(super) fn newest(&self) -> Reply {
        let mut newest_first = self.history.newest_in(self.scope).peekable();
        let ops = newest_first.by_ref().map(|place| self.history.op(place));
        let mut left_out = false;
        let mut entries: Vec<HistoryEntry> = within_reply(ops, &mut left_out)
            .take(self.limit.unwrap_or(usize::MAX))
            .filter_map(|op| op.to_history_entry())
            .collect();
        entries.reverse();
        let truncated = left_out || newest_first.peek().is_some();
        // Other services are older than cursors, and so are their clients.
        let cursor = match self.shape {
            HistoryShape::Papo => self.cursor(self.history.shown()),
            HistoryShape::Publications | HistoryShape::Messages => None,
        };
        Reply::History { shape: self.shape, entries, truncated, cursor, more: false }
    }

    /// What follows for a reader that has `have`, oldest first, as much as fits.
    pub(super) fn after(&self, have: &VersionVector) -> Reply {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let covered = || self.history.visible().filter(|op| have.covers(&op.dot));
        let late = self.skips_late.then(|| covered().map(|op| op.lamport).max()).flatten();
        let page = self.history.page_after(self.scope, have, |op| {
            if late.is_some_and(|late| op.lamport < late) {
                return Fit::Never;
            }
            let Some(entry) = op.to_history_entry() else { return Fit::Never };
            let entry_bytes = history_entry_bytes(&entry, self.encoding);
            if entry_bytes > PAGE_BYTES_MAX {
                return Fit::Never;
            }
            if self.limit.is_some_and(|limit| entries.len() >= limit) || bytes + entry_bytes > PAGE_BYTES_MAX
            {
                return Fit::Full;
            }
            bytes += entry_bytes;
            entries.push(entry);
            Fit::Yes
        });
        let cursor = self.cursor(&page.reached);
        Reply::History { shape: self.shape, entries, truncated: page.left_out, cursor, more: page.more }
    }

    /// As bytes, if they are not too many: only writers in the scope, when all the others make it too large.
    fn cursor(&self, reached: &VersionVector) -> Option<Bytes> {
        let write = |have: &VersionVector| {
            let cursor = write_cursor(self.cluster_id, self.scope, have);
            (cursor.len() <= CURSOR_BYTES_MAX).then_some(cursor)
        };
        write(reached).or_else(|| write(&self.history.only_in(self.scope, reached)))
    }
}

/// Bytes of messages in a page.
const PAGE_BYTES_MAX: usize = REPLY_BYTES_MAX - PAGE_RESERVE_BYTES;
