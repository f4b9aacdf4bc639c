//! `papo export`: a server's history in the exercise's files (rows I01, L05), byte-identical on servers that hold the same.
//!
//! It reads the data folder, beside a live server too; or asks a live server ([`remote`]), which reads its own ([`serving`]).

mod remote;
pub mod serving;

use crate::storage::Stored;
use anyhow::Context;
use clap::{Args, ValueEnum};
use papo_replica::export;
use papo_replica::{History, Restoring, VersionVector};
use papo_settings::Address;
use std::io::Write;
use std::path::{Path, PathBuf};

/// `papo export`.
#[derive(Debug, Args)]
pub struct ExportOptions {
    /// A server's data folder, such as ./papo-data/server-1
    #[arg(long, value_name = "DIR", required_unless_present = "server")]
    data: Option<PathBuf>,
    /// A live server's HTTP port, such as server-1:8080
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "data")]
    server: Option<Address>,
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

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Publications | Self::Messages => "application/jsonl",
            Self::Registry | Self::ServerData => "application/json",
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
/// When there is no history in the folder, or no live server, or the output cannot be written.
pub fn run(options: &ExportOptions) -> anyhow::Result<()> {
    // One reading for all files; a live server does it anew for each.
    let history = options.data.as_deref().map(read_folder).transpose()?;
    let write = |file: ExportFile, out: &mut dyn Write| match (&history, &options.server) {
        (Some(history), _) => write_history(history, file, out),
        (None, Some(server)) => remote::fetch(server, file, out),
        (None, None) => anyhow::bail!("name a data folder or a live server: --data or --server"),
    };
    match &options.out {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            ExportFile::ALL
                .into_iter()
                .try_for_each(|file| write_file(&folder.join(file.name()), |out| write(file, out)))
        }
        None => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            write(options.file.unwrap_or(ExportFile::ServerData), &mut out)
        }
    }
}

/// One file of what a folder holds, as far as its server shows it.
fn write(data: &Path, shown: &VersionVector, file: ExportFile, out: &mut dyn Write) -> anyhow::Result<()> {
    write_history(&read(&Stored::open(data)?, shown)?, file, out)
}

fn write_history(history: &History, file: ExportFile, mut out: &mut dyn Write) -> anyhow::Result<()> {
    file.write(history, &mut out).and_then(|()| out.flush()).context("cannot write")
}

/// What is stored, its texts left on the disk until they are written. What is held and was not shown is left out: it may still be lost
/// with this disk, and nobody has seen it.
fn read(stored: &Stored, shown: &VersionVector) -> anyhow::Result<History> {
    let mut history = Restoring::new(stored.clone(), 0);
    stored.headings(|heading| history.add(heading))??;
    Ok(history.finish(shown))
}

/// What a folder says itself, which a live server tells it a second later.
fn read_folder(folder: &Path) -> anyhow::Result<History> {
    let stored = Stored::open(folder)?;
    read(&stored, &stored.shown()?)
}

/// Under its name only when it is whole: half a file looks like a whole one of a shorter history.
fn write_file(path: &Path, write: impl Fn(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let part = path.with_added_extension("part");
    let create = || std::fs::File::create(&part).context("cannot create it");
    let written = create().and_then(|file| write(&mut std::io::BufWriter::new(file)));
    let renamed = written.and_then(|()| std::fs::rename(&part, path).context("cannot rename it"));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    renamed.with_context(|| path.display().to_string())
}
