//! Runs in the data of the page, and their names.

use std::path::{Component, Path, PathBuf};

use parareal_run::EndRecord;
use serde::Serialize;

use crate::ReportError;
use crate::checkpoints;
use crate::downsample::{MAX_POINTS, Steps, downsample};
use crate::evaluation::Evaluation;
use crate::metrics::{Epoch, Metrics};
use crate::settings::{self, Data, Settings};
use crate::summary::{Best, Summary};

/// Data of a run for the page.
#[derive(Serialize)]
pub(crate) struct Run {
    pub(crate) name: String,
    path: String,
    steps: Steps,
    epochs: Vec<Epoch>,
    end: Option<EndRecord>,
    evaluation: Option<Evaluation>,
    images: Data,
    /// True if the run classifies images.
    of_images: bool,
    /// Number of subnetworks, if the settings determine it.
    subnetworks: Option<usize>,
    summary: Summary,
}

impl Run {
    /// Reads the folder of a run. Returns its data for the page, and its settings.
    pub(crate) fn read(folder: &Path, name: String) -> Result<(Self, Settings), ReportError> {
        let settings = settings::read(folder)?;
        let Metrics { steps, epochs, end, early_end } = Metrics::read(folder)?;
        let epoch_end = epochs.last().and_then(|epoch| epoch.step);
        let last_step = steps.last().map(|step| step.step);
        let evaluation = Evaluation::read(folder, epoch_end, last_step)?;
        let planned = settings::epochs(&settings);
        let recorded = checkpoints::best(folder);
        let best = Best::of(&epochs, settings::objective(&settings), recorded.as_ref());
        let of_images = settings::of_images(&settings);
        let data = match of_images {
            true => Data::of_images(&settings, evaluation.as_ref().map(Evaluation::images)),
            false => Data::of_table(checkpoints::data(folder).as_ref()),
        };
        let run = Self {
            name,
            path: folder.display().to_string(),
            steps: downsample(&steps, MAX_POINTS),
            summary: Summary::new(&epochs, best, planned, end.as_ref(), early_end),
            epochs,
            end,
            images: data,
            of_images,
            subnetworks: settings::subnetworks(&settings),
            evaluation,
        };
        Ok((run, settings))
    }
}

/// Returns names for the runs in these folders. Each name consists of the last components of the path, as
/// many as are needed to distinguish the runs.
pub(crate) fn names(folders: &[&Path]) -> Result<Vec<String>, ReportError> {
    let mut whole: Vec<PathBuf> = Vec::new();
    for folder in folders {
        // A missing folder also gets a name. The error is reported when the folder is read.
        let path = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        if whole.contains(&path) {
            return Err(ReportError::Twice { path: folder.to_path_buf() });
        }
        whole.push(path);
    }
    let name = |path: &Path| {
        let parts: Vec<_> = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let last = |count: usize| parts[parts.len().saturating_sub(count)..].join("/");
        let same = |count: usize| {
            let ends = |other: &&PathBuf| other.ends_with(last(count)) && other.as_path() != path;
            whole.iter().any(|other| ends(&other))
        };
        (1..parts.len()).find(|&count| !same(count)).map_or_else(|| last(parts.len()), last)
    };
    Ok(whole.iter().map(|path| name(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> Vec<String> {
        names(&paths.iter().map(Path::new).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn names_are_as_short_as_possible() {
        assert_eq!(of(&["runs/a", "runs/b"]), ["a", "b"]);
        assert_eq!(of(&["one/a", "two/a", "two/b"]), ["one/a", "two/a", "b"]);
        assert_eq!(of(&["a", "runs/a"]), ["a", "runs/a"]);
        assert_eq!(of(&["runs/a/", "/"]), ["a", ""]);
    }

    #[test]
    fn a_folder_given_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let again = folder.path().join(".");
        let error = names(&[folder.path(), &again]).unwrap_err();
        assert!(error.to_string().contains("is given twice; name each run once"), "{error}");
    }
}
