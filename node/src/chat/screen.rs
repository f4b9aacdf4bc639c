//! Everything that is shown passes here: onto the terminal above the line being typed, or line by line to a script's reader. Messages
//! have the form of the chat, or that of the exercise's menus.

use super::line::{Form, Line};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::broadcast;

/// Lines that `/expect` can look back on; older ones are forgotten.
const LINES_KEPT: usize = 4096;

/// Where lines go. Clones share it.
#[derive(Clone)]
pub(super) struct Screen {
    output: Arc<Mutex<Output>>,
    arrived: broadcast::Sender<Arc<str>>,
    colours: bool,
    form: Form,
}

enum Output {
    /// The thread that owns the terminal's printer, which may wait while the person pages through completions.
    Terminal(mpsc::Sender<String>),
    /// Standard output of a script, and the question that stands at its end without an answer.
    Plain { output: Box<dyn Write + Send>, question: Option<String> },
}

impl Screen {
    pub(super) fn terminal(printer: mpsc::Sender<String>, colours: bool) -> Self {
        Self::new(Output::Terminal(printer), colours)
    }

    pub(super) fn plain(output: Box<dyn Write + Send>) -> Self {
        Self::new(Output::Plain { output, question: None }, false)
    }

    fn new(output: Output, colours: bool) -> Self {
        let (arrived, _) = broadcast::channel(LINES_KEPT);
        Self { output: Arc::new(Mutex::new(output)), arrived, colours, form: Form::Chat }
    }

    /// The same, with messages as the exercise's menus show them.
    pub(super) fn for_menu(self) -> Self {
        Self { form: Form::Menu, ..self }
    }

    pub(super) fn colours(&self) -> bool {
        self.colours
    }

    pub(super) fn show(&self, line: &Line) {
        self.write(line.render(self.form, self.colours));
    }

    pub(super) fn note(&self, text: impl Into<String>) {
        self.show(&Line::Note(text.into()));
    }

    pub(super) fn problem(&self, text: impl Into<String>) {
        self.show(&Line::Problem(text.into()));
    }

    /// A line that is already text.
    pub(super) fn write(&self, line: String) {
        match &mut *self.output.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody is left to read what could not be written.
            Output::Terminal(printer) => drop(printer.send(format!("{line}\n"))),
            Output::Plain { output, question } => {
                let text = match question {
                    Some(question) => format!("\n{line}\n{question}"),
                    None => format!("{line}\n"),
                };
                drop(output.write_all(text.as_bytes()).and_then(|()| output.flush()));
            }
        }
        // Without a script nobody listens.
        let _ = self.arrived.send(line.into());
    }

    /// A question to whoever reads a script's output; it is shown again after what comes before its answer.
    pub(super) fn ask(&self, asked: &str) {
        self.on_plain(|output, question| {
            *question = Some(asked.to_owned());
            write!(output, "{asked}")
        });
    }

    /// The answer, so that what a script was asked reads like what a person was.
    pub(super) fn answered(&self, answer: &str) {
        self.on_plain(|output, question| {
            *question = None;
            writeln!(output, "{answer}")
        });
    }

    fn on_plain(
        &self,
        act: impl FnOnce(&mut Box<dyn Write + Send>, &mut Option<String>) -> std::io::Result<()>,
    ) {
        if let Output::Plain { output, question } =
            &mut *self.output.lock().unwrap_or_else(PoisonError::into_inner)
        {
            // Nobody is left to read what could not be written.
            drop(act(output, question).and_then(|()| output.flush()));
        }
    }

    /// The lines shown from now on.
    pub(super) fn lines(&self) -> broadcast::Receiver<Arc<str>> {
        self.arrived.subscribe()
    }
}
