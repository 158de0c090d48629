use std::collections::VecDeque;
use std::sync::Arc;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::clock::{Clock, Record};
use super::fault::Fault;
use super::piece::{Finished, Piece};
use super::replicas::Sums;
use super::trained::Part;
use super::{Control, Disconnected, Link, Loss, Update, clip, device};
use crate::net::{Activation, Coarsen, Layer, NamedTensor, StateDict, SubnetworkOf, Value};

/// What a worker is told to do; all workers are told the same.
pub(super) enum Command<I, T> {
    /// Nothing; the reply says that the worker has been built.
    Ready,
    /// A training step; without an update the gradients are handed out instead of applied. The
    /// samples count for `share` of those of all replicas.
    Step { input: I, target: T, share: f64, update: Option<Update> },
    /// The output in evaluation mode.
    Infer { input: I },
    /// A part of each subnetwork, by names.
    Read { part: Part },
    /// Other values for this part; where they are all those of the network, they were looked over.
    Write { part: Part, state: Arc<StateDict> },
}

/// What a worker did.
pub(super) struct Reply<I, O> {
    /// The loss, as known to all.
    pub(super) loss: f64,
    /// The norm of all gradients, as known to all.
    pub(super) gradient_norm: Option<f64>,
    /// The network's output, from the last worker.
    pub(super) output: Option<O>,
    /// Gradients, or parameters and buffers.
    pub(super) tensors: Vec<NamedTensor>,
    /// This worker's subnetworks' parts of the gradient with respect to the input.
    pub(super) inputs: Vec<I>,
    /// Activities of this worker, in order.
    pub(super) records: Vec<Record>,
    /// Set where all workers have given up the step, without an update.
    pub(super) given_up: bool,
    /// Why, as far as it is due to this worker's subnetworks.
    pub(super) faults: Vec<Fault>,
}

impl<I, O> Default for Reply<I, O> {
    fn default() -> Self {
        Self {
            loss: 0.0,
            gradient_norm: None,
            output: None,
            tensors: Vec::new(),
            inputs: Vec::new(),
            records: Vec::new(),
            given_up: false,
            faults: Vec::new(),
        }
    }
}

/// The reply of a worker in the network `N`.
pub(super) type ReplyOf<N> =
    Reply<<N as crate::net::FeedForward>::Input, <N as crate::net::FeedForward>::Output>;

/// One device with the consecutive subnetworks that it holds and the links to its neighbours.
pub(super) struct Worker<N: Coarsen, L, K, C> {
    pub(super) pieces: Vec<Piece<N>>,
    pub(super) loss: L,
    pub(super) device: Device,
    pub(super) clock: Clock,
    pub(super) upstream: Option<K>,
    pub(super) downstream: Option<K>,
    pub(super) control: C,
    /// What is added up with the other replicas, where there are some.
    pub(super) sums: Option<Sums>,
    /// The subnetworks in evaluation mode, until the next training step.
    pub(super) validation: Option<Vec<SubnetworkOf<N>>>,
}

