use std::time::{Duration, Instant};

use burn::tensor::{DType, Device, TensorData};
use parareal_mpi::{Communicator, MpiError, World};

use super::all_reduce::RankAllReduce;
use super::collectives::RankCollectives;
use super::first_error::FirstError;
use super::link::{AnyLink, RankLink, RankLinkConfig};
use super::rank_report::{RankReport, clocks, decode_failures, encode_failures};
use crate::exec::all_reduce::AllReduce;
use crate::exec::batch_split::join;
use crate::exec::collectives::ThreadCollectives;
use crate::exec::error::ExecError;
use crate::exec::layout::{Layout, RankLayout};
use crate::exec::step_failure::StepFailure;
use crate::exec::transport::{StepResults, Transport};
use crate::net::{Coarsen, Cuts, SampleShape, Value};

const MEMBER: &str = "a rank with a color is a member of a communicator";

/// The ranks of an MPI program as the processes of an executor.
pub(in crate::exec) struct Ranks {
    layout: Layout,
    /// All ranks.
    all: Communicator,
    /// The ranks of this replica.
    replica: Communicator,
    /// For each worker of this rank, a communicator with the corresponding workers of all replicas.
    workers: Vec<Communicator>,
    /// The shape of the samples that the interfaces are set up for.
    input_shape: SampleShape,
    /// The shapes of the states from the rank upstream and to the rank downstream, if they exist.
    interfaces: [Option<SampleShape>; 2],
    dtypes: Dtypes,
    first_error: FirstError,
    /// The same moment on the monotonic clock and on the wall clock.
    epoch: (Instant, Duration),
}

/// The types of the floats of a network.
#[derive(Clone, Copy, Debug)]
pub(in crate::exec) struct Dtypes {
    /// Those of parameters, inputs and outputs.
    pub(in crate::exec) parameters: DType,
    pub(in crate::exec) states: DType,
    /// Those of states and their gradients between ranks.
    pub(in crate::exec) messages: DType,
}

fn ranks(error: MpiError) -> ExecError {
    ExecError::Ranks(error.to_string())
}

/// Returns the communicator of all ranks with the same color.
fn split(world: &World, color: Option<usize>) -> Result<Option<Communicator>, ExecError> {
    world.split(color.map(|color| color as u32)).map_err(ranks)
}

/// Exchanges whether each rank has failed, and returns the first rank that has failed.
fn first_failed(all: &Communicator, has_failed: bool) -> Result<Option<usize>, ExecError> {
    if all.count(&[has_failed]).map_err(ranks)? == [0] {
        return Ok(None);
    }
    let gathered = all.all_gather(vec![u8::from(has_failed)]).map_err(ranks)?;
    Ok(gathered.iter().position(|failed| *failed == [1]))
}

/// Returns a communicator of all ranks. All ranks must call this function together.
///
/// # Errors
/// [`ExecError::Ranks`].
pub(in crate::exec) fn all_ranks(world: &World) -> Result<Communicator, ExecError> {
    Ok(split(world, Some(0))?.expect(MEMBER))
}

/// Returns the value of this rank unless any rank has failed. All ranks must call this function together.
///
/// # Errors
/// The error of this rank, or [`ExecError::Ranks`] with the first rank that has failed. `cannot` is the
/// action that failed.
pub(in crate::exec) fn agree<T>(
    all: &Communicator,
    own: Result<T, ExecError>,
    cannot: &str,
) -> Result<T, ExecError> {
    let failed = first_failed(all, own.is_err())?;
    let own = own?;
    match failed {
        Some(rank) => Err(ExecError::Ranks(format!("rank {rank} cannot {cannot}"))),
        None => Ok(own),
    }
}

impl Ranks {
    /// Creates the communicators of the ranks that share a replica, and of the workers that hold the same
    /// subnetworks. All ranks must call this function together.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    pub(in crate::exec) fn new<N: Coarsen>(
        world: &World,
        all: Communicator,
        (layout, own): (&Layout, &RankLayout),
        (network, cuts): (&N, &Cuts),
        dtypes: Dtypes,
    ) -> Result<Self, ExecError> {
        let replica = split(world, Some(own.replicas.start))?.expect(MEMBER);
        let mut workers = Vec::new();
        for worker in 0..layout.max_workers_per_rank() {
            let color = (worker < own.workers.len()).then_some(own.position);
            workers.extend(split(world, color)?);
        }
        let state = |subnetwork: usize| network.state_shape(cuts.units_of(subnetwork).end);
        let is_last = own.position + 1 == layout.ranks_per_replica();
        let interfaces = [
            (own.position > 0).then(|| state(own.subnetworks.start - 1)),
            (!is_last).then(|| state(own.subnetworks.end - 1)),
        ];
        Ok(Self {
            layout: layout.clone(),
            all,
            replica,
            workers,
            input_shape: network.input_shape(),
            interfaces,
            dtypes,
            first_error: FirstError::default(),
            epoch: clocks(),
        })
    }

    /// Returns the settings of a link to another rank of the replica.
    fn link_config(&self, device: &Device) -> RankLinkConfig {
        RankLinkConfig {
            communicator: self.replica.clone(),
            dtype: self.dtypes.states,
            message_dtype: self.dtypes.messages,
            device: device.clone(),
            first_error: self.first_error.clone(),
        }
    }

    /// Exchanges reports between all ranks, and returns them in rank order.
    fn exchange(&self, own: RankReport) -> Result<Vec<RankReport>, ExecError> {
        let gathered = self.all.all_gather(own.encode()).map_err(ranks)?;
        let decode =
            |(rank, bytes): (usize, &Vec<u8>)| RankReport::decode(bytes, &self.layout, rank);
        let reports: Option<Vec<_>> = gathered.iter().enumerate().map(decode).collect();
        reports.ok_or_else(|| {
            ExecError::Ranks(
                "a rank sent an unknown report; start all ranks with the same version".into(),
            )
        })
    }

    /// Exchanges tensors between all ranks.
    fn exchange_tensors(
        &self,
        tensors: Option<Vec<TensorData>>,
    ) -> Result<Vec<RankReport>, ExecError> {
        self.exchange(RankReport { tensors, ..RankReport::default() })
    }

    /// Joins the outputs, which are in the reports of the last rank of each replica.
    fn joined<I: Value, O: Value>(
        &self,
        input: &I,
        reports: &[RankReport],
    ) -> Result<O, ExecError> {
        let outputs = reports.iter().filter_map(|report| report.tensors.clone());
        let outputs =
            outputs.map(|data| O::from_data(data, &input.device(), self.dtypes.parameters));
        let output = join(outputs.collect::<Vec<_>>());
        match output.samples() == input.samples() {
            true => Ok(output),
            false => Err(ExecError::Ranks(format!(
                "the ranks computed {} outputs for {} samples",
                output.samples(),
                input.samples()
            ))),
        }
    }
}

