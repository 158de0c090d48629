//! Communication between the processes that the workers of an executor run on.

use std::time::Instant;

use burn::tensor::Device;

use super::all_reduce::{AllReduce, thread_all_reduce};
use super::collectives::{Collectives, ThreadCollectives};
use super::error::ExecError;
use super::link::{ChannelLink, Link};
use super::step_failure::StepFailure;
use crate::net::Coarsen;
use crate::timeline::Timeline;

/// Communication between the processes that share the workers of an executor: links and collectives between
/// workers of different processes, and the exchange of their results.
///
/// All processes make the same calls in the same order.
pub(super) trait Transport<N: Coarsen>: Send + 'static {
    /// An interface between two workers, of one process or of two.
    type Link: Link<N::State> + From<ChannelLink<N::State>> + 'static;
    /// Collective operations over the workers of a replica.
    type Collectives: Collectives + 'static;

    /// True if workers may wait for another process.
    const SEVERAL: bool;

    /// Returns the link of this process's first worker, on `device`, to the worker upstream in another process,
    /// if there is one.
    fn upstream(&self, device: &Device) -> Option<Self::Link>;

    /// Returns the link of this process's last worker, on `device`, to the worker downstream in another process,
    /// if there is one.
    fn downstream(&self, device: &Device) -> Option<Self::Link>;

    /// Extends the collectives of the workers of this process to all workers of the replica. The worker is
    /// numbered from 0 within its replica and process.
    fn collectives(&self, worker: usize, local: ThreadCollectives) -> Self::Collectives;

    /// Returns the all-reduce of a worker with the same workers of other replicas, for each of the `replicas` of
    /// this process in order.
    fn all_reduces(&self, worker: usize, replicas: usize) -> Vec<Box<dyn AllReduce>>;

    /// Checks a batch that is to be sent between processes.
    ///
    /// # Errors
    /// [`ExecError::SampleShape`].
    fn check_input(&self, input: &N::Input) -> Result<(), ExecError>;

    /// Returns the failure of the communication that caused an error of this process's workers, or else the
    /// error.
    fn cause(&self, error: ExecError) -> ExecError;

    /// Returns true if any process has the value `true`.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn any(&self, own: bool) -> Result<bool, ExecError>;

    /// Exchanges the failure state of all processes, and returns the first one that has failed.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn first_failed(&self, has_failed: bool) -> Result<Option<usize>, ExecError>;

    /// Gathers the failures for which a step was abandoned.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn failures(&self, own: Vec<StepFailure>) -> Result<Vec<StepFailure>, ExecError>;

    /// Returns the output of all replicas, of which this process has a part or none.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn output(&self, own: Option<N::Output>, input: &N::Input) -> Result<N::Output, ExecError>;

    /// Returns the output and the activities of all replicas in a training step that this process has begun at
    /// `begun`.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn step(
        &self,
        own: StepResults<Option<N::Output>>,
        input: &N::Input,
        begun: Instant,
    ) -> Result<StepResults<N::Output>, ExecError>;

    /// Returns the gradient with respect to the input, to which this process contributes, if it has one.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn input_gradient(
        &self,
        own: Option<N::Input>,
        input: &N::Input,
    ) -> Result<Option<N::Input>, ExecError>;
}

/// Results of a training step, of one process or of all.
pub(super) struct StepResults<O> {
    pub(super) output: O,
    pub(super) timeline: Timeline,
}

/// A single process that has all workers of all replicas.
pub(super) struct SingleProcess;

impl<N: Coarsen> Transport<N> for SingleProcess {
    type Link = ChannelLink<N::State>;
    type Collectives = ThreadCollectives;

    const SEVERAL: bool = false;

    fn upstream(&self, _: &Device) -> Option<Self::Link> {
        None
    }

    fn downstream(&self, _: &Device) -> Option<Self::Link> {
        None
    }

    fn collectives(&self, _: usize, local: ThreadCollectives) -> Self::Collectives {
        local
    }

    fn all_reduces(&self, _: usize, replicas: usize) -> Vec<Box<dyn AllReduce>> {
        let members = thread_all_reduce(replicas).into_iter();
        members.map(|member| Box::new(member) as Box<dyn AllReduce>).collect()
    }

    fn check_input(&self, _: &N::Input) -> Result<(), ExecError> {
        Ok(())
    }

    fn cause(&self, error: ExecError) -> ExecError {
        error
    }

    fn any(&self, own: bool) -> Result<bool, ExecError> {
        Ok(own)
    }

    fn first_failed(&self, has_failed: bool) -> Result<Option<usize>, ExecError> {
        Ok(has_failed.then_some(0))
    }

    fn failures(&self, own: Vec<StepFailure>) -> Result<Vec<StepFailure>, ExecError> {
        Ok(own)
    }

    fn output(&self, own: Option<N::Output>, _: &N::Input) -> Result<N::Output, ExecError> {
        Ok(own.expect("the last worker of a replica returns the output"))
    }

    fn step(
        &self,
        own: StepResults<Option<N::Output>>,
        input: &N::Input,
        _: Instant,
    ) -> Result<StepResults<N::Output>, ExecError> {
        let StepResults { output, timeline } = own;
        let output = Transport::<N>::output(self, output, input)?;
        Ok(StepResults { output, timeline })
    }

    fn input_gradient(
        &self,
        own: Option<N::Input>,
        _: &N::Input,
    ) -> Result<Option<N::Input>, ExecError> {
        Ok(own)
    }
}
