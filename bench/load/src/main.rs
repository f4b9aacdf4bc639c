//! Load for a broker or a proxy, whoever wrote it: REQ clients and REP workers, a publisher and its subscribers, idle subscribers; and
//! for a whole papo: posts, and how long until every server shows them.
//!
//! It speaks ZMTP on plain TCP in one thread that polls, so that on a small machine the process under test is what is measured and
//! not the load. What it finds goes to standard output as JSON, a line each. `bench/zmq` and `bench/publish` run it.

mod book;
mod cpu;
mod histogram;
mod idle;
mod link;
mod papo;
mod publication;
mod pubsub;
mod report;
mod requests;
mod shown;
mod span;
#[cfg(test)]
mod tests;
mod ticker;
mod wire;
mod workers;

use crate::idle::Idle;
use crate::report::Up;
use crate::workers::Workers;
use clap::{Args, Parser, Subcommand};
use mio::{Events, Poll};
use pubsub::{Pace, Sides};
use requests::What;
use span::Plan;
use std::net::SocketAddr;
use std::time::Duration;

/// Longest wait in the poll: the end of the time measured is seen so late at most.
const POLL: Duration = Duration::from_millis(20);
/// Everybody has its first reply, or its probe, within this.
const FIRST_ANSWER: Duration = Duration::from_secs(20);
/// What is under way at the end of a run may take so long.
const DRAIN: Duration = Duration::from_secs(5);

/// Load for a broker or a proxy.
#[derive(Debug, Parser)]
#[command(max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// REP sockets that give back what they get, until killed
    Workers {
        /// The DEALER to connect to
        #[arg(long)]
        connect: SocketAddr,
        /// How many sockets
        #[arg(long, default_value_t = 2)]
        count: usize,
    },
    /// REQ clients
    Requests {
        /// The ROUTER to connect to
        #[arg(long)]
        connect: SocketAddr,
        /// How many sockets
        #[arg(long, default_value_t = 64)]
        clients: usize,
        #[command(flatten)]
        load: Load,
    },
    /// REQ clients that post to a papo; its channel `bench` must be there
    Posts {
        /// Brokers or servers, among whom the clients are spread
        #[arg(long, required = true)]
        connect: Vec<SocketAddr>,
        /// How many sockets
        #[arg(long, default_value_t = 64)]
        clients: usize,
        #[command(flatten)]
        load: Load,
    },
    /// How long after a post is acknowledged every server shows it; papo's channel `bench-probe` must be there
    Shown {
        /// A broker, which takes the posts
        #[arg(long)]
        connect: SocketAddr,
        /// Each server's own REP
        #[arg(long = "server", required = true)]
        servers: Vec<SocketAddr>,
        #[command(flatten)]
        load: Load,
    },
    /// A publisher and its subscribers
    Pubsub {
        /// The XSUB to publish to
        #[arg(long)]
        publish: SocketAddr,
        /// The XPUB to subscribe at
        #[arg(long)]
        subscribe: SocketAddr,
        /// How many sockets
        #[arg(long, default_value_t = 50)]
        subscribers: usize,
        /// Messages that the publisher may be ahead of the slowest subscriber
        #[arg(long, default_value_t = 400, conflicts_with = "rate")]
        window: u64,
        /// Messages a second, instead of a window
        #[arg(long)]
        rate: Option<u32>,
        #[command(flatten)]
        load: Load,
    },
    /// Subscribers to whom nobody publishes, until killed
    Idle {
        /// The XPUB to subscribe at
        #[arg(long)]
        subscribe: SocketAddr,
        /// How many sockets
        #[arg(long, default_value_t = 1000)]
        count: usize,
    },
}

#[derive(Debug, Args)]
struct Load {
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    bytes: usize,
    /// Seconds measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// The process under test, whose processor time is measured; of several the sum
    #[arg(long = "pid")]
    pids: Vec<u32>,
}

impl Load {
    fn plan(&self) -> anyhow::Result<Plan> {
        let warmup = Duration::try_from_secs_f64(self.warmup)?;
        let measured = Duration::try_from_secs_f64(self.seconds)?;
        Ok(Plan { warmup, measured, drain: DRAIN, pids: self.pids.clone() })
    }
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Workers { connect, count } => {
            let workers = Workers::connect(connect, count)?;
            report::line(&Up { up: count })?;
            workers.serve()
        }
        Command::Requests { connect, clients, load } => {
            report::line(&requests::run(&[connect], clients, What::Echo, load.bytes, load.plan()?)?)
        }
        Command::Posts { connect, clients, load } => {
            report::line(&requests::run(&connect, clients, What::Posts, load.bytes, load.plan()?)?)
        }
        Command::Shown { connect, servers, load } => {
            report::line(&shown::run(connect, &servers, load.bytes, load.plan()?)?)
        }
        Command::Pubsub { publish, subscribe, subscribers, window, rate, load } => {
            let pace = rate.map_or(Pace::Window(window), Pace::Rate);
            let sides = Sides { publish, subscribe };
            report::line(&pubsub::run(sides, subscribers, load.bytes, pace, load.plan()?)?)
        }
        Command::Idle { subscribe, count } => {
            let idle = Idle::connect(subscribe, count)?;
            report::line(&Up { up: count })?;
            idle.stay()
        }
    }
}

/// Waits for events; a signal that interrupts it is none.
fn wait(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> std::io::Result<()> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        other => other,
    }
}
