//! The moments of the last output of a thread, for the normalization that follows in most networks.

use std::cell::RefCell;

use burn_cubecl::tensor::CubeTensor;
use cubecl::server::Handle;

use super::statistics::PartialMoments;

thread_local! {
    /// The output of the last chain that this thread added to a graph, with its moments. The tensor is kept, so that nothing
    /// overwrites it and its memory stays its own.
    static LAST: RefCell<Option<(CubeTensor, PartialMoments)>> = const { RefCell::new(None) };
}

/// Remembers the moments of a tensor, until the next call.
pub(crate) fn remember_moments(tensor: &CubeTensor, moments: PartialMoments) {
    LAST.set(Some((tensor.clone(), moments)));
}

/// Returns the moments of a tensor, if they are remembered.
pub(crate) fn measured_moments(tensor: &CubeTensor) -> Option<PartialMoments> {
    let place = |tensor: &CubeTensor| {
        let Handle { memory, offset_start, offset_end, .. } = tensor.handle.clone();
        (memory.binding().id(), offset_start, offset_end, tensor.meta.shape().clone())
    };
    LAST.with_borrow(|last| match last {
        Some((last, moments)) if place(last) == place(tensor) => Some(moments.clone()),
        _ => None,
    })
}

#[cfg(all(test, any(feature = "cube-cpu", feature = "cube-wgpu")))]
mod tests {
    use burn::tensor::{Tensor, TensorData};

    use super::super::statistics::{Affine, combine, measure};
    use super::super::tensors::{Arena, Operand};
    use super::super::{numbers, test_device};
    use super::*;
    use crate::{ConvOptions, conv2d};

    #[test]
    fn moments_of_the_last_output_are_remembered() {
        let device = test_device();
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
            for (found, expected) in numbers::<1>(found).into_iter().zip(numbers::<1>(expected)) {
                assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
            }
        }

        let _second = convolved();
        assert!(measured_moments(&values(&first)).is_none(), "only the last output is remembered");
    }
}