impl<N, L, K, C> Worker<N, L, K, C>
where
    N: Coarsen,
    L: Loss<N::Output>,
    K: Link<N::State>,
    C: Control,
{
    pub(super) fn run(
        &mut self,
        command: Command<N::Input, L::Target>,
    ) -> Result<ReplyOf<N>, Disconnected> {
        match command {
            Command::Step { input, target, share, update } => {
                self.step(input, target, share, update)
            }
            Command::Ready => Ok(Reply::default()),
            Command::Infer { input } => self.infer(input),
            Command::Read { part } => {
                let tensors = self.pieces.iter().map(|piece| piece.trained.read(part));
                let tensors = tensors.collect::<Result<Vec<_>, _>>();
                let tensors = tensors.expect("a record that was just made can be read").concat();
                Ok(Reply { tensors, ..Reply::default() })
            }
            Command::Write { part, state } => {
                self.validation = None;
                for piece in &mut self.pieces {
                    let written = piece.trained.write(part, &state);
                    written.expect("checked before it was sent, or the state of an optimizer");
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
            Some(corrected) => match self.finish(corrected, target, share)? {
                Ok(finished) => {
                    reply.output = Some(finished.output);
                    loss = Some(finished.loss);
                    finished.rho
                }
                Err(fault) => {
                    reply.faults.extend(fault);
                    None
                }
            },
            None => Some(self.receive_downstream()?),
        };
        self.begin_statistics(share)?;
        if self.downstream.is_none() {
            self.begin_sum(self.pieces.len() - 1)?;
        }
        reply.inputs = self.backward(rho)?;
        self.clock.pause();
        self.end_sums()?;

        let clip_norm = update.and_then(|update| update.clip_norm);
        let squares = clip_norm.and_then(|_| clip::total(self.squared_norms()));
        // Read only now, when the device has got all of its work.
        let [loss, squares] = device::read([loss, squares]);
        let agreed = self.agree(loss, reply.faults.len(), squares)?;
        reply.loss = agreed.loss;
        // A target that does not fit, a loss that is not finite or a fault of the backward pass ends
        // the step for all workers before any of them updates.
        reply.given_up = agreed.targets > 0.0;
        let is_finite = update.is_none() || reply.loss.is_finite();
        if !reply.given_up && is_finite && agreed.faults > 0.0 {
            reply.faults = self.faults()?;
            reply.given_up = self.count(reply.faults.len())? > 0;
        }
        if reply.given_up || !is_finite {
            self.forget();
            return Ok(reply);
        }
        match update {
            Some(update) => {
                if let Some(limit) = clip_norm {
                    reply.gradient_norm = Some(self.clip(agreed.squares, limit));
                }
                let Self { pieces, clock, .. } = self;
                pieces.iter_mut().for_each(|piece| piece.update(clock, update));
            }
            None => {
                let pieces = self.pieces.iter_mut();
                reply.tensors =
                    pieces.flat_map(|piece| piece.trained.take_named_gradients()).collect();
            }
        }
        reply.records = self.clock.finish();
        Ok(reply)
    }

    /// The output and the loss of the last worker, or the fault of its target: `None` where only
    /// that of another replica does not fit. Then no replica differentiates, so that all of them
    /// have the same gradients to add up.
    fn finish(
        &mut self,
        corrected: N::State,
        target: L::Target,
        share: f64,
    ) -> Result<Result<Finished<N>, Option<Fault>>, Disconnected> {
        let Self { pieces, clock, loss, .. } = self;
        let last = pieces.last_mut().expect("a worker holds a piece");
        let finished = last.finish(clock, corrected, loss, target, share);
        let fault = finished.as_ref().err().map(|error| Fault::Target(error.to_string()));
        let mut faults = [f64::from(u8::from(fault.is_some()))];
        if let Some(sums) = &mut self.sums {
            self.clock.pause();
            sums.scalars(&mut faults)?;
        }
        match finished {
            Ok(finished) if faults[0] == 0.0 => Ok(Ok(finished)),
            _ => {
                let last = self.pieces.last_mut().expect("a worker holds a piece");
                last.trained.gradients = GradientsParams::new();
                Ok(Err(fault))
            }
        }
    }

    /// Fine work and the chain, the chain first whenever it can go on. Gives `U_N` on the last
    /// worker; on the others it is on its way downstream.
    fn forward(
        &mut self,
        input: N::Input,
        input_gradient: bool,
    ) -> Result<Option<N::State>, Disconnected> {
        let input = input.to_device(&self.device);
        let mut chain = Chain { next: 0, value: None };
        for fine in 0..self.pieces.len() {
            self.pieces[fine].start(&mut self.clock, input.clone(), input_gradient);
            while self.pieces[fine].advance(&mut self.clock) {
                self.follow_chain(&mut chain, fine, false)?;
            }
            self.follow_chain(&mut chain, fine + 1, false)?;
        }
        self.follow_chain(&mut chain, self.pieces.len(), true)?;
        Ok(chain.value)
    }

    /// Takes the chain through the pieces before `ready`, whose `y_j` are known, as far as it has
    /// come; where `wait` is set, to the end.
    fn follow_chain(
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
            let corrected = self.pieces[chain.next].correct(&mut self.clock, chain.value.take());
            chain.next += 1;
            match &mut self.downstream {
                Some(link) if chain.next == self.pieces.len() => {
                    self.clock.pause();
                    link.send(corrected)?;
                }
                _ => chain.value = Some(corrected),
            }
        }
        Ok(())
    }

    /// The chain backward, its cotangent sent upstream before anything that nobody waits for: then
    /// what gradients of the chain's weights are left, and the fine work.
    fn backward(&mut self, mut rho: Option<N::State>) -> Result<Vec<N::Input>, Disconnected> {
        // What waits costs a little more, and pays where somebody waits for the cotangent.
        let defer = self.upstream.is_some();
        for piece in self.pieces.iter_mut().rev() {
            rho = piece.correct_backward(&mut self.clock, rho, defer);
        }
        if let Some(link) = &mut self.upstream {
            self.clock.pause();
            link.send(rho.unwrap_or_else(|| self.pieces[0].zero_cotangent()))?;
        }
        for piece in (0..self.pieces.len()).rev() {
            self.pieces[piece].settle(&mut self.clock);
            self.begin_sum(piece)?;
        }
        let mut inputs = Vec::new();
        for piece in 0..self.pieces.len() {
            while self.pieces[piece].retreat(&mut self.clock) {
                self.begin_sum(piece)?;
            }
            inputs.extend(self.pieces[piece].end(&mut self.clock));
            self.begin_sum(piece)?;
        }
        Ok(inputs)
    }

    /// Begins to add up with the other replicas what gradients of a piece are there, while the
    /// others are computed.
    fn begin_sum(&mut self, piece: usize) -> Result<(), Disconnected> {
        let Some(sums) = &mut self.sums else { return Ok(()) };
        self.clock.pause();
        let (module, gradients) = self.pieces[piece].trained.parts();
        sums.begin_gradients(piece, module, gradients)
    }

    /// Begins to average the running statistics, which the forward pass has changed.
    fn begin_statistics(&mut self, share: f64) -> Result<(), Disconnected> {
        let Some(sums) = &mut self.sums else { return Ok(()) };
        self.clock.pause();
        for (index, piece) in self.pieces.iter().enumerate() {
            sums.begin_statistics(index, piece.trained.module(), share)?;
        }
        Ok(())
    }

    /// Waits for all that was begun to be added up.
    fn end_sums(&mut self) -> Result<(), Disconnected> {
        let Self { sums, pieces, .. } = self;
        if let Some(sums) = sums {
            while sums.end_next(|piece| pieces[piece].trained.parts())? {}
        }
        Ok(())
    }

    /// Adds up over all workers what decides on the update; only the last worker of each replica has
    /// a loss.
    fn agree(&mut self, loss: f64, targets: usize, squares: f64) -> Result<Agreed, Disconnected> {
        let faults = self.pieces.iter().filter(|piece| piece.is_faulty()).count();
        let mut shared = [loss, targets as f64, faults as f64];
        if let Some(sums) = &mut self.sums {
            sums.scalars(&mut shared)?;
        }
        let [loss, targets, faults] = shared;
        let mut shared = [loss, targets, faults, squares];
        self.control.sum(&mut shared)?;
        let [loss, targets, faults, squares] = shared;
        Ok(Agreed { loss, targets, faults, squares })
    }

    /// Faults of the backward pass of this worker's subnetworks.
    fn faults(&mut self) -> Result<Vec<Fault>, Disconnected> {
        let unreached = self.pieces.iter().map(Piece::unreached).max().unwrap_or(0);
        let mut unreached = [unreached as f64];
        self.control.max(&mut unreached)?;
        let fault = |piece: &Piece<N>| piece.fault(unreached[0] as usize);
        Ok(self.pieces.iter().filter_map(fault).collect())
    }

    /// The sum of a count over all workers.
    fn count(&mut self, own: usize) -> Result<usize, Disconnected> {
        let mut count = [own as f64];
        if let Some(sums) = &mut self.sums {
            sums.scalars(&mut count)?;
        }
        self.control.sum(&mut count)?;
        Ok(count[0] as usize)
    }

    fn squared_norms(&self) -> impl Iterator<Item = Option<Tensor<1>>> {
        self.pieces.iter().map(|piece| piece.trained.squared_norm())
    }

    /// Scales the gradients down to a norm, given the sum of the squares of all workers' ones, and
    /// gives the norm that they had.
    fn clip(&mut self, squares: f64, limit: f64) -> f64 {
        let norm = squares.sqrt();
        let factor = clip::factor(norm, limit);
        if factor < 1.0 {
            self.pieces.iter_mut().for_each(|piece| piece.trained.scale_gradients(factor));
        }
        norm
    }

    fn receive_downstream(&mut self) -> Result<N::State, Disconnected> {
        self.clock.pause();
        let link = self.downstream.as_mut().expect("all but the last have one downstream");
        Ok(link.receive()?.to_device(&self.device))
    }

    /// Drops what an abandoned step has left.
    fn forget(&mut self) {
        for piece in &mut self.pieces {
            piece.abandon();
        }
    }

    fn infer(&mut self, input: N::Input) -> Result<ReplyOf<N>, Disconnected> {
        if let Some(link) = &mut self.upstream {
            link.expect(input.samples());
        }
        let input = input.to_device(&self.device);
        let modules = self.validation.get_or_insert_with(|| {
            self.pieces.iter().map(|piece| piece.trained.judged()).collect()
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
struct Agreed {
    loss: f64,
    /// Targets that do not fit.
    targets: f64,
    /// Pieces with a fault in their backward pass.
    faults: f64,
    /// The squared norm of the gradients, where it is asked for.
    squares: f64,
}

/// How far the chain has come within a worker: `U` before the piece `next`.
struct Chain<S> {
    next: usize,
    value: Option<S>,
}
