//! Linear interpolation.

use burn::tensor::Tensor;

/// Returns `from + weight · (to - from)`.
///
/// With the feature `cube`, two tensors of the same shape on one of CubeCL's devices, of 32-bit floats and outside every graph, are
/// interpolated in the memory of `from` if nothing else refers to it. Within
/// [`join_launches`](parareal_autodiff::join_launches) many of them share a launch, and results have their values at its end.
///
/// # Panics
/// If the shapes differ and cannot be broadcast.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal_kernels::lerp;
///
/// let numbers = |values| Tensor::<1>::from_data(values, &Device::flex());
/// let found = lerp(numbers([1.0, 2.0]), numbers([3.0, 2.0]), 0.25);
/// assert_eq!(found.into_data().try_into_vec::<f32>(), Ok(vec![1.5, 2.0]));
/// ```
pub fn lerp<const D: usize>(from: Tensor<D>, to: Tensor<D>, weight: f64) -> Tensor<D> {
    #[cfg(feature = "cube")]
    {
        let fits =
            |tensor: &Tensor<D>| !tensor.device().is_autodiff() && crate::cube::is_fused(tensor);
        if fits(&from) && fits(&to) && from.dims() == to.dims() && from.device() == to.device() {
            return crate::cube::lerp(from, to, weight);
        }
    }
    let step = (to - from.clone()) * weight;
    from + step
}
