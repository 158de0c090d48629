#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx_emulator;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod guarded_memory;
mod operands;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tile_products;

use half::bf16;

use super::Bf16Products;
use super::tile::step_depth;
use crate::cpu::convolution::Convolution;
use crate::cpu::elementwise::Affine;
use crate::cpu::folded_norm::SavedStatistics;
use crate::cpu::geometry::Geometry;
use crate::cpu::gradients::GradientMask;
use crate::simd::SimdLevel;

/// Returns the instructions of this machine, those that can be emulated, and the portable code.
fn all() -> Vec<Bf16Products> {
    let mut all = vec![Bf16Products::Portable];
    all.extend(Bf16Products::has_dot().then_some(Bf16Products::Dot));
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        if !Bf16Products::has_amx() {
            amx_emulator::install();
        }
        all.push(Bf16Products::Amx);
    }
    all
}

/// Small whole numbers, whose products and sums have no rounding errors.
fn small(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7 + index / 5 + seed) % 9) as f32 - 4.0).collect()
}

#[test]
fn steps_divide_a_run() {
    let depths = [9, 10, 16, 27, 36, 48, 64, 96, 100, 576].map(step_depth);
    let expected = [None, Some(10), Some(16), None, Some(18), Some(24), Some(32), Some(32)];
    assert_eq!(depths[..8], expected);
    assert_eq!(depths[8..], [Some(20), Some(32)]);
    assert_eq!(step_depth(0), None);
}

/// Output with the gradient as residual, gradient of the input, and gradient of the weight, number by number.
fn reference(
    geometry: &Geometry,
    input: &[f32],
    gradient: &[f32],
    weight: &[f32],
) -> [Vec<f32>; 3] {
    let &Geometry { batch, height, width, in_channels, out_channels, kernel, .. } = geometry;
    let [rows, columns] = geometry.output();
    let (mut output, mut by_input) = (gradient.to_vec(), vec![0.0; input.len()]);
    let mut by_weight = vec![0.0; weight.len()];
    for pixel in 0..batch * rows * columns {
        let (image, y, x) = (pixel / columns / rows, pixel / columns % rows, pixel % columns);
        for place in 0..kernel * kernel {
            let from = |at: usize, offset: usize, size: usize| {
                (at * geometry.stride + offset)
                    .checked_sub(geometry.padding)
                    .filter(|&at| at < size)
            };
            let (row, column) = (from(y, place / kernel, height), from(x, place % kernel, width));
            let Some((row, column)) = row.zip(column) else { continue };
            for (to, channel) in
                (0..out_channels).flat_map(|to| (0..in_channels).map(move |from| (to, from)))
            {
                let source = ((image * height + row) * width + column) * in_channels + channel;
                let (target, factor) = (
                    pixel * out_channels + to,
                    (to * in_channels + channel) * kernel * kernel + place,
                );
                output[target] += input[source] * weight[factor];
                by_input[source] += gradient[target] * weight[factor];
                by_weight[factor] += gradient[target] * input[source];
            }
        }
    }
    [output, by_input, by_weight]
}

