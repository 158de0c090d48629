//! The level of vector instructions with which the other tests of this binary run.

use parareal_kernels::SimdLevel;

#[test]
fn the_preferred_level_is_used_unless_another_one_is_named() {
    let available = SimdLevel::available();
    assert_eq!(available.last(), Some(&SimdLevel::Portable));
    // The target requires NEON.
    #[cfg(target_arch = "aarch64")]
    assert_eq!(available, [SimdLevel::Neon, SimdLevel::Portable]);
    #[cfg(target_arch = "x86_64")]
    assert!(!available.contains(&SimdLevel::Neon));

    let wanted = std::env::var("PARAREAL_SIMD").unwrap_or_default();
    let expected = match available.iter().find(|level| level.name() == wanted) {
        None if wanted.is_empty() => SimdLevel::preferred(),
        named => *named.expect("PARAREAL_SIMD names a level that this machine has"),
    };
    assert_eq!(SimdLevel::current(), expected);
}
