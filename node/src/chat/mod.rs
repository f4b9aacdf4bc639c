//! `papo chat`: a person's client. On a terminal it edits lines, completes names and shows live messages above the line being
//! typed; with anything else as standard input, or with lines on its command line, it runs the lines as a script and exits with a
//! status. `--menu` has the lines answer the exercise's numbered menu.
//!
//! A line becomes a [`command::Command`], the [`session::Session`] carries it out through its [`presence::Presence`], and all that is
//! shown goes through the [`screen::Screen`]; `terminal` and `script` only differ in where lines come from and go to. Nothing here
//! knows papo's servers beyond what any client of the exercise may know.

mod catch_up;
mod command;
mod complete;
mod history;
mod line;
mod menu;
mod presence;
mod screen;
mod script;
mod session;
mod terminal;
#[cfg(test)]
mod tests;

use crate::cli::first;
use crate::client::loopback;
use papo_settings::{Address, Environment, ports};
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// Options of `papo chat`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ChatOptions {
    /// The broker, which passes requests on to a server; of several, the next when one dies [default: 127.0.0.1:5555]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub broker: Vec<Address>,
    /// The proxy, from which live messages come; of several, the next when one dies [default: 127.0.0.1:5558]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub proxy: Vec<Address>,
    /// One server to ask directly, without a broker
    #[arg(long, value_name = "ADDRESS", conflicts_with = "broker")]
    pub server: Option<Address>,
    /// Your name in the chat; on a terminal you are asked for it otherwise
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The numbered menu of the exercise's clients, in Portuguese: 1 to 7, and 0 to leave
    #[arg(long)]
    pub menu: bool,
    /// Lines to run in place of standard input, each as if typed: papo chat --user ana '/join geral' 'bom dia'
    #[arg(value_name = "LINE")]
    pub lines: Vec<String>,
    /// Plain text, without colours
    #[arg(long)]
    pub no_color: bool,
    /// A name to offer to whoever is asked for one, and for a script that gives none.
    #[arg(skip)]
    pub suggested_user: Option<String>,
}

impl ChatOptions {
    /// What no flag says, the environment may say.
    #[must_use]
    pub fn or_environment(self, environment: &Environment) -> Self {
        let asks = !self.broker.is_empty() || self.server.is_some();
        Self {
            broker: first(&self.broker, &environment.brokers, &[]),
            proxy: first(&self.proxy, &environment.proxies_to_subscribe, &[]),
            server: self.server.or_else(|| if asks { None } else { environment.server.clone() }),
            user: self.user.or_else(|| environment.user.clone()),
            menu: self.menu,
            lines: self.lines,
            no_color: self.no_color,
            suggested_user: self.suggested_user.or_else(|| environment.shell_user.clone()),
        }
    }

    /// Whom requests are sent to, in words and as addresses.
    fn asked(&self) -> (String, Vec<Address>) {
        if let Some(server) = &self.server {
            return (format!("the server at {server}"), vec![server.clone()]);
        }
        let brokers = first(&self.broker, &[], &[loopback(ports::BROKER_CLIENTS)]);
        (in_words("broker", "brokers", &brokers), brokers)
    }

    /// Whom live messages come from, in words and as addresses.
    fn heard(&self) -> (String, Vec<Address>) {
        let proxies = first(&self.proxy, &[], &[loopback(ports::PROXY_SUBSCRIBERS)]);
        (format!("{} (live messages)", in_words("proxy", "proxies", &proxies)), proxies)
    }
}

/// Such as `the broker at b:5555`, or `the brokers at a:5555, b:5555`.
fn in_words(one: &str, several: &str, addresses: &[Address]) -> String {
    let what = if addresses.len() == 1 { one } else { several };
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!("the {what} at {}", addresses.join(", "))
}

/// How a chat ended, as its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All went well: 0.
    Fine,
    /// A command failed, or what was expected did not come: 1.
    Failed,
    /// The options are wrong: 2.
    Usage,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fine => Self::SUCCESS,
            Outcome::Failed => Self::FAILURE,
            Outcome::Usage => Self::from(2),
        }
    }
}

/// Chats until the person leaves or the script ends.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn run(options: ChatOptions) -> anyhow::Result<ExitCode> {
    let outcome =
        if options.lines.is_empty() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            if options.menu { terminal::run_menu(&options).await? } else { terminal::run(&options).await? }
        } else {
            let lines = if options.lines.is_empty() {
                script::lines_of_stdin()
            } else {
                script::lines_of(&options.lines)
            };
            let output = Box::new(std::io::stdout());
            if options.menu {
                script::run_menu(&options, lines, output).await
            } else {
                script::run(&options, lines, output).await
            }
        };
    Ok(outcome.into())
}
