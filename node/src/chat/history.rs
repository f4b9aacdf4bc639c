//! The service `history`, which only papo has. It is asked only once a reply has shown that papo answers: some foreign servers hang
//! for good after a service they do not know.

use super::line::Place;
use crate::client::{Client, RequestError};
use papo_protocol::client::{ReadMessage, ReadReply};
use papo_protocol::reply::Code;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Some messages of one place, oldest first.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) messages: Vec<ReadMessage>,
    /// Stands after these; `None` where there are no cursors.
    pub(super) cursor: Option<String>,
    /// Whether another page follows at once.
    pub(super) more: bool,
}

/// Asks for histories, over one connection.
#[derive(Debug, Clone)]
pub(super) struct History {
    client: Client,
    available: Arc<AtomicBool>,
}

impl History {
    pub(super) fn new(client: Client) -> Self {
        Self { client, available: Arc::default() }
    }

    /// The same over another connection: what one learns of the servers, both know.
    pub(super) fn over(&self, client: Client) -> Self {
        Self { client, available: self.available.clone() }
    }

    /// Takes note of a reply that only papo writes: one with a `message_id`, or a list under all its names.
    pub(super) fn learn(&self, reply: &ReadReply) {
        let has = |key| reply.data.get(key).is_some();
        if has("message_id") || ["channels", "users", "lista"].into_iter().all(has) {
            self.available.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// The newest `limit` messages, and a cursor that stands after all there are; nothing from a foreign server.
    ///
    /// # Errors
    /// As any request.
    pub(super) async fn newest(&self, place: &Place, limit: usize) -> Result<Page, RequestError> {
        let mut page = self.ask(place, ("limit", &limit.to_string())).await?;
        page.messages.drain(..page.messages.len().saturating_sub(limit));
        Ok(page)
    }

    /// What follows a cursor.
    ///
    /// # Errors
    /// As any request; [`is_cursor_refused`] tells when it is the cursor's fault.
    pub(super) async fn after(&self, place: &Place, cursor: &str) -> Result<Page, RequestError> {
        self.ask(place, ("papo_cursor", cursor)).await
    }

    async fn ask(&self, place: &Place, from: (&'static str, &str)) -> Result<Page, RequestError> {
        if !self.is_available() {
            return Ok(Page::default());
        }
        let scope = match place {
            Place::Channel(channel) => ("channel", channel.as_str()),
            Place::User(user) => ("user", user.as_str()),
        };
        let reply = self.client.read("history", &[scope, from]).await?;
        Ok(Page { messages: reply.messages(), cursor: reply.cursor(), more: reply.more() })
    }
}

/// Whether a server knows no such cursor, or none shows what it covers: then the cluster has lost its history, or is another.
pub(super) fn is_cursor_refused(error: &RequestError) -> bool {
    let RequestError::Refused(failure) = error else { return false };
    [Code::CursorInvalid, Code::CursorAhead].iter().any(|code| failure.code.as_deref() == Some(code.as_str()))
}
