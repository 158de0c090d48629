use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Device, Tensor};

/// Returns true if two tensors on Burn's CPU backend have the same shape, type and bits; `None` for
/// tensors on other devices.
pub(super) fn is_bitwise_equal<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> Option<bool> {
    let values = |tensor: &Tensor<D>| {
        let is_on_cpu = tensor.device() == Device::flex();
        let tensor = is_on_cpu.then(|| tensor.clone().inner())?;
        Some(tensor.try_into_primitive::<Flex>().ok()?.to_contiguous())
    };
    let (a, b) = (values(a)?, values(b)?);
    let is_alike = a.dtype() == b.dtype() && a.layout().shape() == b.layout().shape();
    Some(is_alike && bytes(&a)? == bytes(&b)?)
}

/// Returns the bytes of a contiguous tensor's values.
fn bytes(primitive: &FloatTensor<Flex>) -> Option<&[u8]> {
    let (start, end) = primitive.layout().contiguous_offsets()?;
    let size = primitive.dtype().size();
    primitive.bytes().get(start * size..end * size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_compared_bit_for_bit_in_any_memory_layout() {
        let tensor = |values: [f32; 4]| Tensor::<2>::from_data([values], &Device::flex());
        let nan = tensor([1.0, f32::NAN, -0.0, 3.0]);
        assert_eq!(is_bitwise_equal(&nan, &tensor([1.0, f32::NAN, -0.0, 3.0])), Some(true));
        assert_eq!(is_bitwise_equal(&nan, &tensor([1.0, f32::NAN, 0.0, 3.0])), Some(false));
        let last = nan.clone().narrow(1, 2, 2);
        assert_eq!(
            is_bitwise_equal(&last, &Tensor::from_data([[-0.0f32, 3.0]], &last.device())),
            Some(true)
        );
        assert_eq!(is_bitwise_equal(&last, &nan.narrow(1, 0, 2)), Some(false));
        let square = tensor([1.0, 2.0, 3.0, 4.0]).reshape([2, 2]);
        assert_eq!(is_bitwise_equal(&square, &square.clone().transpose()), Some(false));
        assert_eq!(is_bitwise_equal(&square, &square.clone().autodiff()), Some(true));
    }
}
