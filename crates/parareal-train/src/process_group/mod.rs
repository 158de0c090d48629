//! Process groups: a single process, or the ranks of an MPI program.
//!
//! The operations are collective: all processes must make the same calls in the same order. The calls exchange
//! values and failures, so that all processes reach the same decisions.

mod agreement;
mod comparison;
mod launcher;
mod resources;
mod transport;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "mpi")]
use parareal::exec::{MpiError, World};

pub use self::launcher::Launcher;
pub use self::resources::Resources;
#[cfg(feature = "mpi")]
use self::transport::failed;
#[cfg(feature = "mpi")]
use crate::cores::Cores;
use crate::error::TrainError;

/// The processes that work on a run. Clones refer to the same group.
#[derive(Clone)]
pub struct ProcessGroup {
    inner: Arc<Inner>,
}

struct Inner {
    #[cfg(feature = "mpi")]
    ranks: Option<(World, parareal::exec::Communicator)>,
    resources: Resources,
}

impl ProcessGroup {
    /// Returns a group that contains only this process.
    #[must_use]
    pub fn alone() -> Self {
        let inner = Inner {
            #[cfg(feature = "mpi")]
            ranks: None,
            resources: Resources::alone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the group of the ranks that `mpirun` or `srun` has started, or of this process as the only
    /// rank.
    ///
    /// Ranks that stop in the meantime are noticed by [`Self::join_watched`].
    ///
    /// # Errors
    /// If MPI cannot be started, this program was built without it, or its MPI does not know the launcher
    /// ([`TrainError::OtherLauncher`]).
    pub fn join() -> Result<Self, TrainError> {
        #[cfg(feature = "mpi")]
        let joined = World::init().map_err(failed).and_then(Self::of_world);
        #[cfg(not(feature = "mpi"))]
        let joined = Err(TrainError::WithoutMpi);
        joined
    }

    /// Joins as [`Self::join`] does, and ends all ranks once one has been silent for `timeout` from then on, as
    /// [`Self::watch`] does. All ranks should call this function.
    ///
    /// # Errors
    /// The same as for [`Self::join`] and [`Self::watch`].
    pub fn join_watched(
        timeout: Duration,
        on_silence: impl FnOnce(TrainError) -> i32 + Send + 'static,
    ) -> Result<Self, TrainError> {
        #[cfg(feature = "mpi")]
        let joined = World::init().map_err(failed).and_then(|world| {
            watch(&world, timeout, on_silence)?;
            Self::of_world(world)
        });
        #[cfg(not(feature = "mpi"))]
        let (joined, _) = (Err(TrainError::WithoutMpi), (timeout, on_silence));
        joined
    }

    #[cfg(feature = "mpi")]
    fn of_world(world: World) -> Result<Self, TrainError> {
        if let Some((launcher, processes @ 2..)) = Self::launched()
            && world.size() == 1
        {
            // Each process would train on its own, all of them in the same folder.
            let _ = world.finalize();
            return Err(TrainError::OtherLauncher { processes, launcher });
        }
        let all = world.split(Some(0)).map_err(failed)?.expect("all are in it");
        let (on_machine, beside) = (world.machine().rank(), world.machine().size());
        // Launchers may bind each rank to its own cores. Ranks with the same mask share their cores.
        let own = Cores::of_this_process();
        let all_masks =
            world.machine().all_gather(own.mask.clone().into_bytes()).map_err(failed)?;
        let sharing = all_masks.iter().filter(|mask| **mask == own.mask.as_bytes()).count();
        let cores = (own.count / sharing.max(1)).max(1);
        let mut resources = Resources {
            ranks: Some(world.size()),
            on_machine,
            most_on_machine: beside,
            cores,
            least_cores: cores,
        };
        let mut group = Self { inner: Arc::new(Inner { ranks: Some((world, all)), resources }) };
        let told = group.all_gather::<_, TrainError>(Ok((beside, cores)))?;
        resources.most_on_machine = told.iter().map(|(beside, _)| *beside).max().unwrap_or(beside);
        resources.least_cores = told.iter().map(|(_, cores)| *cores).min().unwrap_or(cores);
        Arc::get_mut(&mut group.inner).expect("no clone exists yet").resources = resources;
        Ok(group)
    }

    /// Returns true if these are ranks of an MPI program, even if there is only one.
    #[must_use]
    pub fn is_ranks(&self) -> bool {
        self.inner.resources.ranks.is_some()
    }

    /// Returns the rank of this process, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some((world, _)) = &self.inner.ranks {
            return world.rank();
        }
        0
    }

