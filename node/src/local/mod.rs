//! `papo local`: a whole ChatCluster on loopback, each role a process of this same program.
//!
//! manifest -> [`plan`] (pure) -> [`prepare`] (checks, data folder) -> [`supervise`] (processes) -> [`ready`] -> table -> chat or wait.
//! It must not know what a role does: it writes command lines and reads exit statuses.

mod layout;
mod plan;
mod prepare;
mod ready;
mod supervise;
mod table;

use crate::chat;
use crate::cli::LogStyleArg;
use anyhow::Context as _;
use papo_protocol::time::TimestampStyle;
use papo_settings::{ChatCluster, Environment};
use plan::{Folder, Plan};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use supervise::{Ended, STOP_PATIENCE, Supervisor, Task, Tell};
pub use table::Paint;
use table::Row;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time for all roles to be ready: above a server's longest wait for its peers (5 s), below a person's patience.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes at the end of a log file in which the reason of a failed start is looked for.
const LOG_TAIL_BYTES: u64 = 8 * 1_024;
/// The data folder without `--data`.
const DATA_DEFAULT: &str = "papo-data";
/// The exit status of what a person has to put right, as for a bad command line.
const REFUSED: u8 = 2;

/// Options of `papo local`.
#[derive(Debug, Clone, clap::Args)]
pub struct LocalOptions {
    /// The ChatCluster manifest, such as manifests/minimal.yaml
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Folder for data, logs, settings and the cluster token [default: ./papo-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Give each role its own 127.0.0.x, with the ports of the exercise (Linux)
    #[arg(long)]
    pub per_address: bool,
    /// Wording of log lines: papo's own, or beside it what the texts of the exercise quote [default: from the manifest, plain]
    #[arg(long, value_name = "STYLE")]
    pub log_style: Option<LogStyleArg>,
    /// Open a chat when all is ready; its end stops all
    #[arg(long)]
    pub chat: bool,
    /// Your name in the chat
    #[arg(long, value_name = "NAME", requires = "chat")]
    pub user: Option<String>,
    /// A name to offer to whoever is asked for one in the chat.
    #[arg(skip)]
    pub suggested_user: Option<String>,
}

impl LocalOptions {
    /// Fills from the environment what no flag said.
    #[must_use]
    pub fn or_environment(self, environment: &Environment) -> Self {
        Self {
            data: self.data.or_else(|| environment.data.clone()),
            user: self.user.or_else(|| environment.user.clone()),
            suggested_user: self.suggested_user.or_else(|| environment.shell_user.clone()),
            ..self
        }
    }
}

/// Runs the cluster until it is told to stop, or until the chat ends.
///
/// # Errors
/// When a role cannot be started or does not become ready. What a person can put right beforehand is said in one line, with exit status 2.
pub async fn run(options: LocalOptions) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let folder = Folder(options.data.clone().unwrap_or_else(|| PathBuf::from(DATA_DEFAULT)));
    let prepared = prepare::read_cluster(&options.file).and_then(|mut cluster| {
        // The roles read it in the settings.
        LogStyleArg::overrides(options.log_style, &mut cluster.spec.logging);
        let plan = plan::plan(&cluster, &folder, options.per_address);
        let prepared = prepare::prepare(&cluster, &plan, &folder)?;
        Ok((cluster, plan, prepared))
    });
    // The lock in `_prepared` is held to the end.
    let (cluster, plan, _prepared) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => {
            eprintln!("papo: {refusal}");
            return Ok(ExitCode::from(REFUSED));
        }
    };
    let tracker = TaskTracker::new();
    let stop = crate::shutdown::on_signal(&tracker, false).context("cannot listen for signals")?;
    let aloud = Arc::new(AtomicBool::new(false));
    let tell = teller(&folder, Arc::clone(&aloud)).context("cannot write to the log folder")?;
    let mut supervisor = start(&plan, &folder, &tell)?;

    let paint = paint();
    say(&description(&cluster, &plan, &folder, &supervisor.pids, paint));

    let outcome = match wait_until_ready(&plan, &mut supervisor, &stop).await {
        Ok(Start::Ready) => {
            let seconds = begun.elapsed().as_secs_f64();
            say(&format!("\n{}\n", paint.good(&format!("ready in {seconds:.2} s"))));
            aloud.store(!options.chat, Ordering::Relaxed);
            serve(&options, &plan, &stop).await
        }
        Ok(Start::ToldToStop) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    };
    supervisor.stop().await;
    if !options.chat {
        say("stopped\n");
    }
    outcome
}

fn start(plan: &Plan, folder: &Folder, tell: &Tell) -> anyhow::Result<Supervisor> {
    let program = std::env::current_exe().context("cannot find papo's own program")?;
    let tasks = plan.roles.iter().map(|role| Task::of(role, &program, folder.log(&role.name))).collect();
    Supervisor::start(tasks, STOP_PATIENCE, tell).context("cannot start a role")
}

