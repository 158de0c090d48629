//! Programs that start several processes together.

use super::ProcessGroup;

/// A program that starts several processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Launcher {
    /// A launcher of MPI: `mpirun` or `mpiexec`.
    Mpi,
    /// Slurm's `srun`, whose tasks may be ranks or independent of each other.
    Slurm,
}

impl ProcessGroup {
    /// Returns the launcher that has started this process, and the number of processes that it has started together, from
    /// the environment variables of Open MPI, MPICH or Slurm; `None` without them.
    #[must_use]
    pub fn launched() -> Option<(Launcher, usize)> {
        let number = |name| std::env::var(name).ok()?.parse().ok();
        let tasks = number("SLURM_STEP_NUM_TASKS");
        // A launcher of MPI may itself be a task of Slurm. `srun --mpi=pmi2` sets both PMI_SIZE and the number of tasks.
        let ranks = number("OMPI_COMM_WORLD_SIZE");
        let ranks = ranks.or_else(|| number("PMI_SIZE").filter(|&ranks| Some(ranks) != tasks));
        let of_mpi = ranks.map(|ranks| (Launcher::Mpi, ranks));
        of_mpi.or(tasks.map(|tasks| (Launcher::Slurm, tasks)))
    }
}
