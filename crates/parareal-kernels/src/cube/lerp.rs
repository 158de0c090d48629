//! Linear interpolation of many tensors in one launch, in place.

use burn::tensor::Tensor;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use parareal_autodiff::{Launches, postpone};

use super::joint::{first_value, joint_grid, tensors_per_launch, value_stride};
use super::tensors::{constant, owned, values};

/// Returns `from + weight · (to - from)`, in the memory of `from` if nothing else refers to it. The result has its values after the
/// surrounding [`parareal_autodiff::join_launches`].
///
/// # Panics
/// If the shapes differ, or [`super::is_fused`] returns false for a tensor.
pub(crate) fn lerp<const D: usize>(from: Tensor<D>, to: Tensor<D>, weight: f64) -> Tensor<D> {
    assert_eq!(from.dims(), to.dims(), "tensors of one shape are interpolated");
    let (from, to) = (owned(values(from)), into_contiguous(values(to)));
    let result = constant(from.clone());
    let weight = weight as f32;
    postpone(|moves: &mut Moves| moves.0.push(Move { from, to, weight }));
    result
}

struct Move {
    from: CubeTensor,
    to: CubeTensor,
    weight: f32,
}

/// Interpolations that have not been launched.
#[derive(Default)]
struct Moves(Vec<Move>);

impl Launches for Moves {
    fn launch(self) {
        let can_share = |a: &Move, b: &Move| a.weight == b.weight && a.from.device == b.from.device;
        for moves in self.0.chunk_by(can_share) {
            let Some(Move { from: CubeTensor { client, .. }, .. }) = moves.first() else {
                continue;
            };
            moves.chunks(tensors_per_launch(client, 2, 0)).for_each(launch);
        }
    }
}

/// Launches interpolations of tensors of one device with one weight.
fn launch(moves: &[Move]) {
    let Some(Move { from: CubeTensor { client, .. }, weight, .. }) = moves.first() else { return };
    let mut arguments = SequenceArg::new();
    let mut largest = 0;
    for Move { from, to, .. } in moves {
        largest = largest.max(from.meta.shape().num_elements());
        let [from, to] = [from, to].map(|tensor| tensor.clone().into_buffer_arg());
        arguments.push(LerpLaunch::new(from, to));
    }
    let (grid, units) = joint_grid(client, largest, moves.len());
    lerp_kernel::launch(client, grid, units, arguments, *weight, moves.len());
}

/// An interpolation of one tensor.
#[derive(CubeType, CubeLaunch)]
struct Lerp {
    from: Box<[f32]>,
    to: Box<[f32]>,
}

#[cube(launch)]
fn lerp_kernel(tensors: &mut Sequence<Lerp>, weight: f32, #[comptime] count: usize) {
    #[unroll]
    for number in 0..count {
        if CUBE_POS_Y as usize == number {
            let own = tensors.index_mut(number);
            let mut index = first_value();
            while index < own.from.len() {
                let from = own.from[index];
                own.from[index] = fma(weight, own.to[index] - from, from);
                index += value_stride();
            }
        }
    }
}
