//! The operations as single nodes of Burn's automatic differentiation on its CPU backend.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

use crate::activation::Activation;
use crate::backward::Wanted;
use crate::forward::Convolution;
use crate::operand::{Operand, Primitive, one_after_the_other, primitive, slice, slice_mut};
use crate::operation::{Center, Layer, Normalization, Statistics};
use crate::{Geometry, SimdLevel, defer, statistics};

/// What is added to the last convolution's output.
pub(crate) enum Addend<'a> {
    Nothing,
    /// The first convolution's input.
    Input,
    Other(&'a Tensor<4>),
}

/// A chain of convolutions, each with what normalizes its input (or nothing), as one node; `None`
/// where backend, precision or shapes ask for another way. Gives the statistics of each
/// normalization.
pub(crate) fn chain(
    input: &Tensor<4>,
    layers: &[Layer],
    addend: &Addend<'_>,
) -> Option<(Tensor<4>, Vec<Statistics>)> {
    let level = SimdLevel::current();
    let geometries = geometries(input, layers, addend)?;
    // All operands first: nothing is computed where one of them is not for this.
    let Operand { mut values, node } = Operand::new(input)?;
    let operands = layers.iter().map(Operands::new).collect::<Option<Vec<_>>>()?;
    let other = match addend {
        Addend::Other(other) => Some(Operand::new(*other)?),
        Addend::Nothing | Addend::Input => None,
    };

    let mut nodes = vec![node];
    let (mut links, mut all) = (Vec::<Link>::with_capacity(layers.len()), Vec::new());
    let mut measured = None;
    for (index, (Operands { weight, affine, given }, geometry)) in
        operands.into_iter().zip(geometries).enumerate()
    {
        let is_last = index + 1 == layers.len();
        nodes.push(weight.node);
        let activation = affine.zip(layers[index].normalization.as_ref()).map(
            |([scale, shift], Normalization { center, epsilon, .. })| {
                let exact = given.or_else(|| measured.take()).unwrap_or_else(|| {
                    let (images, channels) = (geometry.batch, geometry.from);
                    statistics::statistics(level, slice(&values), images, channels)
                });
                all.push(center.given().cloned().unwrap_or_else(|| rounded(&exact)));
                let of_batch = matches!(center, Center::OfBatch(_));
                let (scales, shifts) = (scale.slice(), shift.slice());
                let activation = Activation::new(scales, shifts, &exact, *epsilon, of_batch);
                nodes.extend([scale.node, shift.node]);
                activation
            },
        );
        let link = Link { geometry, input: values, weight: weight.values, activation };
        let add = match addend {
            Addend::Input if is_last => links.first().map(|first| slice(&first.input)),
            Addend::Other(_) if is_last => other.as_ref().map(Operand::slice),
            _ => None,
        };
        // The next one's statistics, while what they are of is in the cache.
        let next = layers.get(index + 1).and_then(|next| next.normalization.as_ref());
        let measure = next.is_some_and(|next| matches!(next.center, Center::OfBatch(None)));
        let (output, found) = link.convolution().forward(level, add, measure);
        measured = found;
        let [rows, columns] = geometry.output();
        values = primitive(output, [geometry.batch, rows, columns, geometry.to]);
        links.push(link);
    }
    nodes.extend(other.map(|other| other.node));
    let state = State { links, adds_input: matches!(addend, Addend::Input) };
    Some((record_any(nodes, state, values), all))
}

/// What a layer works with.
struct Operands {
    weight: Operand,
    /// Scale and shift.
    affine: Option<[Operand; 2]>,
    /// Mean and variance, where they are handed over.
    given: Option<[Vec<f64>; 2]>,
}

impl Operands {
    fn new(layer: &Layer) -> Option<Self> {
        let (mut affine, mut given) = (None, None);
        if let Some(Normalization { scale, shift, center, .. }) = &layer.normalization {
            affine = Some([Operand::new(scale)?, Operand::new(shift)?]);
            if let Some(Statistics { mean, variance }) = center.given() {
                given = Some([doubles(mean)?, doubles(variance)?]);
            }
        }
        Some(Self { weight: Operand::new(&layer.weight)?, affine, given })
    }
}

