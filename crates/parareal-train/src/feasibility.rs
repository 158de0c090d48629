//! Whether a configuration can be run here: with these processes, cores and images.

use crate::config::Config;
use crate::{ExecutorKind, Team, TrainError};

/// More threads of a worker for each core are a mistake: they wait for each other.
const MOST_THREADS_PER_CORE: usize = 4;

/// Refuses many more threads of a worker than there are cores: their steps take hundreds of times
/// longer.
pub(crate) fn check_threads(threads: usize, cores: usize) -> Result<(), TrainError> {
    let most = MOST_THREADS_PER_CORE * cores;
    if threads > most {
        let expected = format!(
            "each worker would have more than {MOST_THREADS_PER_CORE} threads for each of the {cores} \
             cores here: set at most {most}"
        );
        return Err(TrainError::setting("threads", threads, expected));
    }
    Ok(())
}

impl Config {
    /// Refuses processes that were started for something else than this configuration.
    pub(crate) fn check_team(&self, team: &Team) -> Result<(), TrainError> {
        if self.needs_balance() {
            let expected = "the cuts were not found yet: balance the configuration first";
            return Err(TrainError::setting("cuts", "balanced", expected));
        }
        let processes = team.size();
        match (self.run.executor, team.is_ranks()) {
            (ExecutorKind::Mpi, false) if cfg!(feature = "mpi") => {
                Err(TrainError::ranks("the executor mpi runs on ranks: join MPI first"))
            }
            #[cfg(not(feature = "mpi"))]
            (ExecutorKind::Mpi, _) => Err(TrainError::WithoutMpi),
            (executor, true) if executor != ExecutorKind::Mpi && processes > 1 => {
                let expected = format!(
                    "{processes} processes were started together: set it to mpi, or start one"
                );
                Err(TrainError::setting("executor", executor, expected))
            }
            _ => Ok(()),
        }
    }

    /// Refuses replicas for which there is no image in some batch.
    pub(crate) fn check_replicas(&self, images: usize) -> Result<(), TrainError> {
        let smallest = match images % self.run.batch_size {
            0 => self.run.batch_size,
            rest => rest,
        };
        if smallest < self.run.replicas {
            let expected = format!(
                "the last batch of an epoch has {smallest} of the {images} images, which is not \
                 one for each: set another `batch-size` or `limit-train`"
            );
            return Err(TrainError::setting("replicas", self.run.replicas, expected));
        }
        Ok(())
    }

    /// Notes on settings that are possible and seldom meant.
    pub(crate) fn remarks(&self, team: &Team, images: usize) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.run.batch_size > images {
            remarks.push(format!(
                "batch-size {} is more than the {images} training images: an epoch is one step, \
                 which takes memory for all of them at once",
                self.run.batch_size
            ));
        }
        let workers = match self.run.executor {
            ExecutorKind::Mpi => self.run.workers,
            ExecutorKind::Threads | ExecutorKind::Sequential => {
                self.run.workers * self.run.replicas
            }
        };
        let (threads, cores) = (workers * self.run.threads, team.place().cores);
        if threads > cores {
            remarks.push(format!(
                "{threads} threads (workers {workers}, threads of each {}) share {cores} cores",
                self.run.threads
            ));
        }
        remarks
    }
}
