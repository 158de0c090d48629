use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use rayon::ThreadPool;

use super::crew::pool;
use super::device::{is_cpu, operation_threads, read};
use super::executor::check_batch;
use super::trained::{Part, Trained};
use super::{ExecError, Executor, GradientReport, Loss, StepReport, Update, clip};
use crate::net::{
    Activation, Coarsen, Cuts, NamedTensor, PararealNetwork, StateDict, SubnetworkOf, Value,
};
use crate::timeline::Timeline;

/// The whole parareal network on one device, as one automatic differentiation graph. The
/// reference for the other executors.
///
/// It evaluates the chain of neighbours, whose roundings are those of the other executors: in
/// single precision another order of additions moves a few activations across the kink of a ReLU.
pub struct Sequential<N: Coarsen, L> {
    pieces: Vec<Trained<SubnetworkOf<N>>>,
    cuts: Cuts,
    validation: Option<PararealNetwork<N>>,
    loss: L,
    device: Device,
    pool: ThreadPool,
}

/// Results of a forward and a backward pass, besides the gradients of the parameters.
struct Differentiated<N: Coarsen> {
    loss: f64,
    output: N::Output,
    input: Option<N::Input>,
}

impl<N: Coarsen, L: Loss<N::Output>> Sequential<N, L> {
    /// Moves the network to `device`; `threads` cores share the work of each operation there.
    ///
    /// # Errors
    /// Where the operating system gives no threads.
    pub fn new(
        network: PararealNetwork<N>,
        loss: L,
        optimizer: &ModuleOptimizer,
        device: &Device,
        threads: usize,
    ) -> Result<Self, ExecError> {
        let cuts = network.cuts().clone();
        let subnetworks = network.into_subnetworks().into_iter();
        let pool = pool("parareal-sequential", operation_threads(device, threads))?;
        let pieces = pool.install(|| {
            let trained = subnetworks.map(|module| Trained::new(module, device, optimizer));
            trained.collect()
        });
        Ok(Self { pieces, cuts, validation: None, loss, device: device.clone(), pool })
    }

    /// The network, sharing its tensors with the pieces.
    fn network(&self) -> PararealNetwork<N> {
        self.gather(|piece| piece.module().clone())
    }

    fn gather(
        &self,
        part: impl Fn(&Trained<SubnetworkOf<N>>) -> SubnetworkOf<N>,
    ) -> PararealNetwork<N> {
        let subnetworks = self.pieces.iter().map(part).collect();
        PararealNetwork::from_subnetworks(subnetworks, self.cuts.clone())
    }

    /// Forward and backward; the gradients stay with the pieces.
    fn differentiate(
        &mut self,
        input: N::Input,
        target: L::Target,
        input_gradient: bool,
    ) -> Result<Differentiated<N>, ExecError> {
        check_batch(&input, &target)?;
        let network = self.network();
        self.validation = None;
        let Self { pieces, loss, device, pool, .. } = self;
        pool.install(move || {
            let input = input.to_device(device);
            let input = if input_gradient { input.leaf() } else { input.constant() };
            let output = network.forward_chain(input.clone());
            let check = loss.check(&output, &target);
            check.map_err(|error| ExecError::Target(error.to_string()))?;
            let loss = loss.forward(output.clone(), target.to_device(device));
            let value = loss.clone().inner();
            let mut input_gradient = None;
            if loss.is_tracked() {
                let mut gradients = loss.backward();
                input_gradient = input.take_gradient(&mut gradients);
                for piece in pieces {
                    piece.collect(|module, into| module.visit(into), &mut gradients);
                }
            }
            // Read only now, when the device has got all of its work.
            let loss = value.into_scalar::<f64>();
            Ok(Differentiated { loss, output: output.values(), input: input_gradient })
        })
    }

    /// Checks that every parameter that requires a gradient has one.
    fn check_gradients(&mut self) -> Result<(), ExecError> {
        if self.pieces.iter().all(Trained::has_all_gradients) {
            return Ok(());
        }
        let names = self.pieces.iter().flat_map(Trained::names_without_gradient).collect();
        self.drop_gradients();
        Err(ExecError::NoGradient { names })
    }

    fn drop_gradients(&mut self) {
        for piece in &mut self.pieces {
            piece.gradients = GradientsParams::new();
        }
    }
}

impl<N: Coarsen, L: Loss<N::Output>> Executor<N, L> for Sequential<N, L> {
    fn train_step_with(
        &mut self,
        input: N::Input,
        target: L::Target,
        update: Update,
    ) -> Result<StepReport<N::Output>, ExecError> {
        let begun = Instant::now();
        update.check()?;
        if self.pieces.iter().all(|piece| piece.trainable() == 0) {
            return Err(ExecError::NothingToTrain);
        }
        let Differentiated { loss, output, .. } = self.differentiate(input, target, false)?;
        if !loss.is_finite() {
            self.drop_gradients();
            return Err(ExecError::LossNotFinite { loss });
        }
        self.check_gradients()?;
        let Self { pieces, pool, device, .. } = self;
        let gradient_norm = pool.install(|| {
            let gradient_norm = update.clip_norm.map(|limit| {
                let [squares] = read([clip::total(pieces.iter().map(Trained::squared_norm))]);
                let norm = squares.sqrt();
                let factor = clip::factor(norm, limit);
                if factor < 1.0 {
                    pieces.iter_mut().for_each(|piece| piece.scale_gradients(factor));
                }
                norm
            });
            pieces.iter_mut().for_each(|piece| piece.update(update));
            if !is_cpu(device) {
                // The step takes until it is executed; an error shows up where results are read.
                let _ = device.sync();
            }
            gradient_norm
        });
        let (duration, subnetworks) = (begun.elapsed(), Vec::new());
        let timeline = Timeline::default();
        Ok(StepReport { loss, output, gradient_norm, duration, subnetworks, timeline })
    }

    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError> {
        let Differentiated { loss, output, input } = self.differentiate(input, target, true)?;
        self.check_gradients()?;
        let gradients = self.pieces.iter_mut().flat_map(Trained::take_named_gradients).collect();
        Ok(GradientReport { loss, output, gradients, input })
    }

    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError> {
        if input.samples() == 0 {
            return Err(ExecError::EmptyBatch);
        }
        let network = match self.validation.take() {
            Some(network) => network,
            None => self.gather(Trained::judged),
        };
        let network = self.validation.insert(network);
        let device = &self.device;
        Ok(self.pool.install(move || network.forward_chain(input.to_device(device))))
    }

    /// A part of all subnetworks, by names.
    fn read(&mut self, part: Part) -> Result<Vec<NamedTensor>, ExecError> {
        let parts = self.pieces.iter().map(|piece| piece.read(part));
        Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Other values for a part.
    fn write(&mut self, part: Part, state: StateDict) -> Result<(), ExecError> {
        // Nothing is replaced where something is wrong. To load it into a copy would not do: it
        // would share its running statistics.
        let tensors = self.read(Part::Weights)?.into_iter();
        let layout: Vec<_> =
            tensors.map(|tensor| (tensor.name, tensor.data.shape().as_slice().to_vec())).collect();
        part.check(&state, &self.cuts, &(0..self.cuts.subnetworks()), &layout)?;
        self.validation = None;
        self.pieces.iter_mut().try_for_each(|piece| piece.write(part, &state))
    }

    fn cuts(&self) -> &Cuts {
        &self.cuts
    }
}