/// Convolutions of small whole numbers, and their gradients, have no error but that of storing a result.
#[test]
fn convolutions_and_their_gradients_are_exact() {
    let sizes = |batch, size: [usize; 2], channels: [usize; 2], kernel, stride| Geometry {
        batch,
        height: size[0],
        width: size[1],
        in_channels: channels[0],
        out_channels: channels[1],
        kernel,
        stride,
        padding: kernel / 2,
        products: None,
    };
    for geometry in [
        // Pointwise, with blocks of all sizes, several panels, and columns that do not fill one.
        sizes(3, [5, 7], [16, 16], 1, 1),
        sizes(2, [16, 16], [64, 16], 1, 1),
        sizes(2, [16, 17], [16, 64], 1, 1),
        sizes(2, [9, 9], [16, 96], 1, 1),
        sizes(1, [6, 6], [48, 48], 1, 1),
        sizes(1, [6, 6], [20, 24], 1, 1),
        sizes(1, [1, 1], [32, 40], 1, 1),
        // Images wider and narrower than a tile, with and without whole steps of pixels.
        sizes(2, [32, 32], [16, 16], 3, 1),
        sizes(2, [8, 8], [32, 64], 3, 1),
        sizes(2, [6, 20], [48, 16], 3, 1),
        sizes(1, [7, 9], [16, 32], 3, 1),
        // Fewer channels than a tile, and an odd number of them, which is multiplied as floats.
        sizes(2, [8, 8], [8, 16], 3, 1),
        sizes(2, [8, 8], [3, 16], 3, 1),
        // Phases of a stride.
        sizes(2, [16, 16], [16, 32], 3, 2),
        sizes(2, [9, 11], [16, 32], 3, 2),
        sizes(2, [8, 8], [64, 32], 1, 2),
        sizes(1, [12, 12], [16, 16], 5, 1),
    ] {
        let half = |values: &[f32]| values.iter().copied().map(bf16::from_f32).collect::<Vec<_>>();
        let input = small(geometry.input_len(), 4);
        let gradient = small(geometry.output_len(), 6);
        let weight = small(geometry.weight_len(), 5);
        let [output, by_input, by_weight] = reference(&geometry, &input, &gradient, &weight);
        // `1 - x`, with statistics that are constants, so that all numbers stay whole.
        let channels = geometry.in_channels;
        let map = Affine { slope: vec![-1.0; channels], offset: vec![1.0; channels] };
        let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
        let mean = vec![0.0; channels];
        let (mean_residual, inverse_std) = (&zeros[..], &ones[..]);
        let saved = SavedStatistics { mean: &mean, mean_residual, inverse_std, is_batch: false };
        let activated: Vec<f32> = input.iter().map(|value| (1.0 - value).max(0.0)).collect();
        let [activated_output, _, by_activated_weight] =
            reference(&geometry, &activated, &gradient, &weight);
        let by_preactivation = by_input.iter().zip(&activated);
        let by_preactivation: Vec<f32> =
            by_preactivation.map(|(by_z, &z)| if z > 0.0 { -by_z } else { 0.0 }).collect();
        let (input, gradient) = (half(&input), half(&gradient));
        let mask = GradientMask { input: true, weight: true };
        let check = |level, products| {
            let geometry = Geometry { products: Some(products), ..geometry };
            if geometry.winograd_tile().is_some() {
                return;
            }
            let told = format!("{products:?} at {level:?} of {geometry:?}");
            let plain = Convolution { geometry, input: &input, activation: None, weight: &weight };
            let (found, statistics) = plain.forward(level, Some(&gradient), true);
            assert!(found == half(&output), "output, {told}");
            let own = found.iter().step_by(geometry.out_channels).map(|value| value.to_f64());
            let mean = own.clone().sum::<f64>() / own.count() as f64;
            let [means, _] = statistics.unwrap();
            assert!((means[0] - mean).abs() < 1e-5 * (1.0 + mean.abs()), "mean, {told}");
            let found = plain.backward(level, &gradient, None, mask, None);
            assert!(found.input.unwrap() == half(&by_input), "gradient of the input, {told}");
            assert!(found.weight.unwrap() == by_weight, "gradient of the weight, {told}");

            let told = format!("with an activation, {told}");
            let activated = Convolution { activation: Some(&map), ..plain };
            let (found, _) = activated.forward(level, Some(&gradient), false);
            assert!(found == half(&activated_output), "output {told}");
            let found = activated.backward(level, &gradient, Some(saved), mask, None);
            assert!(
                found.input.unwrap() == half(&by_preactivation),
                "gradient of the input {told}"
            );
            assert!(found.weight.unwrap() == by_activated_weight, "gradient of the weight {told}");
        };
        // One thread has several blocks of pixels; three threads have parts of an image.
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for level in SimdLevel::available() {
                pool.install(|| all().into_iter().for_each(|products| check(level, products)));
            }
        }
    }
}
