//! Stochastic gradient descent of many parameters in one launch, in place.

use burn::backend::Cube;
use burn::tensor::Tensor;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use parareal_autodiff::{GraphBackend, Launches, postpone};

use super::tensors::{constant, empty_like, unwrapped};
use super::tile::{Scale, grid};
use crate::sgd::Sgd;

/// The largest number of parameters of a launch. A kernel has a branch for each, so more of them take longer to compile.
const MAX_PARAMETERS: usize = 128;

/// The largest number of blocks for one parameter. Each unit updates several values if there are more.
const MAX_PARAMETER_BLOCKS: usize = 128;

/// Buffers of a kernel beside those of the parameters: scalars and lengths.
const OTHER_BUFFERS: usize = 2;

/// Updates a parameter that outlives the surrounding [`parareal_autodiff::join_launches`]. Returns it with its velocity.
///
/// # Panics
/// If a tensor is in a graph, or [`super::is_fused`] returns false for it.
pub(crate) fn sgd_step<const D: usize>(
    rule: &Sgd,
    learning_rate: f64,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Option<Tensor<D>>,
) -> (Tensor<D>, Tensor<D>) {
    let parameter = owned(values(parameter));
    let is_first = velocity.is_none();
    let velocity = match velocity {
        Some(velocity) => owned(values(velocity)),
        // It lives as long as the parameter.
        None => parameter.client.memory_persistent_allocation(&parameter, empty_like),
    };
    let result = (constant(parameter.clone()), constant(velocity.clone()));
    let rule = Rule {
        learning_rate: learning_rate as f32,
        momentum: rule.momentum as f32,
        weight_decay: rule.weight_decay as f32,
        is_first,
        nesterov: rule.nesterov,
    };
    let update = Update { rule, parameter, gradient: values(gradient), velocity };
    postpone(|updates: &mut Updates| updates.0.push(update));
    result
}

fn values<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    let values = Cube::into_parts(tensor).and_then(|(values, _)| unwrapped(values));
    into_contiguous(values.expect("the caller has checked the device"))
}

/// Returns the tensor if nothing else refers to its memory, and otherwise a copy.
fn owned(tensor: CubeTensor) -> CubeTensor {
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

#[derive(Clone, Copy, PartialEq)]
struct Rule {
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
    /// True if the velocity has no values yet.
    is_first: bool,
    nesterov: bool,
}

impl Rule {
    /// Returns true if parameters with these rules can be updated in one launch.
    fn can_share_launch(self, other: Self) -> bool {
        self == Self { weight_decay: self.weight_decay, ..other }
    }
}

struct Update {
    rule: Rule,
    parameter: CubeTensor,
    gradient: CubeTensor,
    velocity: CubeTensor,
}

/// Updates that have not been launched.
#[derive(Default)]
struct Updates(Vec<Update>);

impl Launches for Updates {
    fn launch(self) {
        let can_share = |a: &Update, b: &Update| {
            a.rule.can_share_launch(b.rule) && a.parameter.device == b.parameter.device
        };
        for updates in self.0.chunk_by(can_share) {
            let Some(first) = updates.first() else { continue };
            let bindings = first.parameter.client.properties().hardware.max_bindings as usize;
            let most = (bindings.saturating_sub(OTHER_BUFFERS) / 3).clamp(1, MAX_PARAMETERS);
            updates.chunks(most).for_each(launch);
        }
    }
}

/// Launches updates of parameters of one device by one rule.
fn launch(updates: &[Update]) {
    let Some(Update { rule, parameter: CubeTensor { client, .. }, .. }) = updates.first() else {
        return;
    };
    let units = Scale::of(client).elementwise_units();
    let mut arguments = SequenceArg::new();
    let mut largest = 0;
    for Update { rule, parameter, gradient, velocity } in updates {
        largest = largest.max(parameter.meta.shape().num_elements());
        let [parameter, gradient, velocity] =
            [parameter, gradient, velocity].map(|tensor| tensor.clone().into_buffer_arg());
        arguments.push(StepLaunch::new(parameter, gradient, velocity, rule.weight_decay));
    }
    let blocks = largest.div_ceil(units).clamp(1, MAX_PARAMETER_BLOCKS);
    sgd_kernel::launch(
        client,
        grid(blocks, updates.len(), 1),
        CubeDim::new_1d(units as u32),
        arguments,
        rule.learning_rate,
        rule.momentum,
        updates.len(),
        rule.is_first,
        rule.nesterov,
    );
}

/// A step of one parameter.
#[derive(CubeType, CubeLaunch)]
struct Step {
    parameter: Box<[f32]>,
    gradient: Box<[f32]>,
    velocity: Box<[f32]>,
    weight_decay: f32,
}

#[cube(launch)]
fn sgd_kernel(
    steps: &mut Sequence<Step>,
    learning_rate: f32,
    momentum: f32,
    #[comptime] count: usize,
    #[comptime] is_first: bool,
    #[comptime] nesterov: bool,
) {
    #[unroll]
    for number in 0..count {
        if CUBE_POS_Y as usize == number {
            let step = steps.index_mut(number);
            update(step, learning_rate, momentum, is_first, nesterov);
        }
    }
}

/// Updates one parameter: see [`Sgd`].
#[cube]
fn update(
    step: &mut Step,
    learning_rate: f32,
    momentum: f32,
    #[comptime] is_first: bool,
    #[comptime] nesterov: bool,
) {
    let mut index = CUBE_POS_X as usize * CUBE_DIM as usize + UNIT_POS as usize;
    while index < step.parameter.len() {
        let parameter = step.parameter[index];
        let gradient = fma(step.weight_decay, parameter, step.gradient[index]);
        let mut velocity = gradient;
        if comptime!(!is_first) {
            velocity = fma(momentum, step.velocity[index], gradient);
        }
        let mut change = velocity;
        if comptime!(nesterov) {
            change = fma(momentum, velocity, gradient);
        }
        step.velocity[index] = velocity;
        step.parameter[index] = fma(-learning_rate, change, parameter);
        index += CUBE_COUNT_X as usize * CUBE_DIM as usize;
    }
}
