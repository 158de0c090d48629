//! Executors for a configuration.

use std::ops::Range;

use burn::tensor::DType;
use parareal::exec::{Executor, ExecutorBuilder, Layout, Loss};
use parareal::net::{Coarsen, Cuts, PararealNetwork, StateDict};

use crate::executor_kind::ExecutorKind;
#[cfg(feature = "mpi")]
use crate::executor_kind::LinkDtype;
use crate::placement::{default_workers, rank_layout};
use crate::process_group::Resources;
use crate::{DeviceName, Model, ProcessGroup, RunConfig, TrainError};

/// Returns the number of units per kept state; `None` if no states are recomputed.
///
/// For `Some(0)`, this is the square root of the number of units in the longest subnetwork. The number of kept
/// states is then about equal to the number of states that are recomputed at a time.
#[must_use]
pub fn kept_units(recompute: Option<usize>, cuts: &Cuts) -> Option<usize> {
    let longest = (0..cuts.subnetworks()).map(|j| cuts.units_of(j).len()).max();
    recompute.map(|units| match units {
        0 => longest.unwrap_or(1).isqrt(),
        units => units,
    })
}

impl RunConfig {
    /// Returns the number of steps of an epoch with this many training samples.
    #[must_use]
    pub fn steps_per_epoch(&self, samples: usize) -> usize {
        samples.div_ceil(self.batch_size)
    }

