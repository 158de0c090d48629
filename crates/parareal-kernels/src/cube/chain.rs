//! Chains of convolutions as single nodes of Burn's automatic differentiation on CubeCL's devices.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops};
use burn::tensor::Tensor;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::server::Handle;
use parareal_autodiff::{defer, is_deferring, record, replica_sum};

use super::forward::{Convolution, forward};
use super::input_gradient::{OutputGradient, OutputNorm, input_gradient};
use super::norm_gradient::{
    NormGradient, norm_gradient, norm_gradient_lengths, normalized_input_gradient,
};
use super::shape::ConvShape;
use super::statistics::{
    Affine, PartialMoments, Running, combine, combined_lengths, fold_given, measure,
};
use super::tensors::{Arena, Operand, constant, unwrapped, wrapped};
use super::tile::{Scale, Tile};
use super::weight_gradient::{partial_gradient, sum_parts};
use crate::conv::{PreactivationConv, Projection};
use crate::fused_chain::{Residual, geometries};
use crate::normalization::{ChannelStatistics, NormStatistics, Normalization, RunningStatistics};

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
    let Operand { mut values, node } = Operand::new(input)?;
    let geometries = geometries(input, layers, residual)?;
    let scale = Scale::of(&values.client);
    let least = Tile::tall(scale, usize::MAX).rows;
    let shapes: Vec<ConvShape> = geometries.iter().map(ConvShape::new).collect();
    let batch = input.dims()[0];
    let operands = layers.iter().map(Operands::new).collect::<Option<Vec<_>>>()?;
    let other = match residual {
        Residual::Tensor(other) => Some(Operand::new(*other)?),
        Residual::Projection(projection) => Some(Operand::new(&projection.weight)?),
        Residual::None | Residual::Input => None,
    };
    let projection = match residual {
        Residual::Projection(projection) => Some(projection_shape(input, projection)?),
        _ => None,
    };
    let is_elsewhere = |tensor: &CubeTensor| tensor.device != values.device;
    if shapes.iter().chain(&projection).any(|shape| !shape.is_supported(batch, least))
        || operands.iter().flat_map(Operands::tensors).any(is_elsewhere)
        || other.iter().any(|other| is_elsewhere(&other.values))
    {
        return None;
    }

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
        let layer = SavedLayer { shape, batch, input: values, weight: weight.values, norm };
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

/// Returns the sizes of the projection of a unit.
fn projection_shape(input: &Tensor<4>, projection: &Projection) -> Option<ConvShape> {
    let Projection { weight, options } = projection.clone();
    let projection = PreactivationConv { normalization: None, weight, options };
    geometries(input, &[projection], &Residual::None)?.first().map(ConvShape::new)
}

/// The operands of one convolution.
struct Operands {
    weight: Operand,
    norm: Option<NormOperands>,
}

/// The operands of a normalization.
struct NormOperands {
    scale: Operand,
    shift: Operand,
    epsilon: f32,
    /// Mean and variance, if they are given.
    given: Option<[CubeTensor; 2]>,
    /// The running statistics, if they are updated.
    running: Option<Running>,
    /// True if the statistics depend on the input.
    is_batch: bool,
}

impl Operands {
    fn new(layer: &PreactivationConv) -> Option<Self> {
        let norm = match &layer.normalization {
            Some(normalization) => {
                let Normalization { scale, shift, statistics, epsilon, .. } = normalization;
                let given = match statistics.given() {
                    Some(ChannelStatistics { mean, variance, .. }) => {
                        Some([Operand::new(mean)?.values, Operand::new(variance)?.values])
                    }
                    None => None,
                };
                let running = match normalization.updates() {
                    Some(RunningStatistics { mean, variance, momentum }) => Some(Running {
                        mean: Operand::new(mean)?.values,
                        variance: Operand::new(variance)?.values,
                        momentum: *momentum,
                    }),
                    None => None,
                };
                let is_batch = matches!(statistics, NormStatistics::Batch(_));
                let (scale, shift) = (Operand::new(scale)?, Operand::new(shift)?);
                let epsilon = *epsilon as f32;
                Some(NormOperands { scale, shift, epsilon, given, running, is_batch })
            }
            None => None,
        };
        Some(Self { weight: Operand::new(&layer.weight)?, norm })
    }

