//! Advice for errors of training.

use parareal_train::{Launcher, TrainError};

use super::vision::of_vision;

/// Returns advice on an error; `None` if the error suffices.
pub(crate) fn of_train(error: &TrainError) -> Option<String> {
    let advice = match error {
        TrainError::Agreed { error, .. } => return of_train(error),
        TrainError::Task { error, .. } => return error.downcast_ref().and_then(of_vision),
        TrainError::OutputNotEmpty { .. } => "choose another folder with --output",
        TrainError::FileExists { .. } => "choose another file, or pass --overwrite",
        TrainError::SmallBatch { .. } => {
            "try another --batch-size, or another number of images with --limit-train"
        }
        TrainError::SilentRank { .. } => {
            "all ranks end, and --resume continues from the latest checkpoint"
        }
        TrainError::OtherLauncher { launcher: Launcher::Slurm, .. } => {
            "for independent runs, set --executor threads or sequential"
        }
        TrainError::NotShared { .. } => "choose one with --output",
        TrainError::WithoutMpi => {
            "build it with `cargo build --release --features mpi`, which requires Open MPI or MPICH and \
             libclang"
        }
        _ => return None,
    };
    Some(advice.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::message;

    #[test]
    fn advice_ends_the_line_of_the_error() {
        for (error, line) in [
            (
                TrainError::FileExists { path: "page.html".into() },
                "page.html already exists; choose another file, or pass --overwrite",
            ),
            (
                TrainError::OutputNotEmpty { path: "run".into() },
                "run is not an empty folder; choose another folder with --output",
            ),
            (TrainError::setting("seed", 1, "no advice"), "invalid value `1` for seed: no advice"),
        ] {
            assert_eq!(message(&error.into()), line);
        }
    }
}
