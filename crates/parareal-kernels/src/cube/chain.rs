//! Chains of convolutions as single nodes of Burn's automatic differentiation on CubeCL's devices.

use std::sync::Arc;

use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops};
use burn::tensor::Tensor;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::tensor::CubeTensor;
use parareal_autodiff::{is_deferring, record, replica_sum};

use super::forward::{Convolution, forward};
use super::input_gradient::{OutputGradient, OutputNorm, input_gradient};
use super::late_gradients::defer_weights;
use super::matrices::FactorType;
use super::norm_gradient::{
    NormGradient, norm_gradient, norm_gradient_lengths, normalized_input_gradient,
};
use super::operands::{NormOperands, Operands, projection_shape};
use super::remembered_moments::{measured_moments, remember_moments};
use super::saved_chain::{SavedChain, SavedLayer, SavedNorm, SavedProjection};
use super::shape::ConvShape;
use super::statistics::{Affine, Running, combine, combined_lengths, fold_given, measure};
use super::tensors::{Arena, Operand, constant, unwrapped, wrapped};
use super::tile::{CHAIN_BUFFERS, Scale, Tile};
use super::weight_gradient::{partial_gradient, sum_parts};
use crate::conv::PreactivationConv;
use crate::fused_chain::{Residual, geometries};
use crate::normalization::{ChannelStatistics, NormStatistics, RunningStatistics};

