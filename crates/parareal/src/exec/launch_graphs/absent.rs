//! Launch graphs without the feature `cube`, where no device can record launches.

use std::convert::Infallible;
use std::marker::PhantomData;

use burn::module::Module;

use super::collectives::{Collectives, Disconnected};
use super::link::Link;
use super::loss::Loss;
use super::program::{Message, Operation};
use super::step::StepOf;
use super::trained_module::TrainedModule;
use super::update::Update;
use super::worker::Worker;
use crate::net::Coarsen;
use crate::timeline::Activity;

/// No launch graphs: this type has no values.
pub(super) struct LaunchGraphs<N>(Infallible, PhantomData<N>);

impl<N: Coarsen> LaunchGraphs<N> {
    pub(super) fn reset(&mut self) {
        match self.0 {}
    }

    pub(super) fn may_record(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn update<M: Module>(&mut self, _: &mut TrainedModule<M>, _: Update) {
        match self.0 {}
    }

    pub(super) fn note(&mut self, _: Option<Message>, _: &N::State) {
        match self.0 {}
    }
}

impl<N, L, K, C> Worker<N, L, K, C>
where
    N: Coarsen,
    L: Loss<N::Output>,
    K: Link<N::State>,
    C: Collectives,
{
    /// Returns false: no step will be replayed.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature `cube`")]
    pub(super) fn begin_launch_graphs(
        &mut self,
        _: &mut StepOf<N, L>,
    ) -> Result<bool, Disconnected> {
        Ok(false)
    }

    pub(super) fn recorded_work(&self, _: usize) -> Option<(Activity, usize)> {
        None
    }

    pub(super) fn replay(
        &mut self,
        step: &mut StepOf<N, L>,
        _: usize,
        operation: &Operation,
    ) -> Result<(), Disconnected> {
        self.execute_in_step(step, operation)
    }
}
