//! The program `papo-operator`: the command line around the library.

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use futures::StreamExt;
use kube::Client;
use papo_operator::{
    controller, crd,
    http::{self, Standing, Surface},
    lease::Candidate,
    metrics::Metrics,
    observe,
};
use papo_settings::ListenAddress;
use std::{
    io::{IsTerminal, Write},
    pin::pin,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

/// Runs ChatClusters on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "papo-operator", version, about, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep every ChatCluster as its manifest says
    Run(RunArgs),
    /// Print the CustomResourceDefinition
    Crd,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Look at this namespace only [default: all]
    #[arg(long, value_name = "NAMESPACE", env = "PAPO_WATCH_NAMESPACE")]
    watch_namespace: Option<String>,
    /// Image of the pods of a ChatCluster that names none
    #[arg(long, value_name = "IMAGE", env = "PAPO_NODE_IMAGE", default_value = DEFAULT_NODE_IMAGE)]
    node_image: String,
    /// Namespace of the Lease whose holder works; without one, this operator must be the only one [default: no Lease]
    #[arg(long, value_name = "NAMESPACE", env = "PAPO_LEASE_NAMESPACE", requires = "identity")]
    lease_namespace: Option<String>,
    /// Name of the Lease
    #[arg(long, value_name = "NAME", env = "PAPO_LEASE_NAME", default_value = "papo-operator")]
    lease_name: String,
    /// What this operator calls itself in the Lease: no other candidate's name, such as its pod's
    #[arg(long, value_name = "IDENTITY", env = "PAPO_IDENTITY")]
    identity: Option<String>,
    /// HTTP address for /metrics, /livez, /readyz
    #[arg(long, value_name = "ADDRESS", env = "PAPO_HTTP", default_value = "*:8080")]
    http: ListenAddress,
    /// The form of a log line
    #[arg(long, value_enum, env = "PAPO_LOG_FORMAT", default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
}

/// The nodes' image of this version.
const DEFAULT_NODE_IMAGE: &str = concat!("papo.dev/papo:", env!("CARGO_PKG_VERSION"));
/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_LOG_FILTER: &str = "info";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Text on a terminal, JSON otherwise
    Auto,
    /// Text
    Text,
    /// One JSON object a line
    Json,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(arguments) => {
            start_logging(arguments.log_format);
            // One thread: the work is waiting for the API server.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start the runtime")?;
            runtime.block_on(run(arguments))
        }
        Command::Crd => {
            std::io::stdout().write_all(crd::to_yaml()?.as_bytes()).context("cannot write to standard output")
        }
    }
}

async fn run(arguments: RunArgs) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("cannot reach Kubernetes: run in a pod, or name a kubeconfig in KUBECONFIG")?;
    let metrics = Metrics::new().context("cannot name the metrics")?;
    let address = arguments.http.socket();
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen for HTTP on {address}: choose another address with --http")
    })?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = arguments.watch_namespace.as_deref().unwrap_or("all"),
        node_image = arguments.node_image,
        "papo-operator"
    );
    let (standing, shown) = watch::channel(Standing::Starting);
    let surface = Surface { metrics: metrics.clone(), standing: shown };
    tokio::select! {
        worked = work(arguments, client, metrics, &standing) => worked?,
        served = http::serve(listener, surface) => served.context("HTTP stopped")?,
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits for the Lease, if there is one to hold, and works for as long as it holds it.
async fn work(
    arguments: RunArgs,
    client: Client,
    metrics: Metrics,
    standing: &watch::Sender<Standing>,
) -> anyhow::Result<()> {
    let (Some(namespace), Some(identity)) = (&arguments.lease_namespace, &arguments.identity) else {
        return reconcile(&arguments, client, metrics, standing).await;
    };
    let candidate = Candidate::new(
        client.clone(),
        namespace,
        arguments.lease_name.clone(),
        identity.clone(),
        metrics.clone(),
    );
    let waits = || {
        standing.send_if_modified(|standing| {
            let first = matches!(standing, Standing::Starting);
            if first {
                tracing::info!("standing by: another operator has the Lease");
                *standing = Standing::StandingBy;
            }
            first
        });
    };
    let mut held = tokio::select! {
        held = candidate.acquire(waits) => held,
        told = told_to_stop() => return told.context("cannot wait for signals"),
    };
    tracing::info!(%identity, "this operator has the Lease");
    tokio::select! {
        done = reconcile(&arguments, client, metrics, standing) => done?,
        // Whoever has it now must find nobody at work: the process ends, and begins anew.
        lost = held.keep() => return Err(lost).context("stopping"),
    }
    held.release().await;
    Ok(())
}

/// Keeps every ChatCluster as its manifest says, until told to stop.
async fn reconcile(
    arguments: &RunArgs,
    client: Client,
    metrics: Metrics,
    standing: &watch::Sender<Standing>,
) -> anyhow::Result<()> {
    let knows_pod_monitors =
        observe::knows_pod_monitors(&client).await.context("cannot ask Kubernetes what it knows")?;
    let running = controller::start(
        client,
        arguments.watch_namespace.as_deref(),
        knows_pod_monitors,
        arguments.node_image.clone(),
        metrics,
    );
    let caches = running.caches;
    standing.send_replace(Standing::Listing(caches.clusters.clone()));
    let tell_when_ready = async {
        if caches.wait_until_ready().await.is_ok() {
            standing.send_replace(Standing::Working(caches.clusters.clone()));
            tracing::info!("every watch has its first list");
        }
        std::future::pending::<()>().await;
    };
    let mut reconciles = pin!(running.reconciles);
    let reconcile_until_told_to_stop = async { while reconciles.next().await.is_some() {} };
    tokio::select! {
        () = reconcile_until_told_to_stop => {}
        () = tell_when_ready => {}
    }
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C, as the controller does while it works.
async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG_FILTER));
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    if json {
        builder.json().flatten_event(true).with_span_list(false).init();
    } else {
        builder.init();
    }
}
