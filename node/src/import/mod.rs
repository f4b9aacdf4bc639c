//! `papo import`: the exercise's `server_data.json` (row I01) into a running cluster, by ordinary requests.
//!
//! Requests, and no writing into a data folder: so an import is validated, ordered, replicated and acknowledged like everything else,
//! and needs no server to stop. Each entry's `papo_id` is made of its content, so an import that was interrupted, or is done twice,
//! adds nothing twice.

mod file;

use crate::client::{Client, RequestError, SharedClock};
use anyhow::Context as _;
use bytes::Bytes;
use file::{Entries, Entry, What};
use papo_settings::{Address, Environment};
use serde_json::json;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Conversations that are written at a time, each in its order: enough for a server to sync many messages at once.
const LANES: usize = 16;
/// Entries that may wait for a lane.
const LANE_QUEUE: usize = 64;
/// How often a long import says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Refused entries that are shown one by one.
const REFUSED_SHOWN: usize = 20;

/// `papo import`.
#[derive(Debug, clap::Args)]
pub struct ImportOptions {
    /// The file, such as server_data.json
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The broker, or one server; of several, the next when one dies [default: 127.0.0.1:5555]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    broker: Vec<Address>,
    /// Read the file, ask the cluster what it lacks for it, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl ImportOptions {
    /// What no flag says, the environment may say.
    #[must_use]
    pub fn or_environment(self, environment: &Environment) -> Self {
        let broker = crate::cli::first(&self.broker, environment.server.as_slice(), &environment.brokers);
        Self { broker, ..self }
    }
}

