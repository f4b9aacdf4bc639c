//! Logs: text on a terminal, JSON otherwise, or as the setting says; always on standard error, so that standard output stays
//! for what a command prints.

use papo_settings::{LogFormat, LoggingSpec};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging for this process. `RUST_LOG` wins over the setting, for whoever debugs one module.
pub fn start(logging: &LoggingSpec) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(logging.level.as_str()));
    let terminal = std::io::stderr().is_terminal();
    let json = match logging.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    } else {
        builder.compact().init();
    }
}
