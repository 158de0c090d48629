//! The data that the backward pass of a chain of convolutions needs.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use burn::backend::autodiff::NodeId;
use parareal_autodiff::FlexTensor;

use crate::cpu::convolution::Convolution;
use crate::cpu::folded_norm::FoldedNorm;
use crate::cpu::geometry::Geometry;
use crate::cpu::gradients::GradientMask;
use crate::flex::{StateElement, from_vec, slice};
use crate::simd::SimdLevel;

/// The largest number of input channels of a 1×1 convolution whose output is computed again for the backward pass. The
/// fewer there are, the less time it takes to compute each value of the output.
const RECOMPUTED_CHANNELS: usize = 16;

/// A chain of convolutions.
#[derive(Debug)]
pub(crate) struct SavedChain {
    pub(crate) convs: Vec<SavedConv>,
    /// True if the input of the first convolution is added to the output of the last.
    pub(crate) adds_input: bool,
}

impl SavedChain {
    /// Returns true if the output is cheaply computed from what is kept in any case: the input of the first
    /// convolution, which is added, and that of the last. Of equal units, this is true for every second one.
    fn is_recomputable(&self) -> bool {
        let keeps_input =
            self.convs.first().is_some_and(|conv| matches!(conv.input, SavedInput::Values(_)));
        let is_cheap = self.convs.last().is_some_and(|SavedConv { geometry, .. }| {
            geometry.kernel == 1 && geometry.in_channels <= RECOMPUTED_CHANNELS
        });
        self.adds_input && keeps_input && is_cheap
    }

    /// Computes the output of a [recomputable](Self::is_recomputable) chain again.
    fn output<E: StateElement>(&self, level: SimdLevel) -> FlexTensor {
        let ([first, ..], [.., last]) = (&self.convs[..], &self.convs[..]) else {
            unreachable!("a chain has at least one convolution");
        };
        let residual = first.input.values::<E>(level);
        let input = last.input.values::<E>(level);
        let convolution = last.convolution::<E>(&input);
        let (output, _) = convolution.forward(level, Some(E::slice(&residual)), false);
        E::tensor(output, last.output_shape())
    }
}

/// The input of a convolution.
#[derive(Clone, Debug)]
pub(crate) enum SavedInput {
    /// The values themselves.
    Values(FlexTensor),
    /// The output of this chain, which is not kept.
    OutputOf(Arc<SavedChain>),
}

impl SavedInput {
    /// Returns the values, which are computed again if they were not kept.
    pub(crate) fn values<E: StateElement>(&self, level: SimdLevel) -> FlexTensor {
        match self {
            Self::Values(values) => values.clone(),
            Self::OutputOf(chain) => chain.output::<E>(level),
        }
    }
}

/// One convolution of the chain.
#[derive(Clone, Debug)]
pub(crate) struct SavedConv {
    pub(crate) geometry: Geometry,
    pub(crate) input: SavedInput,
    pub(crate) weight: FlexTensor,
    pub(crate) norm: Option<FoldedNorm>,
}

impl SavedConv {
    /// Returns the convolution of this input, which is the saved one.
    pub(crate) fn convolution<'a, E: StateElement>(
        &'a self,
        input: &'a FlexTensor,
    ) -> Convolution<'a, E> {
        Convolution {
            geometry: self.geometry,
            input: E::slice(input),
            activation: self.norm.as_ref().map(|norm| &norm.map),
            weight: slice(&self.weight),
        }
    }

    /// Computes the gradient of the weight alone from the gradient of the output.
    pub(crate) fn weight_gradient<E: StateElement>(
        &self,
        level: SimdLevel,
        gradient: &FlexTensor,
    ) -> Option<FlexTensor> {
        let saved = self.norm.as_ref().map(FoldedNorm::saved_statistics);
        let mask = GradientMask { input: false, weight: true };
        let input = self.input.values::<E>(level);
        let convolution = self.convolution::<E>(&input);
        let found = convolution.backward(level, E::slice(gradient), saved, mask, None);
        found.weight.map(|values| self.weight_tensor(values))
    }

    /// The shape of the output, `[batch, height, width, channels]`.
    pub(crate) fn output_shape(&self) -> [usize; 4] {
        let [rows, columns] = self.geometry.output();
        [self.geometry.batch, rows, columns, self.geometry.out_channels]
    }

    /// Creates a tensor with the shape of the weight.
    pub(crate) fn weight_tensor(&self, values: Vec<f32>) -> FlexTensor {
        let Geometry { in_channels, out_channels, kernel, .. } = self.geometry;
        from_vec(values, [out_channels, in_channels, kernel, kernel])
    }

    /// The number of parents that this convolution adds to the node: its weight, and with a
    /// normalization also scale and shift.
    pub(crate) fn parents(&self) -> usize {
        if self.norm.is_some() { 3 } else { 1 }
    }

    /// The indices of weight, scale and shift among the parents, starting at `begin`.
    pub(crate) fn parents_from(&self, begin: usize) -> [Option<usize>; 3] {
        let normalized = self.norm.is_some();
        [Some(begin), normalized.then_some(begin + 1), normalized.then_some(begin + 2)]
    }
}

