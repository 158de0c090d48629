use burn::tensor::{Device, Tensor, Transaction};

/// Returns true if devices of the kind of this one pass states to each other directly. Other states pass through the memory of
/// the host.
pub fn passes_states_directly(device: &Device) -> bool {
    #[cfg(feature = "cube")]
    let is_direct = parareal_kernels::graph::has_device_transport;
    #[cfg(not(feature = "cube"))]
    let is_direct = |_: &Device| false;
    !is_cpu(device) && is_direct(device)
}

/// Returns true for the CPU, which executes an operation before its call returns. Other devices
/// execute submitted work later.
pub(super) fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Returns the number of threads for a worker's operations: `threads` on the CPU, one elsewhere.
///
/// Burn gives each thread that submits work to a GPU its own stream, and synchronizes a tensor that is used
/// on a different stream from the one that created it.
pub(super) fn operation_threads(device: &Device, threads: usize) -> usize {
    if is_cpu(device) { threads } else { 1 }
}

/// Reads one-element tensors from their device in one transaction; a missing tensor reads as 0.
///
/// Blocks until the device has computed the tensors.
pub(super) fn read<const N: usize>(numbers: [Option<Tensor<1>>; N]) -> [f64; N] {
    let is_there = numbers.each_ref().map(Option::is_some);
    if !is_there.contains(&true) {
        return [0.0; N];
    }
    let tensors = numbers.into_iter().flatten();
    let transaction = tensors.fold(Transaction::default(), Transaction::register);
    let mut data = transaction.execute().into_iter();
    let mut next = || data.next().and_then(|data| data.iter::<f64>().next());
    is_there.map(|is_there| if is_there { next() } else { None }.unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn present_numbers_are_read_in_their_places() {
        let number = |value: f32| Some(Tensor::from_floats([value], &Device::flex()));
        assert_eq!(read([None, number(2.0), None, number(-1.5)]), [0.0, 2.0, 0.0, -1.5]);
        assert_eq!(read([None, None]), [0.0, 0.0]);
    }
}