/// Applies a chain of convolutions as one node, and returns its output with the statistics of each normalization. Returns
/// `None` if the backend, precision or shapes are not supported, or if the statistics are those of several replicas.
pub(crate) fn chain(
    input: &Tensor<4>,
    layers: &[PreactivationConv],
    residual: &Residual<'_>,
) -> Option<(Tensor<4>, Vec<ChannelStatistics>)> {
    if replica_sum().is_some() {
        return None;
    }
    // All operands are converted first, so that nothing is computed if one of them is not supported.
    let Operand { mut values, node } = Operand::state(input)?;
    let geometries = geometries(input, layers, residual)?;
    let scale = Scale::of(&values.client);
    let least = Tile::tall(scale, usize::MAX).rows;
    let shapes: Vec<ConvShape> = geometries.iter().map(ConvShape::new).collect();
    let batch = input.dims()[0];
    let operands = layers.iter().map(Operands::new).collect::<Option<Vec<_>>>()?;
    let other = match residual {
        Residual::Tensor(other) if other.dtype() == input.dtype() => Some(Operand::state(*other)?),
        Residual::Tensor(_) => return None,
        Residual::Projection(projection) => Some(Operand::new(&projection.weight)?),
        Residual::None | Residual::Input => None,
    };
    let projection = match residual {
        Residual::Projection(projection) => Some(projection_shape(input, projection)?),
        _ => None,
    };
    let is_elsewhere = |tensor: &CubeTensor| tensor.device != values.device;
    let bindings = values.client.properties().hardware.max_bindings;
    if bindings < CHAIN_BUFFERS
        || shapes.iter().chain(&projection).any(|shape| !shape.is_supported(batch, least))
        || operands.iter().flat_map(Operands::tensors).any(is_elsewhere)
        || other.iter().any(|other| is_elsewhere(&other.values))
    {
        return None;
    }

    let factors = FactorType::for_states(values.dtype);
    let adds_input = matches!(residual, Residual::Input);
    let mut skip = match (&other, residual) {
        (Some(other), Residual::Tensor(_)) => Some(other.values.clone()),
        _ => adds_input.then(|| values.clone()),
    };
    let projection = projection
        .zip(other.as_ref())
        .map(|(shape, other)| SavedProjection { shape, weight: other.values.clone() });
    // Statistics of the output are of use in a graph only, where a normalization may follow.
    let is_in_graph = node.is_some();
    let mut measured = measured_moments(&values);
    let mut nodes = vec![node];
    let normalized = shapes.iter().zip(layers).filter(|(_, layer)| layer.normalization.is_some());
    let lengths = normalized.flat_map(|(shape, _)| combined_lengths(shape.in_channels));
    let mut arena = Arena::new(&values, lengths);
    let (mut saved, mut all) = (Vec::with_capacity(layers.len()), Vec::new());
    for (index, (Operands { weight, norm }, shape)) in operands.into_iter().zip(shapes).enumerate()
    {
        nodes.push(weight.node);
        let moments = measured.take();
        let norm = norm.map(|NormOperands { scale, shift, epsilon, given, running, is_batch }| {
            let affine = Affine { scale: &scale.values, shift: &shift.values, epsilon };
            let (folded, running) = match given {
                Some([mean, variance]) => (fold_given(mean, variance, affine), None),
                None => {
                    let measure = || measure(&values, shape.in_channels);
                    let moments = moments.unwrap_or_else(measure);
                    combine(&moments, affine, running.as_ref(), &mut arena)
                }
            };
            let statistics = layers[index].normalization.as_ref();
            let given = statistics.and_then(|norm| norm.statistics.given());
            all.push(given.cloned().unwrap_or_else(|| ChannelStatistics {
                mean: constant(folded.mean),
                variance: constant(folded.variance),
                count: batch * shape.height * shape.width,
                running: running.map(|Running { mean, variance, momentum }| RunningStatistics {
                    mean: constant(mean),
                    variance: constant(variance),
                    momentum,
                }),
            }));
            nodes.extend([scale.node, shift.node]);
            SavedNorm { map: folded.map, is_batch }
        });
        let layer =
            SavedLayer { shape, batch, input: values, weight: weight.values, norm, factors };
        if let (Some(projection), 0) = (&projection, index) {
            skip = Some(forward(projection.convolution(&layer), None, false).0);
        }
        let is_last = index + 1 == layers.len();
        let measures = match layers.get(index + 1).and_then(|next| next.normalization.as_ref()) {
            Some(next) => matches!(next.statistics, NormStatistics::Batch(None)),
            None => is_last && is_in_graph,
        };
        let (output, moments) =
            forward(layer.convolution(), skip.as_ref().filter(|_| is_last), measures);
        (values, measured) = (output, moments);
        saved.push(layer);
    }
    nodes.extend(other.map(|other| other.node));
    if let Some(moments) = measured {
        remember_moments(&values, moments);
    }
    let state = Arc::new(SavedChain { layers: saved, adds_input, projection });
    Some((record_chain(nodes, state, values), all))
}

/// Adds the chain to the graph of its operands, if they are in one.
fn record_chain(
    parents: Vec<Option<NodeGuard>>,
    state: Arc<SavedChain>,
    output: CubeTensor,
) -> Tensor<4> {
    match parents.len() {
        2 => record_parents::<2>(parents, state, output),
        4 => record_parents::<4>(parents, state, output),
        5 => record_parents::<5>(parents, state, output),
        7 => record_parents::<7>(parents, state, output),
        8 => record_parents::<8>(parents, state, output),
        10 => record_parents::<10>(parents, state, output),
        11 => record_parents::<11>(parents, state, output),
        13 => record_parents::<13>(parents, state, output),
        14 => record_parents::<14>(parents, state, output),
        count => unreachable!(
            "expected one convolution, or two to four with normalizations, got {count} parents"
        ),
    }
}

fn record_parents<const N: usize>(
    parents: Vec<Option<NodeGuard>>,
    state: Arc<SavedChain>,
    output: CubeTensor,
) -> Tensor<4> {
    let parents: [_; N] = parents.try_into().expect("the caller has counted them");
    record::<Cube, _, N, 4>(ChainBackward, parents, state, wrapped(output))
}

#[derive(Debug)]
struct ChainBackward;

