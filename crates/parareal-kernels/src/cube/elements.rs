//! The element types that kernels are compiled for: those of states, and those to which the factors of products are rounded.

/// Launches a kernel that is generic over the elements of states, for tensors of this type.
macro_rules! launch_for_states {
    ($states:expr, $kernel:ident($($argument:expr),* $(,)?)) => {
        match $states {
            burn::tensor::DType::BF16 => $kernel::launch::<half::bf16>($($argument),*),
            _ => $kernel::launch::<f32>($($argument),*),
        }
    };
}

/// Launches a kernel that is generic over the elements of states and over the type of the factors of its product, for states of
/// this type and a product in this tile.
macro_rules! launch_product {
    ($states:expr, $tile:expr, $kernel:ident($($argument:expr),* $(,)?)) => {
        match ($states, $tile.instruction.map(|instruction| instruction.factors)) {
            (burn::tensor::DType::BF16, Some($crate::cube::matrices::FactorType::Bfloat16)) => {
                $kernel::launch::<half::bf16, half::bf16>($($argument),*)
            }
            (burn::tensor::DType::BF16, None) => $kernel::launch::<half::bf16, f32>($($argument),*),
            #[cfg(all(test, feature = "cube-wgpu"))]
            (burn::tensor::DType::F32, Some($crate::cube::matrices::FactorType::Half)) => {
                $kernel::launch::<f32, half::f16>($($argument),*)
            }
            (burn::tensor::DType::F32, None) => $kernel::launch::<f32, f32>($($argument),*),
            (states, factors) => unreachable!("states of type {states:?} and factors {factors:?}"),
        }
    };
}

pub(crate) use launch_for_states;
pub(crate) use launch_product;
