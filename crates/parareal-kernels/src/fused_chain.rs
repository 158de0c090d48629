//! Chains of convolutions as single nodes of Burn's automatic differentiation on its CPU backend.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops};
use burn::tensor::{DType, Tensor};
use parareal_autodiff::{FlexTensor, GraphBackend, defer, is_deferring, record};

use crate::conv::{PreactivationConv, Projection};
use crate::cpu::folded_norm::FoldedNorm;
use crate::cpu::geometry::Geometry;
use crate::cpu::gradients::GradientMask;
use crate::cpu::moments::{mean_and_variance, over_replicas};
use crate::flex::{Operand, StateElement, from_vec, to_contiguous, with_element};
use crate::normalization::{ChannelStatistics, NormStatistics, Normalization};
use crate::saved_chain::{SavedChain, SavedConv, SavedInput, recomputable_chain, remember};
use crate::simd::SimdLevel;

/// The tensor that is added to the output of the last convolution.
pub(crate) enum Residual<'a> {
    None,
    /// The input of the first convolution.
    Input,
    Tensor(&'a Tensor<4>),
    /// A convolution of the normalized input of the first convolution.
    Projection(&'a Projection),
}

/// Applies a chain of convolutions as one node, and returns its output with the statistics of each
/// normalization. Returns `None` if the backend, precision or shapes are not supported.
pub(crate) fn chain(
    input: &Tensor<4>,
    layers: &[PreactivationConv],
    residual: &Residual<'_>,
) -> Option<(Tensor<4>, Vec<ChannelStatistics>)> {
    let geometries = geometries(input, layers, residual)?;
    // All operands are converted first, so that nothing is computed if one of them is not
    // supported.
    let state = Operand::state(input)?;
    let operands = layers.iter().map(Operands::new).collect::<Option<Vec<_>>>()?;
    let other = match residual {
        Residual::Tensor(other) if other.dtype() != input.dtype() => return None,
        Residual::Tensor(other) => Some(Operand::state(*other)?),
        Residual::None | Residual::Input => None,
        // On the CPU, what matters is the time of each convolution, and not the number of operations.
        Residual::Projection(_) => return None,
    };
    let done = with_element!(
        input,
        chain_of(state, layers, operands, geometries, matches!(residual, Residual::Input), other)
    );
    Some(done)
}

/// Applies a chain of convolutions to states of these elements. If `adds_input` is true, the input of the first is added to
/// the output of the last; otherwise `other`, if there is one.
fn chain_of<E: StateElement>(
    Operand { mut values, node }: Operand,
    layers: &[PreactivationConv],
    operands: Vec<Operands>,
    geometries: Vec<Geometry>,
    adds_input: bool,
    other: Option<Operand>,
) -> (Tensor<4>, Vec<ChannelStatistics>) {
    let level = SimdLevel::current();
    let input = values.clone();
    // Only a unit that keeps its shape refers to the chain before it. A projection reads the same input and keeps it.
    let producer = match &node {
        Some(node) if adds_input => recomputable_chain(node.id()),
        _ => None,
    };
    let mut nodes = vec![node];
    let (mut convs, mut all) = (Vec::<SavedConv>::with_capacity(layers.len()), Vec::new());
    let mut measured = None;
    for (index, (Operands { weight, affine, given }, geometry)) in
        operands.into_iter().zip(geometries).enumerate()
    {
        let is_last = index + 1 == layers.len();
        nodes.push(weight.node);
        let norm = affine.zip(layers[index].normalization.as_ref()).map(
            |([scale, shift], Normalization { statistics, epsilon, .. })| {
                let is_batch = matches!(statistics, NormStatistics::Batch(_));
                let exact = given.unwrap_or_else(|| {
                    let found = measured.take().unwrap_or_else(|| {
                        let (images, channels) = (geometry.batch, geometry.in_channels);
                        mean_and_variance(level, E::slice(&values), images, channels)
                    });
                    let (exact, count) =
                        over_replicas(found, geometry.batch * geometry.input_pixels());
                    all.push(rounded(&exact, count));
                    exact
                });
                all.extend(statistics.given().cloned());
                let (scales, shifts) = (scale.slice(), shift.slice());
                let norm = FoldedNorm::new(scales, shifts, &exact, *epsilon, is_batch);
                nodes.extend([scale.node, shift.node]);
                norm
            },
        );
        let kept = SavedInput::Values(values.clone());
        let conv = SavedConv { geometry, input: kept, weight: weight.values, norm };
        let added =
            if adds_input { Some(&input) } else { other.as_ref().map(|other| &other.values) };
        let add = added.filter(|_| is_last).map(E::slice);
        // The statistics of the next normalization are measured while its input is in the cache.
        let next = layers.get(index + 1).and_then(|next| next.normalization.as_ref());
        let measure =
            next.is_some_and(|next| matches!(next.statistics, NormStatistics::Batch(None)));
        let (output, found) = conv.convolution::<E>(&values).forward(level, add, measure);
        measured = found;
        values = E::tensor(output, conv.output_shape());
        convs.push(conv);
    }
    nodes.extend(other.map(|other| other.node));
    if let (Some(producer), [first, ..]) = (producer, &mut convs[..]) {
        first.input = SavedInput::OutputOf(producer);
    }
    let saved = Arc::new(SavedChain { convs, adds_input });
    let output = record_chain::<E>(nodes, saved.clone(), values);
    if let Some(node) = Operand::state(&output).and_then(|output| output.node) {
        remember(node.id(), &saved);
    }
    (output, all)
}

/// The operands of one convolution.
struct Operands {
    weight: Operand,
    /// Scale and shift.
    affine: Option<[Operand; 2]>,
    /// Mean and variance, if they are given.
    given: Option<[Vec<f64>; 2]>,
}

impl Operands {
    fn new(layer: &PreactivationConv) -> Option<Self> {
        let (mut affine, mut given) = (None, None);
        if let Some(Normalization { scale, shift, statistics, .. }) = &layer.normalization {
            affine = Some([Operand::new(scale)?, Operand::new(shift)?]);
            if let Some(ChannelStatistics { mean, variance, .. }) = statistics.given() {
                given = Some([to_f64(mean)?, to_f64(variance)?]);
            }
        }
        Some(Self { weight: Operand::new(&layer.weight)?, affine, given })
    }
}

/// Returns the sizes of all convolutions, or `None` if they do not match or are not supported.
pub(crate) fn geometries(
    input: &Tensor<4>,
    layers: &[PreactivationConv],
    residual: &Residual<'_>,
) -> Option<Vec<Geometry>> {
    let mut shape = input.dims();
    let products = match input.dtype() {
        DType::BF16 => SimdLevel::current().bf16_products(),
        _ => None,
    };
    let mut found = Vec::with_capacity(layers.len());
    for layer in layers {
        let [batch, height, width, in_channels] = shape;
        let [out_channels, channels, kernel, columns] = layer.weight.dims();
        let (stride, padding) = (layer.options.stride, layer.options.padding);
        let geometry = Geometry {
            batch,
            height,
            width,
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
            products,
        };
        let fits = layer.normalization.as_ref().is_none_or(|normalization| {
            let sizes = [normalization.scale.dims(), normalization.shift.dims()];
            let fits = |given: &ChannelStatistics| {
                [given.mean.dims(), given.variance.dims()] == [[in_channels]; 2]
            };
            let updates = normalization.updates().is_none_or(|running| {
                [running.mean.dims(), running.variance.dims()] == [[in_channels]; 2]
            });
            sizes == [[in_channels]; 2]
                && updates
                && normalization.statistics.given().is_none_or(fits)
        });
        if channels != in_channels || kernel != columns || !geometry.is_supported() || !fits {
            return None;
        }
        let [rows, columns] = geometry.output();
        shape = [batch, rows, columns, out_channels];
        found.push(geometry);
    }
    let fits = match residual {
        Residual::None => true,
        // The backward pass adds the input gradient of the first convolution to the gradient of the
        // output in place. The other convolutions no longer need the gradient of the output by
        // then.
        Residual::Input => {
            let normalized = |layer: &PreactivationConv| layer.normalization.is_some();
            shape == input.dims() && layers.len() > 1 && layers.iter().all(normalized)
        }
        Residual::Tensor(other) => shape == other.dims(),
        Residual::Projection(projection) => {
            let normalization = layers.first().and_then(|first| first.normalization.clone());
            let Projection { weight, options } = (*projection).clone();
            let projection = PreactivationConv { normalization, weight, options };
            let projected = geometries(input, &[projection], &Residual::None)?;
            let projected = projected.first()?;
            let [rows, columns] = projected.output();
            shape == [projected.batch, rows, columns, projected.out_channels]
                && layers.len() > 1
                && layers.iter().all(|layer| layer.normalization.is_some())
        }
    };
    fits.then_some(found)
}

/// Returns the values of a given statistic in double precision.
fn to_f64(statistic: &Tensor<1>) -> Option<Vec<f64>> {
    let operand = Operand::new(statistic)?;
    Some(operand.slice().iter().copied().map(f64::from).collect())
}

/// Rounds statistics to single precision.
fn rounded(exact: &[Vec<f64>; 2], count: usize) -> ChannelStatistics {
    let [mean, variance] = exact.each_ref().map(|values| {
        let rounded: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let channels = rounded.len();
        Tensor::from_primitive::<Flex>(from_vec(rounded, [channels]))
    });
    ChannelStatistics { mean, variance, count, running: None }
}

/// Adds the chain to the graph of its operands, if they are in one.
fn record_chain<E: StateElement>(
    parents: Vec<Option<NodeGuard>>,
    state: Arc<SavedChain>,
    output: FlexTensor,
) -> Tensor<4> {
    match parents.len() {
        2 => record_parents::<E, 2>(parents, state, output),
        4 => record_parents::<E, 4>(parents, state, output),
        5 => record_parents::<E, 5>(parents, state, output),
        7 => record_parents::<E, 7>(parents, state, output),
        10 => record_parents::<E, 10>(parents, state, output),
        13 => record_parents::<E, 13>(parents, state, output),
        count => unreachable!(
            "expected one convolution, or two to four with normalizations, got {count} parents"
        ),
    }
}

fn record_parents<E: StateElement, const N: usize>(
    parents: Vec<Option<NodeGuard>>,
    state: Arc<SavedChain>,
    output: FlexTensor,
) -> Tensor<4> {
    let parents: [_; N] = parents.try_into().expect("the caller has counted them");
    record::<Flex, _, N, 4>(ChainBackward::<E>(PhantomData), parents, state, output)
}

#[derive(Debug)]
struct ChainBackward<E>(PhantomData<E>);

impl<E: StateElement, const N: usize> Backward<Flex, N> for ChainBackward<E> {
    type State = Arc<SavedChain>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let level = SimdLevel::current();
        let id = |index: usize| -> Option<NodeId> {
            ops.parents.get(index).and_then(|parent| parent.as_ref()).map(|parent| parent.id)
        };
        let SavedChain { convs, adds_input } = &*ops.state;
        let mut gradient = to_contiguous(grads.consume::<Flex>(&ops.node));
        // Index of the first parent of the current convolution. The loop starts with the last
        // convolution.
        let mut begin = 1 + convs.iter().map(SavedConv::parents).sum::<usize>();
        if let Some(other) = id(begin) {
            grads.register::<Flex>(other, gradient.clone());
        }
        // The gradient along the chain; `None` before the last convolution is differentiated.
        let mut along: Option<Vec<E>> = None;
        for (index, conv) in convs.iter().enumerate().rev() {
            begin -= conv.parents();
            let [weight, scale, shift] = conv.parents_from(begin).map(|index| index.and_then(id));
            let goes_on = (0..begin).any(|index| id(index).is_some());
            // The gradient of a leaf may be deferred, since nothing within this backward pass reads
            // it.
            let parent = ops.parents.get(begin).and_then(Option::as_ref);
            let is_leaf = parent.is_some_and(|parent| parent.parents.is_empty());
            let deferred = weight.filter(|_| is_leaf && is_deferring());
            let mask = GradientMask {
                input: goes_on || scale.is_some() || shift.is_some(),
                weight: weight.is_some() && deferred.is_none(),
            };
            let input = conv.input.values::<E>(level);
            let mut after = along.take().map(|values| E::tensor(values, conv.output_shape()));
            if let Some(id) = deferred {
                let input = SavedInput::Values(input.clone());
                let conv = SavedConv { input, ..conv.clone() };
                let after = after.as_ref().unwrap_or(&gradient).clone();
                defer(id, move || {
                    let values = conv.weight_gradient::<E>(level, &after)?;
                    Some(Flex::constant::<4>(values))
                });
            }
            let saved = conv.norm.as_ref().map(FoldedNorm::saved_statistics);
            let convolution = conv.convolution::<E>(&input);
            let found = match after.take() {
                // The gradient of the input is added in place to the gradient of the skip
                // connection.
                Some(after) if index == 0 && *adds_input && mask.input => {
                    let sum = Some(E::slice_mut(&mut gradient));
                    convolution.backward(level, E::slice(&after), saved, mask, sum)
                }
                Some(after) => convolution.backward(level, E::slice(&after), saved, mask, None),
                None => convolution.backward(level, E::slice(&gradient), saved, mask, None),
            };
            if let (Some(id), Some(values)) = (weight, found.weight) {
                grads.register::<Flex>(id, conv.weight_tensor(values));
            }
            for (id, values) in [(scale, found.scale), (shift, found.shift)] {
                if let (Some(id), Some(values)) = (id, values) {
                    grads.register::<Flex>(id, from_vec(values, [conv.geometry.in_channels]));
                }
            }
            along = found.input;
            if !goes_on {
                return;
            }
        }
        if let Some(id) = id(0) {
            let Geometry { batch, height, width, in_channels, .. } = convs[0].geometry;
            let input = along.map(|values| E::tensor(values, [batch, height, width, in_channels]));
            grads.register::<Flex>(id, input.unwrap_or(gradient));
        }
    }
}
