//! Signals of four kinds, with noise.

use parareal_train::prelude::*;

/// Number of values of a signal.
pub(crate) const LENGTH: usize = 32;
/// Number of kinds of signals: sine, square, triangle and sawtooth.
pub(crate) const CLASSES: usize = 4;

/// Returns `count` signals `[count, 1, LENGTH]` with their kinds `[count]`. Different seeds give different
/// signals.
///
/// # Errors
/// If `count` is 0.
pub(crate) fn signals(
    count: usize,
    seed: u64,
) -> Result<TensorDataset<Tensor<3>, Tensor<1, Int>>, TrainError> {
    // A linear congruential generator is enough for noise.
    let mut state = seed;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut values = Vec::with_capacity(count * LENGTH);
    let mut kinds = Vec::with_capacity(count);
    for index in 0..count {
        let kind = index % CLASSES;
        let (frequency, shift) = (1.0 + 2.0 * uniform(), uniform());
        for place in 0..LENGTH {
            let phase = (frequency * place as f32 / LENGTH as f32 + shift).fract();
            let clean = match kind {
                0 => (std::f32::consts::TAU * phase).sin(),
                1 => {
                    if phase < 0.5 {
                        1.0
                    } else {
                        -1.0
                    }
                }
                2 => 4.0 * (phase - 0.5).abs() - 1.0,
                _ => 2.0 * phase - 1.0,
            };
            values.push(clean + 0.6 * (uniform() - 0.5));
        }
        kinds.push(kind as i64);
    }
    let device = Device::flex();
    let signals = Tensor::<1>::from_data(values.as_slice(), &device);
    let kinds = Tensor::from_data(kinds.as_slice(), &device);
    TensorDataset::new(signals.reshape([count, 1, LENGTH]), kinds)
}
