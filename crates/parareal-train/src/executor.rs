//! Choosing and building what runs a step.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use burn::tensor::Device;
use parareal::exec::{CrossEntropy, Executor, Placement, Sequential, Threads};
use parareal::net::{Cuts, Init, PararealNetwork, StateDict};
use parareal_models::resnet::ResNet;

use crate::initial::Initial;
use crate::placed::{default_workers, places};
use crate::{Config, DeviceName, Team, TrainError};

/// How a step is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorKind {
    /// The subnetworks on parallel workers.
    Threads,
    /// One graph on one device.
    Sequential,
    /// The subnetworks on the ranks of an MPI program.
    Mpi,
}

/// As what tensors are sent between ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// As they are.
    F32,
    /// Rounded to bfloat16: half the bytes.
    Bf16,
}

/// An executor of any kind.
pub(crate) type AnyExecutor = Box<dyn Executor<ResNet, CrossEntropy>>;

/// An executor, and what it holds.
pub(crate) struct Started {
    pub(crate) executor: AnyExecutor,
    /// For each subnetwork that is held here its number, from 0, and the names of its tensors.
    pub(crate) names: Vec<(usize, Vec<String>)>,
}

macro_rules! named {
    ($type:ty, $setting:literal, $expected:literal, $($name:literal => $value:path),*) => {
        impl FromStr for $type {
            type Err = TrainError;

            fn from_str(text: &str) -> Result<Self, TrainError> {
                match text {
                    $($name => Ok($value),)*
                    _ => Err(TrainError::setting($setting, format!("`{text}`"), $expected)),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($value => $name,)*
                })
            }
        }
    };
}

named!(
    ExecutorKind, "executor", "threads, sequential or mpi is expected",
    "threads" => Self::Threads, "sequential" => Self::Sequential, "mpi" => Self::Mpi
);
named!(LinkType, "link-dtype", "f32 or bf16 is expected", "f32" => Self::F32, "bf16" => Self::Bf16);

impl Config {
    /// The network for images of these channels and classes, with the weights that follow from the
    /// seed.
    pub(crate) fn new_network(
        &self,
        channels: usize,
        classes: usize,
    ) -> Result<PararealNetwork<ResNet>, TrainError> {
        let (net, cuts) = self.network_for(channels, classes);
        Ok(PararealNetwork::build(&net, cuts, &Init::new(self.run.seed, &Device::flex()))?)
    }

    /// This network with the weights of a run, to be judged in this process.
    pub(crate) fn trained(
        &self,
        run: &Path,
        weights: &StateDict,
        channels: usize,
        classes: usize,
    ) -> Result<AnyExecutor, TrainError> {
        let network = self.new_network(channels, classes)?.load(weights).map_err(|error| {
            TrainError::weights(run, format!("the weights are of another network: {error}"))
        })?;
        let mut here = self.clone();
        if self.run.executor == ExecutorKind::Mpi {
            let subnetworks = self.network.cuts.subnetworks();
            here.run.workers = default_workers(&self.run.devices, subnetworks);
            here.run.devices.truncate(here.run.workers);
            here.run.threads = Placement::new(Vec::new(), here.run.workers).threads;
        }
        // One copy judges all images.
        here.run.replicas = 1;
        here.executor(network)
    }

    /// The executor of this configuration, before its first step.
    ///
    /// # Errors
    /// Where a device is not there, weights do not fit, or the system gives no threads.
    pub(crate) fn start(
        &self,
        team: &Team,
        channels: usize,
        classes: usize,
        from: Option<&Initial>,
    ) -> Result<Started, TrainError> {
        if self.run.executor == ExecutorKind::Mpi {
            return self.start_rank(team, channels, classes, from);
        }
        let network = self.initial_network(channels, classes, from)?;
        let names = network.subnetworks().iter().map(|subnetwork| {
            subnetwork.named_tensors().into_iter().map(|tensor| tensor.name).collect()
        });
        let names = names.enumerate().collect();
        Ok(Started { executor: self.executor(network)?, names })
    }

    #[cfg(feature = "mpi")]
    fn start_rank(
        &self,
        team: &Team,
        channels: usize,
        classes: usize,
        from: Option<&Initial>,
    ) -> Result<Started, TrainError> {
        use burn::tensor::DType;
        use parareal::exec::Ranks;

        let Some(world) = team.world() else { return Err(TrainError::ranks("this is no rank")) };
        let (net, cuts) = self.network_for(channels, classes);
        let placement = self.placement(self.own_devices(team))?;
        let init = Init::new(self.run.seed, &Device::flex());
        let wire = (self.run.link_type == LinkType::Bf16).then_some(DType::BF16);
        let mut ranks =
            Ranks::new(world, &net, cuts, &init, self.loss, &self.optimizer(), &placement, wire)?;
        let names = (ranks.seat().subnetworks.start..).zip(ranks.names()).collect();
        if let Some(from) = from {
            ranks.load(from.weights.clone())?;
        }
        Ok(Started { executor: Box::new(ranks), names })
    }

    #[cfg(not(feature = "mpi"))]
    fn start_rank(
        &self,
        _: &Team,
        _: usize,
        _: usize,
        _: Option<&Initial>,
    ) -> Result<Started, TrainError> {
        Err(TrainError::WithoutMpi)
    }

    /// The subnetworks that this process holds, and whether it is the one that writes them.
    pub(crate) fn held(&self, team: &Team) -> Result<(Range<usize>, bool), TrainError> {
        let subnetworks = self.network.cuts.subnetworks();
        if self.run.executor != ExecutorKind::Mpi {
            return Ok((0..subnetworks, true));
        }
        let places = places(team.size(), self.run.replicas, subnetworks)?;
        let (replica, place) = (team.rank() / places, team.rank() % places);
        Ok((Cuts::even(subnetworks, places)?.units_of(place), replica == 0))
    }

    /// The devices that this process computes on.
    pub(crate) fn own_devices(&self, team: &Team) -> &[DeviceName] {
        match self.run.executor {
            ExecutorKind::Mpi => {
                let own = team.place().on_machine % self.run.devices.len();
                &self.run.devices[own..=own]
            }
            _ => &self.run.devices,
        }
    }

    fn placement(&self, devices: &[DeviceName]) -> Result<Placement, TrainError> {
        let devices = devices.iter().map(DeviceName::find).collect::<Result<Vec<_>, _>>()?;
        let mut placement = Placement::new(devices, self.run.workers);
        (placement.threads, placement.replicas) = (self.run.threads, self.run.replicas);
        if let Some(units) = self.kept_units() {
            placement.recompute = true;
            placement.segment_units = units;
        }
        Ok(placement)
    }

    /// Hands a network to the executor of this configuration in this process.
    fn executor(&self, network: PararealNetwork<ResNet>) -> Result<AnyExecutor, TrainError> {
        let placement = self.placement(&self.run.devices)?;
        let optimizer = self.optimizer();
        Ok(match self.run.executor {
            ExecutorKind::Threads | ExecutorKind::Mpi => {
                Box::new(Threads::new(network, self.loss, &optimizer, &placement)?)
            }
            ExecutorKind::Sequential => {
                let device = &placement.devices[0];
                Box::new(Sequential::new(network, self.loss, &optimizer, device, self.run.threads)?)
            }
        })
    }
}
