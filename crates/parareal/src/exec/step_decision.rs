//! The joint decision of all workers whether a step ends with an update.

use burn::tensor::Tensor;

use super::collectives::{Collectives, Disconnected};
use super::link::Link;
use super::loss::Loss;
use super::step::{Step, StepOf};
use super::step_failure::StepFailure;
use super::subnetwork_runner::SubnetworkRunner;
use super::worker::Worker;
use super::{device, gradient_clipping};
use crate::net::Coarsen;

impl<N, L, K, C> Worker<N, L, K, C>
where
    N: Coarsen,
    L: Loss<N::Output>,
    K: Link<N::State>,
    C: Collectives,
{
    /// Agrees with all other workers on whether the step ends with an update, and clips the gradients.
    pub(super) fn decide(&mut self, step: &mut StepOf<N, L>) -> Result<(), Disconnected> {
        let Step { reply, update, loss, squares, .. } = step;
        let clip_norm = update.and_then(|update| update.clip_norm);
        let recorded = squares.take();
        let squares = clip_norm
            .and_then(|_| recorded.or_else(|| gradient_clipping::total(self.squared_norms())));
        // The values are read after all work has been submitted to the device.
        let [loss, squares] = device::read([loss.take(), squares]);
        let failures = match step.has_recorded_gradients {
            // A pass is recorded only if it has none.
            true => 0,
            false => self.subnetworks.iter().filter(|subnetwork| subnetwork.has_failed()).count(),
        };
        let shared = [loss, reply.failures.len() as f64, failures as f64];
        let totals = self.reduce_totals(shared, squares)?;
        if let Some(graphs) = &self.launch_graphs {
            let may_record = usize::from(graphs.may_record());
            self.takes_turns = self.count(may_record)? > 0;
        }
        reply.loss = totals.loss;
        // An invalid target, a loss that is not finite, or a failure of the backward pass ends the step on
        // all workers before any of them updates its parameters.
        reply.is_abandoned = totals.targets > 0.0;
        let is_finite = update.is_none() || reply.loss.is_finite();
        if !reply.is_abandoned && is_finite && totals.failures > 0.0 {
            let failures = self.failures()?;
            reply.failures = if step.has_recorded_gradients { Vec::new() } else { failures };
            reply.is_abandoned = self.count(reply.failures.len())? > 0;
        }
        step.is_over = reply.is_abandoned || !is_finite;
        if let (Some(limit), false) = (clip_norm, step.is_over) {
            let norm = totals.squares.sqrt();
            reply.gradient_norm = Some(norm);
            match gradient_clipping::factor(norm, limit) {
                factor if step.has_recorded_gradients => step.gradient_factor = factor,
                factor => self.scale_gradients(factor),
            }
        }
        Ok(())
    }

    /// Sums the numbers that the update depends on over all workers: the loss and the numbers of invalid targets and of failed
    /// subnetworks, and the squared norm of the gradients. Only the last worker of each replica has a loss.
    fn reduce_totals(
        &mut self,
        mut shared: [f64; 3],
        squares: f64,
    ) -> Result<StepTotals, Disconnected> {
        if let Some(reducer) = &mut self.reducer {
            reducer.sum(&mut shared)?;
        }
        let [loss, targets, failures] = shared;
        let mut shared = [loss, targets, failures, squares];
        self.collectives.sum(&mut shared)?;
        let [loss, targets, failures, squares] = shared;
        Ok(StepTotals { loss, targets, failures, squares })
    }

    /// Returns the failures of the backward pass of this worker's subnetworks.
    fn failures(&mut self) -> Result<Vec<StepFailure>, Disconnected> {
        let unreached = self.subnetworks.iter().map(SubnetworkRunner::unreached).max().unwrap_or(0);
        let mut unreached = [unreached as f64];
        self.collectives.max(&mut unreached)?;
        let failure = |subnetwork: &SubnetworkRunner<N>| subnetwork.failure(unreached[0] as usize);
        Ok(self.subnetworks.iter().filter_map(failure).collect())
    }

    /// Sums a count over all workers.
    fn count(&mut self, own: usize) -> Result<usize, Disconnected> {
        let mut count = [own as f64];
        if let Some(reducer) = &mut self.reducer {
            reducer.sum(&mut count)?;
        }
        self.collectives.sum(&mut count)?;
        Ok(count[0] as usize)
    }

    pub(super) fn squared_norms(&self) -> impl Iterator<Item = Option<Tensor<1>>> {
        self.subnetworks.iter().map(|subnetwork| subnetwork.trained.squared_norm())
    }

    /// Multiplies all gradients by a factor of at most 1.
    fn scale_gradients(&mut self, factor: f64) {
        if factor < 1.0 {
            let subnetworks = self.subnetworks.iter_mut();
            subnetworks.for_each(|subnetwork| subnetwork.trained.scale_gradients(factor));
        }
    }
}

/// Totals over all workers.
struct StepTotals {
    loss: f64,
    /// The number of invalid targets.
    targets: f64,
    /// The number of subnetworks with a failure in their backward pass.
    failures: f64,
    /// The squared norm of the gradients; 0 if it is not needed.
    squares: f64,
}
