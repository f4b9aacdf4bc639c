//! Everything that is shown passes here: onto the terminal above the line being typed, or line by line to a script's reader.

use super::line::Line;
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
}

enum Output {
    /// The thread that owns the terminal's printer, which may wait while the person pages through completions.
    Terminal(mpsc::Sender<String>),
    /// Standard output of a script.
    Plain(Box<dyn Write + Send>),
}

impl Screen {
    pub(super) fn terminal(printer: mpsc::Sender<String>, colours: bool) -> Self {
        Self::new(Output::Terminal(printer), colours)
    }

    pub(super) fn plain(output: Box<dyn Write + Send>) -> Self {
        Self::new(Output::Plain(output), false)
    }

    fn new(output: Output, colours: bool) -> Self {
        let (arrived, _) = broadcast::channel(LINES_KEPT);
        Self { output: Arc::new(Mutex::new(output)), arrived, colours }
    }

    pub(super) fn colours(&self) -> bool {
        self.colours
    }

    pub(super) fn show(&self, line: &Line) {
        self.write(line.render(self.colours));
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
            Output::Plain(output) => drop(writeln!(output, "{line}").and_then(|()| output.flush())),
        }
        // Without a script nobody listens.
        let _ = self.arrived.send(line.into());
    }

    /// The lines shown from now on.
    pub(super) fn lines(&self) -> broadcast::Receiver<Arc<str>> {
        self.arrived.subscribe()
    }
}