impl<const N: usize> Backward<Cube, N> for ChainBackward {
    type State = Arc<SavedChain>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let id = |index: usize| -> Option<NodeId> {
            ops.parents.get(index).and_then(|parent| parent.as_ref()).map(|parent| parent.id)
        };
        let SavedChain { layers, adds_input, projection } = &*ops.state;
        let gradient = unwrapped(grads.consume::<Cube>(&ops.node));
        let gradient = gradient.expect("the node was recorded without fusion");
        let gradient = into_contiguous(cast(gradient, layers[0].input.dtype));
        let mut register = |id: Option<NodeId>, gradient: CubeTensor| {
            if let Some(id) = id {
                grads.register::<Cube>(id, wrapped(gradient));
            }
        };
        // Index of the first parent of the current convolution. The loop starts with the last convolution.
        let mut begin = 1 + layers.iter().map(SavedLayer::parents).sum::<usize>();
        let of_output = OutputGradient { gradient: gradient.clone(), norm: None };
        let mut along = of_output.clone();
        let lengths = layers.iter().filter(|layer| layer.norm.is_some());
        let lengths = lengths.flat_map(|layer| norm_gradient_lengths(layer.shape.in_channels));
        let mut arena = Arena::new(&gradient, lengths);
        let (mut now, mut later) = (Vec::new(), Vec::new());
        // The gradient of a leaf may be deferred, since nothing within this backward pass reads it.
        let mut add_weight = |parent: usize, number: usize, along: &OutputGradient| {
            let Some(weight) = id(parent) else { return };
            let parent = ops.parents.get(parent).and_then(Option::as_ref);
            let is_leaf = parent.is_some_and(|parent| parent.parents.is_empty());
            if is_leaf && is_deferring() {
                later.push((weight, number, along.clone()));
            } else {
                now.push((weight, partial_gradient(ops.state.convolution(number), along)));
            }
        };
        match projection {
            Some(_) => add_weight(begin, layers.len(), &of_output),
            None => register(id(begin), gradient.clone()),
        }
        for (index, layer) in layers.iter().enumerate().rev() {
            begin -= layer.parents();
            let convolution = layer.convolution();
            let affine = layer.norm.as_ref().map(|norm| (norm, [id(begin + 1), id(begin + 2)]));
            add_weight(begin, index, &along);
            let goes_on = (0..begin).any(|index| id(index).is_some());
            let trains_norm = affine.is_some_and(|(_, ids)| ids.iter().any(Option::is_some));
            if !goes_on && !trains_norm {
                break;
            }
            // The gradient along the projection joins where both begin.
            let projected = projection.as_ref().filter(|_| index == 0).map(|projection| {
                let projection = Convolution { map: None, ..projection.convolution(layer) };
                input_gradient(projection, &of_output, None).0
            });
            let (delta, sums) = input_gradient(convolution, &along, projected.as_ref());
            let norm = affine.zip(sums).map(|((norm, [scale_id, shift_id]), sums)| {
                let pixels = convolution.in_pixels();
                let NormGradient { scale, shift, coefficients } =
                    norm_gradient(&sums, &norm.map, pixels, norm.is_batch, &mut arena);
                register(scale_id, scale);
                register(shift_id, shift);
                OutputNorm { values: layer.input.clone(), coefficients }
            });
            along = OutputGradient { gradient: delta, norm };
        }
        let (weights, partials): (Vec<_>, Vec<_>) = now.into_iter().unzip();
        for (weight, gradient) in weights.into_iter().zip(sum_parts(&partials)) {
            register(Some(weight), gradient);
        }
        if let Some(input) = id(0) {
            let skip = adds_input.then_some(&gradient);
            let found = match &along.norm {
                Some(OutputNorm { values, coefficients }) => {
                    normalized_input_gradient(&along.gradient, values, coefficients, skip)
                }
                None => along.gradient,
            };
            register(Some(input), found);
        }
        defer_weights(&ops.state, later);
    }
}
