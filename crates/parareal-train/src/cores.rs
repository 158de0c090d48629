//! The cores that this process may use.

/// Number and mask of the cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) count: usize,
    /// List of the cores such as `0-3,8`; empty if unknown.
    pub(crate) mask: String,
}

impl Cores {
    pub(crate) fn of_this_process() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Self { count, mask: mask.map(|mask| mask.trim().to_string()).unwrap_or_default() }
    }
}