thread_local! {
    /// The last chain that this thread added to a graph, with the node of its output.
    static LAST: RefCell<Option<(NodeId, Weak<SavedChain>)>> = const { RefCell::new(None) };
}

/// Remembers that `node` is the output of `chain`, until the next call.
pub(crate) fn remember(node: NodeId, chain: &Arc<SavedChain>) {
    LAST.with_borrow_mut(|last| *last = Some((node, Arc::downgrade(chain))));
}

/// Returns the last chain if `node` is its output and need not be kept.
pub(crate) fn recomputable_chain(node: NodeId) -> Option<Arc<SavedChain>> {
    LAST.with_borrow(|last| match last {
        Some((output, chain)) if *output == node => chain.upgrade(),
        _ => None,
    })
    .filter(|chain| chain.is_recomputable())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::flex::Operand;
    use crate::{ConvOptions, NormStatistics, Normalization, PreactivationConv, residual};

    const WIDE: usize = 8;

    /// A residual unit of two 1×1 convolutions.
    fn unit(input: Tensor<4>, narrow: usize) -> Tensor<4> {
        let device = Device::flex().autodiff();
        let layers = [(WIDE, narrow), (narrow, WIDE)].map(|(before, after)| {
            let scale = Tensor::ones([before], &device).require_grad();
            let shift = Tensor::zeros([before], &device);
            let statistics = NormStatistics::Batch(None);
            let normalization =
                Some(Normalization { scale, shift, statistics, epsilon: 1e-5, running: None });
            let weight = Tensor::ones([after, before, 1, 1], &device);
            let options = ConvOptions { stride: 1, padding: 0 };
            PreactivationConv { normalization, weight, options }
        });
        residual(input, layers.into()).0
    }

    fn is_recomputed(state: &Tensor<4>) -> bool {
        let node = Operand::new(state).unwrap().node.unwrap();
        recomputable_chain(node.id()).is_some()
    }

    #[test]
    fn every_second_output_of_narrow_units_is_computed_again() {
        let input = Tensor::<4>::ones([1, 4, 4, WIDE], &Device::flex().autodiff());
        let first = unit(input, RECOMPUTED_CHANNELS);
        assert!(is_recomputed(&first));
        let second = unit(first.clone(), RECOMPUTED_CHANNELS);
        assert!(!is_recomputed(&first), "only the last chain is remembered");
        assert!(!is_recomputed(&second));
        let third = unit(second, RECOMPUTED_CHANNELS);
        assert!(is_recomputed(&third));
        let fourth = unit(third, RECOMPUTED_CHANNELS + 1);
        assert!(!is_recomputed(&fourth));
        let fifth = unit(fourth, RECOMPUTED_CHANNELS + 1);
        assert!(!is_recomputed(&fifth), "its last convolution takes longer");
    }

    #[test]
    fn a_chain_is_forgotten_with_its_graph() {
        let device = Device::flex().autodiff();
        let input = Tensor::<4>::ones([1, 4, 4, WIDE], &device);
        let output = unit(input.clone(), 1);
        assert!(is_recomputed(&output));
        let _gradients = output.clone().sum().backward();
        assert!(!is_recomputed(&output));
    }

    #[test]
    fn other_tensors_and_other_nodes_are_kept() {
        let input = Tensor::<4>::ones([1, 4, 4, WIDE], &Device::flex().autodiff());
        assert!(!is_recomputed(&input));
        let output = unit(input.clone(), 1);
        assert!(!is_recomputed(&input));
        assert!(!is_recomputed(&(output * 1.0)));
    }
}
