//! Stochastic gradient descent of many parameters in one launch, in place.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use parareal_autodiff::{Launches, postpone, within};

use super::joint::{first_value, joint_grid, tensors_per_launch, value_stride};
use super::memory::{TensorMemory, copy};
use super::tensors::{constant, empty_like, is_owned, owned, values};
use crate::sgd::Sgd;

/// The learning rate, and a factor of all gradients, in the memory of a device. Recorded updates read them there, since other
/// arguments of a launch cannot change when it is replayed.
pub struct UpdateScales {
    memory: TensorMemory,
    values: [f32; 2],
}

/// The updates of a scope: see [`UpdateScales::scope`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScaledUpdates {
    /// Parameters that [`Sgd`] has updated in place, with their velocity.
    pub in_place: usize,
    /// Parameters that [`Sgd`] has updated with another learning rate, or whose update created a tensor.
    pub elsewhere: usize,
}

struct Scope {
    memory: CubeTensor,
    learning_rate: f32,
    updates: ScaledUpdates,
}

thread_local! {
    static SCOPE: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

impl UpdateScales {
    /// Creates the scales on a device: 0 and 1. Returns `None` if it is not one of CubeCL's.
    pub fn new(device: &Device) -> Option<Self> {
        let values = [0.0, 1.0];
        Some(Self { memory: TensorMemory::of(Tensor::<1>::from_data(values, device))?, values })
    }

    /// Sets the learning rate and the factor of all gradients.
    pub fn set(&mut self, learning_rate: f64, factor: f64) {
        let values = [learning_rate as f32, factor as f32];
        if self.values != values {
            let device = self.memory.clone().into_tensor::<1, burn::tensor::Float>().device();
            let new = TensorMemory::of(Tensor::<1>::from_data(values, &device));
            copy([(&new.expect("the device has not changed"), &self.memory)]);
            self.values = values;
        }
    }

    /// Runs updates. Those of [`Sgd`] on this thread with the learning rate that was [set](Self::set) read it, and the factor, from
    /// here. Returns the result, and the number of these updates.
    pub fn scope<R>(&self, update: impl FnOnce() -> R) -> (R, ScaledUpdates) {
        let memory = self.memory.values().clone();
        let learning_rate = self.values[0];
        let scope = Scope { memory, learning_rate, updates: ScaledUpdates::default() };
        let (result, scope) = within(&SCOPE, scope, update);
        (result, scope.map(|scope| scope.updates).unwrap_or_default())
    }
}

/// Updates a parameter, and returns it with its velocity. If the rule joins launches, the update is postponed: the results have their
/// values after the surrounding [`parareal_autodiff::join_launches`]. Without momentum, the velocity is the gradient.
///
/// # Panics
/// If [`super::is_fused`] returns false for a tensor.
pub(crate) fn sgd_step<const D: usize>(
    rule: &Sgd,
    learning_rate: f64,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Option<Tensor<D>>,
) -> (Tensor<D>, Tensor<D>) {
    let (parameter, gradient) = (values(parameter), into_contiguous(values(gradient)));
    let (is_first, keeps_velocity) = (velocity.is_none(), rule.momentum != 0.0);
    let velocity = velocity.map(values);
    let is_in_place = is_owned(&parameter) && velocity.as_ref().map_or(!keeps_velocity, is_owned);
    let is_scaled = SCOPE.with_borrow_mut(|scope| {
        let Some(Scope { updates, learning_rate: own, .. }) = scope else { return false };
        let is_scaled = *own == learning_rate as f32;
        let count = match is_in_place && is_scaled {
            true => &mut updates.in_place,
            false => &mut updates.elsewhere,
        };
        *count += 1;
        is_scaled
    });
    let parameter = owned(parameter);
    let velocity = match velocity {
        Some(velocity) => owned(velocity),
        // It lives as long as the parameter.
        None if keeps_velocity => {
            parameter.client.memory_persistent_allocation(&parameter, empty_like)
        }
        None => gradient.clone(),
    };
    let result = (constant(parameter.clone()), constant(velocity.clone()));
    let joins = rule.joins_launches;
    let rule = Rule {
        learning_rate: learning_rate as f32,
        momentum: rule.momentum as f32,
        weight_decay: rule.weight_decay as f32,
        is_first,
        keeps_velocity,
        nesterov: rule.nesterov,
        is_scaled,
    };
    let update = Update { rule, parameter, gradient, velocity };
    match joins {
        true => postpone(|updates: &mut Updates| updates.0.push(update)),
        false => launch(&[update]),
    }
    result
}

#[derive(Clone, Copy, PartialEq)]
struct Rule {
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
    /// True if the velocity has no values yet.
    is_first: bool,
    /// True if there is momentum, and therefore a velocity.
    keeps_velocity: bool,
    nesterov: bool,
    /// True if the learning rate is read from the memory of the scope.
    is_scaled: bool,
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
            // One more buffer: [`UpdateScales`].
            let most = tensors_per_launch(&first.parameter.client, 3, 1);
            updates.chunks(most).for_each(launch);
        }
    }
}