/// The sizes of all convolutions, if they fit each other and are known to the fused passes.
fn geometries(input: &Tensor<4>, layers: &[Layer], addend: &Addend<'_>) -> Option<Vec<Geometry>> {
    let mut shape = input.dims();
    let mut geometries = Vec::with_capacity(layers.len());
    for layer in layers {
        let [batch, height, width, from] = shape;
        let [to, channels, kernel, columns] = layer.weight.dims();
        let (stride, padding) = (layer.stepping.stride, layer.stepping.padding);
        let geometry = Geometry { batch, height, width, from, to, kernel, stride, padding };
        let fits = layer.normalization.as_ref().is_none_or(|normalization| {
            let sizes = [normalization.scale.dims(), normalization.shift.dims()];
            let fits =
                |given: &Statistics| [given.mean.dims(), given.variance.dims()] == [[from]; 2];
            sizes == [[from]; 2] && normalization.center.given().is_none_or(fits)
        });
        if channels != from || kernel != columns || !geometry.is_supported() || !fits {
            return None;
        }
        let [rows, columns] = geometry.output();
        shape = [batch, rows, columns, to];
        geometries.push(geometry);
    }
    let fits = match addend {
        Addend::Nothing => true,
        // The first layer's input gradient is added to the output's, which the others are done
        // with by then.
        Addend::Input => {
            let normalized = |layer: &Layer| layer.normalization.is_some();
            shape == input.dims() && layers.len() > 1 && layers.iter().all(normalized)
        }
        Addend::Other(other) => shape == other.dims(),
    };
    fits.then_some(geometries)
}

/// A statistic that somebody else has, as numbers.
fn doubles(statistic: &Tensor<1>) -> Option<Vec<f64>> {
    let operand = Operand::new(statistic)?;
    Some(operand.slice().iter().copied().map(f64::from).collect())
}

fn rounded(exact: &[Vec<f64>; 2]) -> Statistics {
    let [mean, variance] = exact.each_ref().map(|values| {
        let rounded: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let channels = rounded.len();
        Tensor::from_primitive::<Flex>(primitive(rounded, [channels]))
    });
    Statistics { mean, variance }
}

/// What the backward pass needs, and nothing else.
#[derive(Clone, Debug)]
struct State {
    links: Vec<Link>,
    adds_input: bool,
}

/// One convolution of the chain.
#[derive(Clone, Debug)]
struct Link {
    geometry: Geometry,
    input: Primitive,
    weight: Primitive,
    activation: Option<Activation>,
}

impl Link {
    fn convolution(&self) -> Convolution<'_> {
        Convolution {
            geometry: self.geometry,
            input: slice(&self.input),
            activation: self.activation.as_ref().map(|activation| &activation.map),
            weight: slice(&self.weight),
        }
    }

    /// The gradient of the kernel alone, from that of the output.
    fn weight_gradient(&self, level: SimdLevel, gradient: &Primitive) -> Option<Primitive> {
        let center = self.activation.as_ref().map(Activation::center);
        let wanted = Wanted { input: false, weight: true };
        let found = self.convolution().backward(level, slice(gradient), center, wanted, None);
        let Geometry { from, to, kernel, .. } = self.geometry;
        found.weight.map(|values| primitive(values, [to, from, kernel, kernel]))
    }

    /// How many parents the node has for this link: the kernel, scale and shift.
    fn parents(&self) -> usize {
        if self.activation.is_some() { 3 } else { 1 }
    }

    /// Which ones they are.
    fn parents_from(&self, begin: usize) -> [Option<usize>; 3] {
        let normalized = self.activation.is_some();
        [Some(begin), normalized.then_some(begin + 1), normalized.then_some(begin + 2)]
    }
}

/// Adds the chain to the graph of its operands, if they have one.
fn record_any(nodes: Vec<Option<NodeGuard>>, state: State, output: Primitive) -> Tensor<4> {
    match nodes.len() {
        _ if nodes.iter().all(Option::is_none) => Tensor::from_primitive::<Flex>(output),
        2 => record::<2>(nodes, state, output),
        4 => record::<4>(nodes, state, output),
        5 => record::<5>(nodes, state, output),
        7 => record::<7>(nodes, state, output),
        10 => record::<10>(nodes, state, output),
        count => unreachable!("one convolution, or two or three with normalizations: not {count}"),
    }
}

