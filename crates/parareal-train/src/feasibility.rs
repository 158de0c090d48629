//! Checks that a configuration can run here: with these processes, cores and samples.

use crate::{ExecutorKind, ProcessGroup, RunConfig, TrainError};

/// More threads of a worker for each core are a mistake: they wait for each other.
const MOST_THREADS_PER_CORE: usize = 4;

/// Checks that a worker does not have many more threads than there are cores: its steps would take
/// hundreds of times longer.
///
/// # Errors
/// Where it has.
pub fn check_threads(threads: usize, cores: usize) -> Result<(), TrainError> {
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

impl RunConfig {
    /// Checks that the processes were started for this configuration.
    ///
    /// # Errors
    /// Where they were started for something else.
    pub fn check_group(&self, group: &ProcessGroup) -> Result<(), TrainError> {
        let processes = group.size();
        match (self.executor, group.is_ranks()) {
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

    /// Checks that each replica has a sample of every batch.
    ///
    /// # Errors
    /// Where it has not.
    pub fn check_replicas(&self, samples: usize) -> Result<(), TrainError> {
        let smallest = match samples % self.batch_size {
            0 => self.batch_size,
            rest => rest,
        };
        if smallest < self.replicas {
            let expected = format!(
                "the last batch of an epoch has {smallest} of the {samples} training samples, which is \
                 not one for each: set another `batch-size`, or another number of samples"
            );
            return Err(TrainError::setting("replicas", self.replicas, expected));
        }
        Ok(())
    }

    /// Returns notes on settings that are possible and seldom meant.
    pub(crate) fn remarks(&self, group: &ProcessGroup, samples: usize) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.batch_size > samples {
            remarks.push(format!(
                "batch-size {} is more than the {samples} training samples: an epoch is one step, \
                 which takes memory for all of them at once",
                self.batch_size
            ));
        }
        let workers = match self.executor {
            ExecutorKind::Mpi => self.workers,
            ExecutorKind::Threads | ExecutorKind::Sequential => self.workers * self.replicas,
        };
        let (threads, cores) = (workers * self.threads, group.resources().cores);
        if threads > cores {
            remarks.push(format!(
                "{threads} threads (workers {workers}, threads of each {}) share {cores} cores",
                self.threads
            ));
        }
        remarks
    }
}