/// What runs where.
fn description(cluster: &ChatCluster, plan: &Plan, folder: &Folder, pids: &[u32], paint: Paint) -> String {
    let mut text = format!(
        "{} on this machine, data in {}\n\n",
        paint.strong(cluster.cluster_id().as_str()),
        folder.0.display()
    );
    let rows: Vec<Row<'_>> = plan
        .roles
        .iter()
        .zip(pids)
        .map(|(role, pid)| Row { role, pid: *pid, log: folder.log(&role.name) })
        .collect();
    text.push_str(&table::table(&rows, paint));
    text
}

/// What happens between ready and stop.
async fn serve(options: &LocalOptions, plan: &Plan, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
    if !options.chat {
        let (brokers, proxies) = (either(&plan.brokers), either(&plan.proxies));
        say(&format!("requests to {brokers}, subscriptions at {proxies}; Ctrl-C stops all\n"));
        stop.cancelled().await;
        return Ok(ExitCode::SUCCESS);
    }
    let chat = chat::ChatOptions {
        broker: plan.brokers.iter().copied().map(Into::into).collect(),
        proxy: plan.proxies.iter().copied().map(Into::into).collect(),
        user: options.user.clone(),
        no_color: std::env::var_os("NO_COLOR").is_some(),
        suggested_user: options.suggested_user.clone(),
        ..chat::ChatOptions::default()
    };
    tokio::select! {
        outcome = chat::run(chat) => outcome,
        () = stop.cancelled() => Ok(ExitCode::SUCCESS),
    }
}

/// `tcp://a:1 or tcp://b:2`.
fn either(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| format!("tcp://{address}")).collect();
    addresses.join(" or ")
}

enum Start {
    Ready,
    ToldToStop,
}

/// A role that ends before all are ready will not do better the next time: that is an error, with the reason from its log.
async fn wait_until_ready(
    plan: &Plan,
    supervisor: &mut Supervisor,
    stop: &CancellationToken,
) -> anyhow::Result<Start> {
    let mut waiting = JoinSet::new();
    let mut names: Vec<&str> = Vec::new();
    for role in &plan.roles {
        if let Some(address) = role.http() {
            let name = role.name.clone();
            names.push(&role.name);
            waiting.spawn(async move {
                ready::ready(address).await;
                name
            });
        }
    }
    let deadline = tokio::time::sleep(READY_PATIENCE);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            done = waiting.join_next() => match done {
                Some(Ok(name)) => names.retain(|waiting| *waiting != name),
                Some(Err(error)) => return Err(error).context("a readiness check failed"),
                None => return Ok(Start::Ready),
            },
            Some(Ended { name, status, log }) = supervisor.ended() => {
                let reason = last_line(&log).unwrap_or_else(|| "its log says nothing".to_owned());
                anyhow::bail!("{name} ended before it was ready ({status}): {reason}; see {}", log.display());
            }
            () = stop.cancelled() => return Ok(Start::ToldToStop),
            () = &mut deadline => {
                let names = names.join(", ");
                anyhow::bail!("not ready within {} s: {names}; see the log files above", READY_PATIENCE.as_secs());
            }
        }
    }
}

fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rfind(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
}

/// Lines about the roles: always into `logs/local.log`, and on standard error while `aloud`: not before all are ready, when an end is an
/// error with a reason of its own, nor while a chat owns the terminal.
fn teller(folder: &Folder, aloud: Arc<AtomicBool>) -> std::io::Result<Tell> {
    let log = OpenOptions::new().create(true).append(true).open(folder.log("local"))?;
    let log = Mutex::new(log);
    Ok(Arc::new(move |line: &str| {
        let now = TimestampStyle::Rfc3339.render(crate::role::now().unix);
        let now = now.to_text().unwrap_or_default();
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the supervision.
        let _ = writeln!(log, "{now} {line}");
        if aloud.load(Ordering::Relaxed) {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }))
}

/// Writes to standard output. Whoever closed it, such as `head`, wants no more: that stops nothing.
fn say(text: &str) {
    let mut output = std::io::stdout();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Where the servers of such a cluster serve HTTP, by name.
pub fn servers(cluster: &ChatCluster, per_address: bool) -> Vec<(String, SocketAddr)> {
    let plan = plan::plan(cluster, &Folder(PathBuf::from(DATA_DEFAULT)), per_address);
    let servers = plan.roles.into_iter().filter(|role| role.role == plan::Role::Server);
    servers.filter_map(|role| Some((role.name.clone(), role.http()?))).collect()
}

/// The settings that a `papo local` in this folder gave to its roles.
pub fn settings_in(folder: Option<&Path>) -> PathBuf {
    Folder(folder.unwrap_or(Path::new(DATA_DEFAULT)).to_owned()).settings()
}

/// Whether what is printed may carry colours.
pub fn paint() -> Paint {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        Paint::Colours
    } else {
        Paint::Plain
    }
}
