//! Number of workers and of threads per worker.

use std::fmt;

use parareal::exec::{ExecError, Layout, LayoutError};
use parareal_text::count;

use crate::process_group::Resources;
use crate::{DeviceName, ExecutorKind, TrainError};

/// A request for workers and threads. Defaults replace the numbers that are `None`.
#[derive(Clone, Debug)]
pub struct WorkerRequest<'a> {
    /// Executor of the steps.
    pub executor: ExecutorKind,
    /// Number of subnetworks that the workers share.
    pub subnetworks: usize,
    /// Devices.
    pub devices: &'a [DeviceName],
    /// Number of workers of each replica in this process.
    pub workers: Option<usize>,
    /// Number of threads of each worker.
    pub threads: Option<usize>,
    /// Number of replicas.
    pub replicas: usize,
}

/// A number of workers, and of threads of each worker, on the cores of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Number of workers.
    pub workers: usize,
    /// Number of threads of each worker.
    pub threads: usize,
}

impl Placement {
    /// Returns the placements to compare on this many cores: a single thread; one worker, two, four and so on; and
    /// `most` workers. Each worker has an equal, whole number of cores, so that some may be left.
    #[must_use]
    pub fn candidates(cores: usize, most: usize) -> Vec<Self> {
        let (cores, most) = (cores.max(1), most.clamp(1, cores.max(1)));
        let powers = std::iter::successors(Some(1), |workers| Some(2 * workers));
        let counts = powers.take_while(|&workers| workers < most).chain([most]);
        let shared = counts.map(|workers| Self { workers, threads: cores / workers });
        let single = Self { workers: 1, threads: 1 };
        std::iter::once(single).chain(shared.filter(|each| *each != single)).collect()
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", count(self.workers, "worker"), count(self.threads, "thread"))
    }
}

/// Upper limit for the number of replicas and for the number of threads of a worker. A larger number is likely a
/// mistake, and starting that many threads could exhaust the memory.
pub const MAX_THREADS: usize = 1024;

/// Returns the default number of workers: one per device, or one per core on the CPU, but at most one per
/// subnetwork.
pub(crate) fn default_workers(devices: &[DeviceName], subnetworks: usize) -> usize {
    spread_over(devices, Resources::alone().cores, 1, subnetworks)
}

fn spread_over(devices: &[DeviceName], cores: usize, replicas: usize, subnetworks: usize) -> usize {
    let wanted = match devices {
        [device] if device.is_cpu() => cores,
        devices => devices.len(),
    };
    (wanted / replicas).clamp(1, subnetworks)
}

impl WorkerRequest<'_> {
    /// Returns the number of workers of each replica in this process, and the number of threads of each
    /// worker.
    ///
    /// # Errors
    /// If a number is not possible with the executor, the devices or the ranks ([`TrainError::Setting`]).
    pub fn resolve(&self, resources: &Resources) -> Result<(usize, usize), TrainError> {
        let &Self { executor, subnetworks, devices, workers, threads, replicas } = self;
        for (name, count) in [("replicas", replicas), ("threads", threads.unwrap_or(1))] {
            if !(1..=MAX_THREADS).contains(&count) {
                let expected = format!("expected a number from 1 to {MAX_THREADS}");
                return Err(TrainError::setting(name, count, expected));
            }
        }
        let mut most = subnetworks;
        let mut devices_used = None;
        let workers = match executor {
            ExecutorKind::Sequential if devices.len() > 1 => {
                let expected = "the sequential executor uses a single device";
                return Err(TrainError::setting("device", list(devices), expected));
            }
            ExecutorKind::Sequential if replicas > 1 => {
                let expected = "the sequential executor has a single replica; set it to 1, or use the threads executor";
                return Err(TrainError::setting("replicas", replicas, expected));
            }
            // The sequential executor has one worker. A number of workers that is set for other executors is
            // ignored.
            ExecutorKind::Sequential => 1,
            ExecutorKind::Threads => workers
                .unwrap_or_else(|| spread_over(devices, resources.cores, replicas, subnetworks)),
            ExecutorKind::Mpi => {
                // Without ranks, the configuration is only inspected and not run.
                if let Some(ranks) = resources.ranks {
                    // With as many workers as subnetworks, each worker holds one.
                    let layout = rank_layout(subnetworks, ranks, subnetworks, replicas)?;
                    most = layout.max_workers_per_rank();
                    devices_used = Some(resources.most_on_machine);
                }
                workers.unwrap_or_else(|| resources.least_cores.clamp(1, most))
            }
        };
        if workers == 0 || workers > most {
            let expected = match executor {
                ExecutorKind::Mpi => {
                    format!(
                        "expected a number from 1 to {most}, the number of subnetworks of a rank"
                    )
                }
                _ => format!("expected a number from 1 to {most}, the number of subnetworks"),
            };
            return Err(TrainError::setting("workers", workers, expected));
        }
        let used = match executor {
            ExecutorKind::Mpi => devices_used.unwrap_or(devices.len()),
            _ => workers * replicas,
        };
        if devices.len() > used {
            let expected = match executor {
                ExecutorKind::Mpi => {
                    format!("expected at most {used}, one for each rank of a machine")
                }
                _ => format!("expected at most {used}, one for each worker"),
            };
            return Err(TrainError::setting("device", list(devices), expected));
        }
        let sharing = if executor == ExecutorKind::Threads { workers * replicas } else { workers };
        Ok((workers, threads.unwrap_or((resources.cores / sharing).max(1))))
    }
}

