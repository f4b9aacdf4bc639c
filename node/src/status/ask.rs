//! One server's `/status`, as it is read here: what another version does not say is absent.

use crate::http_get::{get, next_chunk};
use anyhow::Context as _;
use papo_settings::Address;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A server that has not answered in so long counts as one that does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Of one step on the way to it: more, so that it is the whole that is said to take too long.
const STEP_WITHIN: Duration = Duration::from_secs(4);
/// A vector of thousands of starts of servers fits.
const STATUS_BYTES_MAX: usize = 4 << 20;

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Its name.
    pub server: String,
    /// From the reference service.
    pub rank: Option<u32>,
    /// `leading`, `following`, `electing`, `leaderless`.
    pub role: Option<String>,
    /// `number-boot`.
    pub epoch: Option<String>,
    /// Whom it obeys.
    pub coordinator: Option<String>,
    /// How many it holds.
    pub operations: u64,
    /// How many of each writer.
    pub vector: Vec<Written>,
    /// Of what it shows.
    pub digest: String,
    /// It has had all that the others had, once.
    pub caught_up: bool,
    /// It has all that the others have.
    pub in_sync: bool,
    /// `member`, `joiner`, `leaver` ...
    pub standing: String,
    /// Servers that show other operations under the same numbers.
    pub diverged: Vec<String>,
    /// Its clock; absent before there was a common one.
    pub clock: Option<Clock>,
}

/// How many operations of one boot of one server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Written {
    server: String,
    boot: String,
    seq: u64,
}

impl Status {
    /// The vector, to be compared.
    pub fn written(&self) -> BTreeMap<(&str, &str), u64> {
        self.vector.iter().map(|entry| ((entry.server.as_str(), entry.boot.as_str()), entry.seq)).collect()
    }
}

/// A server's clock.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Clock {
    /// Ahead of its machine's calendar.
    pub offset_micros: i64,
    /// The last adjustment.
    pub adjusted: Option<Adjusted>,
    /// The last round that it held as coordinator.
    pub last_round: Option<Round>,
}

/// An adjustment.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Adjusted {
    /// By how much it may be wrong.
    pub error_micros: u64,
    /// When it was.
    pub seconds_ago: u64,
}

/// A round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Round {
    /// `adjusted`, `withheld`, `disagreed`, `abandoned`.
    pub outcome: String,
}

/// Asks one server; what went wrong is text for people.
pub async fn status(server: &Address) -> Result<Status, String> {
    match tokio::time::timeout(ANSWER_WITHIN, read(server)).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(error.root_cause().to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

async fn read(server: &Address) -> anyhow::Result<Status> {
    let mut response = get(server, "/status", STEP_WITHIN).await?;
    anyhow::ensure!(response.status().is_success(), "it says {}", response.status());
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut response, STEP_WITHIN).await? {
        anyhow::ensure!(body.len() + chunk.len() <= STATUS_BYTES_MAX, "it says too much");
        body.extend_from_slice(&chunk);
    }
    let status: Status = serde_json::from_slice(&body).context("what it says is no status of a server")?;
    anyhow::ensure!(!status.server.is_empty(), "what it says is no status of a server");
    Ok(status)
}
