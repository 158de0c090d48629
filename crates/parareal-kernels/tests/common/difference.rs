//! How far tensors are apart. Higher crates' tests measure by it as well.

use burn::tensor::TensorData;

/// `‖a − b‖ / max(‖b‖, 1e-6·√n)`.
pub fn relative_difference(a: &TensorData, b: &TensorData) -> f64 {
    assert_eq!(a.shape().as_slice(), b.shape().as_slice());
    let values = |data: &TensorData| data.clone().convert::<f64>().try_into_vec::<f64>().unwrap();
    let (a, b) = (values(a), values(b));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    difference / norm(&mut b.iter().copied()).max(1e-6 * (b.len() as f64).sqrt())
}
