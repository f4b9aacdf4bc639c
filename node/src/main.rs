//! papo: a replicated chat service that any ZeroMQ client can talk to. One program, one module a role.
//!
//! This module must not know what a role does: it reads the command line and hands over.

mod bot;
mod broker;
mod chat;
mod cli;
mod client;
mod drain;
mod draining;
mod envelope;
mod export;
mod http;
mod http_get;
mod import;
mod local;
mod logging;
mod membership;
mod metrics;
mod open_files;
mod proxy;
mod readiness;
mod reference;
mod role;
mod roles;
mod server;
mod shutdown;
mod status;
mod storage;
mod targets;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use papo_settings::{Environment, read_environment};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("papo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let environment = environment()?;
    match cli.command {
        Command::Server(args) => roles::server(&args, &environment)?,
        Command::Broker(args) => roles::broker(&args, &environment)?,
        Command::Proxy(args) => roles::proxy(&args, &environment)?,
        Command::Ref(args) => roles::reference(&args, &environment)?,
        Command::Local(options) => return on_runtime(local::run(options.or_environment(&environment))),
        Command::Chat(options) if environment.auto_client => {
            let options = bot::BotOptions::from(options.or_environment(&environment));
            return on_runtime(bot::run(options.or_environment(&environment)));
        }
        Command::Chat(options) => return on_runtime(chat::run(options.or_environment(&environment))),
        Command::Bot(options) => return on_runtime(bot::run(options.or_environment(&environment))),
        Command::Status(options) => return on_runtime(status::run(options)),
        Command::Export(options) => export::run(&options)?,
        Command::Import(options) => return on_runtime(import::run(options.or_environment(&environment))),
        Command::Drain(args) => return on_runtime(draining::run(args, environment)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "papo", &mut std::io::stdout());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the environment; what is ignored is said once, on standard error.
fn environment() -> anyhow::Result<Environment> {
    let (environment, warnings) = read_environment(
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )?;
    for warning in warnings {
        eprintln!("papo: warning: {warning}");
    }
    Ok(environment)
}

fn on_runtime(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(task);
    runtime.shutdown_background();
    result
}