fn list(devices: &[DeviceName]) -> String {
    devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Returns the layout of subnetworks on the ranks of an MPI program, with at most `workers` workers per rank.
///
/// # Errors
/// If the ranks cannot share the subnetworks ([`TrainError::Setting`]).
pub fn rank_layout(
    subnetworks: usize,
    ranks: usize,
    workers: usize,
    replicas: usize,
) -> Result<Layout, TrainError> {
    Layout::ranks(subnetworks, ranks, workers, replicas).map_err(|error| match error {
        LayoutError::UnequalReplicas { ranks, replicas } => {
            let expected = format!("expected a divisor of the number of ranks, {ranks}");
            TrainError::setting("replicas", replicas, expected)
        }
        LayoutError::TooManyRanks { ranks, replicas, subnetworks } => {
            let (most, copies) = (subnetworks * replicas, ranks / subnetworks);
            let more = match ranks == copies * subnetworks {
                true => format!(", or set `replicas` to {copies}"),
                false => String::new(),
            };
            let expected = format!(
                "too few for {ranks} ranks; start at most {most} ranks, or set more subnetworks{more}"
            );
            TrainError::setting("subnetworks", subnetworks, expected)
        }
        error => ExecError::from(error).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(executor: ExecutorKind, devices: &[DeviceName], replicas: usize) -> WorkerRequest<'_> {
        let (workers, threads) = (None, None);
        WorkerRequest { executor, subnetworks: 3, devices, workers, threads, replicas }
    }

    fn resources(ranks: usize, cores: usize) -> Resources {
        let (on_machine, most_on_machine) = (0, ranks);
        Resources { ranks: Some(ranks), on_machine, most_on_machine, cores, least_cores: cores }
    }

    #[test]
    fn placements_are_one_thread_and_equal_shares_of_the_cores() {
        let all = |cores, most| -> Vec<_> {
            let all = Placement::candidates(cores, most);
            all.iter().map(|each| (each.workers, each.threads)).collect()
        };
        assert_eq!(all(1, 3), [(1, 1)]);
        assert_eq!(all(2, 1), [(1, 1), (1, 2)]);
        assert_eq!(all(2, 6), [(1, 1), (1, 2), (2, 1)]);
        assert_eq!(all(8, 3), [(1, 1), (1, 8), (2, 4), (3, 2)]);
        assert_eq!(all(16, 64), [(1, 1), (1, 16), (2, 8), (4, 4), (8, 2), (16, 1)]);
        assert_eq!(Placement { workers: 1, threads: 2 }.to_string(), "1 worker of 2 threads");
    }

    #[test]
    fn cores_are_shared_among_workers_of_all_copies() {
        let cpu = ["cpu".parse().unwrap()];
        let eight = Resources { ranks: None, ..resources(1, 8) };
        let resolve = |executor, replicas, resources: &Resources| {
            asked(executor, &cpu, replicas).resolve(resources).unwrap()
        };
        assert_eq!(resolve(ExecutorKind::Threads, 1, &eight), (3, 2));
        assert_eq!(resolve(ExecutorKind::Threads, 2, &eight), (3, 1));
        assert_eq!(resolve(ExecutorKind::Threads, 4, &eight), (2, 1));
        assert_eq!(resolve(ExecutorKind::Sequential, 1, &eight), (1, 8));
        // One rank with all subnetworks, one rank for each, and two ranks of which the first holds two.
        assert_eq!(resolve(ExecutorKind::Mpi, 1, &resources(1, 8)), (3, 2));
        assert_eq!(resolve(ExecutorKind::Mpi, 1, &resources(3, 8)), (1, 8));
        assert_eq!(resolve(ExecutorKind::Mpi, 1, &resources(2, 8)), (2, 4));
        assert_eq!(resolve(ExecutorKind::Mpi, 2, &resources(4, 1)), (1, 1));
    }

    #[test]
    fn what_cannot_be_shared_is_refused() {
        let devices = ["cpu", "wgpu:0", "wgpu:1"].map(|name| name.parse().unwrap());
        let refuse = |executor, count: usize, replicas, resources: &Resources| {
            asked(executor, &devices[..count], replicas).resolve(resources).unwrap_err().to_string()
        };
        let (mpi, alone) = (ExecutorKind::Mpi, Resources::alone());
        for (found, expected) in [
            (refuse(mpi, 1, 1, &resources(4, 1)), "too few for 4 ranks; start at most 3 ranks"),
            (refuse(mpi, 1, 1, &resources(6, 1)), "or set `replicas` to 2"),
            (
                refuse(mpi, 1, 2, &resources(3, 1)),
                "for replicas: expected a divisor of the number of ranks, 3",
            ),
            (
                refuse(mpi, 1, 0, &resources(3, 1)),
                "invalid value `0` for replicas: expected a number from 1",
            ),
            (
                refuse(ExecutorKind::Threads, 1, 0, &alone),
                "invalid value `0` for replicas: expected a number from 1",
            ),
            (refuse(mpi, 3, 1, &resources(2, 1)), "expected at most 2, one for each rank"),
            (
                refuse(ExecutorKind::Sequential, 1, 2, &alone),
                "invalid value `2` for replicas: the sequential",
            ),
            (
                refuse(ExecutorKind::Sequential, 2, 1, &alone),
                "invalid value `cpu,wgpu:0` for device: the",
            ),
        ] {
            assert!(found.contains(expected), "{found}");
        }
    }
}
