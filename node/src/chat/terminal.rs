//! The chat on a terminal: a thread edits lines with rustyline, another prints above them.

use super::command::{Command, parse};
use super::complete::Names;
use super::line;
use super::menu::{self, Answers};
use super::presence::EnterError;
use super::screen::Screen;
use super::session::Session;
use super::{ChatOptions, Outcome};
use anyhow::Context as _;
use papo_protocol::UserName;
use rustix::stdio::stdout;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use std::io::Write as _;
use std::sync::mpsc as blocking;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use unicode_width::UnicodeWidthStr as _;

/// Has the terminal no longer mark what is pasted, as rustyline asks it to while a line is edited.
const PASTE_UNMARKED: &str = "\x1b[?2004l";

/// A width for terminals that do not tell theirs.
const COLUMNS_DEFAULT: usize = 80;

/// Chats until the person leaves, or the process is told to stop.
pub(super) async fn run(options: &ChatOptions) -> anyhow::Result<Outcome> {
    let _before = Before::remember()?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        outcome = chat(options) => outcome,
        _ = terminate.recv() => Ok(Outcome::Fine),
    }
}

/// Runs the menu until the person leaves, or the process is told to stop.
pub(super) async fn run_menu(options: &ChatOptions) -> anyhow::Result<Outcome> {
    let _before = Before::remember()?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let names = Names::default();
    let mut keyboard = Keyboard::open(names.clone())?;
    let screen = Screen::terminal(keyboard.printer()?, false).for_menu();
    tokio::select! {
        outcome = leaving(menu::run(options, screen, names, &mut keyboard)) => Ok(outcome.unwrap_or(Outcome::Fine)),
        _ = terminate.recv() => Ok(Outcome::Fine),
    }
}

/// The terminal as it was. While a line is edited keys come one by one and unechoed; who is interrupted then, by SIGTERM or by the end
/// of `papo local`, must not leave that to the shell.
struct Before(Termios);

impl Before {
    fn remember() -> anyhow::Result<Self> {
        Ok(Self(tcgetattr(stdout()).context("cannot read the settings of this terminal")?))
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        let is_editing = tcgetattr(stdout()).is_ok_and(|now| !now.local_modes.contains(LocalModes::ICANON));
        if is_editing {
            // A terminal that is gone needs no settings.
            let _ = tcsetattr(stdout(), OptionalActions::Now, &self.0);
            let _ = writeln!(std::io::stdout(), "{PASTE_UNMARKED}");
        }
    }
}

async fn chat(options: &ChatOptions) -> anyhow::Result<Outcome> {
    let colours = !options.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let names = Names::default();
    let mut keyboard = Keyboard::open(names.clone())?;
    let screen = Screen::terminal(keyboard.printer()?, colours);
    let Some(mut session) = enter(options, &mut keyboard, &screen, &names).await else {
        return Ok(Outcome::Failed);
    };
    // Whatever failed was shown, and the person may go on.
    let _ = leaving(session.begin()).await;
    loop {
        session.refresh_names();
        let prompt = line::prompt(session.user().as_str(), session.current(), colours);
        let Some(text) = keyboard.read(prompt, Echo::ErasePosts).await else { break };
        match parse(&text) {
            Ok(Command::Quit) => break,
            Ok(Command::Sleep(_) | Command::Expect { .. }) => session.screen().problem("that is for scripts"),
            Ok(command) => {
                if leaving(session.carry_out(command)).await.is_none() {
                    break;
                }
            }
            Err(problem) => session.screen().problem(problem),
        }
    }
    Ok(Outcome::Fine)
}

/// Asks for a name until one is accepted; `None` when the person leaves, or nobody answers.
async fn enter(
    options: &ChatOptions,
    keyboard: &mut Keyboard,
    screen: &Screen,
    names: &Names,
) -> Option<Session> {
    let mut given = options.user.clone();
    loop {
        let name = match given.take() {
            Some(name) => name,
            None => ask_name(keyboard, options.suggested_user.as_deref()).await?,
        };
        let user = match UserName::new(name.trim()) {
            Ok(user) => user,
            Err(error) => {
                screen.problem(error.to_string());
                continue;
            }
        };
        match leaving(Session::enter(options, user, screen.clone(), names.clone())).await? {
            Ok(session) => return Some(session),
            Err(error @ EnterError::Refused { .. }) => screen.problem(error.to_string()),
            Err(error @ EnterError::Unreachable { .. }) => {
                screen.problem(error.to_string());
                return None;
            }
        }
    }
}

