//! The chat without a terminal: each line of the input runs as if typed, and the exit status tells whether all went well.

use super::command::{Command, parse};
use super::complete::Names;
use super::menu::{self, Answers};
use super::screen::Screen;
use super::session::{Done, Session};
use super::{ChatOptions, Outcome};
use papo_protocol::UserName;
use std::io::{BufRead as _, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

/// Lines read ahead of the one that runs.
const READ_AHEAD: usize = 16;

/// The lines of standard input, read by a thread of their own: an unfinished read would keep the runtime from ending.
pub(super) fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            // What is no UTF-8 is posted as a terminal shows it: it must not end the script unnoticed.
            if sender.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

/// The lines of a command line.
pub(super) fn lines_of(arguments: &[String]) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(arguments.len().max(1));
    for line in arguments {
        // There is room for all of them.
        let _ = sender.try_send(line.clone());
    }
    lines
}

/// A script that answers a menu's questions, line by line.
struct Script {
    lines: mpsc::Receiver<String>,
    screen: Screen,
}

impl Answers for Script {
    async fn answer(&mut self, question: &str) -> Option<String> {
        self.screen.ask(question);
        let answer = self.lines.recv().await;
        self.screen.answered(answer.as_deref().unwrap_or_default());
        answer
    }
}

/// Runs the menu with a script's answers.
pub(super) async fn run_menu(
    options: &ChatOptions,
    lines: mpsc::Receiver<String>,
    output: Box<dyn Write + Send>,
) -> Outcome {
    let screen = Screen::plain(output).for_menu();
    let mut script = Script { lines, screen: screen.clone() };
    menu::run(options, screen, Names::default(), &mut script).await
}

/// Runs a script to its end.
pub(super) async fn run(
    options: &ChatOptions,
    mut lines: mpsc::Receiver<String>,
    output: Box<dyn Write + Send>,
) -> Outcome {
    let screen = Screen::plain(output);
    let Some(name) = options.user.as_ref().or(options.suggested_user.as_ref()) else {
        screen.problem("a script needs a name: give --user NAME");
        return Outcome::Usage;
    };
    let user = match UserName::new(name) {
        Ok(user) => user,
        Err(error) => {
            screen.problem(format!("--user: {error}"));
            return Outcome::Usage;
        }
    };
    let mut arrived = screen.lines();
    let mut session = match Session::enter(options, user, screen.clone(), Names::default()).await {
        Ok(session) => session,
        Err(error) => {
            screen.problem(error.to_string());
            return Outcome::Failed;
        }
    };
    let mut done = session.begin().await;
    while let Some(line) = lines.recv().await {
        let well = match parse(&line) {
            Ok(Command::Quit) => break,
            Ok(Command::Sleep(pause)) => {
                tokio::time::sleep(pause).await;
                Done::Well
            }
            Ok(Command::Expect { within, text }) => {
                if !expect(&mut arrived, within, &text).await {
                    screen.problem(format!("nothing with `{text}` within {} s", within.as_secs_f64()));
                    return Outcome::Failed;
                }
                Done::Well
            }
            Ok(command) => session.carry_out(command).await,
            Err(problem) => {
                screen.problem(problem);
                Done::Badly
            }
        };
        if well == Done::Badly {
            done = Done::Badly;
        }
    }
    match done {
        Done::Well => Outcome::Fine,
        Done::Badly => Outcome::Failed,
    }
}

/// Waits for a line with `text` among those shown since the last one that was expected.
async fn expect(arrived: &mut broadcast::Receiver<Arc<str>>, within: Duration, text: &str) -> bool {
    let found = async {
        loop {
            match arrived.recv().await {
                Ok(line) if line.contains(text) => return true,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return false,
            }
        }
    };
    timeout(within, found).await.unwrap_or(false)
}