/// Reads the file, and writes what it says.
///
/// # Errors
/// When the file is wrong, or the cluster does not answer. Entries that the cluster refuses are shown, and make the exit status 1.
pub async fn run(options: ImportOptions) -> anyhow::Result<ExitCode> {
    let entries = file::read(&options.file)?;
    let (names, messages) = (entries.names.len(), entries.messages.len());
    let clock = SharedClock::default();
    let client = Client::open(options.broker.clone(), clock.clone());
    let missing = missing_names(&client, &entries).await.context("cannot ask the cluster what it has")?;
    for (place, what) in missing.iter().take(REFUSED_SHOWN) {
        eprintln!("papo: {}: {place}: {what}", options.file.display());
    }
    anyhow::ensure!(missing.is_empty(), "{} entries cannot be imported, so nothing was", missing.len());
    if options.dry_run {
        println!(
            "{names} logins and channels and {messages} messages could be imported; nothing was written"
        );
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress =
        Progress { total: names + messages, done: 0, refused: Vec::new(), said: Instant::now() };
    for (what, entries) in [("logins and channels", entries.names), ("messages", entries.messages)] {
        write(&options, &clock, entries, &mut progress).await.with_context(|| {
            format!(
                "importing {what}, {} of {} entries were written: run the same command again, which adds nothing twice",
                progress.done, progress.total
            )
        })?;
    }
    for refused in progress.refused.iter().take(REFUSED_SHOWN) {
        eprintln!("papo: {}: {refused}", options.file.display());
    }
    let written = progress.done - progress.refused.len();
    println!(
        "{written} of {} entries are in the cluster, {} were refused",
        progress.total,
        progress.refused.len()
    );
    Ok(if progress.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Messages whose channel or recipient neither the file nor the cluster has: they would be refused half-way.
async fn missing_names(client: &Client, entries: &Entries) -> Result<Vec<(String, String)>, RequestError> {
    let mut users: HashSet<String> = client.read("users", &[]).await?.names(&["users"]).into_iter().collect();
    let mut channels: HashSet<String> =
        client.read("channels", &[]).await?.names(&["channels", "users"]).into_iter().collect();
    for entry in &entries.names {
        match &entry.what {
            What::Login { user } => drop(users.insert(user.as_str().to_owned())),
            What::Channel { channel } => drop(channels.insert(channel.as_str().to_owned())),
            What::Publish { .. } | What::Message { .. } => {}
        }
    }
    let missing = |entry: &Entry| {
        let what = match &entry.what {
            What::Publish { channel, .. } if !channels.contains(channel.as_str()) => {
                format!("there is no channel `{channel}`: add it to `channels`")
            }
            What::Message { dst, .. } if !users.contains(dst.as_str()) => {
                format!("there is no user `{dst}`: add a login to `logins`")
            }
            What::Login { .. } | What::Channel { .. } | What::Publish { .. } | What::Message { .. } => {
                return None;
            }
        };
        Some((entry.place.clone(), what))
    };
    Ok(entries.messages.iter().filter_map(missing).collect())
}

/// Writes entries, those of one conversation in their order.
async fn write(
    options: &ImportOptions,
    clock: &SharedClock,
    entries: Vec<Entry>,
    progress: &mut Progress,
) -> Result<(), RequestError> {
    // Roomy enough that no lane waits for somebody who still hands out entries.
    let (report, mut reports) = mpsc::channel(LANES * (LANE_QUEUE + 1));
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (lane, queue) = mpsc::channel(LANE_QUEUE);
            let client = Client::open(options.broker.clone(), clock.clone());
            tokio::spawn(write_lane(client, queue, report.clone()));
            lane
        })
        .collect();
    drop(report);
    for entry in entries {
        if let Some(lane) = lanes.get(lane_of(&entry.what))
            && lane.send(entry).await.is_err()
        {
            // That lane has failed, and reported why.
            break;
        }
        while let Ok(done) = reports.try_recv() {
            progress.take(done)?;
        }
    }
    drop(lanes);
    while let Some(done) = reports.recv().await {
        progress.take(done)?;
    }
    Ok(())
}

/// Messages between the same, or to the same channel, are one conversation.
fn lane_of(what: &What) -> usize {
    let mut hasher = DefaultHasher::new();
    match what {
        What::Login { user } => user.as_str().hash(&mut hasher),
        What::Channel { channel } | What::Publish { channel, .. } => channel.as_str().hash(&mut hasher),
        What::Message { src, dst, .. } => {
            let mut both = [src.as_str(), dst.as_str()];
            both.sort_unstable();
            both.hash(&mut hasher);
        }
    }
    usize::try_from(hasher.finish() % LANES as u64).unwrap_or_default()
}

/// What became of one entry: nothing to say, or why it was refused.
type Done = Result<Option<String>, RequestError>;

async fn write_lane(client: Client, mut queue: mpsc::Receiver<Entry>, report: mpsc::Sender<Done>) {
    while let Some(entry) = queue.recv().await {
        let done = match client.send_whole(entry.what.service(), request(&entry)).await {
            Ok(_) => Ok(None),
            Err(RequestError::Refused(failure))
                if failure.code.as_deref() == Some("name_taken") && is_there(&client, &entry.what).await =>
            {
                Ok(None)
            }
            // What it asks to be repeated was repeated until the deadline.
            Err(RequestError::Refused(failure)) if !failure.retry => {
                Ok(Some(format!("{}: {}", entry.place, failure.text)))
            }
            Err(error) => Err(error),
        };
        let failed = done.is_err();
        if report.send(done).await.is_err() || failed {
            return;
        }
    }
}

/// Whether the name that is taken is what the file wants, made by somebody else; a user's name may be a channel's, too.
async fn is_there(client: &Client, what: &What) -> bool {
    let (service, keys, name): (_, &[&str], _) = match what {
        What::Login { user } => ("users", &["users"], user.as_str()),
        What::Channel { channel } => ("channels", &["channels", "users"], channel.as_str()),
        What::Publish { .. } | What::Message { .. } => return false,
    };
    client.read(service, &[]).await.is_ok_and(|reply| reply.names(keys).iter().any(|there| there == name))
}

/// The request of an entry, in JSON, with the sender's own timestamp.
fn request(entry: &Entry) -> Bytes {
    let mut data = match &entry.what {
        What::Login { user } => json!({ "user": user.as_str() }),
        What::Channel { channel } => json!({ "channel": channel.as_str() }),
        What::Publish { user, channel, message } => {
            json!({ "user": user.as_str(), "channel": channel.as_str(), "message": message })
        }
        What::Message { src, dst, message } => {
            json!({ "src": src.as_str(), "dst": dst.as_str(), "message": message })
        }
    };
    if let Some(data) = data.as_object_mut() {
        data.insert("papo_id".to_owned(), json!(entry.id.to_string()));
        if let Some(timestamp) = &entry.timestamp {
            data.insert("timestamp".to_owned(), json!(timestamp));
        }
    }
    json!({ "service": entry.what.service(), "data": data }).to_string().into()
}

struct Progress {
    total: usize,
    done: usize,
    refused: Vec<String>,
    said: Instant,
}

impl Progress {
    fn take(&mut self, done: Done) -> Result<(), RequestError> {
        self.refused.extend(done?);
        self.done += 1;
        if self.said.elapsed() >= PROGRESS_INTERVAL {
            self.said = Instant::now();
            eprintln!("papo: {} of {} entries", self.done, self.total);
        }
        Ok(())
    }
}
