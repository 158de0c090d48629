//! Names of the files and folders of a run.

/// File with the complete configuration.
pub const CONFIG: &str = "config.toml";
/// File with one JSON object per line for the distillation, each step, each epoch and the end.
pub const METRICS: &str = "metrics.jsonl";
/// Folder with one folder per checkpoint.
pub const CHECKPOINTS: &str = "checkpoints";
/// Folder with one file per evaluation.
pub const EVALUATIONS: &str = "evaluations";
/// File with the only evaluation in runs of earlier versions.
pub const OLD_EVALUATION: &str = "evaluation.json";
/// Description of a checkpoint.
pub const MANIFEST: &str = "manifest.json";
/// SHA-256 of [`MANIFEST`], in the format of `sha256sum --check`.
pub const MANIFEST_SUM: &str = "manifest.sha256";
/// File in [`CHECKPOINTS`] that names the best checkpoint.
pub const BEST: &str = "best.json";

/// Returns the name of the checkpoint after a step.
#[must_use]
pub fn checkpoint(step: usize) -> String {
    format!("step-{step:08}")
}

/// Returns the step of the checkpoint with this name; `None` for any other name.
#[must_use]
pub fn step_of_checkpoint(name: &str) -> Option<usize> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (name == checkpoint(step)).then_some(step)
}

/// Returns the name of the file with the evaluation after a step.
#[must_use]
pub fn evaluation(step: usize) -> String {
    format!("{}.json", checkpoint(step))
}

/// Returns the step of the evaluation with this file name; `None` for any other name.
#[must_use]
pub fn step_of_evaluation(name: &str) -> Option<usize> {
    step_of_checkpoint(name.strip_suffix(".json")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contain_their_steps() {
        assert_eq!(checkpoint(12), "step-00000012");
        assert_eq!(step_of_checkpoint("step-00000012"), Some(12));
        assert_eq!(step_of_checkpoint("step-123456789"), Some(123_456_789));
        for other in ["step-12", "step-00000012.damaged", ".step-00000012", "best.json"] {
            assert_eq!(step_of_checkpoint(other), None);
        }
        assert_eq!(step_of_evaluation(&evaluation(7)), Some(7));
        assert_eq!(step_of_evaluation("step-00000007"), None);
    }
}
