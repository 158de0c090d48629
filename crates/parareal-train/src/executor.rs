//! The executor that a configuration asks for.

use std::ops::Range;

use parareal::exec::{ExecError, Executor, Layout, Loss, Placement, Sequential, Threads};
use parareal::net::{Coarsen, Cuts, PararealNetwork, StateDict};

use crate::executor_kind::ExecutorKind;
#[cfg(feature = "mpi")]
use crate::executor_kind::LinkDtype;
use crate::placement::{default_workers, rank_layout};
use crate::{DeviceName, Model, ProcessGroup, RunConfig, TrainError};

/// An executor, and what it holds.
pub(crate) struct Started<N, L> {
    pub(crate) executor: Box<dyn Executor<N, L>>,
    /// For each subnetwork that is held here its number, from 0, and the names of its tensors.
    pub(crate) names: Vec<(usize, Vec<String>)>,
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
        let mut here = self.clone();
        if self.executor == ExecutorKind::Mpi {
            let subnetworks = model.cuts.subnetworks();
            here.workers = default_workers(&self.devices, subnetworks);
            here.devices.truncate(here.workers);
            let layout = Layout::threads(subnetworks, here.workers, 1).map_err(ExecError::from)?;
            here.threads = Placement::new(Vec::new(), layout).threads;
        }
        // One replica evaluates all samples.
        here.replicas = 1;
        here.executor(model, network)
    }

    /// Creates the executor of this configuration, before its first step.
    ///
    /// # Errors
    /// Where a device is not there, weights do not fit, or the system gives no threads.
    pub(crate) fn start<N, L>(
        &self,
        group: &ProcessGroup,
        model: &Model<N, L>,
        initial: Option<&StateDict>,
    ) -> Result<Started<N, L>, TrainError>
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
        let names = network.subnetworks().iter().map(|subnetwork| {
            subnetwork.named_tensors().into_iter().map(|tensor| tensor.name).collect()
        });
        let names = names.enumerate().collect();
        Ok(Started { executor: self.executor(model, network)?, names })
    }

    #[cfg(feature = "mpi")]
    fn start_rank<N, L>(
        &self,
        group: &ProcessGroup,
        model: &Model<N, L>,
        initial: Option<&StateDict>,
    ) -> Result<Started<N, L>, TrainError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        use burn::tensor::{DType, Device};
        use parareal::exec::Ranks;
        use parareal::net::Init;

        let Some(world) = group.world() else { return Err(TrainError::ranks("this is no rank")) };
        let Model { network, cuts, loss, optimizer } = model;
        let layout = self.rank_layout(group, cuts.subnetworks())?;
        let placement = self.placement(self.own_devices(group), layout, cuts)?;
        let init = Init::new(self.seed, &Device::flex());
        let message_dtype = (self.link_dtype == LinkDtype::Bf16).then_some(DType::BF16);
        let mut ranks = Ranks::new(
            world,
            network,
            cuts,
            &init,
            loss.clone(),
            optimizer,
            &placement,
            message_dtype,
        )?;
        let names = (ranks.rank_layout().subnetworks.start..).zip(ranks.names()).collect();
        if let Some(weights) = initial {
            ranks.load(weights.clone())?;
        }
        Ok(Started { executor: Box::new(ranks), names })
    }

    #[cfg(not(feature = "mpi"))]
    fn start_rank<N, L>(
        &self,
        _: &ProcessGroup,
        _: &Model<N, L>,
        _: Option<&StateDict>,
    ) -> Result<Started<N, L>, TrainError> {
        Err(TrainError::WithoutMpi)
    }

    /// Returns the subnetworks that this process holds, from 0, and true if it is the one that writes them.
    ///
    /// # Errors
    /// Where the ranks cannot share the subnetworks.
    pub fn held(
        &self,
        group: &ProcessGroup,
        subnetworks: usize,
    ) -> Result<(Range<usize>, bool), TrainError> {
        if self.executor != ExecutorKind::Mpi {
            return Ok((0..subnetworks, true));
        }
        let own = self.rank_layout(group, subnetworks)?.rank(group.rank());
        Ok((own.subnetworks, own.replicas.start == 0))
    }

    /// Returns the layout of subnetworks on the ranks of a group.
    fn rank_layout(&self, group: &ProcessGroup, subnetworks: usize) -> Result<Layout, TrainError> {
        rank_layout(subnetworks, group.size(), self.workers, self.replicas)
    }

    /// Looks for the devices that this process computes on.
    ///
    /// # Errors
    /// [`TrainError::NoDevice`] for the first one that is not there.
    pub fn check_devices(&self, group: &ProcessGroup) -> Result<(), TrainError> {
        self.own_devices(group).iter().try_for_each(|device| device.find().map(drop))
    }

    /// Returns the devices that this process computes on.
    fn own_devices(&self, group: &ProcessGroup) -> &[DeviceName] {
        match self.executor {
            ExecutorKind::Mpi => {
                let own = group.resources().on_machine % self.devices.len();
                &self.devices[own..=own]
            }
            _ => &self.devices,
        }
    }

    /// Returns the units for each state that is kept where the others are recomputed. Where the
    /// configuration has `Some(0)`, it is the square root of the number of units in the longest subnetwork,
    /// with which the states that are kept and those that are recomputed at a time are about as many.
    #[must_use]
    pub fn kept_units(&self, cuts: &Cuts) -> Option<usize> {
        let longest = (0..cuts.subnetworks()).map(|j| cuts.units_of(j).len()).max();
        self.recompute.map(|units| match units {
            0 => longest.unwrap_or(1).isqrt(),
            units => units,
        })
    }

    fn placement(
        &self,
        devices: &[DeviceName],
        layout: Layout,
        cuts: &Cuts,
    ) -> Result<Placement, TrainError> {
        let devices = devices.iter().map(DeviceName::find).collect::<Result<Vec<_>, _>>()?;
        let mut placement = Placement::new(devices, layout);
        placement.threads = self.threads;
        if let Some(units) = self.kept_units(cuts) {
            placement.recompute = true;
            placement.segment_units = units;
        }
        Ok(placement)
    }

    /// Hands a network to an executor in this process.
    fn executor<N, L>(
        &self,
        model: &Model<N, L>,
        network: PararealNetwork<N>,
    ) -> Result<Box<dyn Executor<N, L>>, TrainError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        let Model { cuts, loss, optimizer, .. } = model;
        let layout = Layout::threads(cuts.subnetworks(), self.workers, self.replicas);
        let layout = layout.map_err(ExecError::from)?;
        let placement = self.placement(&self.devices, layout, cuts)?;
        Ok(match self.executor {
            ExecutorKind::Threads | ExecutorKind::Mpi => {
                Box::new(Threads::new(network, loss.clone(), optimizer, &placement)?)
            }
            ExecutorKind::Sequential => {
                let device = &placement.devices[0];
                let loss = loss.clone();
                Box::new(Sequential::new(network, loss, optimizer, device, self.threads)?)
            }
        })
    }
}
