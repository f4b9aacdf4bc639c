//! `papo status`: one cluster at a glance, from what its servers say of themselves over HTTP.
//!
//! addresses -> [`ask`] (each server's `/status`) -> [`judge`] (pure: what is wrong, if anything) -> [`view`] (pure: a table, or JSON).
//! It changes nothing, and needs no server but those it asks.

mod ask;
mod judge;
mod view;

use crate::local;
use anyhow::Context as _;
use judge::{Health, Member, Overview};
use papo_settings::{Address, ChatCluster, NodeSettings, ports};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks with `--watch`: servers renew what they say once a second.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Moves to the upper left and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Options of `papo status`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Exit status: 0 all is well, 1 something is not (it is said below the table) or cannot be found out, 2 used wrongly, 3 no server
answers. With --watch, that of the last look.")]
pub struct StatusOptions {
    /// The servers' HTTP addresses, such as server-1:8080 [default: those of the `papo local` in --data]
    #[arg(value_name = "ADDRESS", conflicts_with_all = ["file", "data", "per_address"])]
    pub servers: Vec<String>,
    /// The ChatCluster manifest that a `papo local` runs
    #[arg(short, long, value_name = "FILE", conflicts_with = "data")]
    pub file: Option<PathBuf>,
    /// The folder of a `papo local` [default: ./papo-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// That `papo local` was told --per-address
    #[arg(long)]
    pub per_address: bool,
    /// Look again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Print JSON, an object a look
    #[arg(long)]
    pub json: bool,
}

/// One server, as it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// Its name, as far as known before it answers: else its address.
    name: String,
    address: Address,
}

/// Looks once, or again and again.
///
/// # Errors
/// When it cannot be told whom to ask.
pub async fn run(options: StatusOptions) -> anyhow::Result<ExitCode> {
    let targets = targets(&options)?;
    loop {
        let overview = look(&targets).await;
        let health = overview.health();
        if show(&overview, &options).is_err() || !options.watch {
            // Who reads no more wants no more.
            return Ok(exit_code(health));
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(exit_code(health)),
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
    }
}

async fn look(targets: &[Target]) -> Overview {
    let members = targets.iter().map(|target| async move {
        let said = ask::status(&target.address).await;
        Member { asked: target.name.clone(), said }
    });
    Overview::of(futures::future::join_all(members).await)
}

fn show(overview: &Overview, options: &StatusOptions) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if options.json {
        return writeln!(out, "{}", view::json(overview));
    }
    let clear = options.watch && out.is_terminal();
    let text = view::text(overview, local::paint());
    write!(out, "{}{text}", if clear { CLEAR } else { "" })?;
    if options.watch && !clear {
        writeln!(out)?;
    }
    out.flush()
}

fn exit_code(health: Health) -> ExitCode {
    ExitCode::from(match health {
        Health::Well => 0,
        Health::Degraded => 1,
        Health::Unreachable => 3,
    })
}

fn targets(options: &StatusOptions) -> anyhow::Result<Vec<Target>> {
    if !options.servers.is_empty() {
        return options.servers.iter().map(|text| target(text)).collect();
    }
    let cluster = match &options.file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}: name a manifest with -f", path.display()))?;
            papo_settings::read_manifest(&text).with_context(|| path.display().to_string())?
        }
        None => {
            let path = local::settings_in(options.data.as_deref());
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!(
                    "no `papo local` was started here, as {} cannot be read: name its folder with --data, its manifest with -f, \
                     or the servers' HTTP addresses",
                    path.display()
                )
            })?;
            let settings = NodeSettings::read(&text).with_context(|| path.display().to_string())?;
            ChatCluster { spec: settings.spec, ..ChatCluster::with_defaults("papo") }
        }
    };
    let servers = local::servers(&cluster, options.per_address).into_iter();
    Ok(servers.map(|(name, address)| Target { name, address: address.into() }).collect())
}

/// A host alone is asked at the usual port.
fn target(text: &str) -> anyhow::Result<Target> {
    let address = if text.contains(':') { text.parse() } else { Address::new(text, ports::HTTP) };
    let address: Address = address.with_context(|| format!("`{text}`"))?;
    Ok(Target { name: address.to_string(), address })
}
