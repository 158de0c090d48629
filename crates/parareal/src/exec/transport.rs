//! Communication between the processes that run the workers of an executor.

use std::time::Instant;

use burn::tensor::Device;

use super::all_reduce::{AllReduce, thread_all_reduce};
use super::collectives::{Collectives, ThreadCollectives};
use super::error::ExecError;
use super::link::{ChannelLink, Link};
use super::step_failure::StepFailure;
use crate::net::Coarsen;
use crate::timeline::Timeline;

/// Communication between the processes that run the workers of an executor: links and collectives between
/// workers of different processes, and the exchange of results.
///
/// All processes must make the same calls in the same order.
pub(super) trait Transport<N: Coarsen>: Send + 'static {
    /// An interface between two workers of the same process or of two processes.
    type Link: Link<N::State> + From<ChannelLink<N::State>> + 'static;
    /// Collective operations over the workers of a replica.
    type Collectives: Collectives + 'static;

    /// True if workers may wait for other processes.
    const SEVERAL: bool;

    /// Returns the link of this process's first worker, on `device`, to the upstream worker in another
    /// process, if there is one.
    fn upstream(&self, device: &Device) -> Option<Self::Link>;

    /// Returns the link of this process's last worker, on `device`, to the downstream worker in another
    /// process, if there is one.
    fn downstream(&self, device: &Device) -> Option<Self::Link>;

    /// Extends the collectives of the workers of this process to all workers of the replica. `worker` is the
    /// index of the worker within its replica and process, from 0.
    fn collectives(&self, worker: usize, local: ThreadCollectives) -> Self::Collectives;

    /// Returns the all-reduces between a worker and the corresponding workers of other replicas: one for each
    /// of the `replicas` of this process, in order.
    fn all_reduces(&self, worker: usize, replicas: usize) -> Vec<Box<dyn AllReduce>>;

    /// Checks the shape of a batch, on which the messages between processes depend.
    ///
    /// # Errors
    /// [`ExecError::SampleShape`].
    fn check_input(&self, input: &N::Input) -> Result<(), ExecError>;

    /// Returns the communication failure that caused an error of this process's workers, or the error itself
    /// if there was none.
    fn cause(&self, error: ExecError) -> ExecError;

    /// Returns true if any process has the value `true`.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn any(&self, own: bool) -> Result<bool, ExecError>;

    /// Exchanges whether each process has failed, and returns the first one that has.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn first_failed(&self, has_failed: bool) -> Result<Option<usize>, ExecError>;

    /// Gathers the failures of all processes that made them abandon a step.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn failures(&self, own: Vec<StepFailure>) -> Result<Vec<StepFailure>, ExecError>;

    /// Returns the output of all replicas. `own` is the part of this process, if it has one.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn output(&self, own: Option<N::Output>, input: &N::Input) -> Result<N::Output, ExecError>;

    /// Returns the output and the activities of all replicas in a training step that this process began at
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

    /// Returns the gradient with respect to the input, if there is one. `own` is the contribution of this
    /// process.
    ///
    /// # Errors
    /// [`ExecError::Ranks`].
    fn input_gradient(
        &self,
        own: Option<N::Input>,
        input: &N::Input,
    ) -> Result<Option<N::Input>, ExecError>;
}

/// Results of a training step, for one process or for all processes.
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
