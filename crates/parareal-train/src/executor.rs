//! Choosing and building what runs a step.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use burn::tensor::Device;
use parareal::exec::{CrossEntropy, ExecError, Executor, Layout, Placement, Sequential, Threads};
use parareal::net::{Init, PararealNetwork, StateDict};
use parareal_models::resnet::ResNet;

use crate::initial::Initial;
use crate::resources::{default_workers, rank_layout};
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
    ExecutorKind, "executor", "it is threads, sequential or mpi",
    "threads" => Self::Threads, "sequential" => Self::Sequential, "mpi" => Self::Mpi
);
named!(LinkType, "link-dtype", "it is f32 or bf16", "f32" => Self::F32, "bf16" => Self::Bf16);

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
        if self.executor == ExecutorKind::Mpi {
            let subnetworks = self.network.cuts.subnetworks();
            here.workers = default_workers(&self.devices, subnetworks);
            here.devices.truncate(here.workers);
            let layout = Layout::threads(subnetworks, here.workers, 1).map_err(ExecError::from)?;
            here.threads = Placement::new(Vec::new(), layout).threads;
        }
        // One copy judges all images.
        here.replicas = 1;
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
        if self.executor == ExecutorKind::Mpi {
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
        let placement = self.placement(self.own_devices(team), self.rank_layout(team)?)?;
        let init = Init::new(self.seed, &Device::flex());
        let message_dtype = (self.link_type == LinkType::Bf16).then_some(DType::BF16);
        let mut ranks = Ranks::new(
            world,
            &net,
            cuts,
            &init,
            self.loss,
            &self.optimizer(),
            &placement,
            message_dtype,
        )?;
        let names = (ranks.rank_layout().subnetworks.start..).zip(ranks.names()).collect();
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
        Err(TrainError::without_mpi())
    }

    /// The subnetworks that this process holds, and whether it is the one that writes them.
    pub(crate) fn held(&self, team: &Team) -> Result<(Range<usize>, bool), TrainError> {
        if self.executor != ExecutorKind::Mpi {
            return Ok((0..self.network.cuts.subnetworks(), true));
        }
        let own = self.rank_layout(team)?.rank(team.rank());
        Ok((own.subnetworks, own.replicas.start == 0))
    }

    /// The layout on the ranks of an MPI program.
    fn rank_layout(&self, team: &Team) -> Result<Layout, TrainError> {
        let subnetworks = self.network.cuts.subnetworks();
        rank_layout(subnetworks, team.size(), self.workers, self.replicas)
    }

    /// The devices that this process computes on.
    pub(crate) fn own_devices(&self, team: &Team) -> &[DeviceName] {
        match self.executor {
            ExecutorKind::Mpi => {
                let own = team.place().on_machine % self.devices.len();
                &self.devices[own..=own]
            }
            _ => &self.devices,
        }
    }

    fn placement(&self, devices: &[DeviceName], layout: Layout) -> Result<Placement, TrainError> {
        let devices = devices.iter().map(DeviceName::find).collect::<Result<Vec<_>, _>>()?;
        let mut placement = Placement::new(devices, layout);
        placement.threads = self.threads;
        if let Some(units) = self.kept_units() {
            placement.recompute = true;
            placement.segment_units = units;
        }
        Ok(placement)
    }

    /// Hands a network to the executor of this configuration in this process.
    fn executor(&self, network: PararealNetwork<ResNet>) -> Result<AnyExecutor, TrainError> {
        let subnetworks = self.network.cuts.subnetworks();
        let layout = Layout::threads(subnetworks, self.workers, self.replicas);
        let placement = self.placement(&self.devices, layout.map_err(ExecError::from)?)?;
        let optimizer = self.optimizer();
        Ok(match self.executor {
            ExecutorKind::Threads | ExecutorKind::Mpi => {
                Box::new(Threads::new(network, self.loss, &optimizer, &placement)?)
            }
            ExecutorKind::Sequential => {
                let device = &placement.devices[0];
                Box::new(Sequential::new(network, self.loss, &optimizer, device, self.threads)?)
            }
        })
    }
}
