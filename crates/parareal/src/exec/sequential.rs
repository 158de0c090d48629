use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use rayon::ThreadPool;

use super::batch_split::{join, samples_of, split};
use super::device::{is_cpu, operation_threads, read};
use super::error::ExecError;
use super::executor::check_batch;
use super::executor::{Executor, GradientReport, StepReport};
use super::gradient_clipping;
use super::layout::Layout;
use super::loss::{Loss, batch_loss};
use super::parallel::WorkerSettings;
use super::program::Program;
use super::state_kind::StateKind;
use super::thread_pool::thread_pool;
use super::trained_module::TrainedModule;
use super::update::Update;
use crate::net::{
    Activation, Coarsen, Cuts, NamedTensor, PararealNetwork, StateDict, SubnetworkOf, Value,
};
use crate::random::{self, StepKey};
use crate::timeline::Timeline;

/// The sequential executor: it evaluates the whole parareal network on one device, as one automatic
/// differentiation graph. It is the reference for the other executors.
///
/// It evaluates the coarse networks in the same order as the other executors, so that rounding errors are the
/// same. In single precision, a different order of additions would move a few inputs of a ReLU across zero.
pub(super) struct SequentialExecutor<N: Coarsen, L> {
    subnetworks: Vec<TrainedModule<SubnetworkOf<N>>>,
    cuts: Cuts,
    /// One worker with all subnetworks.
    layout: Layout,
    validation: Option<PararealNetwork<N>>,
    loss: L,
    device: Device,
    pool: ThreadPool,
    /// Number of micro-batches of a step.
    micro_batches: usize,
    /// The number of training steps so far.
    steps: u64,
}

/// Results of a forward and a backward pass, except for the gradients of the parameters.
struct Differentiated<N: Coarsen> {
    loss: f64,
    output: N::Output,
    input: Option<N::Input>,
}

impl<N: Coarsen, L: Loss<N::Output>> SequentialExecutor<N, L> {
    /// Creates an executor of the network on the first device of the settings.
    ///
    /// # Errors
    /// [`ExecError::Spawn`] if the operating system cannot start the threads.
    pub(super) fn new(
        network: PararealNetwork<N>,
        settings: WorkerSettings<L>,
    ) -> Result<Self, ExecError> {
        let WorkerSettings { loss, optimizer, devices, threads, micro_batches, .. } = settings;
        let device = &devices[0];
        let cuts = network.cuts().clone();
        let layout = Layout::threads(cuts.subnetworks(), 1, 1)?;
        let subnetworks = network.into_subnetworks().into_iter();
        let pool = thread_pool("parareal-sequential", operation_threads(device, threads))?;
        let subnetworks = pool.install(|| {
            let trained = subnetworks.map(|module| TrainedModule::new(module, device, &optimizer));
            trained.collect()
        });
        Ok(Self {
            subnetworks,
            cuts,
            layout,
            validation: None,
            loss,
            device: device.clone(),
            pool,
            micro_batches,
            steps: 0,
        })
    }

    /// Returns the network, which shares its tensors with the subnetworks.
    fn network(&self) -> PararealNetwork<N> {
        self.gather(|subnetwork| subnetwork.module().clone())
    }

    fn gather(
        &self,
        part: impl Fn(&TrainedModule<SubnetworkOf<N>>) -> SubnetworkOf<N>,
    ) -> PararealNetwork<N> {
        let subnetworks = self.subnetworks.iter().map(part).collect();
        PararealNetwork::from_subnetworks(subnetworks, self.cuts.clone())
    }

    /// Runs the forward and backward passes of all micro-batches. The gradients are stored in the subnetworks.
    fn differentiate(
        &mut self,
        input: N::Input,
        target: L::Target,
        input_gradient: bool,
    ) -> Result<Differentiated<N>, ExecError> {
        check_batch(&input, &target)?;
        let samples = input.samples();
        let (mut loss, mut outputs, mut inputs) = (0.0, Vec::new(), Vec::new());
        for (index, part) in split(samples, 1, self.micro_batches)?.iter().enumerate() {
            if index > 0 {
                self.subnetworks.iter_mut().for_each(TrainedModule::keep_gradients);
            }
            let (input, target) = (samples_of(&input, part), samples_of(&target, part));
            let share = part.len() as f64 / samples as f64;
            let own = self.differentiate_part(input, target, (index, share), input_gradient);
            let Differentiated { loss: own_loss, output, input } =
                own.inspect_err(|_| self.drop_gradients())?;
            loss += own_loss;
            outputs.push(output);
            inputs.push(input);
        }
        self.subnetworks.iter_mut().for_each(TrainedModule::complete_gradients);
        let input = inputs.into_iter().collect::<Option<Vec<_>>>().map(join);
        Ok(Differentiated { loss, output: join(outputs), input })
    }

