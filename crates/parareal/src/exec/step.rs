use std::vec::IntoIter;

use burn::tensor::Tensor;

use super::command::{MicroBatch, Reply, ReplyOf};
use super::loss::Loss;
use super::update::Update;
use crate::net::{Coarsen, FeedForward, Value};
use crate::random::StepKey;

/// The state of a step between its operations.
pub(super) struct Step<N: Coarsen, T> {
    /// The key of the random numbers of the first micro-batch.
    first_key: StepKey,
    /// The micro-batches that have not begun.
    pub(super) waiting: IntoIter<MicroBatch<N::Input, T>>,
    /// The index of the current micro-batch.
    pub(super) micro_batch: usize,
    pub(super) input: Option<N::Input>,
    /// The target, until the head takes it.
    pub(super) target: Option<T>,
    /// The samples of the micro-batch, as a fraction of the samples of the step over all replicas.
    pub(super) share: f64,
    /// The samples of this replica, as a fraction of the samples of all replicas.
    pub(super) replica_share: f64,
    pub(super) update: Option<Update>,
    /// True if the loss checks whether the target fits the output.
    pub(super) checks_target: bool,
    /// A message that has arrived and has not yet been taken by the operation that receives it.
    pub(super) received: Option<N::State>,
    /// The latest `U_j` of the coarse chain within the worker.
    pub(super) chain: Option<N::State>,
    /// The squared norm of the gradients of this worker, if a replayed graph has computed it.
    pub(super) squares: Option<Tensor<1>>,
    /// True if the gradients are those of a replayed graph, which its update reads.
    pub(super) has_recorded_gradients: bool,
    /// The factor of the gradients in such an update.
    pub(super) gradient_factor: f64,
    /// The sum of the losses so far, which the device may not have computed yet.
    pub(super) loss: Option<Tensor<1>>,
    /// The outputs of the micro-batches, on the last worker.
    pub(super) outputs: Vec<N::Output>,
    /// The contributions of this worker to the gradients with respect to the inputs of the micro-batches so far;
    /// `None` where the loss does not depend on the input.
    pub(super) input_gradients: Vec<Option<N::Input>>,
    /// True if the step ends without an update.
    pub(super) is_over: bool,
    pub(super) reply: ReplyOf<N>,
}

pub(super) type StepOf<N, L> = Step<N, <L as Loss<<N as FeedForward>::Output>>::Target>;

impl<N: Coarsen, T> Step<N, T> {
    pub(super) fn new(
        first_key: StepKey,
        micro_batches: Vec<MicroBatch<N::Input, T>>,
        update: Option<Update>,
    ) -> Self {
        Self {
            first_key,
            micro_batch: 0,
            input: None,
            target: None,
            share: 0.0,
            replica_share: micro_batches.iter().map(|own| own.share).sum(),
            waiting: micro_batches.into_iter(),
            update,
            checks_target: true,
            received: None,
            chain: None,
            squares: None,
            has_recorded_gradients: false,
            gradient_factor: 1.0,
            loss: None,
            outputs: Vec::new(),
            input_gradients: Vec::new(),
            is_over: false,
            reply: Reply::default(),
        }
    }

    /// Returns the key of the random numbers of the current micro-batch.
    pub(super) fn key(&self) -> StepKey {
        StepKey { replica: self.first_key.replica + self.micro_batch, ..self.first_key }
    }

    /// Adds the loss of a micro-batch.
    pub(super) fn add_loss(&mut self, loss: Tensor<1>) {
        self.loss = Some(match self.loss.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
    }

    /// Adds the contribution of a subnetwork to the gradient with respect to the input of the current
    /// micro-batch.
    pub(super) fn add_input_gradient(&mut self, own: Option<N::Input>) {
        if let (Some(own), Some(sum)) = (own, self.input_gradients.last_mut()) {
            *sum = Some(match sum.take() {
                Some(sum) => sum.accumulate(own),
                None => own,
            });
        }
    }
}
