//! Evaluation of checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use parareal::exec::Loss;
use parareal::net::{Coarsen, PararealNetwork};
use serde::Serialize;

use super::task::Means;
use super::{CHECK_MANIFEST, Data, Trainer};
use crate::TrainError;
use crate::checkpoint::{self, CheckpointChoice, Saved};
use crate::data::Source;

/// Result of evaluating a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Epoch of the checkpoint, from 1.
    pub epoch: usize,
    /// Step of the checkpoint, from 1.
    pub step: usize,
    /// Number of samples.
    pub samples: usize,
    /// Mean loss over the samples.
    pub loss: f64,
    /// Mean of each metric over the samples.
    pub metrics: BTreeMap<String, f64>,
}

impl<N: Coarsen, L: Loss<N::Output>> Trainer<N, L> {
    /// Evaluates a checkpoint of a run on the validation samples. Collective: all ranks of a group must make this
    /// call.
    ///
    /// # Errors
    /// In the same cases as [`Self::evaluate_on`], and if there are no validation samples.
    pub fn evaluate(
        &self,
        folder: impl AsRef<Path>,
        choice: CheckpointChoice,
    ) -> Result<Evaluation, TrainError> {
        match &self.validation {
            Some(validation) => self.evaluate_source(folder.as_ref(), choice, &**validation),
            None => self.group.agree(Err(TrainError::NoSamples { samples: "validation" })),
        }
    }

    /// Evaluates a checkpoint of a run on any samples, such as a test set. Collective: all ranks of a group must
    /// make this call. Each rank evaluates all samples, and all ranks return the results of rank 0.
    ///
    /// # Errors
    /// In the same cases as [`Self::load`], and if there are no samples ([`TrainError::NoSamples`]), the source
    /// fails, or the ranks have different samples ([`TrainError::RanksData`]).
    pub fn evaluate_on(
        &self,
        folder: impl AsRef<Path>,
        choice: CheckpointChoice,
        samples: &(impl Source<Input = N::Input, Target = L::Target> + 'static),
    ) -> Result<Evaluation, TrainError> {
        self.evaluate_source(folder.as_ref(), choice, samples)
    }

    fn evaluate_source(
        &self,
        folder: &Path,
        choice: CheckpointChoice,
        samples: &Data<N, L>,
    ) -> Result<Evaluation, TrainError> {
        // Each rank evaluates on its own and may fail on its own. An error on one rank is returned on all ranks.
        let evaluated = self.config().and_then(|config| {
            if samples.samples() == 0 {
                return Err(TrainError::NoSamples { samples: "evaluation" });
            }
            let saved = checkpoint::open(folder, choice, CHECK_MANIFEST)?;
            let position = saved.position;
            let mut executor = config.evaluator(&self.model, self.network(folder, saved)?)?;
            let sums = self.sums(&mut *executor, samples, config.batch_size, &|| Ok(false))?;
            Ok((position, sums.expect("nothing stops it")))
        });
        let (position, sums) = self.group.agree(evaluated)?;
        let Means { samples, loss, metrics, .. } = self.means(sums, "evaluation samples")?;
        Ok(Evaluation { epoch: position.epoch, step: position.step, samples, loss, metrics })
    }

    /// Reads the network of a checkpoint for inference on the CPU, with the moving average of its weights if there
    /// is one. Not collective.
    ///
    /// # Errors
    /// If there is no such checkpoint ([`TrainError::NoRun`] or [`TrainError::Setting`]), if it is damaged
    /// ([`TrainError::Damaged`]), or if it belongs to a different network ([`TrainError::Weights`]).
    pub fn load(
        &self,
        folder: impl AsRef<Path>,
        choice: CheckpointChoice,
    ) -> Result<PararealNetwork<N>, TrainError> {
        let folder = folder.as_ref();
        let saved = checkpoint::open(folder, choice, CHECK_MANIFEST)?;
        Ok(self.network(folder, saved)?.valid())
    }

    /// Returns the network with the weights of a checkpoint.
    fn network(&self, folder: &Path, saved: Saved) -> Result<PararealNetwork<N>, TrainError> {
        let network = self.model.build(self.settings.seed)?;
        network.load(&saved.into_weights()).map_err(|error| {
            TrainError::weights(
                folder,
                format!("the checkpoint belongs to a different network: {error}"),
            )
        })
    }
}