    /// Returns the number of processes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.resources.ranks.unwrap_or(1)
    }

    /// Returns true for rank 0, which writes shared files and reports common errors.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.rank() == 0
    }

    /// Returns the resources of this process.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.inner.resources
    }

    /// Returns the MPI world; `None` for a process that is not a rank.
    #[cfg(feature = "mpi")]
    pub(crate) fn world(&self) -> Option<&World> {
        self.inner.ranks.as_ref().map(|(world, _)| world)
    }

    /// Ends all ranks once a rank has sent no heartbeat for `timeout`, because it is stopped or its machine cannot be
    /// reached. All ranks should call this function. It has no effect in a process that is the only one.
    ///
    /// Every rank sends a heartbeat each second, even while it computes, so `timeout` should be several seconds. The rank
    /// that detects the silence calls `on_silence` with [`TrainError::SilentRank`] on a separate thread; the result is the
    /// exit code of all ranks.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn watch(
        &self,
        timeout: Duration,
        on_silence: impl FnOnce(TrainError) -> i32 + Send + 'static,
    ) -> Result<(), TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((world, _)) = &self.inner.ranks {
            return watch(world, timeout, on_silence);
        }
        let _ = (timeout, on_silence);
        Ok(())
    }

    /// Returns the traffic of this rank so far; `None` for a process that is not a rank.
    #[cfg(feature = "mpi")]
    #[must_use]
    pub fn traffic(&self) -> Option<parareal::exec::Traffic> {
        self.world().map(parareal::exec::World::traffic)
    }

    /// Finalizes MPI. Waits until all other ranks do so as well.
    ///
    /// # Errors
    /// [`TrainError::Finalize`] if MPI hangs although all ranks have finished. The process should then end by
    /// [`Self::exit`]. Another error if MPI fails.
    pub fn finish(&self) -> Result<(), TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((world, _)) = &self.inner.ranks {
            world.finalize().map_err(|error| match error {
                MpiError::Timeout { seconds, .. } => TrainError::Finalize { seconds },
                error => failed(error),
            })?;
        }
        Ok(())
    }

    /// Ends this process immediately with this exit code, without exit handlers, which must not run while MPI hangs
    /// ([`TrainError::Finalize`], [`TrainError::MpiHangs`]). Files and standard output should be flushed before.
    pub fn exit(code: i32) -> ! {
        #[cfg(feature = "mpi")]
        World::exit(code);
        #[cfg(not(feature = "mpi"))]
        std::process::exit(code)
    }

    /// Ends all processes immediately with this exit code.
    pub fn abort(&self, code: i32) -> ! {
        #[cfg(feature = "mpi")]
        if let Some((world, _)) = &self.inner.ranks {
            world.abort(code);
        }
        std::process::exit(code)
    }
}

#[cfg(feature = "mpi")]
fn watch(
    world: &World,
    timeout: Duration,
    on_silence: impl FnOnce(TrainError) -> i32 + Send + 'static,
) -> Result<(), TrainError> {
    let watched = world.watch(timeout, move |silent| {
        let parareal::exec::SilentRank { rank, process } = silent.clone();
        on_silence(TrainError::SilentRank { rank, process, timeout })
    });
    watched.map_err(failed)
}
