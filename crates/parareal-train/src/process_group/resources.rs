//! Cores and ranks that a process can use.

/// Cores and ranks that a process can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Number of ranks; `None` for a process that is not a rank.
    pub ranks: Option<usize>,
    /// Index of this rank among the ranks on its machine, from 0.
    pub on_machine: usize,
    /// Largest number of ranks on a machine.
    pub most_on_machine: usize,
    /// Number of cores that this process may use without sharing them, at least one.
    pub cores: usize,
    /// Smallest number of cores of any rank.
    pub least_cores: usize,
}

impl Resources {
    /// Returns the resources of a process that does not share its cores with other ranks. The number of cores is
    /// the one that the system reports.
    #[must_use]
    pub fn alone() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { ranks: None, on_machine: 0, most_on_machine: 1, cores, least_cores: cores }
    }
}