/// Launches updates of parameters of one device by one rule.
fn launch(updates: &[Update]) {
    let Some(Update { rule, parameter: CubeTensor { client, .. }, .. }) = updates.first() else {
        return;
    };
    let mut arguments = SequenceArg::new();
    let mut largest = 0;
    for Update { rule, parameter, gradient, velocity } in updates {
        largest = largest.max(parameter.meta.shape().num_elements());
        let [parameter, gradient, velocity] =
            [parameter, gradient, velocity].map(|tensor| tensor.clone().into_buffer_arg());
        arguments.push(StepLaunch::new(parameter, gradient, velocity, rule.weight_decay));
    }
    let (grid, units) = joint_grid(client, largest, updates.len());
    let Rule { learning_rate, momentum, is_first, keeps_velocity, nesterov, .. } = *rule;
    let scales = SCOPE.with_borrow(|scope| scope.as_ref().map(|scope| scope.memory.clone()));
    let scales = scales.filter(|_| rule.is_scaled);
    match scales {
        Some(scales) => scaled_sgd_kernel::launch(
            client,
            grid,
            units,
            arguments,
            scales.into_buffer_arg(),
            momentum,
            updates.len(),
            is_first,
            keeps_velocity,
            nesterov,
        ),
        None => sgd_kernel::launch(
            client,
            grid,
            units,
            arguments,
            learning_rate,
            momentum,
            updates.len(),
            is_first,
            keeps_velocity,
            nesterov,
        ),
    }
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
    #[comptime] keeps_velocity: bool,
    #[comptime] nesterov: bool,
) {
    update_own(steps, learning_rate, 1.0, momentum, count, is_first, keeps_velocity, nesterov);
}

/// As [`sgd_kernel`], with [`UpdateScales`].
#[cube(launch)]
fn scaled_sgd_kernel(
    steps: &mut Sequence<Step>,
    scales: &[f32],
    momentum: f32,
    #[comptime] count: usize,
    #[comptime] is_first: bool,
    #[comptime] keeps_velocity: bool,
    #[comptime] nesterov: bool,
) {
    update_own(steps, scales[0], scales[1], momentum, count, is_first, keeps_velocity, nesterov);
}

/// Updates the parameter of this block.
#[cube]
fn update_own(
    steps: &mut Sequence<Step>,
    learning_rate: f32,
    factor: f32,
    momentum: f32,
    #[comptime] count: usize,
    #[comptime] is_first: bool,
    #[comptime] keeps_velocity: bool,
    #[comptime] nesterov: bool,
) {
    #[unroll]
    for number in 0..count {
        if CUBE_POS_Y as usize == number {
            let step = steps.index_mut(number);
            update(step, learning_rate, factor, momentum, is_first, keeps_velocity, nesterov);
        }
    }
}

