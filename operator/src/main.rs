//! The program `papo-operator`: the command line around the library.

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use futures::StreamExt;
use papo_operator::{
    controller, crd,
    http::{self, Surface},
    metrics::Metrics,
    observe,
};
use papo_settings::ListenAddress;
use std::{
    io::{IsTerminal, Write},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::net::TcpListener;
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
    let client = kube::Client::try_default()
        .await
        .context("cannot reach Kubernetes: run in a pod, or name a kubeconfig in KUBECONFIG")?;
    let metrics = Metrics::new().context("cannot name the metrics")?;
    let address = arguments.http.socket();
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen for HTTP on {address}: choose another address with --http")
    })?;
    let namespace = arguments.watch_namespace.as_deref();
    let knows_pod_monitors =
        observe::knows_pod_monitors(&client).await.context("cannot ask Kubernetes what it knows")?;
    let running = controller::start(
        client,
        namespace,
        knows_pod_monitors,
        arguments.node_image.clone(),
        metrics.clone(),
    );
    let ready = Arc::new(AtomicBool::new(false));
    let surface = Surface { metrics, clusters: running.caches.clusters.clone(), ready: Arc::clone(&ready) };
    let caches = running.caches;
    let tell_when_ready = async {
        if caches.wait_until_ready().await.is_ok() {
            ready.store(true, Ordering::Relaxed);
            tracing::info!("every watch has its first list");
        }
        std::future::pending::<()>().await;
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = namespace.unwrap_or("all"),
        node_image = arguments.node_image,
        "papo-operator"
    );
    let mut reconciles = pin!(running.reconciles);
    let reconcile_until_told_to_stop = async { while reconciles.next().await.is_some() {} };
    tokio::select! {
        () = reconcile_until_told_to_stop => {}
        served = http::serve(listener, surface) => served.context("HTTP stopped")?,
        () = tell_when_ready => {}
    }
    tracing::info!("stopped");
    Ok(())
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
