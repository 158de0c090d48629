use std::mem::MaybeUninit;

use half::bf16;

#[cfg(target_arch = "x86_64")]
use crate::cpu::bf16_product::Bf16Products;
use crate::cpu::bf16_product::operands::{narrowed, pixel_pairs};
#[cfg(target_arch = "x86_64")]
use crate::cpu::bf16_product::rounding::Avx512;
use crate::cpu::bf16_product::rounding::{Number, Rounding, Scalar};
use crate::cpu::bf16_product::{TILE, activate_narrow, round_sum};
use crate::cpu::elementwise::Affine;

/// Numbers of both signs and all sizes, with special ones among them.
fn numbers(count: usize) -> Vec<f32> {
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e38, -3e-38];
    let number = |index: usize| match index % 5 {
        3 => special[index / 5 % special.len()],
        _ => (index as f32 * 1.3).sin() * (index as f32 * 0.37 - 20.0).exp(),
    };
    (0..count).map(number).collect()
}

/// All implementations pair and round alike, with numbers that lie between two bfloat16 numbers.
#[test]
fn pairs_are_rounded_to_the_nearest_numbers() {
    let values: Vec<f32> = numbers(4 * TILE).into_iter().filter(|value| !value.is_nan()).collect();
    let (first, second) =
        (values[..TILE].as_array().unwrap(), values[TILE..][..TILE].as_array().unwrap());
    let expected: [u32; TILE] = std::array::from_fn(|index| {
        let [first, second] = [first, second].map(|values| bf16::from_f32(values[index]).to_bits());
        u32::from(first) | u32::from(second) << 16
    });
    // SAFETY: the machine has the instructions.
    unsafe {
        assert_eq!(Scalar::pair(first, second), expected);
        assert_eq!(f32::pair::<Scalar>(first, second), expected);
        #[cfg(target_arch = "x86_64")]
        if Bf16Products::has_dot() {
            assert_eq!(Avx512::pair(first, second), expected);
            assert_eq!(Avx512::narrow(first), Scalar::narrow(first));
            let add = Scalar::narrow(second);
            assert_eq!(Avx512::narrow_sum(first, &add), Scalar::narrow_sum(first, &add));
        }
    }
    let narrow = values.iter().map(|&value| bf16::from_f32(value)).collect::<Vec<_>>();
    assert_eq!(narrowed(&values, &mut Vec::new()), narrow);
    let [mut wide_pairs, mut narrow_pairs] = [Vec::new(), Vec::new()];
    let (wide, narrow) = (&values[..3 * 7], &narrow[..3 * 7]);
    assert_eq!(
        pixel_pairs(wide, 7, 6, &mut wide_pairs),
        pixel_pairs(narrow, 7, 6, &mut narrow_pairs)
    );
    assert_eq!(wide_pairs[2 * 7..], [0; 7]);
}

/// The vector instruction treats numbers that are too small for a normal one as zero, integer operations round them.
#[test]
fn subnormal_numbers_become_zero_or_are_rounded() {
    let values = [1e-40, -1e-40].repeat(TILE / 2);
    let values = values.as_array().unwrap();
    // SAFETY: the machine has the instructions.
    unsafe {
        assert_eq!(Scalar::narrow(values), values.map(bf16::from_f32));
        assert_ne!(Scalar::narrow(values)[0], bf16::ZERO);
        #[cfg(target_arch = "x86_64")]
        if Bf16Products::has_dot() {
            assert_eq!(Avx512::narrow(values).map(f32::from), [0.0; TILE]);
        }
    }
}

fn assert_same(found: bf16, expected: f32, told: &str) {
    let expected = bf16::from_f32(expected);
    let is_same = found == expected || found.is_nan() && expected.is_nan();
    assert!(is_same, "{found} instead of {expected}, {told}");
}

#[test]
fn sums_are_rounded_to_the_nearest_number() {
    for len in [1, 15, 16, 53, 96] {
        let values = numbers(len);
        let add: Vec<bf16> = numbers(len + 9)[9..].iter().copied().map(bf16::from_f32).collect();
        for add in [None, Some(&add[..])] {
            let mut to = vec![MaybeUninit::new(bf16::ZERO); len];
            round_sum(&values, add, &mut to);
            for (index, (to, value)) in to.into_iter().zip(&values).enumerate() {
                let expected = add.map_or(*value, |add| value + add[index].to_f32());
                // SAFETY: all numbers were initialized.
                assert_same(unsafe { to.assume_init() }, expected, &format!("{index} of {len}"));
            }
        }
    }
}

#[test]
fn activated_pixels_are_rounded_and_nan_stays() {
    let channels = 32;
    let values: Vec<bf16> = numbers(3 * channels).into_iter().map(bf16::from_f32).collect();
    let slope = (0..channels).map(|c| 0.5 - c as f32).collect();
    let map = Affine { slope, offset: (0..channels).map(|c| c as f32 * 0.3).collect() };
    let mut to = vec![bf16::ONE; values.len()];
    activate_narrow(&map, &values, &mut to);
    for (index, (&to, value)) in to.iter().zip(values).enumerate() {
        let c = index % channels;
        // Rounded once, like the vector instruction; portable code rounds twice, which does not show here.
        let sum = f64::from(map.slope[c]) * value.to_f64() + f64::from(map.offset[c]);
        let expected = if sum < 0.0 { 0.0 } else { sum as f32 };
        assert_same(to, expected, &format!("{index}"));
    }
}

#[test]
#[should_panic = "whole tiles"]
fn activated_pixels_consist_of_whole_tiles() {
    let map = Affine { slope: vec![1.0; 8], offset: vec![0.0; 8] };
    activate_narrow(&map, &[bf16::ONE; 16], &mut [bf16::ONE; 16]);
}