/// Updates one parameter: see [`Sgd`].
#[cube]
fn update(
    step: &mut Step,
    learning_rate: f32,
    factor: f32,
    momentum: f32,
    #[comptime] is_first: bool,
    #[comptime] keeps_velocity: bool,
    #[comptime] nesterov: bool,
) {
    let mut index = first_value();
    while index < step.parameter.len() {
        let parameter = step.parameter[index];
        let gradient = fma(step.weight_decay, parameter, factor * step.gradient[index]);
        let mut velocity = gradient;
        if comptime!(!is_first) {
            velocity = fma(momentum, step.velocity[index], gradient);
        }
        let mut change = velocity;
        if comptime!(nesterov) {
            change = fma(momentum, velocity, gradient);
        }
        if comptime!(keeps_velocity) {
            step.velocity[index] = velocity;
        }
        step.parameter[index] = fma(-learning_rate, change, parameter);
        index += value_stride();
    }
}

#[cfg(all(test, any(feature = "cube-cpu", feature = "cube-wgpu")))]
mod tests {
    use parareal_autodiff::join_launches;

    use super::super::test_device;
    use super::*;

    fn memory(tensor: Tensor<1>) -> impl PartialEq + std::fmt::Debug {
        values(tensor).handle.memory.binding().id()
    }

    #[test]
    fn parameters_and_velocities_are_updated_in_place() {
        for joins in [true, false] {
            let sgd = Sgd { momentum: 0.9, joins_launches: joins, ..Sgd::default() };
            let ones = || Tensor::<1>::ones([37], &test_device());
            let (parameter, velocity) = join_launches(|| sgd_step(&sgd, 0.5, ones(), ones(), None));
            let before = [memory(parameter.clone()), memory(velocity.clone())];
            let (parameter, velocity) =
                join_launches(|| sgd_step(&sgd, 0.5, parameter, ones(), Some(velocity)));
            let found = parameter.clone().into_data();
            assert!(found.iter::<f32>().all(|value| (value + 0.45).abs() < 1e-6), "{found:?}");
            let held = parameter.clone();
            assert_eq!([memory(held.clone()), memory(velocity.clone())], before);
            // Not in place, since there is another reference.
            let (changed, _) =
                join_launches(|| sgd_step(&sgd, 0.5, parameter, ones(), Some(velocity)));
            assert_ne!(memory(changed), memory(held.clone()));
            held.into_data().assert_eq(&found, true);
        }
    }

    #[test]
    fn scales_in_memory_are_those_of_arguments() {
        let sgd = Sgd { momentum: 0.9, weight_decay: 0.1, joins_launches: true, ..Sgd::default() };
        let ones = || Tensor::<1>::ones([37], &test_device());
        let start = || join_launches(|| sgd_step(&sgd, 0.5, ones(), ones(), None));
        let (parameter, velocity) = start();
        let (expected, _) = join_launches(|| {
            sgd_step(&sgd, 0.25, parameter, ones().mul_scalar(0.5), Some(velocity))
        });
        let mut scales = UpdateScales::new(&test_device()).unwrap();
        scales.set(0.25, 0.5);
        let (parameter, velocity) = start();
        let ((found, _), updates) = scales
            .scope(|| join_launches(|| sgd_step(&sgd, 0.25, parameter, ones(), Some(velocity))));
        assert_eq!(updates, ScaledUpdates { in_place: 1, elsewhere: 0 });
        found.clone().into_data().assert_eq(&expected.into_data(), true);
        // A first velocity, and a parameter with another reference, are in new memory.
        let held = found.clone();
        let ((found, velocity), updates) =
            scales.scope(|| join_launches(|| sgd_step(&sgd, 0.25, found, ones(), None)));
        assert_eq!(updates, ScaledUpdates { in_place: 0, elsewhere: 1 });
        let shared = found.clone();
        let (_, updates) =
            scales.scope(|| join_launches(|| sgd_step(&sgd, 0.25, found, ones(), Some(velocity))));
        assert_eq!(updates, ScaledUpdates { in_place: 0, elsewhere: 1 });
        drop((held, shared));
    }
}