async fn ask_name(keyboard: &mut Keyboard, suggested: Option<&str>) -> Option<String> {
    let question = suggested.map_or("your name: ".to_owned(), |name| format!("your name [{name}]: "));
    let answer = keyboard.read((question.clone(), question), Echo::Keep).await?;
    Some(if answer.trim().is_empty() { suggested.unwrap_or_default().to_owned() } else { answer })
}

/// The outcome, or `None` when Ctrl-C was pressed meanwhile.
async fn leaving<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        _ = tokio::signal::ctrl_c() => None,
    }
}

/// What becomes of a line after Enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Echo {
    /// It stays.
    Keep,
    /// Plain text is erased: it comes back with a time, once posted.
    ErasePosts,
}

struct Wish {
    prompt: (String, String),
    echo: Echo,
}

/// The thread that edits lines: one line for each wish.
struct Keyboard {
    wishes: blocking::Sender<Wish>,
    lines: mpsc::Receiver<Option<String>>,
    printer: Option<Box<dyn ExternalPrinter + Send>>,
}

impl Keyboard {
    fn open(names: Names) -> anyhow::Result<Self> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .max_history_size(1000)
            .context("cannot keep a history of typed lines")?
            .build();
        let mut editor: Editor<Assistant, DefaultHistory> =
            Editor::with_config(config).context("cannot use this terminal")?;
        editor.set_helper(Some(Assistant { names }));
        let printer = editor.create_external_printer().context("cannot print on this terminal")?;
        let (wishes, queue) = blocking::channel::<Wish>();
        let (sender, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            for wish in queue {
                let line = edit(&mut editor, &wish);
                let last = line.is_none();
                if sender.blocking_send(line).is_err() || last {
                    return;
                }
            }
        });
        Ok(Self { wishes, lines, printer: Some(Box::new(printer)) })
    }

    /// Starts the thread that prints above the line being typed.
    fn printer(&mut self) -> anyhow::Result<blocking::Sender<String>> {
        let mut printer = self.printer.take().context("the terminal has one printer")?;
        let (sender, lines) = blocking::channel::<String>();
        std::thread::spawn(move || {
            for line in lines {
                if printer.print(line).is_err() {
                    return;
                }
            }
        });
        Ok(sender)
    }

    /// The next line; `None` when the person leaves by Ctrl-D or Ctrl-C.
    async fn read(&mut self, prompt: (String, String), echo: Echo) -> Option<String> {
        self.wishes.send(Wish { prompt, echo }).ok()?;
        self.lines.recv().await.flatten()
    }
}

impl Answers for Keyboard {
    async fn answer(&mut self, question: &str) -> Option<String> {
        self.read((question.to_owned(), question.to_owned()), Echo::Keep).await
    }
}

fn edit(editor: &mut Editor<Assistant, DefaultHistory>, wish: &Wish) -> Option<String> {
    loop {
        match editor.readline(&wish.prompt) {
            Ok(line) => {
                if wish.echo == Echo::ErasePosts && matches!(parse(&line), Ok(Command::Post(_))) {
                    let columns =
                        editor.dimensions().map_or(COLUMNS_DEFAULT, |(columns, _)| usize::from(columns));
                    erase(wish.prompt.0.width() + line.width(), columns);
                }
                return Some(line);
            }
            // The window changed its size between two keys.
            Err(ReadlineError::Signal(_)) => {}
            Err(error) => {
                if !matches!(error, ReadlineError::Eof | ReadlineError::Interrupted) {
                    tracing::debug!(%error, "the terminal is gone");
                }
                return None;
            }
        }
    }
}

/// Erases the line above the cursor, which is `width` wide.
fn erase(width: usize, columns: usize) {
    let rows = width.div_ceil(columns.max(1)).max(1);
    let mut output = std::io::stdout();
    // On an error the line stays, which is no harm.
    let _ = write!(output, "\x1b[{rows}A\r\x1b[J").and_then(|()| output.flush());
}

struct Assistant {
    names: Names,
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.names.complete(line.get(..position).unwrap_or(line)))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}
impl Highlighter for Assistant {}
impl Validator for Assistant {}
impl Helper for Assistant {}
