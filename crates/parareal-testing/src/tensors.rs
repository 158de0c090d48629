//! Comparison of tensors.

use burn::tensor::TensorData;

/// Returns the relative difference `‖a − b‖ / max(‖b‖, 1e-6·√n)` of two tensors of `n` elements.
///
/// # Panics
/// Panics if their shapes differ.
#[must_use]
#[track_caller]
pub fn relative_difference(a: &TensorData, b: &TensorData) -> f64 {
    assert_eq!(a.shape().as_slice(), b.shape().as_slice());
    let values = |data: &TensorData| data.clone().convert::<f64>().try_into_vec::<f64>().unwrap();
    let (a, b) = (values(a), values(b));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    difference / norm(&mut b.iter().copied()).max(1e-6 * (b.len() as f64).sqrt())
}

/// Asserts that the relative difference of two tensors is at most `tolerance`.
///
/// # Panics
/// Panics if their shapes differ, or if the relative difference exceeds `tolerance` or is NaN.
#[track_caller]
pub fn assert_close(a: &TensorData, b: &TensorData, tolerance: f64, what: &str) {
    let difference = relative_difference(a, b);
    // This form of the comparison fails for NaN.
    assert!(difference <= tolerance, "{what} differs by {difference:.1e}");
}