    fn tensors(&self) -> impl Iterator<Item = &CubeTensor> {
        let of_norm = self.norm.iter().flat_map(|norm| {
            let affine = [&norm.scale.values, &norm.shift.values];
            let running =
                norm.running.iter().flat_map(|running| [&running.mean, &running.variance]);
            affine.into_iter().chain(norm.given.iter().flatten()).chain(running)
        });
        std::iter::once(&self.weight.values).chain(of_norm)
    }
}

/// The data that the backward pass of a chain needs.
#[derive(Debug)]
struct SavedChain {
    layers: Vec<SavedLayer>,
    /// True if the input of the first convolution is added to the output of the last.
    adds_input: bool,
    /// The projection whose output is added to that of the last convolution.
    projection: Option<SavedProjection>,
}

/// A convolution of the normalized input of the first convolution.
#[derive(Debug)]
struct SavedProjection {
    shape: ConvShape,
    weight: CubeTensor,
}

impl SavedProjection {
    /// Returns the projection, where `first` is the first convolution.
    fn convolution<'a>(&'a self, first: &'a SavedLayer) -> Convolution<'a> {
        Convolution { shape: self.shape, weight: &self.weight, ..first.convolution() }
    }
}

/// One convolution of a chain.
#[derive(Debug)]
struct SavedLayer {
    shape: ConvShape,
    batch: usize,
    input: CubeTensor,
    weight: CubeTensor,
    norm: Option<SavedNorm>,
}

#[derive(Debug)]
struct SavedNorm {
    /// The folded normalization.
    map: CubeTensor,
    is_batch: bool,
}

impl SavedChain {
    /// Returns the convolution of this number. After the layers it is the projection.
    fn convolution(&self, number: usize) -> Convolution<'_> {
        match &self.projection {
            Some(projection) if number == self.layers.len() => {
                projection.convolution(&self.layers[0])
            }
            _ => self.layers[number].convolution(),
        }
    }
}

impl SavedLayer {
    fn convolution(&self) -> Convolution<'_> {
        let Self { shape, batch, input, weight, norm } = self;
        let map = norm.as_ref().map(|norm| &norm.map);
        Convolution { shape: *shape, batch: *batch, input, map, weight }
    }

    /// The number of parents that this convolution adds to the node: its weight, and with a normalization also scale and
    /// shift.
    fn parents(&self) -> usize {
        if self.norm.is_some() { 3 } else { 1 }
    }
}

thread_local! {
    /// The output of the last chain that this thread added to a graph, with its moments. The tensor is kept, so that nothing
    /// overwrites it and its memory stays its own.
    static LAST: RefCell<Option<(CubeTensor, PartialMoments)>> = const { RefCell::new(None) };
}

/// Remembers the moments of a tensor, until the next call.
fn remember_moments(tensor: &CubeTensor, moments: PartialMoments) {
    LAST.set(Some((tensor.clone(), moments)));
}

