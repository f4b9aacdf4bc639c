//! What the broker says when it answers for absent servers.
//!
//! The texts never contain the words by which clients recognise success, in any case: one client searches the raw bytes of the
//! reply for them (wire.md section 4), so that even the name of this role may not appear in them.

use papo_protocol::reply::{Code, Refusal};

/// Why the broker answers a request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The frames are no request.
    BadRequest,
    /// Larger than the limit, in bytes.
    TooLarge(usize),
    /// The connection has more unanswered requests than the limit.
    ClientOverflow(usize),
    /// Too many requests wait already.
    WaitingOverflow(Outcome),
    /// The broker's deadline has passed.
    Deadline(Outcome),
    /// Too many workers died with it.
    Poison,
    /// A write whose foreign worker failed.
    ForeignWriteLost,
}

/// What can be said about a request that no worker answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No worker has it: none got it, or each that did said `elsewhere`.
    NotDone,
    /// A worker may have done it, or may do it yet.
    Unknown,
}

impl Reason {
    /// As an `erro`.
    pub(super) fn refusal(self) -> Refusal {
        let (code, retry, text) = match self {
            Self::BadRequest => (
                Code::BadRequest,
                false,
                "a request is an envelope, an empty frame and one body frame".to_owned(),
            ),
            Self::TooLarge(limit) => (Code::TooLarge, false, format!("a request has at most {limit} bytes")),
            Self::ClientOverflow(limit) => (
                Code::NoServer,
                true,
                format!("more than {limit} requests of this connection are unanswered: read the replies"),
            ),
            Self::WaitingOverflow(Outcome::NotDone) => (
                Code::NoServer,
                true,
                "too many requests wait for a server: repeat it in a moment".to_owned(),
            ),
            Self::Deadline(Outcome::NotDone) => (
                Code::NoServer,
                true,
                "no server could serve the request in time: repeat it in a moment".to_owned(),
            ),
            Self::WaitingOverflow(Outcome::Unknown) | Self::Deadline(Outcome::Unknown) => (
                Code::Unknown,
                true,
                "no server answered in time, the outcome is unknown: repeat it with the same id".to_owned(),
            ),
            Self::Poison => (
                Code::Unknown,
                false,
                "several servers died while serving this request: it is not tried again".to_owned(),
            ),
            Self::ForeignWriteLost => (
                Code::Unknown,
                true,
                "the server that had the request failed: the outcome is unknown".to_owned(),
            ),
        };
        Refusal { code, text, retry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_refusal_contains_a_word_of_success() {
        let reasons = [
            Reason::BadRequest,
            Reason::TooLarge(1),
            Reason::ClientOverflow(1),
            Reason::WaitingOverflow(Outcome::NotDone),
            Reason::WaitingOverflow(Outcome::Unknown),
            Reason::Deadline(Outcome::NotDone),
            Reason::Deadline(Outcome::Unknown),
            Reason::Poison,
            Reason::ForeignWriteLost,
        ];
        for reason in reasons {
            let text = reason.refusal().text.to_lowercase();
            assert!(!text.contains("ok") && !text.contains("sucesso"), "{text}");
        }
    }
}
