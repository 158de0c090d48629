//! Search for values that are infinite or NaN.

use burn::tensor::DType;
use parareal::net::NamedTensor;

/// Returns the name of the first tensor with a value that is not finite.
pub(crate) fn first_not_finite(tensors: &[NamedTensor]) -> Option<String> {
    let found = tensors.iter().find(|tensor| {
        let data = &tensor.data;
        match (data.dtype(), data.as_slice::<f32>()) {
            (DType::F32, Ok(values)) => !values.iter().all(|value| value.is_finite()),
            (dtype, _) => dtype.is_float() && !data.iter::<f64>().all(f64::is_finite),
        }
    });
    found.map(|tensor| tensor.name.clone())
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let tensor = |name: &str, data: TensorData| {
            let name = name.into();
            NamedTensor { name, data, trainable: true }
        };
        let whole = tensor("a", TensorData::from([1.0_f32, f32::MAX]));
        let number = tensor("b", TensorData::from([u64::MAX]));
        assert_eq!(first_not_finite(&[whole.clone(), number.clone()]), None);
        for wrong in [
            TensorData::from([0.0_f32, f32::NAN]),
            TensorData::from([f32::NEG_INFINITY, 0.0]),
            TensorData::from([f64::INFINITY]),
        ] {
            let tensors = [whole.clone(), number.clone(), tensor("c", wrong)];
            assert_eq!(first_not_finite(&tensors).as_deref(), Some("c"));
        }
    }
}
