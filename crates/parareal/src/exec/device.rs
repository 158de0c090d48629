use burn::tensor::Device;

/// Returns true for the CPU, which has done an operation when its call returns. Other devices are
/// given work that they execute later.
pub(super) fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// The threads for a worker's operations: `threads` on the CPU, one elsewhere.
///
/// Burn gives each thread that submits work to a GPU a stream of its own there, and tensors that are
/// used on another stream than the one they were made on have to be waited for.
pub(super) fn operation_threads(device: &Device, threads: usize) -> usize {
    if is_cpu(device) { threads } else { 1 }
}
