//! The operations as single nodes of Burn's automatic differentiation on its CPU backend.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::backward::{self, Wanted};
use crate::composed::Operands;
use crate::elementwise::Affine;
use crate::forward::Convolution;
use crate::operation::{Center, Normalization, Statistics, Stepping};
use crate::{Geometry, SimdLevel, statistics};

type Primitive = FloatTensor<Flex>;

pub(crate) fn is_on_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex()
}

/// The values of a tensor of 32-bit floats on the CPU, one after the other, and its node if it
/// belongs to a graph.
struct Operand {
    values: Primitive,
    node: Option<NodeGuard>,
}

impl Operand {
    fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 || !is_on_cpu(tensor) {
            return None;
        }
        let (values, node) = match tensor.device().is_autodiff() {
            true => {
                let tensor = tensor.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
                let (values, node) = tensor.into_parts();
                (values, Some(node))
            }
            false => (tensor.clone().try_into_primitive::<Flex>().ok()?, None),
        };
        let values = match values.as_slice::<f32>() {
            Some(_) => values,
            None => values.to_contiguous(),
        };
        Some(Self { values, node })
    }
}

fn slice(primitive: &Primitive) -> &[f32] {
    primitive.as_slice().unwrap_or_default()
}

fn primitive<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Primitive {
    Primitive::from_data(TensorData::new(values, shape))
}

/// A normalization, boiled down to numbers.
#[derive(Clone, Debug)]
struct Activation {
    map: Affine,
    mean: Vec<f32>,
    rest: Vec<f64>,
    inverse: Vec<f64>,
    of_batch: bool,
}

impl Activation {
    fn center(&self) -> backward::Center<'_> {
        let Self { mean, rest, inverse, of_batch, .. } = self;
        backward::Center { mean, rest, inverse, of_batch: *of_batch }
    }
}

/// What the backward pass needs, and nothing else.
#[derive(Clone, Debug)]
struct State {
    geometry: Geometry,
    input: Primitive,
    weight: Primitive,
    activation: Option<Activation>,
}

impl State {
    fn convolution(&self) -> Convolution<'_> {
        Convolution {
            geometry: self.geometry,
            input: slice(&self.input),
            activation: self.activation.as_ref().map(|activation| &activation.map),
            weight: slice(&self.weight),
        }
    }
}

/// The operation with its normalization; `None` where backend, precision or shapes ask for
/// another way.
pub(crate) fn preactivation_conv2d(
    operands: &Operands,
    normalization: &Normalization,
) -> Option<(Tensor<4>, Statistics)> {
    let mut fused = Fused::new(operands)?;
    let Geometry { batch, from, .. } = fused.state.geometry;
    let [scale, shift] = [Operand::new(&normalization.scale)?, Operand::new(&normalization.shift)?];
    let (statistics, of_batch, exact) = match &normalization.center {
        Center::OfBatch(None) => {
            let values = slice(&fused.state.input);
            let exact = statistics::statistics(SimdLevel::current(), values, batch, from);
            let [mean, variance] = exact.each_ref().map(|values| {
                let rounded = values.iter().map(|&value| value as f32).collect();
                Tensor::from_primitive::<Flex>(primitive(rounded, [from]))
            });
            (Statistics { mean, variance }, true, exact)
        }
        Center::OfBatch(Some(given)) => (given.clone(), true, doubles(given)?),
        Center::Constant(given) => (given.clone(), false, doubles(given)?),
    };
    let [mean, variance] = &exact;
    let (scales, shifts) = (slice(&scale.values), slice(&shift.values));
    if [scales.len(), shifts.len(), mean.len(), variance.len()] != [from; 4] {
        return None;
    }
    let inverse = variance.iter().map(|variance| (variance + normalization.epsilon).sqrt().recip());
    let inverse: Vec<f64> = inverse.collect();
    let slope: Vec<f32> =
        scales.iter().zip(&inverse).map(|(&s, inverse)| (f64::from(s) * inverse) as f32).collect();
    // The offset belongs to the slope as it is rounded.
    let offset = shifts.iter().zip(mean.iter().zip(&slope));
    let offset = offset.map(|(&s, (mean, &slope))| (f64::from(s) - mean * f64::from(slope)) as f32);
    let map = Affine { offset: offset.collect(), slope };
    let rounded: Vec<f32> = mean.iter().map(|&mean| mean as f32).collect();
    let rest = mean.iter().zip(&rounded).map(|(mean, &rounded)| mean - f64::from(rounded));
    let rest = rest.collect();
    fused.state.activation = Some(Activation { map, mean: rounded, rest, inverse, of_batch });
    fused.nodes.splice(2..2, [scale.node, shift.node]);
    Some((fused.run(), statistics))
}