/// Returns the moments of a tensor, if they are remembered.
fn measured_moments(tensor: &CubeTensor) -> Option<PartialMoments> {
    let place = |tensor: &CubeTensor| {
        let Handle { memory, offset_start, offset_end, .. } = tensor.handle.clone();
        (memory.binding().id(), offset_start, offset_end, tensor.meta.shape().clone())
    };
    LAST.with_borrow(|last| match last {
        Some((last, moments)) if place(last) == place(tensor) => Some(moments.clone()),
        _ => None,
    })
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
        let gradient = into_contiguous(gradient.expect("the node was recorded without fusion"));
        let mut register = |id: Option<NodeId>, gradient: CubeTensor| {
            if let Some(id) = id {
                grads.register::<Cube>(id, wrapped(gradient));
            }
        };
        // Index of the first parent of the current convolution. The loop starts with the last convolution.
        let mut begin = 1 + layers.iter().map(SavedLayer::parents).sum::<usize>();
        let mut along = OutputGradient { gradient: gradient.clone(), norm: None };
        let lengths = layers.iter().filter(|layer| layer.norm.is_some());
        let lengths = lengths.flat_map(|layer| norm_gradient_lengths(layer.shape.in_channels));
        let mut arena = Arena::new(&gradient, lengths);
        let (mut now, mut later) = (Vec::new(), Vec::new());
        // The gradient of a leaf may be deferred, since nothing within this backward pass reads it.
        let mut add_weight = |parent: usize, number: usize, along: &OutputGradient| {
            let Some(weight) = id(parent) else { return };
            let parent = ops.parents.get(parent).and_then(Option::as_ref);
            match parent.is_some_and(|parent| parent.parents.is_empty()) {
                true if is_deferring() => later.push((weight, number, along.clone())),
                _ => now.push((weight, partial_gradient(ops.state.convolution(number), along))),
            }
        };
        match projection {
            Some(_) => add_weight(begin, layers.len(), &along),
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
                let along = OutputGradient { gradient: gradient.clone(), norm: None };
                input_gradient(projection, &along, None).0
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

/// Defers the gradients of the weights of a chain. The first one that is needed computes all of them.
fn defer_weights(chain: &Arc<SavedChain>, weights: Vec<(NodeId, usize, OutputGradient)>) {
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

#[cfg(all(test, any(feature = "cube-cpu", feature = "cube-wgpu")))]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::{ConvOptions, conv2d};

    fn numbers(tensor: CubeTensor) -> Vec<f32> {
        constant::<1>(tensor).into_data().try_into_vec().unwrap()
    }

    #[test]
    fn moments_of_the_last_output_are_remembered() {
        #[cfg(feature = "cube-wgpu")]
        let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
        #[cfg(not(feature = "cube-wgpu"))]
        let device = Device::cpu();
        let numbers_from =
            |len: usize, factor: f32| (0..len).map(|index| (index as f32 * factor).sin()).collect();
        let tensor = |shape: [usize; 4], factor: f32| {
            let values: Vec<f32> = numbers_from(shape.iter().product(), factor);
            Tensor::<4>::from_data(TensorData::new(values, shape), &device).autodiff()
        };
        let input = tensor([2, 9, 9, 3], 0.7);
        let convolved = || {
            let options = ConvOptions { stride: 1, padding: 0 };
            conv2d(input.clone(), tensor([20, 3, 1, 1], 1.3), options)
        };
        let values = |tensor: &Tensor<4>| Operand::new(tensor).unwrap().values;
        let first = convolved();
        let moments = measured_moments(&values(&first)).unwrap();
        assert!(measured_moments(&values(&first.clone().detach())).is_some());
        assert!(measured_moments(&values(&(first.clone() * 1.0))).is_none());

        // Measured in other parts, they combine to the same statistics.
        let again = measure(&values(&first), 20);
        assert_ne!(moments.part, again.part);
        let one = Operand::new(&Tensor::<1>::ones([20], &device)).unwrap().values;
        let affine = Affine { scale: &one, shift: &one, epsilon: 1e-5 };
        let mut arena = Arena::new(&one, []);
        let [found, expected] =
            [moments, again].map(|moments| combine(&moments, affine, None, &mut arena).0);
        for (found, expected) in [(found.mean, expected.mean), (found.variance, expected.variance)]
        {
            for (found, expected) in numbers(found).into_iter().zip(numbers(expected)) {
                assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
            }
        }

        let _second = convolved();
        assert!(measured_moments(&values(&first)).is_none(), "only the last output is remembered");
    }
}