impl<N: Coarsen> Transport<N> for Ranks {
    type Link = AnyLink<N::State>;
    type Collectives = RankCollectives;

    const SEVERAL: bool = true;

    fn upstream(&self, device: &Device) -> Option<Self::Link> {
        let sample = self.interfaces[0].clone()?;
        Some(AnyLink::Rank(Box::new(RankLink::upstream(self.link_config(device), sample))))
    }

    fn downstream(&self, device: &Device) -> Option<Self::Link> {
        let sample = self.interfaces[1].clone()?;
        Some(AnyLink::Rank(Box::new(RankLink::downstream(self.link_config(device), sample))))
    }

    fn collectives(&self, worker: usize, local: ThreadCollectives) -> Self::Collectives {
        let (replica, first_error) = (self.replica.clone(), self.first_error.clone());
        RankCollectives { local, worker, replica, first_error }
    }

    /// Returns one all-reduce, because the workers of a rank belong to a single replica.
    fn all_reduces(&self, worker: usize, _: usize) -> Vec<Box<dyn AllReduce>> {
        let (communicator, first_error) = (self.workers[worker].clone(), self.first_error.clone());
        vec![Box::new(RankAllReduce::new(communicator, first_error))]
    }

    /// Checks the shape of the input, which determines the size of messages between ranks.
    fn check_input(&self, input: &N::Input) -> Result<(), ExecError> {
        let found = input.shape();
        match found == self.input_shape {
            true => Ok(()),
            false => Err(ExecError::SampleShape { expected: self.input_shape.clone(), found }),
        }
    }

    fn cause(&self, error: ExecError) -> ExecError {
        // An error between ranks explains why a worker could not continue.
        self.first_error.take().map_or(error, ExecError::Ranks)
    }

    fn any(&self, own: bool) -> Result<bool, ExecError> {
        Ok(self.all.count(&[own]).map_err(ranks)? != [0])
    }

    fn first_failed(&self, has_failed: bool) -> Result<Option<usize>, ExecError> {
        first_failed(&self.all, has_failed)
    }

    fn failures(&self, own: Vec<StepFailure>) -> Result<Vec<StepFailure>, ExecError> {
        let gathered = self.all.all_gather(encode_failures(&own)).map_err(ranks)?;
        Ok(gathered.iter().flat_map(|bytes| decode_failures(bytes)).collect())
    }

    fn output(&self, own: Option<N::Output>, input: &N::Input) -> Result<N::Output, ExecError> {
        self.joined(input, &self.exchange_tensors(own.map(Value::into_data))?)
    }

    fn step(
        &self,
        own: StepResults<Option<N::Output>>,
        input: &N::Input,
        begun: Instant,
    ) -> Result<StepResults<N::Output>, ExecError> {
        let StepResults { output, timeline } = own;
        let (instant, wall_clock) = self.epoch;
        let begun = wall_clock + begun.saturating_duration_since(instant);
        let tensors = output.map(Value::into_data);
        let reports = self.exchange(RankReport { begun, spans: timeline.spans, tensors })?;
        let output = self.joined(input, &reports)?;
        let timeline = RankReport::timeline(&reports, timeline.devices);
        Ok(StepResults { output, timeline })
    }

    fn input_gradient(
        &self,
        own: Option<N::Input>,
        input: &N::Input,
    ) -> Result<Option<N::Input>, ExecError> {
        let device = input.device();
        let parts = self.exchange_tensors(own.map(Value::into_data))?;
        let replicas = parts.chunks(self.layout.ranks_per_replica()).map(|chain| {
            let parts = chain.iter().filter_map(|report| report.tensors.clone());
            let parts =
                parts.map(|data| N::Input::from_data(data, &device, self.dtypes.parameters));
            parts.reduce(N::Input::accumulate)
        });
        Ok(replicas.collect::<Option<Vec<_>>>().map(join))
    }
}