pub(crate) fn conv2d(operands: &Operands) -> Option<Tensor<4>> {
    Some(Fused::new(operands)?.run())
}

/// An operation that can be fused.
struct Fused {
    state: State,
    residual: Option<Primitive>,
    /// Of the input, the kernel, scale and shift (where there is a normalization), the residual
    /// (where there is one).
    nodes: Vec<Option<NodeGuard>>,
}

impl Fused {
    fn new(operands: &Operands) -> Option<Self> {
        let [batch, height, width, from] = operands.input.dims();
        let [to, channels, kernel, columns] = operands.weight.dims();
        let Stepping { stride, padding } = operands.stepping;
        let geometry = Geometry { batch, height, width, from, to, kernel, stride, padding };
        if channels != from || kernel != columns || !geometry.is_supported() {
            return None;
        }
        let (input, weight) = (Operand::new(&operands.input)?, Operand::new(&operands.weight)?);
        let mut nodes = vec![input.node, weight.node];
        let residual = match &operands.residual {
            Some(residual) => {
                let [rows, columns] = geometry.output();
                let fits = residual.dims() == [batch, rows, columns, to];
                let residual = fits.then(|| Operand::new(residual))??;
                nodes.push(residual.node);
                Some(residual.values)
            }
            None => None,
        };
        let state =
            State { geometry, input: input.values, weight: weight.values, activation: None };
        Some(Self { state, residual, nodes })
    }

    fn run(self) -> Tensor<4> {
        let geometry = self.state.geometry;
        let residual = self.residual.as_ref().map(slice);
        let output = self.state.convolution().forward(SimdLevel::current(), residual);
        let [rows, columns] = geometry.output();
        let output = primitive(output, [geometry.batch, rows, columns, geometry.to]);
        match self.nodes.len() {
            _ if self.nodes.iter().all(Option::is_none) => Tensor::from_primitive::<Flex>(output),
            2 => record::<2>(self.nodes, self.state, output),
            3 => record::<3>(self.nodes, self.state, output),
            4 => record::<4>(self.nodes, self.state, output),
            _ => record::<5>(self.nodes, self.state, output),
        }
    }
}

/// Statistics that somebody else has, as numbers.
fn doubles(statistics: &Statistics) -> Option<[Vec<f64>; 2]> {
    let Statistics { mean, variance } = statistics;
    let [mean, variance] = [Operand::new(mean)?, Operand::new(variance)?];
    let double =
        |operand: &Operand| slice(&operand.values).iter().copied().map(f64::from).collect();
    Some([double(&mean), double(&variance)])
}

/// Adds the operation to the graph.
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
        let gradient = grads.consume::<Flex>(&ops.node);
        let gradient = match gradient.as_slice::<f32>() {
            Some(_) => gradient,
            None => gradient.to_contiguous(),
        };
        let state = &ops.state;
        let id = |index: usize| -> Option<NodeId> {
            ops.parents.get(index).and_then(|parent| parent.as_ref()).map(|parent| parent.id)
        };
        let activation = state.activation.as_ref();
        let [scale, shift] = [2, 3].map(|index| activation.and_then(|_| id(index)));
        let residual = id(if activation.is_some() { 4 } else { 2 });
        let wanted = Wanted {
            input: id(0).is_some() || scale.is_some() || shift.is_some(),
            weight: id(1).is_some(),
        };
        let center = activation.map(Activation::center);
        let found =
            state.convolution().backward(SimdLevel::current(), slice(&gradient), center, wanted);
        let Geometry { batch, height, width, from, to, kernel, .. } = state.geometry;
        if let Some(id) = residual {
            grads.register::<Flex>(id, gradient);
        }
        if let (Some(id), Some(values)) = (id(0), found.input) {
            grads.register::<Flex>(id, primitive(values, [batch, height, width, from]));
        }
        if let (Some(id), Some(values)) = (id(1), found.weight) {
            grads.register::<Flex>(id, primitive(values, [to, from, kernel, kernel]));
        }
        for (id, values) in [(scale, found.scale), (shift, found.shift)] {
            if let (Some(id), Some(values)) = (id, values) {
                grads.register::<Flex>(id, primitive(values, [from]));
            }
        }
    }
}
