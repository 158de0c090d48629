//! Deferred gradients of weights. Those of a chain share a launch.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::NodeId;
use burn_cubecl::tensor::CubeTensor;
use parareal_autodiff::defer;

use super::input_gradient::OutputGradient;
use super::saved_chain::SavedChain;
use super::tensors::constant;
use super::weight_gradient::{partial_gradient, sum_parts};

/// Defers the gradients of the weights of a chain. The first one that is needed computes all of them.
pub(crate) fn defer_weights(
    chain: &Arc<SavedChain>,
    weights: Vec<(NodeId, usize, OutputGradient)>,
) {
    let (ids, rest): (Vec<_>, Vec<_>) =
        weights.into_iter().map(|(id, index, along)| (id, (index, along))).unzip();
    let shared = Arc::new(Mutex::new(LateGradients::Waiting(chain.clone(), rest)));
    for (number, weight) in ids.into_iter().enumerate() {
        let shared = shared.clone();
        defer(weight, move || {
            let mut late = shared.lock().unwrap_or_else(PoisonError::into_inner);
            late.take(number).map(constant::<4>)
        });
    }
}

/// The deferred gradients of the weights of a chain.
enum LateGradients {
    /// The numbers of the convolutions, each with the gradient of its output.
    Waiting(Arc<SavedChain>, Vec<(usize, OutputGradient)>),
    /// The gradients that have not been taken.
    Computed(Vec<Option<CubeTensor>>),
}

impl LateGradients {
    /// Removes and returns a gradient.
    fn take(&mut self, number: usize) -> Option<CubeTensor> {
        if let Self::Waiting(chain, layers) = self {
            let partial = |(index, along): &(usize, OutputGradient)| {
                partial_gradient(chain.convolution(*index), along)
            };
            let partials: Vec<_> = layers.iter().map(partial).collect();
            *self = Self::Computed(sum_parts(&partials).into_iter().map(Some).collect());
        }
        match self {
            Self::Computed(gradients) => gradients.get_mut(number)?.take(),
            Self::Waiting(..) => None,
        }
    }
}
