//! The vector instructions of the kernels, chosen at run time.

use std::sync::OnceLock;

use pulp::{Simd, WithSimd};

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimdLevel {
    /// Sixteen lanes: AVX-512 (x86-64-v4).
    Avx512,
    /// Eight lanes: AVX2 with FMA (x86-64-v3).
    Avx2,
    /// Four lanes: NEON.
    Neon,
    /// Four lanes without special instructions; available on every machine.
    Portable,
}

/// The environment variable that forces a level: `avx512`, `avx2`, `neon` or `portable`.
const VARIABLE: &str = "PARAREAL_SIMD";

impl SimdLevel {
    const ALL: [(Self, &str); 4] = [
        (Self::Avx512, "avx512"),
        (Self::Avx2, "avx2"),
        (Self::Neon, "neon"),
        (Self::Portable, "portable"),
    ];

    /// Returns the name of the level, as used in `PARAREAL_SIMD`.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(level, _)| *level == self).map_or("portable", |(_, name)| name)
    }

    /// Returns the levels that this machine supports, widest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().map(|(level, _)| level).filter(|level| level.is_available()).collect()
    }

    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().is_some(),
            _ => false,
        }
    }

    /// Returns the level in use: the one named by the environment variable `PARAREAL_SIMD`, or the
    /// widest one that this machine supports. An unknown or unsupported name is ignored.
    pub fn current() -> Self {
        static LEVEL: OnceLock<SimdLevel> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let wanted = std::env::var(VARIABLE).unwrap_or_default();
            let available = Self::available();
            let named = Self::ALL.into_iter().find(|(_, name)| *name == wanted);
            let named = named.map(|(level, _)| level).filter(|level| available.contains(level));
            named.unwrap_or(available[0])
        })
    }

    /// Runs a kernel with the instructions of this level, or with portable code if they are not
    /// available.
    pub(crate) fn run<K: WithSimd>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return Simd::vectorize(simd, kernel);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return Simd::vectorize(simd, kernel);
                }
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => {
                if let Some(simd) = pulp::aarch64::Neon::try_new() {
                    return Simd::vectorize(simd, kernel);
                }
            }
            _ => {}
        }
        Simd::vectorize(pulp::Scalar128b, kernel)
    }
}
