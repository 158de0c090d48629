//! The data and the best step of a run, as recorded by its checkpoints. The page does not require either, so
//! missing and damaged files are ignored.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use parareal_run::names::{self, BEST, CHECKPOINTS, MANIFEST};
use parareal_run::{Best, Manifest};
use serde::de::DeserializeOwned;
use toml::Table;

/// Largest number of bytes that is read from a file. A manifest has a few hundred bytes for each subnetwork.
const LONGEST: u64 = 1 << 26;

/// Returns the description of the data in the newest checkpoint with a readable manifest.
pub(crate) fn data(run: &Path) -> Option<Table> {
    let folder = run.join(CHECKPOINTS);
    let entries = fs::read_dir(&folder).ok()?;
    let step = |name: &str| names::step_of_checkpoint(name);
    let mut steps: Vec<usize> =
        entries.filter_map(|entry| step(entry.ok()?.file_name().to_str()?)).collect();
    steps.sort_unstable();
    let manifest =
        |&step: &usize| read::<Manifest>(&folder.join(names::checkpoint(step)).join(MANIFEST));
    steps.iter().rev().find_map(manifest).map(|manifest| manifest.data)
}

/// Returns the recorded best checkpoint.
pub(crate) fn best(run: &Path) -> Option<Best> {
    read(&run.join(CHECKPOINTS).join(BEST))
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_readable_manifest_counts() {
        let run = tempfile::tempdir().unwrap();
        assert!(data(run.path()).is_none() && best(run.path()).is_none());
        let folder = run.path().join(CHECKPOINTS);
        for step in [5, 10, 15] {
            let manifest = serde_json::json!({
                "format_version": 5, "step": step, "epoch": 1, "epoch_steps": step,
                "epoch_tally": {"images": 30, "loss": 1.5}, "epoch_seconds": 1.0,
                "metrics_bytes": 10, "configuration": {}, "data": {"first-batch": step.to_string()},
                "files": [],
            });
            let checkpoint = folder.join(names::checkpoint(step));
            fs::create_dir_all(&checkpoint).unwrap();
            let text = manifest.to_string();
            let length = if step == 15 { text.len() / 2 } else { text.len() };
            fs::write(checkpoint.join(MANIFEST), &text[..length]).unwrap();
        }
        fs::create_dir(folder.join("step-00000020.damaged")).unwrap();
        assert_eq!(data(run.path()).unwrap()["first-batch"].as_str(), Some("10"));
        fs::write(folder.join(BEST), r#"{"step":5,"value":0.5,"metric":"loss"}"#).unwrap();
        assert_eq!(best(run.path()).unwrap().step, 5);
    }
}
