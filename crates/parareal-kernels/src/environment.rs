//! The environment variables that select the implementation of the operations.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::sync::LazyLock;

use crate::simd::SimdLevel;

/// The environment variable whose value `composed` selects Burn's own operations. With `fused`, or unset or empty, operations
/// are fused where that is supported.
const KERNELS: &str = "PARAREAL_KERNELS";

/// An invalid value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidVariable {
    /// Name of the variable.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// The values that are valid, for example "what this machine has: avx2 or portable".
    pub expected: String,
}

impl fmt::Display for InvalidVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, value, expected } = self;
        write!(f, "invalid value `{}` for {variable}: expected {expected}", value.escape_debug())
    }
}

impl Error for InvalidVariable {}

/// Checks the environment variables that select the implementation of the operations: `PARAREAL_SIMD` and
/// `PARAREAL_KERNELS`. The operations themselves ignore invalid values.
///
/// # Errors
/// If a value is unknown, or names vector instructions that this machine does not have.
pub fn check_environment() -> Result<(), InvalidVariable> {
    SimdLevel::requested()?;
    requests_composed()?;
    Ok(())
}

/// Returns true if the environment variable `PARAREAL_KERNELS` selects Burn's own operations.
pub(crate) fn is_composed() -> bool {
    static COMPOSED: LazyLock<bool> = LazyLock::new(|| requests_composed().unwrap_or(false));
    *COMPOSED
}

fn requests_composed() -> Result<bool, InvalidVariable> {
    selects_composed(&std::env::var_os(KERNELS).unwrap_or_default())
}

fn selects_composed(value: &OsStr) -> Result<bool, InvalidVariable> {
    match value.to_str() {
        Some("" | "fused") => Ok(false),
        Some("composed") => Ok(true),
        _ => Err(InvalidVariable {
            variable: KERNELS,
            value: value.to_string_lossy().into(),
            expected: "fused or composed".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_fused_or_composed_and_nothing_else() {
        for (value, composed) in [("", false), ("fused", false), ("composed", true)] {
            assert_eq!(selects_composed(OsStr::new(value)), Ok(composed));
        }
        let error = selects_composed(OsStr::new("Composed")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid value `Composed` for PARAREAL_KERNELS: expected fused or composed"
        );
    }
}