    /// Runs the forward and backward passes of a micro-batch, with its index and its share of the samples. Its
    /// gradients are added to those in the subnetworks.
    fn differentiate_part(
        &mut self,
        input: N::Input,
        target: L::Target,
        (index, share): (usize, f64),
        input_gradient: bool,
    ) -> Result<Differentiated<N>, ExecError> {
        let network = self.network();
        self.validation = None;
        let seed = network.subnetworks()[0].seed();
        // Each micro-batch has random numbers of its own, as a replica would.
        let key = StepKey { seed, step: self.steps, replica: index };
        let Self { subnetworks, loss, device, pool, .. } = self;
        let differentiate = move || {
            let input = input.to_device(device);
            let input = if input_gradient { input.leaf() } else { input.constant() };
            let output = network.forward_chain(input.clone());
            subnetworks.iter_mut().for_each(TrainedModule::merge_statistics);
            let loss = batch_loss(loss, &output, target)?;
            let loss = if share == 1.0 { loss } else { loss.mul_scalar(share) };
            let value = loss.clone().inner();
            let mut input_gradient = None;
            if loss.is_tracked() {
                let mut gradients = loss.backward();
                input_gradient = input.take_gradient(&mut gradients);
                for subnetwork in subnetworks {
                    subnetwork.collect(|module, into| module.visit(into), &mut gradients);
                }
            }
            // The loss is read after all work has been submitted to the device.
            let loss = value.into_scalar::<f64>();
            Ok(Differentiated { loss, output: output.values(), input: input_gradient })
        };
        pool.install(|| random::in_step(key, differentiate))
    }

    /// Checks that every parameter that requires a gradient has one.
    fn check_gradients(&mut self) -> Result<(), ExecError> {
        if self.subnetworks.iter().all(TrainedModule::has_all_gradients) {
            return Ok(());
        }
        let names =
            self.subnetworks.iter().flat_map(TrainedModule::names_without_gradient).collect();
        self.drop_gradients();
        Err(ExecError::NoGradient { names })
    }

    fn drop_gradients(&mut self) {
        self.subnetworks.iter_mut().for_each(TrainedModule::discard_gradients);
    }
}

impl<N: Coarsen, L: Loss<N::Output>> Executor<N, L> for SequentialExecutor<N, L> {
    fn train_step_with(
        &mut self,
        input: N::Input,
        target: L::Target,
        update: Update,
    ) -> Result<StepReport<N::Output>, ExecError> {
        let begun = Instant::now();
        update.check()?;
        if self.subnetworks.iter().all(|subnetwork| subnetwork.trainable() == 0) {
            return Err(ExecError::NothingToTrain);
        }
        let Differentiated { loss, output, .. } = self.differentiate(input, target, false)?;
        if !loss.is_finite() {
            self.drop_gradients();
            return Err(ExecError::LossNotFinite { loss });
        }
        self.check_gradients()?;
        let Self { subnetworks, pool, device, .. } = self;
        let gradient_norm = pool.install(|| {
            let gradient_norm = update.clip_norm.map(|limit| {
                let [squares] = read([gradient_clipping::total(
                    subnetworks.iter().map(TrainedModule::squared_norm),
                )]);
                let norm = squares.sqrt();
                let factor = gradient_clipping::factor(norm, limit);
                if factor < 1.0 {
                    subnetworks
                        .iter_mut()
                        .for_each(|subnetwork| subnetwork.scale_gradients(factor));
                }
                norm
            });
            subnetworks.iter_mut().for_each(|subnetwork| subnetwork.update(update));
            if !is_cpu(device) {
                // The measured time includes the execution. An error is returned when results are read.
                let _ = device.sync();
            }
            gradient_norm
        });
        self.steps += 1;
        let (duration, subnetworks) = (begun.elapsed(), Vec::new());
        let (timeline, trace) = (Timeline::default(), Vec::new());
        Ok(StepReport {
            loss,
            output,
            gradient_norm,
            duration,
            is_replayed: false,
            is_update_replayed: false,
            subnetworks,
            timeline,
            trace,
        })
    }

    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError> {
        let Differentiated { loss, output, input } = self.differentiate(input, target, true)?;
        self.check_gradients()?;
        let gradients =
            self.subnetworks.iter_mut().flat_map(TrainedModule::take_named_gradients).collect();
        Ok(GradientReport { loss, output, gradients, input })
    }

    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError> {
        if input.samples() == 0 {
            return Err(ExecError::EmptyBatch);
        }
        let network = match self.validation.take() {
            Some(network) => network,
            None => self.gather(TrainedModule::evaluation_module),
        };
        let network = self.validation.insert(network);
        let device = &self.device;
        Ok(self.pool.install(move || network.forward_chain(input.to_device(device))))
    }

    fn read(&mut self, kind: StateKind) -> Result<Vec<NamedTensor>, ExecError> {
        let parts = self.subnetworks.iter().map(|subnetwork| subnetwork.read(kind));
        Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn write(&mut self, kind: StateKind, state: StateDict) -> Result<(), ExecError> {
        // The state is checked first, so that nothing is replaced if there is an error. Loading it into a
        // copy first would not suffice, because a copy shares its running statistics with the original.
        let tensors = self.read(StateKind::Weights)?.into_iter();
        let shapes: Vec<_> =
            tensors.map(|tensor| (tensor.name, tensor.data.shape().as_slice().to_vec())).collect();
        kind.check(&state, &self.cuts, &(0..self.cuts.subnetworks()), &shapes)?;
        if kind == StateKind::Optimizer {
            self.subnetworks.iter().try_for_each(|own| own.check_optimizer(&state))?;
        }
        self.validation = None;
        self.subnetworks.iter_mut().try_for_each(|subnetwork| subnetwork.write(kind, &state))
    }

    fn program(&self) -> Option<&Program> {
        None
    }

    fn step(&self) -> u64 {
        self.steps
    }

    fn set_step(&mut self, step: u64) {
        self.steps = step;
    }

    fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn tensor_names(&self) -> Vec<(usize, Vec<String>)> {
        let names = |subnetwork: &TrainedModule<SubnetworkOf<N>>| {
            let tensors = subnetwork.module().named_tensors().into_iter();
            tensors.map(|tensor| tensor.name).collect()
        };
        self.subnetworks.iter().map(names).enumerate().collect()
    }
}
