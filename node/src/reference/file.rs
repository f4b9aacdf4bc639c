//! The ranks on disk (row F05): one small JSON file, replaced whole and fsynced.

use anyhow::Context;
use papo_protocol::ServerName;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The seeds' own name for it (S3:690).
const FILE_NAME: &str = "reference_data.json";

/// The file and what it holds.
pub struct RankFile {
    folder: PathBuf,
    stored: BTreeMap<ServerName, u32>,
}

impl RankFile {
    /// Reads the file, or starts empty.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| {
            format!("cannot use the data folder {}: choose a writable one with --data", folder.display())
        })?;
        let path = folder.join(FILE_NAME);
        let stored = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} holds no ranks: restore or remove it", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { folder: folder.to_owned(), stored })
    }

    /// What is on disk.
    pub fn ranks(&self) -> &BTreeMap<ServerName, u32> {
        &self.stored
    }

    /// Writes a new file, fsyncs it, puts it in the old one's place, and fsyncs the folder.
    pub fn store_if_changed(&mut self, ranks: &BTreeMap<ServerName, u32>) -> anyhow::Result<()> {
        if *ranks == self.stored {
            return Ok(());
        }
        let path = self.folder.join(FILE_NAME);
        let new = self.folder.join(format!("{FILE_NAME}.new"));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(ranks)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().with_context(|| format!("cannot store the ranks in {}", path.display()))?;
        self.stored = ranks.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f05_ranks_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let ranks = BTreeMap::from([(ServerName::new("a").unwrap(), 1)]);
        RankFile::open(folder.path()).unwrap().store_if_changed(&ranks).unwrap();
        assert_eq!(*RankFile::open(folder.path()).unwrap().ranks(), ranks);
    }

    #[test]
    fn a_damaged_file_is_named_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), b"{").unwrap();
        let error = RankFile::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains(FILE_NAME) && error.contains("restore or remove"), "{error}");
    }
}
