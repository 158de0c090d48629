//! The conditions under which runs are trained.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::record::{read_json, write_json};

/// The conditions under which a run was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    /// Largest number of runs that were trained at the same time.
    pub(crate) runs_at_a_time: usize,
    /// True if other work used the machine during the run.
    pub(crate) shared_machine: bool,
    /// Processors, separated by commas if the run was resumed on another one.
    pub(crate) cpu: String,
    /// Largest number of cores.
    pub(crate) cores: usize,
    /// Commits of the program, separated by commas if the run was resumed with another one.
    pub(crate) commit: String,
}

impl Conditions {
    /// Returns true if nothing else ran on the machine.
    pub(crate) fn was_alone(&self) -> bool {
        !self.shared_machine && self.runs_at_a_time == 1
    }

    /// Reads the conditions of a run.
    ///
    /// # Errors
    /// If the file cannot be read or parsed.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        read_json(path)
    }

    /// Writes the conditions of a run, together with those under which it was trained before if it is resumed.
    ///
    /// # Errors
    /// If the file cannot be read, parsed or written.
    pub(crate) fn added_to(self, path: &Path, is_resumed: bool) -> Result<()> {
        let joined = match is_resumed && path.exists() {
            true => Self::read(path)?.with(self),
            false => self,
        };
        write_json(path, &joined)
    }

    fn with(self, later: Self) -> Self {
        let joined = |all: String, other: String| match all.split(", ").any(|own| own == other) {
            true => all,
            false => format!("{all}, {other}"),
        };
        Self {
            runs_at_a_time: self.runs_at_a_time.max(later.runs_at_a_time),
            shared_machine: self.shared_machine || later.shared_machine,
            cpu: joined(self.cpu, later.cpu),
            cores: self.cores.max(later.cores),
            commit: joined(self.commit, later.commit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_has_the_conditions_of_all_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conditions");
        let of = |commit: &str, shared_machine, runs_at_a_time| Conditions {
            runs_at_a_time,
            shared_machine,
            cpu: "some processor".into(),
            cores: 2,
            commit: commit.into(),
        };
        of("a", true, 2).added_to(&path, false).unwrap();
        of("b", false, 1).added_to(&path, true).unwrap();
        of("a", false, 1).added_to(&path, true).unwrap();
        assert_eq!(Conditions::read(&path).unwrap(), of("a, b", true, 2));
        // A run that starts over.
        of("b", false, 1).added_to(&path, false).unwrap();
        let read = Conditions::read(&path).unwrap();
        assert_eq!(read, of("b", false, 1));
        assert!(read.was_alone() && !of("b", false, 2).was_alone());
    }
}