fn record<const N: usize>(
    nodes: Vec<Option<NodeGuard>>,
    state: State,
    output: Primitive,
) -> Tensor<4> {
    // An operand outside every graph stands in as a leaf of its own that wants no gradient.
    let constant = || {
        let empty = primitive(vec![0.0], [1]);
        FloatTensor::<Autodiff<Flex>>::new(empty).node()
    };
    let nodes: Vec<NodeGuard> =
        nodes.into_iter().map(|node| node.unwrap_or_else(constant)).collect();
    let nodes: [NodeGuard; N] = nodes.try_into().expect("the caller has counted them");
    let prepared = FusedBackward.prepare::<NoCheckpointing>(nodes).compute_bound().stateful();
    let output = match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(state, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

#[derive(Debug)]
struct FusedBackward;

impl<const N: usize> Backward<Flex, N> for FusedBackward {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let level = SimdLevel::current();
        let id = |index: usize| -> Option<NodeId> {
            ops.parents.get(index).and_then(|parent| parent.as_ref()).map(|parent| parent.id)
        };
        let State { links, adds_input } = &ops.state;
        let mut gradient = one_after_the_other(grads.consume::<Flex>(&ops.node));
        // Where a link's own parents begin, from the end of the last one's.
        let mut begin = 1 + links.iter().map(Link::parents).sum::<usize>();
        if let Some(other) = id(begin) {
            grads.register::<Flex>(other, gradient.clone());
        }
        // The gradient along the chain, behind the last convolution.
        let mut along: Option<Vec<f32>> = None;
        for (index, link) in links.iter().enumerate().rev() {
            begin -= link.parents();
            let [weight, scale, shift] = link.parents_from(begin).map(|index| index.and_then(id));
            let goes_on = (0..begin).any(|index| id(index).is_some());
            // Nothing within this backward pass reads the gradient of a leaf.
            let parent = ops.parents.get(begin).and_then(Option::as_ref);
            let is_leaf = parent.is_some_and(|parent| parent.parents.is_empty());
            let waits = weight.filter(|_| is_leaf && defer::is_deferring());
            let wanted = Wanted {
                input: goes_on || scale.is_some() || shift.is_some(),
                weight: weight.is_some() && waits.is_none(),
            };
            let Geometry { batch, from, to, kernel, .. } = link.geometry;
            let mut behind = along.take().map(|values| {
                let [rows, columns] = link.geometry.output();
                primitive(values, [batch, rows, columns, to])
            });
            if let Some(id) = waits {
                let (link, behind) = (link.clone(), behind.as_ref().unwrap_or(&gradient).clone());
                defer::defer(id, move || link.weight_gradient(level, &behind));
            }
            let center = link.activation.as_ref().map(Activation::center);
            let convolution = link.convolution();
            let found = match behind.take() {
                // The gradient that passes by the chain is still there: take it in.
                Some(behind) if index == 0 && *adds_input && wanted.input => {
                    let sum = Some(slice_mut(&mut gradient));
                    convolution.backward(level, slice(&behind), center, wanted, sum)
                }
                Some(behind) => convolution.backward(level, slice(&behind), center, wanted, None),
                None => convolution.backward(level, slice(&gradient), center, wanted, None),
            };
            if let (Some(id), Some(values)) = (weight, found.weight) {
                grads.register::<Flex>(id, primitive(values, [to, from, kernel, kernel]));
            }
            for (id, values) in [(scale, found.scale), (shift, found.shift)] {
                if let (Some(id), Some(values)) = (id, values) {
                    grads.register::<Flex>(id, primitive(values, [from]));
                }
            }
            along = found.input;
            if !goes_on {
                return;
            }
        }
        if let Some(id) = id(0) {
            let Geometry { batch, height, width, from, .. } = links[0].geometry;
            let input = along.map(|values| primitive(values, [batch, height, width, from]));
            grads.register::<Flex>(id, input.unwrap_or(gradient));
        }
    }
}
