//! Process groups: a single process, or the ranks of an MPI program.
//!
//! The operations are collective: all processes must make the same calls in the same order. The calls exchange
//! values and failures, so that all processes reach the same decisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "mpi")]
use parareal::exec::{MpiError, World};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[cfg(feature = "mpi")]
use crate::cores::Cores;
use crate::error::TrainError;
use crate::shared_error::SharedError;

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

/// The tag of messages to rank 0. Nothing else is sent from one rank to another in the communicator of a group.
#[cfg(feature = "mpi")]
const TAG: i32 = 0;

/// A program that starts several processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Launcher {
    /// A launcher of MPI: `mpirun` or `mpiexec`.
    Mpi,
    /// Slurm's `srun`, whose tasks may be ranks or independent of each other.
    Slurm,
}

/// A failure of one process, in the form that is sent to the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Failure {
    message: String,
    bad_input: bool,
}

/// Message from one process to all processes.
#[derive(Serialize, Deserialize)]
enum Message<T> {
    Done(T),
    Failed(Failure),
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

    /// Gathers the bytes of all processes on every process, in rank order.
    fn gather_on_all(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            return all.all_gather(own).map_err(failed);
        }
        Ok(vec![own])
    }

    /// Gathers the bytes of all processes on rank 0, in rank order. Another rank gets an empty list.
    fn gather_on_root(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            let length = own.len() as u64;
            if !self.is_root() {
                all.send(0, TAG, length.to_le_bytes()).map_err(failed)?;
                all.send(0, TAG, own).map_err(failed)?;
                return Ok(Vec::new());
            }
            let receive = |rank, bytes| all.receive(rank, TAG, bytes).map_err(failed);
            let lengths: Vec<_> =
                (1..self.size()).map(|rank| receive(rank, 8)).collect::<Result<_, _>>()?;
            let mut gathered = vec![own];
            for (rank, length) in (1..).zip(lengths) {
                let length = length.wait().map_err(failed)?.try_into().expect("8 bytes");
                let bytes = receive(rank, u64::from_le_bytes(length) as usize)?;
                gathered.push(bytes.wait().map_err(failed)?);
            }
            return Ok(gathered);
        }
        Ok(vec![own])
    }

    /// Broadcasts the bytes of rank 0. The bytes of other ranks are ignored.
    pub(crate) fn broadcast(&self, own: Vec<u8>) -> Result<Vec<u8>, TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            let from_root = |bytes| all.broadcast(0, bytes).and_then(|sent| sent.wait());
            let length = from_root((own.len() as u64).to_le_bytes().to_vec()).map_err(failed)?;
            let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
            let own = if self.is_root() { own } else { vec![0; length] };
            return from_root(own).map_err(failed);
        }
        Ok(own)
    }

    /// Returns how many processes have set each flag. Unlike [`Self::gather_on_all`], this takes no more memory or
    /// traffic per process if there are more of them.
    fn count<const K: usize>(&self, own: [bool; K]) -> Result<[usize; K], TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            let counts = all.count(&own).map_err(failed)?;
            return Ok(std::array::from_fn(|k| counts[k]));
        }
        Ok(own.map(usize::from))
    }

    /// Gathers the messages of all processes on every process, in rank order.
    fn exchange<T: Serialize + DeserializeOwned>(
        &self,
        own: &Message<T>,
    ) -> Result<Vec<Message<T>>, TrainError> {
        let own = serde_json::to_vec(own).expect("numbers and names are JSON");
        let read = |bytes: &Vec<u8>| serde_json::from_slice(bytes).map_err(|_| other_version());
        self.gather_on_all(own)?.iter().map(read).collect()
    }

    /// Gathers a value of each process on every process, in rank order. If any process has failed, the call fails
    /// on all processes. Each distinct error is reported by the first rank that has it ([`SharedError::agreed`]);
    /// all other ranks get [`SharedError::elsewhere`].
    ///
    /// # Errors
    /// If any process has failed, or MPI fails.
    pub fn all_gather<T, E>(&self, own: Result<T, E>) -> Result<Vec<T>, E>
    where
        T: Serialize + DeserializeOwned,
        E: SharedError,
    {
        if self.size() == 1 {
            // Without other processes, the error is returned unchanged.
            return Ok(vec![own?]);
        }
        let (own, error) = match own {
            Ok(own) => (Message::Done(own), None),
            Err(error) => {
                let (message, bad_input) = (error.to_string(), error.is_bad_input());
                (Message::Failed(Failure { message, bad_input }), Some(error))
            }
        };
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (rank, message) in self.exchange(&own)?.into_iter().enumerate() {
            match message {
                Message::Done(value) => done.push(value),
                Message::Failed(failure) => failed.push((rank, failure)),
            }
        }
        match (failed.is_empty(), error) {
            (true, _) => Ok(done),
            (false, Some(error)) if error.is_agreed() => Err(error),
            (false, error) => {
                let verdict = Verdict::of(self.rank(), self.size(), &failed);
                Err(match error {
                    Some(error) if verdict.reports => error.agreed(verdict.rank, verdict.bad_input),
                    _ => E::elsewhere(verdict.message, verdict.bad_input),
                })
            }
        }
    }

    /// Gathers a value of each process on rank 0, in rank order; other ranks get an empty list. Unlike with
    /// [`Self::all_gather`], the traffic of the other ranks does not grow with their number.
    ///
    /// # Errors
    /// If any process has failed, or MPI fails, the same as for [`Self::all_gather`]; on rank 0 alone, if another rank
    /// runs another version of the program.
    pub fn gather<T, E>(&self, own: Result<T, E>) -> Result<Vec<T>, E>
    where
        T: Serialize + DeserializeOwned,
        E: SharedError,
    {
        let own = self.agree(own)?;
        if self.size() == 1 {
            return Ok(vec![own]);
        }
        let own = serde_json::to_vec(&own).expect("numbers and names are JSON");
        let gathered = self.gather_on_root(own)?;
        let read = |bytes: &Vec<u8>| serde_json::from_slice(bytes).map_err(|_| other_version());
        Ok(gathered.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Returns the value of this process, unless any process has failed.
    ///
    /// # Errors
    /// The same as for [`Self::all_gather`].
    pub fn agree<T, E: SharedError>(&self, own: Result<T, E>) -> Result<T, E> {
        if self.count([own.is_err()])? == [0] {
            return own;
        }
        let (own, done) = match own {
            Ok(own) => (Some(own), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.all_gather(done)?;
        Ok(own.expect("no process has failed"))
    }

    /// Computes a value on rank 0 and broadcasts it.
    ///
    /// # Errors
    /// The same as for [`Self::all_gather`].
    pub fn on_root<T, E>(&self, own: impl FnOnce() -> Result<T, E>) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: SharedError,
    {
        let own = self.agree(if self.is_root() { own().map(Some) } else { Ok(None) })?;
        if self.size() == 1 {
            return Ok(own.expect("this process is the root"));
        }
        // In a list, because the value may be an option.
        let bytes = serde_json::to_vec(&Vec::from_iter(own)).expect("numbers and names are JSON");
        let values: Option<Vec<T>> = serde_json::from_slice(&self.broadcast(bytes)?).ok();
        let value = values.and_then(|values| values.into_iter().next());
        value.ok_or_else(|| TrainError::ranks("rank 0 sent no value").into())
    }

    /// Marks an error that every process has found on its own, so that only rank 0 reports it.
    #[must_use]
    pub fn known_to_all<E: SharedError>(&self, error: E) -> E {
        match (self.size(), self.is_root()) {
            (1, _) => error,
            (_, true) => {
                let bad_input = error.is_bad_input();
                error.agreed(None, bad_input)
            }
            (_, false) => E::elsewhere(error.to_string(), error.is_bad_input()),
        }
    }

    /// Returns the flags that any process has set: an all-reduce with the logical or.
    ///
    /// # Errors
    /// If MPI fails.
    pub fn any<const K: usize>(&self, own: [bool; K]) -> Result<[bool; K], TrainError> {
        Ok(self.count(own)?.map(|count| count > 0))
    }

    /// Checks that all processes have the same named values.
    ///
    /// # Errors
    /// If a value differs. The error names the first such value ([`TrainError::RanksDiffer`]).
    pub fn compare(&self, own: BTreeMap<String, String>) -> Result<(), TrainError> {
        let found = self.first_difference(own)?;
        found.map_or(Ok(()), |error| Err(self.known_to_all(error)))
    }

    /// Returns the first difference between the named values of the processes. Only a checksum of them is sent if there is
    /// none.
    fn first_difference(
        &self,
        own: BTreeMap<String, String>,
    ) -> Result<Option<TrainError>, TrainError> {
        if self.size() == 1 {
            return Ok(None);
        }
        let text = serde_json::to_vec(&own).expect("text is JSON");
        let checksum = Sha256::digest(text).to_vec();
        let first = self.broadcast(checksum.clone())?;
        if self.count([checksum != first])? == [0] {
            return Ok(None);
        }
        Ok(difference(&self.all_gather::<_, TrainError>(Ok(own))?))
    }

    /// Checks by checksums that all processes have the same data. The keys are the names of the data in messages.
    ///
    /// # Errors
    /// If a checksum differs. The error names the first such data ([`TrainError::RanksData`]).
    pub(crate) fn compare_data(&self, own: BTreeMap<String, String>) -> Result<(), TrainError> {
        match self.first_difference(own)? {
            Some(TrainError::RanksDiffer { name: samples, rank, .. }) => {
                Err(self.known_to_all(TrainError::RanksData { samples, rank }))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "mpi")]
fn failed(error: MpiError) -> TrainError {
    match error {
        MpiError::Timeout { call, seconds } => TrainError::MpiHangs { call, seconds },
        error => TrainError::ranks(&error.to_string()),
    }
}

fn other_version() -> TrainError {
    TrainError::ranks("a rank sent an unknown message; start all ranks with the same version")
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

/// The failure that a process returns if some ranks have failed. Each distinct failure is reported by one rank.
struct Verdict {
    /// True if this process reports the failure.
    reports: bool,
    /// The first rank that has the failure; `None` if all ranks have it.
    rank: Option<usize>,
    message: String,
    bad_input: bool,
}

impl Verdict {
    fn of(rank: usize, size: usize, failed: &[(usize, Failure)]) -> Self {
        let bad_input = failed.iter().all(|(_, failure)| failure.bad_input);
        let own = failed.iter().find(|(number, _)| *number == rank);
        let (_, shown) = own.unwrap_or(&failed[0]);
        let having = failed.iter().filter(|(_, failure)| failure.message == shown.message);
        let having: Vec<usize> = having.map(|(number, _)| *number).collect();
        let number = (having.len() < size).then_some(having[0]);
        let message = match number {
            None => shown.message.clone(),
            Some(number) => format!("rank {number}: {}", shown.message),
        };
        Self { reports: having[0] == rank, rank: number, message, bad_input }
    }
}

/// Returns the first difference between the values of the processes.
fn difference(values: &[BTreeMap<String, String>]) -> Option<TrainError> {
    let first = values.first()?;
    values.iter().enumerate().find_map(|(rank, other)| {
        let name =
            first.keys().chain(other.keys()).find(|&name| first.get(name) != other.get(name))?;
        let value = |of: &BTreeMap<String, String>| of.get(name).cloned();
        let (name, first, other) = (name.clone(), value(first), value(other));
        Some(TrainError::RanksDiffer { name, first, other, rank })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_reported_by_one_rank() {
        let failure = |message: &str| Failure { message: message.into(), bad_input: true };
        let reported = |failed: &[(usize, Failure)]| {
            let reported = (0..3).map(|rank| {
                let verdict = Verdict::of(rank, 3, failed);
                if verdict.reports { verdict.message } else { String::new() }
            });
            reported.collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..3).map(|rank| (rank, failure("no"))).collect();
        assert_eq!(reported(&all), ["no", "", ""]);
        assert_eq!(reported(&all[1..]), ["", "rank 1: no", ""]);
        let mixed = [(0, failure("a")), (2, failure("b"))];
        assert_eq!(reported(&mixed), ["rank 0: a", "", "rank 2: b"]);
        let running = Failure { bad_input: false, ..failure("c") };
        assert!(Verdict::of(1, 3, &mixed).bad_input);
        assert!(!Verdict::of(1, 3, &[mixed[0].clone(), (1, running)]).bad_input);
    }

    #[test]
    fn differences_are_named_with_rank_and_values() {
        let values = |seed: Option<&str>| {
            let values = [("epochs", Some("3")), ("seed", seed)].into_iter();
            let values =
                values.filter_map(|(name, value)| Some((name.to_string(), value?.to_string())));
            values.collect::<BTreeMap<_, _>>()
        };
        let found = |all: &[_]| difference(all).map(|error| error.to_string());
        assert_eq!(found(&[values(Some("1")), values(Some("1"))]), None);
        assert_eq!(
            found(&[values(Some("1")), values(Some("1")), values(Some("2"))]).unwrap(),
            "seed is 1 on rank 0 but 2 on rank 2; start all ranks with the same settings"
        );
        assert_eq!(
            found(&[values(None), values(Some("2"))]).unwrap(),
            "seed is not set on rank 0 but 2 on rank 1; start all ranks with the same settings"
        );
    }
}
