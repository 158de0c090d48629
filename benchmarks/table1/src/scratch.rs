//! The folder of unfinished runs, and of finished runs that other runs start from.

use std::fs;
use std::path::{Path, PathBuf};

use parareal_run::{Line, names};

use crate::Result;
use crate::record::Results;
use crate::row::Row;

/// The folder of unfinished runs, and of finished runs that other runs start from.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    pub(crate) folder: PathBuf,
}

impl Scratch {
    /// Returns the folder of a run. The name depends on all arguments, so that no run is resumed with other
    /// settings.
    pub(crate) fn run(&self, row: &Row, seed: u64, epochs: usize) -> PathBuf {
        let mut arguments = row.arguments(seed, epochs);
        arguments.extend(row.source_arguments(seed).into_iter().flatten());
        let sum = fnv(&arguments.join(" "));
        self.folder.join(format!("{}-seed{seed}-{sum:08x}", row.id))
    }

    /// Returns the file for the messages of a run.
    pub(crate) fn log(&self, row: &Row, seed: u64, epochs: usize) -> PathBuf {
        // Identifiers of rows may contain a dot.
        self.run(row, seed, epochs).with_added_extension("log")
    }

    /// Returns the file for the conditions of a run.
    pub(crate) fn conditions(&self, row: &Row, seed: u64, epochs: usize) -> PathBuf {
        self.run(row, seed, epochs).with_added_extension("conditions")
    }

    /// Returns the folder of the run that provides the initial weights; `None` if there is none.
    pub(crate) fn source(&self, row: &Row, seed: u64) -> Option<PathBuf> {
        let source = row.source.as_ref()?;
        Some(self.run(&source.row, seed, source.epochs))
    }

    /// Deletes the folders of finished runs, except those that unfinished runs start from.
    ///
    /// # Errors
    /// If a folder cannot be deleted.
    pub(crate) fn tidy(&self, rows: &[Row], results: &Results) -> Result<()> {
        for row in rows {
            let Some(epochs) = results.epochs(row) else { continue };
            for record in results.of(row) {
                let seed = record.seed;
                let is_pending = |other: &&Row| {
                    other.seeds.contains(&seed) && results.get(other, seed).is_none()
                };
                let starts_from_it = |other: &Row| {
                    other.source.as_ref().is_some_and(|source| source.row.id == row.id)
                };
                if rows.iter().filter(is_pending).any(starts_from_it) {
                    continue;
                }
                let folder = self.run(row, seed, epochs);
                if folder.exists() {
                    fs::remove_dir_all(folder)?;
                }
                for file in [self.log(row, seed, epochs), self.conditions(row, seed, epochs)] {
                    if file.exists() {
                        fs::remove_file(file)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns true if a run can be resumed, because it has a checkpoint.
pub(crate) fn has_checkpoint(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder.join(names::CHECKPOINTS)) else { return false };
    let found = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    found.into_iter().any(|name| names::step_of_checkpoint(&name).is_some())
}

/// Returns true if another run can start from a run, because it is complete and has its checkpoint.
pub(crate) fn is_complete(folder: &Path) -> bool {
    let Ok(text) = fs::read_to_string(folder.join(names::METRICS)) else { return false };
    let last = text.lines().last().map(serde_json::from_str);
    matches!(last, Some(Ok(Line::End(_)))) && has_checkpoint(folder)
}

/// Returns the 32-bit FNV-1a hash of a text.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::record::tests::{record, row};
    use crate::study;

    #[test]
    fn folders_of_runs_differ_with_their_settings() {
        let scratch = Scratch { folder: "scratch".into() };
        let rows = study::small(true).unwrap();
        let of = |epochs| scratch.run(&rows[0], 1, epochs);
        assert_ne!(of(1), of(2));
        assert_eq!(of(1), of(1));
        let rates = study::rates(true).unwrap();
        let logs: BTreeSet<_> = rates.iter().map(|row| scratch.log(row, 1, 2)).collect();
        assert_eq!(logs.len(), rates.len());
        // Published test vectors.
        assert_eq!([fnv(""), fnv("a"), fnv("foobar")], [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]);
    }

    #[test]
    fn the_folder_of_a_run_depends_on_the_settings_of_its_source() {
        let scratch = Scratch { folder: "scratch".into() };
        let run = row("initialization-distilled");
        let source = scratch.source(&run, 1).unwrap();
        assert_eq!(source, scratch.run(&row("initialization-serial-29"), 1, 6));
        let mut other = run.clone();
        other.source.as_mut().unwrap().epochs += 1;
        assert_ne!(scratch.run(&run, 1, 6), scratch.run(&other, 1, 6));
        assert_eq!(scratch.source(&row("initialization-scratch"), 1), None);
    }

    #[test]
    fn only_a_folder_with_a_checkpoint_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_checkpoint(folder.path()));
        fs::create_dir_all(folder.path().join("checkpoints/step-00000004.damaged")).unwrap();
        assert!(!has_checkpoint(folder.path()));
        fs::create_dir(folder.path().join("checkpoints/step-00000004")).unwrap();
        assert!(has_checkpoint(folder.path()));
    }

    #[test]
    fn a_finished_run_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("checkpoints/step-00000004")).unwrap();
        let metrics = folder.path().join(names::METRICS);
        let end = serde_json::to_string(&Line::End(Default::default())).unwrap();
        for (text, expected) in [
            (end.clone(), true),
            (format!("{end}\n{{\"event\":\"interrupted\",\"step\":4}}\n"), false),
        ] {
            fs::write(&metrics, text).unwrap();
            assert_eq!(is_complete(folder.path()), expected);
        }
        fs::write(&metrics, end).unwrap();
        fs::remove_dir_all(folder.path().join(names::CHECKPOINTS)).unwrap();
        assert!(!is_complete(folder.path()));
    }

    #[test]
    fn a_source_stays_until_the_last_run_from_it_has_finished() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch { folder: folder.path().join("scratch") };
        let rows = study::initialization(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let source = scratch.run(&row("initialization-serial-20"), 1, 6);
        let log = scratch.log(&row("initialization-serial-20"), 1, 6);
        fs::create_dir_all(&source).unwrap();
        fs::write(&log, "").unwrap();
        results.add(record(&row("initialization-serial-20"), 1, 6, 0.4, 60.0)).unwrap();
        let starting: Vec<_> = rows
            .iter()
            .filter(|row| {
                row.source.as_ref().is_some_and(|s| s.row.id == "initialization-serial-20")
            })
            .collect();
        assert_eq!(starting.len(), 2);
        for row in starting {
            scratch.tidy(&rows, &results).unwrap();
            assert!(source.exists() && log.exists());
            results.add(record(row, 1, 6, 0.4, 60.0)).unwrap();
        }
        scratch.tidy(&rows, &results).unwrap();
        assert!(!source.exists() && !log.exists());
    }
}
