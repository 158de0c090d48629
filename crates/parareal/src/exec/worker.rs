use std::collections::VecDeque;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::clock::Clock;
use super::collectives::{Collectives, Disconnected};
use super::command::{Command, Reply, ReplyOf};
use super::link::Link;
use super::loss::Loss;
use super::reducer::Reducer;
use super::step_failure::StepFailure;
use super::subnetwork_runner::{Finished, SubnetworkRunner};
use super::update::Update;
use super::{device, gradient_clipping};
use crate::net::{Activation, Coarsen, Layer, SubnetworkOf, Value};
use crate::random::{self, StepKey};

/// A worker: one device with its consecutive subnetworks and the links to its neighbors.
pub(super) struct Worker<N: Coarsen, L, K, C> {
    pub(super) subnetworks: Vec<SubnetworkRunner<N>>,
    pub(super) loss: L,
    pub(super) device: Device,
    /// The replica that the worker belongs to, from 0.
    pub(super) replica: usize,
    pub(super) clock: Clock,
    pub(super) upstream: Option<K>,
    pub(super) downstream: Option<K>,
    pub(super) collectives: C,
    /// Reductions over the replicas, if there are several.
    pub(super) reducer: Option<Reducer>,
    /// The subnetworks in evaluation mode, until the next training step.
    pub(super) validation: Option<Vec<SubnetworkOf<N>>>,
}

