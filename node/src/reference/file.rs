//! What the reference service must not forget, on disk (row F05): two small JSON files, each replaced whole and fsynced.
//!
//! Ranks are in the file that the exercise names, in the form that earlier versions read too; the epoch is beside it.

use anyhow::Context;
use papo_exchange::{Stored, Tenure};
use papo_protocol::{Boot, Epoch, ServerName};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The seeds' own name for it (S3:690).
const RANKS: &str = "reference_data.json";
/// Absent until the first coordinator.
const TENURE: &str = "reference_epoch.json";

/// How a tenure is written: the boot as in replies.
#[derive(Serialize, Deserialize)]
struct WrittenTenure {
    number: u64,
    boot: String,
    holder: Option<ServerName>,
}

/// The files and what they hold.
pub struct Files {
    folder: PathBuf,
    stored: Stored,
}

impl Files {
    /// Reads the files; what is not there is empty.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| {
            format!("cannot use the data folder {}: choose a writable one with --data", folder.display())
        })?;
        let ranks = read(&folder.join(RANKS))?.unwrap_or_default();
        let tenure = match read::<WrittenTenure>(&folder.join(TENURE))? {
            None => Tenure::default(),
            Some(WrittenTenure { number, boot, holder }) => {
                let boot = Boot::parse(&boot).with_context(|| format!("`{boot}` in {TENURE} is no boot"))?;
                Tenure { epoch: Epoch { number, boot }, holder }
            }
        };
        Ok(Self { folder: folder.to_owned(), stored: Stored { ranks, tenure } })
    }

    /// What is on disk.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Replaces what has changed. When this returns well, it is on disk.
    pub fn store(&mut self, new: Stored) -> anyhow::Result<()> {
        if new.ranks != self.stored.ranks {
            self.replace(RANKS, &new.ranks)?;
        }
        if new.tenure != self.stored.tenure {
            let Tenure { epoch: Epoch { number, boot }, holder } = new.tenure.clone();
            self.replace(TENURE, &WrittenTenure { number, boot: boot.to_string(), holder })?;
        }
        self.stored = new;
        Ok(())
    }

    /// Writes a new file, fsyncs it, puts it in the old one's place, and fsyncs the folder.
    fn replace(&self, name: &str, content: &impl Serialize) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        let new = self.folder.join(format!("{name}.new"));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(content)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().with_context(|| format!("cannot store {}", path.display()))
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> anyhow::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged: restore or remove it", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn name(text: &str) -> ServerName {
        ServerName::new(text).unwrap()
    }

    #[test]
    fn f05_ranks_and_the_epoch_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let epoch = Epoch { number: 7, boot: Boot(u64::MAX) };
        let mut stored = Stored {
            ranks: BTreeMap::from([(name("a"), 1)]),
            tenure: Tenure { epoch, holder: Some(name("server-3")) },
        };
        let mut files = Files::open(folder.path()).unwrap();
        files.store(stored.clone()).unwrap();
        assert_eq!(*Files::open(folder.path()).unwrap().stored(), stored);
        stored.tenure.holder = None;
        files.store(stored.clone()).unwrap();
        assert_eq!(*Files::open(folder.path()).unwrap().stored(), stored);
    }

    #[test]
    fn f05_a_file_of_ranks_alone_is_read_as_earlier_versions_wrote_it_and_written_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RANKS);
        std::fs::write(&path, br#"{"server-1": 1, "velho": 9}"#).unwrap();
        let mut files = Files::open(folder.path()).unwrap();
        let mut stored = Stored {
            ranks: BTreeMap::from([(name("server-1"), 1), (name("velho"), 9)]),
            ..Stored::default()
        };
        assert_eq!(*files.stored(), stored);
        stored.ranks.insert(name("novo"), 10);
        stored.tenure.epoch.number = 1;
        files.store(stored.clone()).unwrap();
        let written: BTreeMap<ServerName, u32> =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(written, stored.ranks);
    }

    #[test]
    fn a_damaged_file_is_named_not_overwritten() {
        for (file, damage) in
            [(RANKS, "{"), (TENURE, "{"), (TENURE, r#"{"number":1,"boot":"x","holder":null}"#)]
        {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(file), damage).unwrap();
            let error = format!("{:#}", Files::open(folder.path()).err().unwrap());
            assert!(error.contains(file), "{error}");
        }
    }
}
