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

    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let has = |word: &str| processor.split_whitespace().any(|found| found == word);
        let has_fast_dot = has("AuthenticAMD") && has("avx512_bf16");
        assert_eq!(SimdLevel::preferred() == SimdLevel::Avx512Bf16, has_fast_dot);
    }

    let wanted = std::env::var("PARAREAL_SIMD").unwrap_or_default();
    let expected = match available.iter().find(|level| level.name() == wanted) {
        None if wanted.is_empty() => SimdLevel::preferred(),
        named => *named.expect("PARAREAL_SIMD names a level that this machine has"),
    };
    assert_eq!(SimdLevel::current(), expected);
}