    /// Creates an executor that evaluates the network of a model in this process.
    ///
    /// # Errors
    /// If a device is missing, or the system cannot start the threads.
    pub fn evaluator<N, L>(
        &self,
        model: &Model<N, L>,
        network: PararealNetwork<N>,
    ) -> Result<Box<dyn Executor<N, L>>, TrainError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        // One replica evaluates all samples.
        let mut here = Self { replicas: 1, ..self.clone() };
        if self.executor == ExecutorKind::Mpi {
            // One process has the cores of its machine and all subnetworks.
            here.executor = ExecutorKind::Threads;
            here.workers = default_workers(&self.devices, model.cuts.subnetworks());
            here.threads = (Resources::alone().cores / here.workers).max(1);
        }
        here.devices.truncate(here.workers);
        Ok(here.builder(model, &here.devices)?.start(network)?)
    }

    /// Creates the executor of this configuration, before its first step.
    ///
    /// # Errors
    /// If a device is missing, the initial weights do not fit the network, or the system cannot start the
    /// threads.
    pub fn start<N, L>(
        &self,
        group: &ProcessGroup,
        model: &Model<N, L>,
        initial: Option<&StateDict>,
    ) -> Result<Box<dyn Executor<N, L>>, TrainError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        if self.executor == ExecutorKind::Mpi {
            return self.start_rank(group, model, initial);
        }
        let mut network = model.build(self.seed)?;
        if let Some(weights) = initial {
            network = network.load(weights)?;
        }
        Ok(self.builder(model, &self.devices)?.start(network)?)
    }

    #[cfg(feature = "mpi")]
    fn start_rank<N, L>(
        &self,
        group: &ProcessGroup,
        model: &Model<N, L>,
        initial: Option<&StateDict>,
    ) -> Result<Box<dyn Executor<N, L>>, TrainError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        use burn::tensor::Device;
        use parareal::exec::StateKind;
        use parareal::net::Init;

        let Some(world) = group.world() else {
            return Err(TrainError::ranks("this process is not a rank of an MPI program"));
        };
        let Model { network, cuts, .. } = model;
        // Checked here first, because this error names the settings of the run.
        self.rank_layout(group, cuts.subnetworks())?;
        let mut builder = self.builder(model, self.own_devices(group))?;
        if self.link_dtype == LinkDtype::Bf16 {
            builder = builder.message_dtype(DType::BF16);
        }
        let init = Init::new(self.seed, &Device::flex());
        let mut executor = builder.start_rank(world, network, cuts, &init)?;
        if let Some(weights) = initial {
            executor.write(StateKind::Weights, weights.clone())?;
        }
        Ok(executor)
    }

    #[cfg(not(feature = "mpi"))]
    fn start_rank<N, L>(
        &self,
        _: &ProcessGroup,
        _: &Model<N, L>,
        _: Option<&StateDict>,
    ) -> Result<Box<dyn Executor<N, L>>, TrainError> {
        Err(TrainError::WithoutMpi)
    }

    /// Returns the subnetworks that this process holds, from 0.
    ///
    /// # Errors
    /// If the ranks cannot share the subnetworks.
    pub fn held(
        &self,
        group: &ProcessGroup,
        subnetworks: usize,
    ) -> Result<Range<usize>, TrainError> {
        if self.executor != ExecutorKind::Mpi {
            return Ok(0..subnetworks);
        }
        Ok(self.rank_layout(group, subnetworks)?.rank(group.rank()).subnetworks)
    }

    /// Returns the layout of subnetworks on the ranks of a group.
    fn rank_layout(&self, group: &ProcessGroup, subnetworks: usize) -> Result<Layout, TrainError> {
        rank_layout(subnetworks, group.size(), self.workers, self.replicas)
    }

    /// Checks that the devices of this process can compute with the states of a network, of the type
    /// [`FeedForward::state_dtype`](parareal::net::FeedForward::state_dtype).
    ///
    /// # Errors
    /// If a device is missing ([`TrainError::NoDevice`]) or cannot compute with the states ([`TrainError::Setting`]).
    pub fn check_states(
        &self,
        group: &ProcessGroup,
        states: Option<DType>,
    ) -> Result<(), TrainError> {
        self.own_devices(group).iter().try_for_each(|device| device.find_for(states).map(drop))
    }

    /// Checks that the devices of this process exist.
    ///
    /// # Errors
    /// If a device is missing ([`TrainError::NoDevice`]).
    pub fn check_devices(&self, group: &ProcessGroup) -> Result<(), TrainError> {
        self.own_devices(group).iter().try_for_each(|device| device.find().map(drop))
    }

    /// Returns the devices that this process computes on.
    pub(crate) fn own_devices(&self, group: &ProcessGroup) -> &[DeviceName] {
        match self.executor {
            ExecutorKind::Mpi => {
                let own = group.resources().on_machine % self.devices.len();
                &self.devices[own..=own]
            }
            _ => &self.devices,
        }
    }

    /// Returns the number of units per kept state, `None` if no states are recomputed: [`kept_units`] of this
    /// configuration.
    #[must_use]
    pub fn kept_units(&self, cuts: &Cuts) -> Option<usize> {
        kept_units(self.recompute, cuts)
    }

    /// Returns an executor builder with this configuration on the given devices.
    ///
    /// # Errors
    /// If a device is missing ([`TrainError::NoDevice`]) or cannot compute with the states of the network
    /// ([`TrainError::Setting`]).
    fn builder<N, L>(
        &self,
        model: &Model<N, L>,
        devices: &[DeviceName],
    ) -> Result<ExecutorBuilder<L>, TrainError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        let Model { network, cuts, loss, optimizer, .. } = model;
        let found = devices.iter().map(|name| name.find_for(network.state_dtype()));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let mut builder = ExecutorBuilder::new(loss.clone(), optimizer.clone()).devices(found);
        if devices.iter().any(DeviceName::is_cpu) {
            builder = builder.threads(self.threads);
        }
        if let Some(units) = self.kept_units(cuts) {
            builder = builder.recompute(units);
        }
        builder = builder.accumulate(self.accumulate);
        if self.sync_batch_norm && self.replicas > 1 {
            builder = builder.sync_batch_norm();
        }
        if self.launch_graphs {
            builder = builder.launch_graphs();
        }
        Ok(match self.executor {
            ExecutorKind::Sequential => builder.sequential(),
            ExecutorKind::Threads | ExecutorKind::Mpi => {
                builder.workers(self.workers).replicas(self.replicas)
            }
        })
    }
}
