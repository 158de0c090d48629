//! The machine on which runs are trained.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use parareal_data::{DatasetName, inspect};

use crate::Result;
use crate::arguments::Arguments;
use crate::conditions::Conditions;
use crate::process::output;
use crate::row::Row;
use crate::scratch::Scratch;

/// The machine on which runs are trained.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Path of the program.
    pub(crate) parareal: PathBuf,
    /// Folder of the data sets, if one of them needs it.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) scratch: Scratch,
    /// Further arguments of `parareal train`, which do not affect the result: device, workers and threads.
    pub(crate) arguments: Vec<String>,
    pub(crate) conditions: Conditions,
}

impl Machine {
    /// Returns this machine, after checking the data sets of some rows. `here` is the folder of this package.
    ///
    /// # Errors
    /// If the program is missing, a data set cannot be read, or its numbers of images are not those of a row.
    pub(crate) fn new(
        arguments: &Arguments,
        rows: &[Row],
        scratch: PathBuf,
        here: &Path,
    ) -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| here.join("../../target"));
        let program =
            target.join("release").join(format!("parareal{}", std::env::consts::EXE_SUFFIX));
        let parareal = arguments.parareal.clone().unwrap_or(program);
        if !parareal.exists() {
            let path = parareal.display();
            return Err(format!("{path} not found; build it with cargo build --release").into());
        }
        check_images(arguments.data_dir.as_deref(), rows)?;
        let needs_files = rows.iter().any(|row| row.dataset != DatasetName::Shapes);
        let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        });
        let root = here.join("../..").display().to_string();
        let of_tree = || {
            output(
                "git",
                &["-C", &root, "describe", "--always", "--dirty", "--abbrev=8", "--exclude=*"],
            )
        };
        let commit = arguments.commit.clone().or_else(of_tree);
        Ok(Self {
            parareal,
            data_dir: arguments.data_dir.clone().filter(|_| needs_files),
            scratch: Scratch { folder: scratch },
            arguments: arguments.machine_arguments(),
            conditions: Conditions {
                runs_at_a_time: arguments.jobs(),
                shared_machine: arguments.shared,
                cpu: cpu.unwrap_or_else(|| "an unknown processor".into()),
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                commit: commit.unwrap_or_else(|| "unknown".into()),
            },
        })
    }

    /// Locks the folder of unfinished runs, which only one process at a time may use, until the file is dropped, and
    /// copies the program there, so that a build during the runs does not affect them.
    ///
    /// # Errors
    /// If another process uses the folder, or a file cannot be written.
    pub(crate) fn prepared(mut self) -> Result<(Self, File)> {
        let folder = &self.scratch.folder;
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let lock = File::create(folder.join(".lock"))?;
        // Some file systems do not support locks; then the folder is not locked.
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(format!(
                "another table1 process is using {}; wait for it, or stop it",
                folder.display()
            )
            .into());
        }
        let copied = folder.join("parareal");
        let is_copied = fs::canonicalize(&copied).ok() == fs::canonicalize(&self.parareal).ok();
        if !is_copied {
            // A run of an earlier process may still use the old copy, which cannot be written to then.
            let beside = copied.with_extension("new");
            fs::copy(&self.parareal, &beside).and_then(|_| fs::rename(&beside, &copied)).map_err(
                |error| {
                    format!("copying {} to {}: {error}", self.parareal.display(), copied.display())
                },
            )?;
        }
        self.parareal = copied;
        Ok((self, lock))
    }
}

/// Checks that the data sets of some rows have the numbers of images that the rows require.
///
/// # Errors
/// If a data set cannot be read, or has other numbers of images.
fn check_images(data_dir: Option<&Path>, rows: &[Row]) -> Result<()> {
    let mut checked = Vec::new();
    for row in rows {
        let Some(expected) = row.images else { continue };
        if checked.contains(&row.dataset) {
            continue;
        }
        if row.dataset != DatasetName::Shapes && data_dir.is_none() {
            return Err("give the folder of the data sets with --data-dir".into());
        }
        let found = inspect(row.dataset, data_dir)?;
        let found = [found.train.images, found.test.map_or(0, |test| test.images)];
        if found != expected {
            return Err(format!(
                "{} has {} training and {} test images, but the results are of {} and {}: they would not be comparable",
                row.dataset, found[0], found[1], expected[0], expected[1]
            )
            .into());
        }
        checked.push(row.dataset);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::REHEARSED_IMAGES;
    use crate::study;

    fn built_in(rehearse: bool) -> Vec<Row> {
        let mut rows = study::rates(rehearse).unwrap();
        rows.retain(|row| row.dataset == DatasetName::Shapes);
        rows
    }

    #[test]
    fn the_built_in_images_are_counted_except_in_a_rehearsal() {
        for (rehearse, expected) in [(false, [6_000, 1_000]), (true, REHEARSED_IMAGES)] {
            let rows = built_in(rehearse);
            check_images(None, &rows).unwrap();
            assert!(rows.iter().all(|row| row.used_images() == expected));
        }
    }

    #[test]
    fn other_images_than_those_of_the_results_are_refused() {
        let mut rows = built_in(false);
        rows[0].images = Some([50_000, 10_000]);
        let error = check_images(None, &rows).unwrap_err().to_string();
        assert_eq!(
            error,
            "shapes has 6000 training and 1000 test images, but the results are of 50000 and 10000: they would not be \
             comparable"
        );
        rows[0].dataset = DatasetName::Mnist;
        let error = check_images(None, &rows).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }
}
