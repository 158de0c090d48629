use std::error::Error;
use std::fmt;

/// An unknown name of a kind of unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitKindError {
    /// The name.
    pub name: String,
    /// The names of all kinds.
    pub expected: Vec<&'static str>,
}

impl fmt::Display for UnitKindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown kind of unit `{}`", self.name)?;
        match self.expected.as_slice() {
            [] => Ok(()),
            [only] => write!(f, ": expected {only}"),
            [others @ .., last] => write!(f, ": expected {} or {last}", others.join(", ")),
        }
    }
}

impl Error for UnitKindError {}
