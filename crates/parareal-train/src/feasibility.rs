//! Checks that a configuration can run here: with these processes, cores and samples.

use parareal_kernels::InvalidVariable;

use crate::device::transfer_note;
use crate::{ExecutorKind, ProcessGroup, RunConfig, TrainError};

/// Largest number of threads per core for a worker. Additional threads would only wait for each other.
const MAX_THREADS_PER_CORE: usize = 4;

/// Checks that a worker does not have far more threads than there are cores. Otherwise its steps would take
/// hundreds of times longer.
///
/// # Errors
/// If the worker has too many threads.
pub fn check_threads(threads: usize, cores: usize) -> Result<(), TrainError> {
    let most = MAX_THREADS_PER_CORE * cores;
    if threads > most {
        let expected = format!(
            "expected at most {most}, {MAX_THREADS_PER_CORE} for each of the {cores} cores here"
        );
        return Err(TrainError::setting("threads", threads, expected));
    }
    Ok(())
}

/// Checks the environment variables `PARAREAL_SIMD` and `PARAREAL_KERNELS`.
///
/// # Errors
/// If a value is unknown, or names vector instructions that this machine does not have.
pub fn check_environment() -> Result<(), TrainError> {
    parareal_kernels::check_environment().map_err(|error| {
        let InvalidVariable { variable, value, expected } = error;
        TrainError::setting(variable, value, format!("expected {expected}"))
    })
}

impl RunConfig {
    /// Checks that these processes can train with this configuration on this many samples.
    ///
    /// # Errors
    /// If a setting or an environment variable ([`check_environment`]) has an invalid value ([`TrainError::Setting`]),
    /// or [`Self::check_group`] or [`Self::check_devices`] fails.
    pub fn check(&self, group: &ProcessGroup, samples: usize) -> Result<(), TrainError> {
        check_environment()?;
        let counts = [
            ("epochs", self.epochs),
            ("batch-size", self.batch_size),
            ("replicas", self.replicas),
            ("accumulate", self.accumulate),
            ("number of devices", self.devices.len()),
            ("workers", self.workers),
            ("threads", self.threads),
            ("keep-checkpoints", self.keep_checkpoints),
            ("number of training samples", samples),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(TrainError::setting(name, 0, "expected at least 1"));
        }
        self.learning_rate.check()?;
        self.check_group(group)?;
        self.check_devices(group)?;
        self.check_replicas(samples)
    }

    /// Checks that the processes match the executor of this configuration.
    ///
    /// # Errors
    /// If the executor is `mpi` but this process is not a rank of an MPI program, or several ranks were started
    /// for another executor.
    pub fn check_group(&self, group: &ProcessGroup) -> Result<(), TrainError> {
        let processes = group.size();
        match (self.executor, group.is_ranks()) {
            (ExecutorKind::Mpi, false) if cfg!(feature = "mpi") => Err(TrainError::ranks(
                "the executor mpi runs on the ranks of an MPI program; join MPI first",
            )),
            #[cfg(not(feature = "mpi"))]
            (ExecutorKind::Mpi, _) => Err(TrainError::WithoutMpi),
            (executor, true) if executor != ExecutorKind::Mpi && processes > 1 => {
                let expected = format!(
                    "expected mpi, because {processes} processes were started together; or start only one process"
                );
                Err(TrainError::setting("executor", executor, expected))
            }
            _ => Ok(()),
        }
    }

    /// Checks that each micro-batch of each replica gets at least one sample of every batch.
    ///
    /// # Errors
    /// If the smallest batch has fewer samples than there are micro-batches.
    fn check_replicas(&self, samples: usize) -> Result<(), TrainError> {
        let smallest = match samples % self.batch_size {
            0 => self.batch_size,
            rest => rest,
        };
        let Self { replicas, accumulate, .. } = *self;
        if smallest < replicas.saturating_mul(accumulate) {
            return Err(TrainError::SmallBatch { replicas, accumulate, smallest, samples });
        }
        Ok(())
    }

    /// Returns notes on settings that are valid but rarely intended.
    pub(crate) fn remarks(&self, group: &ProcessGroup, samples: usize) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.batch_size > samples {
            remarks.push(format!(
                "batch-size {} is larger than the number of training samples, {samples}: an epoch \
                 is one step, which needs memory for all samples at once",
                self.batch_size
            ));
        }
        if self.sync_batch_norm && self.replicas == 1 {
            remarks.push("sync-batch-norm changes nothing: there is only one replica".into());
        }
        if self.executor == ExecutorKind::Threads {
            remarks.extend(transfer_note(&self.devices));
        }
        let workers = match self.executor {
            ExecutorKind::Mpi => self.workers,
            ExecutorKind::Threads | ExecutorKind::Sequential => self.workers * self.replicas,
        };
        let (threads, cores) = (workers * self.threads, group.resources().cores);
        if threads > cores {
            remarks.push(format!(
                "{threads} threads (workers: {workers}, threads per worker: {}) share {cores} \
                 cores",
                self.threads
            ));
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CheckpointEvery, LinkDtype, Objective, Schedule};

    #[test]
    fn nothing_trains_without_samples_devices_or_a_batch() {
        let config = RunConfig {
            epochs: 1,
            batch_size: 4,
            learning_rate: Schedule::cosine(0.1),
            clip_norm: None,
            ema_decay: None,
            seed: 0,
            executor: ExecutorKind::Threads,
            replicas: 2,
            accumulate: 1,
            sync_batch_norm: false,
            launch_graphs: false,
            link_dtype: LinkDtype::F32,
            devices: vec!["cpu".parse().unwrap()],
            workers: 1,
            threads: 1,
            recompute: None,
            objective: Objective::error(),
            patience: None,
            checkpoint_every: CheckpointEvery::Epoch,
            keep_checkpoints: 1,
        };
        let check = |config: &RunConfig, samples| {
            let checked = config.check(&ProcessGroup::alone(), samples);
            checked.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check(&config, 8), "");
        assert_eq!(
            check(&config, 0),
            "invalid value `0` for number of training samples: expected at least 1"
        );
        let without_batch = RunConfig { batch_size: 0, ..config.clone() };
        assert_eq!(
            check(&without_batch, 8),
            "invalid value `0` for batch-size: expected at least 1"
        );
        let without_device = RunConfig { devices: Vec::new(), ..config.clone() };
        assert_eq!(
            check(&without_device, 8),
            "invalid value `0` for number of devices: expected at least 1"
        );
        assert!(check(&config, 9).contains("the last batch of an epoch has 1 of the 9"));
    }
}
