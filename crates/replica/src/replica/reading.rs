//! Histories as replies: functions of what is stored.

use crate::constants::{ENTRY_OVERHEAD_BYTES, REPLY_ENTRIES_BYTES_MAX};
use crate::history::History;
use crate::op::{Op, OpKind};
use papo_protocol::reply::{HistoryEntry, Reply};
use papo_protocol::request::HistoryShape;
use papo_protocol::time::UnixMillis;
use std::sync::Arc;

/// Everything since `last_sync`, in Unix seconds (row H08). What was taken in that very second is given again: the exercise
/// merges without duplicates.
pub(super) fn sync_reply(history: &History, last_sync: i64) -> Reply {
    let since = UnixMillis(last_sync.saturating_mul(1000));
    let newest_first = history.visible().rev().filter(|op| op.at >= since);
    let (mut logins, mut messages) = (Vec::new(), Vec::new());
    for op in within_reply(newest_first) {
        match &op.kind {
            OpKind::Login { user } => logins.push((user.clone(), op.at)),
            OpKind::CreateChannel { .. } => {}
            OpKind::Publish { .. } | OpKind::Message { .. } => messages.extend(op.to_history_entry()),
        }
    }
    logins.reverse();
    messages.reverse();
    let channels = history.state().channels().map(|(channel, _)| channel.clone()).collect();
    Reply::Sync { logins, channels, messages }
}

/// The newest of these (newest first) whose text fits a reply.
fn within_reply<'a>(newest_first: impl Iterator<Item = &'a Arc<Op>>) -> impl Iterator<Item = &'a Arc<Op>> {
    newest_first.scan(0, |bytes, op| {
        *bytes += op.text_bytes() + ENTRY_OVERHEAD_BYTES;
        (*bytes <= REPLY_ENTRIES_BYTES_MAX).then_some(op)
    })
}

/// The newest messages that fit the limit and the reply, oldest first.
pub(super) fn history_reply<'a>(
    shape: HistoryShape,
    messages: impl DoubleEndedIterator<Item = &'a Arc<Op>>,
    limit: Option<usize>,
) -> Reply {
    let mut newest_first = messages.rev().peekable();
    let mut entries: Vec<HistoryEntry> = within_reply(newest_first.by_ref())
        .take(limit.unwrap_or(usize::MAX))
        .filter_map(|op| op.to_history_entry())
        .collect();
    entries.reverse();
    let truncated = newest_first.peek().is_some();
    Reply::History { shape, entries, truncated, cursor: None, more: false }
}