impl<N, L, K, C> Worker<N, L, K, C>
where
    N: Coarsen,
    L: Loss<N::Output>,
    K: Link<N::State>,
    C: Collectives,
{
    pub(super) fn run(
        &mut self,
        command: Command<N::Input, L::Target>,
    ) -> Result<ReplyOf<N>, Disconnected> {
        match command {
            Command::Step { number, input, target, share, update } => {
                let (seed, replica) = (self.subnetworks[0].seed(), self.replica);
                let key = StepKey { seed, step: number, replica };
                random::in_step(key, || self.step(input, target, share, update))
            }
            Command::Ready => Ok(Reply::default()),
            Command::Infer { input } => self.infer(input),
            Command::Read { kind } => {
                let tensors =
                    self.subnetworks.iter().map(|subnetwork| subnetwork.trained.read(kind));
                let tensors = tensors.collect::<Result<Vec<_>, _>>();
                let tensors = tensors.expect("a record that was just made can be read").concat();
                Ok(Reply { tensors, ..Reply::default() })
            }
            Command::CheckOptimizer { state } => {
                let mut subnetworks = self.subnetworks.iter();
                let refused = subnetworks.find_map(|own| own.trained.check_optimizer(&state).err());
                Ok(Reply { refused, ..Reply::default() })
            }
            Command::Write { kind, state } => {
                self.validation = None;
                for subnetwork in &mut self.subnetworks {
                    let written = subnetwork.trained.write(kind, &state);
                    written.expect("checked before it was sent");
                }
                Ok(Reply::default())
            }
        }
    }

    /// The program of a training step.
    fn step(
        &mut self,
        input: N::Input,
        target: L::Target,
        share: f64,
        update: Option<Update>,
    ) -> Result<ReplyOf<N>, Disconnected> {
        self.validation = None;
        for link in self.upstream.iter_mut().chain(&mut self.downstream) {
            link.expect(input.samples());
        }
        self.clock.start();
        let corrected = self.forward(input, update.is_none())?;

        let mut reply = Reply::default();
        let mut loss = None;
        let rho = match corrected {
            Some(corrected) => {
                let finished = self.forward_head(corrected, target, share)?;
                self.merge_statistics();
                match finished {
                    Ok(finished) => {
                        reply.output = Some(finished.output);
                        loss = Some(finished.loss);
                        finished.rho
                    }
                    Err(failure) => {
                        reply.failures.extend(failure);
                        None
                    }
                }
            }
            None => {
                self.merge_statistics();
                Some(self.receive_downstream()?)
            }
        };
        self.start_statistics(share)?;
        if self.downstream.is_none() {
            self.start_gradients(self.subnetworks.len() - 1)?;
        }
        reply.inputs = self.backward(rho)?;
        self.clock.pause();
        self.finish_reductions()?;

        let clip_norm = update.and_then(|update| update.clip_norm);
        let squares = clip_norm.and_then(|_| gradient_clipping::total(self.squared_norms()));
        // Read after all work has been submitted to the device.
        let [loss, squares] = device::read([loss, squares]);
        let totals = self.reduce_totals(loss, reply.failures.len(), squares)?;
        reply.loss = totals.loss;
        // An invalid target, a loss that is not finite or a failure of the backward pass ends the step
        // for all workers before any of them updates.
        reply.is_abandoned = totals.targets > 0.0;
        let is_finite = update.is_none() || reply.loss.is_finite();
        if !reply.is_abandoned && is_finite && totals.failures > 0.0 {
            reply.failures = self.failures()?;
            reply.is_abandoned = self.count(reply.failures.len())? > 0;
        }
        if reply.is_abandoned || !is_finite {
            self.discard_step();
            return Ok(reply);
        }
        match update {
            Some(update) => {
                if let Some(limit) = clip_norm {
                    reply.gradient_norm = Some(self.clip(totals.squares, limit));
                }
                let Self { subnetworks, clock, .. } = self;
                subnetworks.iter_mut().for_each(|subnetwork| subnetwork.update(clock, update));
            }
            None => {
                let subnetworks = self.subnetworks.iter_mut();
                reply.tensors = subnetworks
                    .flat_map(|subnetwork| subnetwork.trained.take_named_gradients())
                    .collect();
            }
        }
        reply.records = self.clock.finish();
        Ok(reply)
    }

    /// Computes the output and the loss on the last worker. The error is the failure of its target, or
    /// `None` if only that of another replica is invalid: then no replica differentiates, so that all
    /// have the same gradients to reduce.
    fn forward_head(
        &mut self,
        corrected: N::State,
        target: L::Target,
        share: f64,
    ) -> Result<Result<Finished<N>, Option<StepFailure>>, Disconnected> {
        let Self { subnetworks, clock, loss, .. } = self;
        let last = subnetworks.last_mut().expect("a worker holds a subnetwork");
        let finished = last.forward_head(clock, corrected, loss, target, share);
        let failure = finished.as_ref().err().cloned();
        let mut failures = [f64::from(u8::from(failure.is_some()))];
        if let Some(reducer) = &mut self.reducer {
            self.clock.pause();
            reducer.sum(&mut failures)?;
        }
        match finished {
            Ok(finished) if failures[0] == 0.0 => Ok(Ok(finished)),
            _ => {
                let last = self.subnetworks.last_mut().expect("a worker holds a subnetwork");
                last.trained.gradients = GradientsParams::new();
                Ok(Err(failure))
            }
        }
    }

    /// Runs the forward pass: fine work and the chain, the chain first whenever it can go on. Returns
    /// `U_N` on the last worker; the others send their result downstream.
    fn forward(
        &mut self,
        input: N::Input,
        input_gradient: bool,
    ) -> Result<Option<N::State>, Disconnected> {
        let input = input.to_device(&self.device);
        let mut chain = Chain { next: 0, value: None };
        for fine in 0..self.subnetworks.len() {
            self.subnetworks[fine].forward_preprocessing(
                &mut self.clock,
                input.clone(),
                input_gradient,
            );
            while self.subnetworks[fine].forward_segment(&mut self.clock) {
                self.advance_chain(&mut chain, fine, false)?;
            }
            self.advance_chain(&mut chain, fine + 1, false)?;
        }
        self.advance_chain(&mut chain, self.subnetworks.len(), true)?;
        Ok(chain.value)
    }

    /// Advances the chain through the subnetworks before `ready`, whose `y_j` are known, if its input
    /// has arrived. With `wait` it waits for the input.
    fn advance_chain(
        &mut self,
        chain: &mut Chain<N::State>,
        ready: usize,
        wait: bool,
    ) -> Result<(), Disconnected> {
        while chain.next < ready {
            if chain.next == 0
                && chain.value.is_none()
                && let Some(link) = &mut self.upstream
            {
                let received = match wait {
                    true => {
                        self.clock.pause();
                        Some(link.receive()?)
                    }
                    false => link.try_receive()?,
                };
                let Some(received) = received else { return Ok(()) };
                chain.value = Some(received.to_device(&self.device));
            }
            let corrected =
                self.subnetworks[chain.next].forward_coarse(&mut self.clock, chain.value.take());
            chain.next += 1;
            match &mut self.downstream {
                Some(link) if chain.next == self.subnetworks.len() => {
                    self.clock.pause();
                    link.send(corrected)?;
                }
                _ => chain.value = Some(corrected),
            }
        }
        Ok(())
    }

    /// Runs the backward pass: the chain first, whose cotangent is sent upstream at once, then the
    /// remaining gradients of the coarse networks' weights, then the fine work.
    fn backward(&mut self, mut rho: Option<N::State>) -> Result<Vec<N::Input>, Disconnected> {
        // Deferring costs a little, and pays off if another worker waits for the cotangent.
        let defer = self.upstream.is_some();
        for subnetwork in self.subnetworks.iter_mut().rev() {
            rho = subnetwork.backward_coarse(&mut self.clock, rho, defer);
        }
        if let Some(link) = &mut self.upstream {
            self.clock.pause();
            link.send(rho.unwrap_or_else(|| self.subnetworks[0].zero_cotangent()))?;
        }
        for subnetwork in (0..self.subnetworks.len()).rev() {
            self.subnetworks[subnetwork].backward_coarse_weights(&mut self.clock);
            self.start_gradients(subnetwork)?;
        }
        let mut inputs = Vec::new();
        for subnetwork in 0..self.subnetworks.len() {
            while self.subnetworks[subnetwork].backward_segment(&mut self.clock) {
                self.start_gradients(subnetwork)?;
            }
            inputs.extend(self.subnetworks[subnetwork].backward_preprocessing(&mut self.clock));
            self.start_gradients(subnetwork)?;
        }
        Ok(inputs)
    }

    /// Starts to reduce the gradients that a subnetwork has so far over the replicas, while the others are
    /// computed.
    fn start_gradients(&mut self, subnetwork: usize) -> Result<(), Disconnected> {
        let Some(reducer) = &mut self.reducer else { return Ok(()) };
        self.clock.pause();
        let (module, gradients) = self.subnetworks[subnetwork].trained.parts();
        reducer.start_gradients(subnetwork, module, gradients)
    }

    /// Merges the updates of the running statistics in the forward pass.
    fn merge_statistics(&mut self) {
        self.clock.pause();
        self.subnetworks.iter_mut().for_each(|subnetwork| subnetwork.trained.merge_statistics());
    }

    /// Starts to average the running statistics, which the forward pass has changed.
    fn start_statistics(&mut self, share: f64) -> Result<(), Disconnected> {
        let Some(reducer) = &mut self.reducer else { return Ok(()) };
        self.clock.pause();
        for (index, subnetwork) in self.subnetworks.iter().enumerate() {
            reducer.start_statistics(index, subnetwork.trained.module(), share)?;
        }
        Ok(())
    }

    /// Waits for all reductions.
    fn finish_reductions(&mut self) -> Result<(), Disconnected> {
        let Self { reducer, subnetworks, .. } = self;
        if let Some(reducer) = reducer {
            while reducer.finish_next(|subnetwork| subnetworks[subnetwork].trained.parts())? {}
        }
        Ok(())
    }

    /// Sums over all workers the numbers that decide on the update. Only the last worker of each replica
    /// has a loss.
    fn reduce_totals(
        &mut self,
        loss: f64,
        targets: usize,
        squares: f64,
    ) -> Result<StepTotals, Disconnected> {
        let failures = self.subnetworks.iter().filter(|subnetwork| subnetwork.has_failed()).count();
        let mut shared = [loss, targets as f64, failures as f64];
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

    fn squared_norms(&self) -> impl Iterator<Item = Option<Tensor<1>>> {
        self.subnetworks.iter().map(|subnetwork| subnetwork.trained.squared_norm())
    }

    /// Clips the gradients to a norm, given the sum of their squares over all workers, and returns the norm
    /// that they had.
    fn clip(&mut self, squares: f64, limit: f64) -> f64 {
        let norm = squares.sqrt();
        let factor = gradient_clipping::factor(norm, limit);
        if factor < 1.0 {
            self.subnetworks
                .iter_mut()
                .for_each(|subnetwork| subnetwork.trained.scale_gradients(factor));
        }
        norm
    }

    fn receive_downstream(&mut self) -> Result<N::State, Disconnected> {
        self.clock.pause();
        let link = self.downstream.as_mut().expect("all but the last have one downstream");
        Ok(link.receive()?.to_device(&self.device))
    }

    /// Discards the state of an abandoned step.
    fn discard_step(&mut self) {
        for subnetwork in &mut self.subnetworks {
            subnetwork.discard_step();
        }
    }

    fn infer(&mut self, input: N::Input) -> Result<ReplyOf<N>, Disconnected> {
        if let Some(link) = &mut self.upstream {
            link.expect(input.samples());
        }
        let input = input.to_device(&self.device);
        let modules = self.validation.get_or_insert_with(|| {
            self.subnetworks
                .iter()
                .map(|subnetwork| subnetwork.trained.evaluation_module())
                .collect()
        });
        let fine: VecDeque<_> = modules
            .iter()
            .map(|module| {
                let x = module.preprocessing.forward(input.clone());
                let y = module.units.iter().fold(x.clone(), |state, unit| unit.forward(state));
                (x, y)
            })
            .collect();
        let mut chain = match &mut self.upstream {
            Some(link) => Some(link.receive()?.to_device(&self.device)),
            None => None,
        };
        for (module, (x, y)) in modules.iter().zip(fine) {
            chain = Some(match (chain, &module.coarse) {
                (Some(upstream), Some(coarse)) => y.plus(coarse.forward(upstream.minus(x))),
                _ => y,
            });
        }
        let mut reply = Reply::default();
        let last = modules.last().and_then(|module| module.postprocessing.as_ref());
        match (&mut self.downstream, chain, last) {
            (Some(link), Some(chain), _) => link.send(chain)?,
            (None, Some(chain), Some(h)) => reply.output = Some(h.forward(chain)),
            _ => {}
        }
        Ok(reply)
    }
}

/// Sums over all workers.
struct StepTotals {
    loss: f64,
    /// The number of invalid targets.
    targets: f64,
    /// The number of subnetworks with a failure in their backward pass.
    failures: f64,
    /// The squared norm of the gradients, if it is needed.
    squares: f64,
}

/// The progress of the chain within a worker: `U` before the subnetwork `next`.
struct Chain<S> {
    next: usize,
    value: Option<S>,
}
