//! Choosing and building what runs a step.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use burn::tensor::{Device, TensorData};
use parareal::exec::{CrossEntropy, Executor, Placement, Sequential, Threads};
use parareal::net::{Init, PararealNetwork};
use parareal_models::resnet::ResNet;

use crate::{Config, DeviceName, TrainError};

/// More threads than any machine can use are a mistake, and starting them takes its memory.
const MOST_THREADS: usize = 1024;

/// How a step is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorKind {
    /// The subnetworks on parallel workers.
    Threads,
    /// One graph on one device.
    Sequential,
}

/// An executor of either kind.
pub(crate) type AnyExecutor = Box<dyn Executor<ResNet, CrossEntropy>>;

impl FromStr for ExecutorKind {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "threads" => Ok(Self::Threads),
            "sequential" => Ok(Self::Sequential),
            _ => {
                let expected = "it is threads or sequential";
                Err(TrainError::setting("executor", format!("`{text}`"), expected))
            }
        }
    }
}

impl fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Threads => "threads",
            Self::Sequential => "sequential",
        })
    }
}

impl ExecutorKind {
    /// The number of workers and the threads of each.
    pub(crate) fn shares(
        self,
        subnetworks: usize,
        devices: &[DeviceName],
        workers: Option<usize>,
        threads: Option<usize>,
    ) -> Result<(usize, usize), TrainError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if let Some(threads) = threads.filter(|threads| !(1..=MOST_THREADS).contains(threads)) {
            let expected = format!("each worker has from 1 to {MOST_THREADS}");
            return Err(TrainError::setting("threads", threads, expected));
        }
        let workers = match self {
            Self::Sequential if devices.len() > 1 => {
                let expected = "the sequential executor runs on one device: name one";
                return Err(TrainError::setting("device", devices.len(), expected));
            }
            // One graph has one worker, whatever a file says for other executors.
            Self::Sequential => 1,
            Self::Threads => workers.unwrap_or_else(|| {
                let wanted = match devices {
                    [device] if device.is_cpu() => cores,
                    devices => devices.len(),
                };
                wanted.clamp(1, subnetworks)
            }),
        };
        if workers == 0 || workers > subnetworks {
            let expected =
                format!("there are {subnetworks} subnetworks to share, so from 1 to {subnetworks}");
            return Err(TrainError::setting("workers", workers, expected));
        }
        if devices.len() > workers {
            let found = format!("given {} times", devices.len());
            let expected = format!("only {workers} can be used: one for each worker");
            return Err(TrainError::setting("device", found, expected));
        }
        Ok((workers, threads.unwrap_or((cores / workers).max(1))))
    }
}

impl Config {
    /// The network for images of these channels and classes, with the weights that follow from the
    /// seed.
    pub(crate) fn new_network(
        &self,
        channels: usize,
        classes: usize,
    ) -> Result<PararealNetwork<ResNet>, TrainError> {
        let (net, cuts) = self.network_for(channels, classes);
        Ok(PararealNetwork::build(&net, cuts, &Init::new(self.seed, &Device::flex()))?)
    }

    /// This network with the weights of a run.
    pub(crate) fn trained(
        &self,
        run: &Path,
        weights: &HashMap<String, TensorData>,
        channels: usize,
        classes: usize,
    ) -> Result<AnyExecutor, TrainError> {
        let network = self.new_network(channels, classes)?.load(weights).map_err(|error| {
            TrainError::weights(run, format!("the weights are of another network: {error}"))
        })?;
        self.executor(network)
    }

    /// Hands a network to the executor of this configuration.
    pub(crate) fn executor(
        &self,
        network: PararealNetwork<ResNet>,
    ) -> Result<AnyExecutor, TrainError> {
        let devices =
            self.devices.iter().map(DeviceName::find).collect::<Result<Vec<_>, TrainError>>()?;
        let optimizer = self.optimizer();
        Ok(match self.executor {
            ExecutorKind::Threads => {
                let mut placement = Placement::new(devices, self.workers);
                placement.threads = self.threads;
                if let Some(units) = self.kept_units() {
                    placement.recompute = true;
                    placement.segment_units = units;
                }
                Box::new(Threads::new(network, self.loss, &optimizer, &placement)?)
            }
            ExecutorKind::Sequential => {
                let device = &devices[0];
                Box::new(Sequential::new(network, self.loss, &optimizer, device, self.threads)?)
            }
        })
    }
}
