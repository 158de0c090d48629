//! Values that settings cannot have.

use parareal_kernels::Sgd;

use crate::config::Config;
use crate::network::cuts_text;
use crate::{ExecutorKind, ProcessGroup, RunConfig, TrainError};

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
    /// Refuses the first setting with a value that it cannot have.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let count = "a whole number of at least 1 is expected";
        if self.run.epochs == 0 {
            return Err(TrainError::setting("epochs", "0", count));
        }
        if self.run.batch_size == 0 {
            return Err(TrainError::setting("batch-size", "0", count));
        }
        if self.run.patience == Some(0) {
            return Err(TrainError::setting("patience", "0", count));
        }
        if !(0.0..=0.5).contains(&self.validation) {
            let expected = "a share from 0 to 0.5 is expected, say 0.1";
            return Err(TrainError::setting("validation", self.validation, expected));
        }
        if self.run.keep_checkpoints == 0 {
            return Err(TrainError::setting("keep-checkpoints", "0", count));
        }
        if self.load.limit_train == Some(0) {
            return Err(TrainError::setting("limit-train", "0", count));
        }
        let rate = self.run.learning_rate.base;
        if !rate.is_finite() || rate <= 0.0 {
            return Err(TrainError::setting(
                "learning-rate",
                rate,
                "a positive number is expected, say 0.1",
            ));
        }
        let Sgd { momentum, weight_decay, nesterov } = self.sgd;
        if !(0.0..1.0).contains(&momentum) {
            let expected = "a number from 0 to below 1 is expected, say 0.9";
            return Err(TrainError::setting("momentum", momentum, expected));
        }
        if nesterov && momentum == 0.0 {
            let expected = "it looks ahead along the momentum, which is 0: set --momentum, say 0.9";
            return Err(TrainError::setting("nesterov", "set", expected));
        }
        if !weight_decay.is_finite() || weight_decay < 0.0 {
            let expected = "a number of at least 0 is expected, say 0.0005";
            return Err(TrainError::setting("weight-decay", weight_decay, expected));
        }
        let warmup = self.run.learning_rate.warmup_epochs;
        if !(0.0..self.run.epochs as f64).contains(&warmup) {
            let expected =
                format!("a number from 0 to below the {} epochs of the run", self.run.epochs);
            return Err(TrainError::setting("warmup-epochs", warmup, expected));
        }
        let smoothing = self.loss.label_smoothing;
        if !(0.0..1.0).contains(&smoothing) {
            let expected = "a number from 0 to below 1 is expected, say 0.1";
            return Err(TrainError::setting("label-smoothing", smoothing, expected));
        }
        if let Some(norm) = self.run.clip_norm.filter(|norm| !norm.is_finite() || *norm <= 0.0) {
            let expected = "a positive number is expected, say 1.0; leave it out for none";
            return Err(TrainError::setting("clip-norm", norm, expected));
        }
        if let Some(decay) = self.run.ema_decay.filter(|decay| !(0.0..1.0).contains(decay)) {
            let expected =
                "a number from 0 to below 1 is expected, say 0.999; leave it out for none";
            return Err(TrainError::setting("ema-decay", decay, expected));
        }
        for (name, path) in [("data-dir", &self.load.data_dir), ("init-from", &self.init_from)] {
            if let Some(path) = path.as_ref().filter(|path| path.to_str().is_none()) {
                let expected = "a name in UTF-8 is expected, so that config.toml can hold it: \
                                rename it, or name it by a link";
                return Err(TrainError::setting(name, path.display(), expected));
            }
        }
        self.check_largest()?;
        let rising = self.milestones.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || self.milestones.first() == Some(&0) {
            let expected = "epochs in rising order are expected, from 1, say 80,120";
            return Err(TrainError::setting("milestones", cuts_text(&self.milestones), expected));
        }
        Ok(())
    }

    /// Refuses numbers that a configuration file cannot hold.
    fn check_largest(&self) -> Result<(), TrainError> {
        let count = |value: usize| Some(value as u64);
        let values = [
            ("seed", Some(self.run.seed)),
            ("limit-train", self.load.limit_train.and_then(count)),
            ("limit-test", self.load.limit_test.and_then(count)),
            ("epochs", count(self.run.epochs)),
            ("batch-size", count(self.run.batch_size)),
            ("milestones", self.milestones.iter().max().copied().and_then(count)),
            ("recompute", self.run.recompute.and_then(count)),
            ("patience", self.run.patience.and_then(count)),
            ("keep-checkpoints", count(self.run.keep_checkpoints)),
        ];
        for (name, value) in values {
            if let Some(value) = value.filter(|&value| value > i64::MAX as u64) {
                let expected = format!("it is at most {}", i64::MAX);
                return Err(TrainError::setting(name, value, expected));
            }
        }
        Ok(())
    }
}

impl RunConfig {
    /// Refuses processes that were started for something else than this configuration.
    pub(crate) fn check_group(&self, group: &ProcessGroup) -> Result<(), TrainError> {
        let processes = group.size();
        match (self.executor, group.is_ranks()) {
            (ExecutorKind::Mpi, false) if cfg!(feature = "mpi") => {
                Err(TrainError::ranks("the executor mpi runs on ranks: join MPI first"))
            }
            #[cfg(not(feature = "mpi"))]
            (ExecutorKind::Mpi, _) => Err(TrainError::without_mpi()),
            (executor, true) if executor != ExecutorKind::Mpi && processes > 1 => {
                let expected = format!(
                    "{processes} processes were started together: give --executor mpi, or start one"
                );
                Err(TrainError::setting("executor", executor, expected))
            }
            _ => Ok(()),
        }
    }

    /// Refuses replicas for which there is no image in some batch.
    pub(crate) fn check_replicas(&self, images: usize) -> Result<(), TrainError> {
        let smallest = match images % self.batch_size {
            0 => self.batch_size,
            rest => rest,
        };
        if smallest < self.replicas {
            let expected = format!(
                "the last batch of an epoch has {smallest} of the {images} images, which is not \
                 one for each: set another --batch-size or --limit-train"
            );
            return Err(TrainError::setting("replicas", self.replicas, expected));
        }
        Ok(())
    }

    /// Notes on settings that are possible and seldom meant.
    pub(crate) fn remarks(&self, group: &ProcessGroup, images: usize) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.batch_size > images {
            remarks.push(format!(
                "batch-size {} is more than the {images} training images: an epoch is one step, \
                 which takes memory for all of them at once",
                self.batch_size
            ));
        }
        let workers = match self.executor {
            ExecutorKind::Mpi => self.workers,
            ExecutorKind::Threads | ExecutorKind::Sequential => self.workers * self.replicas,
        };
        let (threads, cores) = (workers * self.threads, group.place().cores);
        if threads > cores {
            remarks.push(format!(
                "{threads} threads (workers {workers}, threads of each {}) share {cores} cores",
                self.threads
            ));
        }
        remarks
    }
}
