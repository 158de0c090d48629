//! The vector instructions of the kernels, chosen at run time.

use std::sync::OnceLock;

use pulp::{Simd, WithSimd};

use crate::cpu::bf16_product::Bf16Products;
use crate::environment::InvalidVariable;

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimdLevel {
    /// Sixteen lanes, and products of tiles of bfloat16 numbers: AVX-512 with AMX-BF16.
    Amx,
    /// Sixteen lanes, and dot products of bfloat16 numbers: AVX-512 with AVX512-BF16.
    Avx512Bf16,
    /// Sixteen lanes: AVX-512 (x86-64-v4).
    Avx512,
    /// Eight lanes: AVX2 with FMA (x86-64-v3).
    Avx2,
    /// Four lanes: NEON.
    Neon,
    /// Four lanes without special instructions; available on every machine.
    Portable,
}

/// The environment variable that forces a level: `amx`, `avx512-bf16`, `avx512`, `avx2`, `neon`
/// or `portable`.
const VARIABLE: &str = "PARAREAL_SIMD";

impl SimdLevel {
    const ALL: [(Self, &str); 6] = [
        (Self::Amx, "amx"),
        (Self::Avx512Bf16, "avx512-bf16"),
        (Self::Avx512, "avx512"),
        (Self::Avx2, "avx2"),
        (Self::Neon, "neon"),
        (Self::Portable, "portable"),
    ];

    /// Returns the name of the level, as used in `PARAREAL_SIMD`.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(level, _)| *level == self).map_or("portable", |(_, name)| name)
    }

    /// Returns the levels that this machine supports, widest first. Asks the system for the permission to use AMX, if the
    /// machine has it.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().map(|(level, _)| level).filter(|level| level.is_available()).collect()
    }

    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Amx => Bf16Products::has_amx(),
            Self::Avx512Bf16 => Bf16Products::has_dot() && Self::Avx512.is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().is_some(),
            _ => false,
        }
    }

    /// Returns the level that the environment variable `PARAREAL_SIMD` names, or `None` if it is unset or empty.
    ///
    /// # Errors
    /// If the name is unknown, or this machine does not support the level.
    pub fn requested() -> Result<Option<Self>, InvalidVariable> {
        match std::env::var_os(VARIABLE).unwrap_or_default() {
            value if value.is_empty() => Ok(None),
            value => Self::named(&value.to_string_lossy()).map(Some),
        }
    }

    fn named(name: &str) -> Result<Self, InvalidVariable> {
        let found = Self::available().into_iter().find(|level| level.name() == name);
        found.ok_or_else(|| InvalidVariable {
            variable: VARIABLE,
            value: name.into(),
            expected: Self::expected(),
        })
    }

    /// Describes the levels that this machine supports, for example "what this machine has: avx2 or portable".
    fn expected() -> String {
        let names: Vec<_> = Self::available().into_iter().map(Self::name).collect();
        let names = match names.split_last() {
            Some((last, [])) => (*last).into(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        };
        format!("what this machine has: {names}")
    }

    /// Returns the level in use: the [requested](Self::requested) one, or the [default](Self::preferred) if none or an
    /// unknown one is requested.
    pub fn current() -> Self {
        static LEVEL: OnceLock<SimdLevel> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let requested = Self::requested().ok().flatten();
            requested.unwrap_or_else(Self::preferred)
        })
    }

    /// Returns the level that is used if none is requested: the widest one that this machine supports and that was measured
    /// to be the fastest. On AMD's processors that have it, that is [`Self::Avx512Bf16`] (measured on Zen 4). Intel's take two
    /// cycles for a dot product of two vectors, so there it is [`Self::Avx512`]. [`Self::Amx`] was not measured yet.
    pub fn preferred() -> Self {
        if Self::Avx512Bf16.is_available() && Bf16Products::has_fast_dot() {
            return Self::Avx512Bf16;
        }
        let measured = [Self::Avx512, Self::Avx2, Self::Neon];
        measured.into_iter().find(|level| level.is_available()).unwrap_or(Self::Portable)
    }

    /// Returns the instructions of this level for products of bfloat16 numbers.
    pub(crate) fn bf16_products(self) -> Option<Bf16Products> {
        match self {
            Self::Amx => Some(Bf16Products::Amx),
            Self::Avx512Bf16 => Some(Bf16Products::Dot),
            _ => None,
        }
    }

    /// Runs a kernel with the instructions of this level, or with portable code if they are not
    /// available.
    pub(crate) fn run<K: WithSimd>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx | Self::Avx512Bf16 | Self::Avx512 => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_named_and_others_are_refused() {
        for level in SimdLevel::available() {
            assert_eq!(SimdLevel::named(level.name()), Ok(level));
        }
        let error = SimdLevel::named("avx1024\n").unwrap_err().to_string();
        assert!(
            error.starts_with("invalid value `avx1024\\n` for PARAREAL_SIMD: expected what"),
            "{error}"
        );
        assert!(error.ends_with("portable"), "{error}");
        #[cfg(not(target_arch = "aarch64"))]
        assert!(SimdLevel::named("neon").is_err());
    }
}
