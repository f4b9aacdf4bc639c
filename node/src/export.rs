//! `papo export`: a server's history in the exercise's files (rows I01, L05), byte-identical on servers that hold the same.
//!
//! It reads the data folder, beside a live server too.

use crate::storage::Stored;
use anyhow::Context;
use clap::{Args, ValueEnum};
use papo_replica::History;
use papo_replica::export;
use std::io::Write;
use std::path::{Path, PathBuf};

/// `papo export`.
#[derive(Debug, Args)]
pub struct ExportOptions {
    /// A server's data folder, such as ./papo-data/server-1
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Write all four files into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    out: Option<PathBuf>,
    /// Print this one file [default: server_data.json]
    #[arg(value_enum)]
    file: Option<ExportFile>,
}

/// The files of the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFile {
    /// Posts, one JSON object a line
    #[value(name = "publications.jsonl")]
    Publications,
    /// Direct messages, one JSON object a line
    #[value(name = "messages.jsonl")]
    Messages,
    /// Users and channels
    #[value(name = "registry.json")]
    Registry,
    /// Everything, in one object
    #[value(name = "server_data.json")]
    ServerData,
}

impl ExportFile {
    const ALL: [Self; 4] = [Self::Publications, Self::Messages, Self::Registry, Self::ServerData];

    fn name(self) -> &'static str {
        match self {
            Self::Publications => "publications.jsonl",
            Self::Messages => "messages.jsonl",
            Self::Registry => "registry.json",
            Self::ServerData => "server_data.json",
        }
    }

    fn write(self, history: &History, out: &mut impl Write) -> std::io::Result<()> {
        match self {
            Self::Publications => export::publications(history, out),
            Self::Messages => export::messages(history, out),
            Self::Registry => export::registry(history, out),
            Self::ServerData => export::server_data(history, out),
        }
    }
}

/// Prints one file, or writes all.
///
/// # Errors
/// When the folder holds no history, or the output cannot be written.
pub fn run(options: &ExportOptions) -> anyhow::Result<()> {
    let history = read(&options.data)?;
    match &options.out {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            ExportFile::ALL
                .into_iter()
                .try_for_each(|file| write_file(file, &history, &folder.join(file.name())))
        }
        None => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            let file = options.file.unwrap_or(ExportFile::ServerData);
            file.write(&history, &mut out)
                .and_then(|()| out.flush())
                .context("cannot write to standard output")
        }
    }
}

/// What was shown. What is held and was not may still be lost with this disk: nobody has seen it.
fn read(folder: &Path) -> anyhow::Result<History> {
    let stored = Stored::open(folder)?;
    let shown = stored.shown()?;
    Ok(stored
        .operations(|operations| History::from_operations(operations.filter(|op| shown.covers(&op.dot))))??)
}

fn write_file(file: ExportFile, history: &History, path: &Path) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
        file.write(history, &mut out)?;
        out.flush()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
