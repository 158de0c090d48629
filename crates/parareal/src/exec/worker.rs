use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::Device;

use super::batch_split::join;
use super::clock::Clock;
use super::collectives::{Collectives, Disconnected};
use super::command::{Command, MicroBatch, Reply, ReplyOf};
use super::launch_graphs::LaunchGraphs;
use super::link::Link;
use super::loss::Loss;
use super::program::{Next, Operation, Program, Progress};
use super::reducer::Reducer;
use super::statistics_sum::StatisticsSum;
use super::step::{Step, StepOf};
use super::subnetwork_runner::{Finished, Objective, SubnetworkRunner};
use super::update::Update;
use crate::net::{Coarsen, SubnetworkOf, Value};
use crate::random::{self, StepKey};
use crate::timeline::Activity;

/// A worker: one device, with consecutive subnetworks and the links to its neighbors.
///
/// It executes its part of the [`Program`] of a step.
pub(super) struct Worker<N: Coarsen, L, K, C> {
    pub(super) program: Arc<Program>,
    /// The index of the worker within its replica.
    pub(super) worker: usize,
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
    /// Sums of statistics over the replicas, if normalizations are synchronized.
    pub(super) statistics: Option<Rc<StatisticsSum>>,
    /// The launch graphs of the worker's steps, if it has been asked for them.
    pub(super) launch_graphs: Option<LaunchGraphs<N>>,
    /// True if a worker may record the next step, so that all workers begin it in turns.
    pub(super) takes_turns: bool,
    /// The subnetworks in evaluation mode, kept until the next training step.
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
            Command::Step { number, micro_batches, update } => {
                self.step(number, micro_batches, update)
            }
            Command::Ready => Ok(Reply::default()),
            Command::Infer { input } => self.infer(input),
            Command::Read { kind } => {
                let tensors =
                    self.subnetworks.iter().map(|subnetwork| subnetwork.trained.read(kind));
                let tensors = tensors.collect::<Result<Vec<_>, _>>();
                let tensors = tensors.expect("a record that was just created can be read").concat();
                Ok(Reply { tensors, ..Reply::default() })
            }
            Command::CheckOptimizer { state } => {
                let mut subnetworks = self.subnetworks.iter();
                let refused = subnetworks.find_map(|own| own.trained.check_optimizer(&state).err());
                Ok(Reply { refused, ..Reply::default() })
            }
            Command::Write { kind, state } => {
                self.validation = None;
                self.launch_graphs.iter_mut().for_each(LaunchGraphs::reset);
                for subnetwork in &mut self.subnetworks {
                    let written = subnetwork.trained.write(kind, &state);
                    written.expect("checked before it was sent");
                }
                Ok(Reply::default())
            }
        }
    }

    /// Executes the program of a training step.
    fn step(
        &mut self,
        number: u64,
        micro_batches: Vec<MicroBatch<N::Input, L::Target>>,
        update: Option<Update>,
    ) -> Result<ReplyOf<N>, Disconnected> {
        self.validation = None;
        // Each micro-batch has random numbers of its own, as a replica would.
        let replica = self.replica * micro_batches.len();
        let key = StepKey { seed: self.subnetworks[0].seed(), step: number, replica };
        let mut step = Step::new(key, micro_batches, update);
        let is_replayed = self.begin_launch_graphs(&mut step)?;
        step.reply.is_replayed = is_replayed;
        self.clock.start();
        if !is_replayed {
            self.begin_micro_batch(&mut step, 0);
        }
        let program = Arc::clone(&self.program);
        let program = program.worker(self.worker);
        let mut progress = Progress::new(program);
        while let Some(next) =
            progress.next(program, |_, receive| self.has_arrived(&mut step, receive))?
        {
            let (Next::Run(index) | Next::Wait(index)) = next;
            let operation = &program.instructions()[index].operation;
            let work = match is_replayed {
                true => self.recorded_work(index).or_else(|| self.update_work(&step, operation)),
                false => self.work(&step, operation),
            };
            self.clock.begin(index, work);
            match is_replayed {
                true => self.replay(&mut step, index, operation)?,
                false => self.execute_in_step(&mut step, operation)?,
            }
            self.clock.end();
            progress.finish(index);
            if step.is_over {
                for subnetwork in &mut self.subnetworks {
                    subnetwork.discard_step();
                }
                return Ok(step.reply);
            }
        }
        if update.is_none() {
            let subnetworks = self.subnetworks.iter_mut();
            step.reply.tensors = subnetworks
                .flat_map(|subnetwork| subnetwork.trained.take_named_gradients())
                .collect();
        }
        step.reply.times = self.clock.finish();
        step.reply.is_update_replayed = step.has_recorded_gradients;
        let Step { mut reply, outputs, input_gradients, .. } = step;
        reply.output = (!outputs.is_empty()).then(|| join(outputs));
        let inputs = input_gradients.into_iter().collect::<Option<Vec<_>>>();
        reply.input = inputs.filter(|inputs| !inputs.is_empty()).map(join);
        Ok(reply)
    }

    /// Executes one operation of the program, with the random numbers of the step.
    pub(super) fn execute_in_step(
        &mut self,
        step: &mut StepOf<N, L>,
        operation: &Operation,
    ) -> Result<(), Disconnected> {
        let (key, statistics) = (step.key(), self.statistics.clone());
        let mut execute = || self.execute(step, operation);
        random::in_step(key, || match statistics {
            Some(statistics) => statistics.execute(execute),
            None => execute(),
        })
    }

    /// Prepares the forward and backward pass of a micro-batch.
    fn begin_micro_batch(&mut self, step: &mut StepOf<N, L>, index: usize) {
        let MicroBatch { input, target, share } =
            step.waiting.next().expect("the program has as many micro-batches as the step");
        for link in self.upstream.iter_mut().chain(&mut self.downstream) {
            link.expect(input.samples());
        }
        (step.micro_batch, step.share) = (index, share);
        step.input_gradients.push(None);
        (step.input, step.target) = (Some(input.to_device(&self.device)), Some(target));
        self.subnetworks.iter_mut().for_each(|subnetwork| subnetwork.begin(index == 0));
    }

    /// Returns the activity and the subnetwork of an operation; `None` if it only communicates, or has
    /// nothing to do in this step.
    pub(super) fn work(
        &self,
        step: &StepOf<N, L>,
        operation: &Operation,
    ) -> Option<(Activity, usize)> {
        let (activity, subnetwork) = (operation.activity()?, operation.subnetwork()?);
        let runner = &self.subnetworks[self.local(subnetwork)];
        let has_work = match operation {
            Operation::BackwardCoarseWeights { .. } => runner.has_deferred(),
            Operation::BackwardCoarse { .. }
            | Operation::RecomputeUnits { .. }
            | Operation::BackwardUnits { .. }
            | Operation::BackwardPreprocessing { .. } => runner.is_reached(),
            Operation::Update { .. } => step.update.is_some(),
            _ => true,
        };
        has_work.then_some((activity, subnetwork))
    }

    /// Returns the activity and the subnetwork of an update in a step that is replayed. A recorded update is that of all subnetworks,
    /// and counts for the first.
    fn update_work(&self, step: &StepOf<N, L>, operation: &Operation) -> Option<(Activity, usize)> {
        match *operation {
            Operation::Update { .. } if step.has_recorded_gradients => {
                Some((Activity::Update, self.subnetworks[0].index()))
            }
            Operation::Update { subnetwork } => Some((Activity::Update, subnetwork)),
            _ => None,
        }
    }

    /// Returns true if the message that an operation receives has arrived. The message is then stored in
    /// `step`.
    fn has_arrived(
        &mut self,
        step: &mut StepOf<N, L>,
        receive: &Operation,
    ) -> Result<bool, Disconnected> {
        if step.received.is_none() {
            step.received = self.link(receive).try_receive()?;
        }
        Ok(step.received.is_some())
    }

    /// Returns the link that an operation sends to or receives from.
    pub(super) fn link(&mut self, operation: &Operation) -> &mut K {
        let link = match operation {
            Operation::ReceiveState { .. } | Operation::SendCotangent { .. } => &mut self.upstream,
            _ => &mut self.downstream,
        };
        link.as_mut().expect("only workers with a neighbor communicate with it")
    }

    /// Returns the message that an operation receives. Waits for the message if it has not arrived.
    pub(super) fn receive(
        &mut self,
        step: &mut StepOf<N, L>,
        receive: &Operation,
    ) -> Result<N::State, Disconnected> {
        let received = match step.received.take() {
            Some(received) => {
                self.clock.had_arrived();
                received
            }
            None => {
                let received = self.link(receive).receive()?;
                self.clock.arrived();
                received
            }
        };
        let received = received.to_device(&self.device);
        if let Some(graphs) = &mut self.launch_graphs {
            graphs.note(receive.message(), &received);
        }
        Ok(received)
    }

    /// Converts the index of a subnetwork in the network to its index in this worker.
    pub(super) fn local(&self, subnetwork: usize) -> usize {
        subnetwork - self.subnetworks[0].index()
    }

    fn runner(&mut self, subnetwork: usize) -> &mut SubnetworkRunner<N> {
        let local = self.local(subnetwork);
        &mut self.subnetworks[local]
    }

    /// Executes one operation of the program.
    pub(super) fn execute(
        &mut self,
        step: &mut StepOf<N, L>,
        operation: &Operation,
    ) -> Result<(), Disconnected> {
        match *operation {
            // The first one was begun with the step.
            Operation::BeginMicroBatch { micro_batch: 0 } => {}
            Operation::BeginMicroBatch { micro_batch } => {
                self.begin_micro_batch(step, micro_batch);
            }
            Operation::ForwardPreprocessing { subnetwork } => {
                let input = step.input.clone().expect("a micro-batch has begun");
                self.runner(subnetwork).forward_preprocessing(input, step.update.is_none());
            }
            Operation::ForwardUnits { subnetwork, ref units, keeps_graph } => {
                self.runner(subnetwork).forward_units(units, keeps_graph);
            }
            Operation::ReceiveState { .. } => {
                step.chain = Some(self.receive(step, operation)?);
            }
            Operation::ForwardCoarse { subnetwork } => {
                let upstream = self.take_chain(step, subnetwork - 1);
                step.chain = Some(self.runner(subnetwork).forward_coarse(upstream));
            }
            Operation::SendState { .. } | Operation::SendCotangent { .. } => {
                let state = self.message_to_send(step, operation);
                self.link(operation).send(state)?;
            }
            Operation::Head { subnetwork } => {
                let corrected = self.take_chain(step, subnetwork);
                self.forward_head(step, subnetwork, corrected);
            }
            Operation::ReduceTargetFailures { subnetwork } => {
                let mut failures = [step.reply.failures.len() as f64];
                if let Some(reducer) = &mut self.reducer {
                    reducer.sum(&mut failures)?;
                }
                if failures[0] > 0.0 {
                    // If one replica has failed, no replica runs the backward pass, so that all reduce the
                    // same gradients.
                    step.loss = None;
                    self.runner(subnetwork).discard_head();
                }
            }
            Operation::MergeStatistics { subnetwork } => {
                self.runner(subnetwork).trained.merge_statistics();
            }
            Operation::ReduceStatistics { subnetwork } => {
                let local = self.local(subnetwork);
                if let Some(reducer) = &mut self.reducer {
                    let module = self.subnetworks[local].trained.module();
                    reducer.start_statistics(local, module, step.replica_share)?;
                }
            }
            Operation::ReceiveCotangent { subnetwork, .. } => {
                let rho = self.receive(step, operation)?;
                self.runner(subnetwork).set_cotangent(Some(rho));
            }
            Operation::BackwardCoarse { subnetwork, defers_weights } => {
                let rho = self.runner(subnetwork).backward_coarse(defers_weights);
                if self.local(subnetwork) > 0 {
                    self.runner(subnetwork - 1).set_cotangent(rho);
                }
            }
            Operation::BackwardCoarseWeights { subnetwork } => {
                self.runner(subnetwork).backward_coarse_weights();
            }
            Operation::ReduceGradients { subnetwork } => self.start_gradients(subnetwork)?,
            Operation::RecomputeUnits { subnetwork, ref units } => {
                self.runner(subnetwork).recompute_units(units);
            }
            Operation::BackwardUnits { subnetwork, ref units } => {
                self.runner(subnetwork).backward_units(units);
            }
            Operation::BackwardPreprocessing { subnetwork } => {
                let own = self.runner(subnetwork).backward_preprocessing();
                step.add_input_gradient(own);
                self.runner(subnetwork).trained.complete_gradients();
            }
            Operation::AwaitReductions => self.finish_reductions()?,
            Operation::ReduceTotals => self.decide(step)?,
            Operation::Update { subnetwork } => {
                if let Some(update) = step.update {
                    let local = self.local(subnetwork);
                    let Self { subnetworks, launch_graphs, .. } = self;
                    let trained = &mut subnetworks[local].trained;
                    match launch_graphs {
                        Some(graphs) => graphs.update(trained, update),
                        None => trained.update(update),
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the message that an operation sends: `U_j`, or the cotangent for the upstream worker.
    pub(super) fn message_to_send(
        &mut self,
        step: &mut StepOf<N, L>,
        operation: &Operation,
    ) -> N::State {
        match *operation {
            Operation::SendCotangent { subnetwork, .. } => {
                self.runner(subnetwork + 1).sent_cotangent()
            }
            _ => {
                let subnetwork = operation.subnetwork().expect("a state belongs to a subnetwork");
                self.take_chain(step, subnetwork)
            }
        }
    }

    /// Takes the latest `U_j` of the coarse chain, or `y_1` for the first subnetwork.
    fn take_chain(&mut self, step: &mut StepOf<N, L>, subnetwork: usize) -> N::State {
        step.chain.take().unwrap_or_else(|| self.runner(subnetwork).take_y())
    }

    /// Computes the output, the loss and `ρ_N` on the last worker.
    fn forward_head(&mut self, step: &mut StepOf<N, L>, subnetwork: usize, corrected: N::State) {
        let target = step.target.take().expect("a micro-batch has one head");
        let local = self.local(subnetwork);
        let runner = &mut self.subnetworks[local];
        let Step { checks_target, share, .. } = *step;
        let objective = Objective { loss: &self.loss, target, checks_target, share };
        match runner.forward_head(corrected, objective) {
            Ok(Finished { loss, output, rho }) => {
                step.outputs.push(output);
                step.add_loss(loss);
                runner.set_cotangent(rho);
            }
            Err(failure) => {
                step.reply.failures.push(failure);
                runner.discard_head();
            }
        }
    }

    /// Starts summing, over the replicas, the gradients that a subnetwork has so far, while other gradients
    /// are computed.
    fn start_gradients(&mut self, subnetwork: usize) -> Result<(), Disconnected> {
        let local = self.local(subnetwork);
        let Some(reducer) = &mut self.reducer else { return Ok(()) };
        let (module, gradients) = self.subnetworks[local].trained.parts();
        reducer.start_gradients(local, module, gradients)
    }

    /// Waits for all reductions in progress.
    fn finish_reductions(&mut self) -> Result<(), Disconnected> {
        let Self { reducer, subnetworks, .. } = self;
        if let Some(reducer) = reducer {
            while reducer.finish_next(|subnetwork| subnetworks[subnetwork].trained.parts())? {}
        }
        Ok(())
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
        // All fine work is done before waiting for the state from upstream, so that the chain can continue at
        // once.
        let fine: Vec<_> =
            modules.iter().map(|module| module.forward_fine(input.clone())).collect();
        let mut chain = match &mut self.upstream {
            Some(link) => Some(link.receive()?.to_device(&self.device)),
            None => None,
        };
        for (module, fine) in modules.iter().zip(fine) {
            chain = Some(module.forward_chain(chain, fine));
        }
        let chain = chain.expect("a worker holds a subnetwork");
        let mut reply = Reply::default();
        match &mut self.downstream {
            Some(link) => link.send(chain)?,
            None => {
                let last = &modules[modules.len() - 1];
                reply.output = last.forward_postprocessing(chain);
            }
        }
        Ok(reply)
    }
}
