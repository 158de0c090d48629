//! The processes that work on a run together: this one alone, or the ranks of an MPI program.
//!
//! All of them make the same calls in the same order; what only one of them knows, or may do, is
//! told to the others here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::TrainError;
#[cfg(feature = "mpi")]
use crate::cores::Cores;

/// Who works on a run. Clones are the same team.
#[derive(Clone)]
pub struct Team {
    inner: Arc<Inner>,
}

struct Inner {
    #[cfg(feature = "mpi")]
    ranks: Option<(parareal::exec::World, parareal::exec::Communicator)>,
    place: Place,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// How many work together; `None` where no launcher was asked for.
    pub(crate) ranks: Option<usize>,
    /// Which of the ranks on its machine this one is, from 0.
    pub(crate) on_machine: usize,
    /// The most ranks on a machine.
    pub(crate) most_on_machine: usize,
    /// Its share of the machine's cores, at least one.
    pub(crate) cores: usize,
    /// The least that any has.
    pub(crate) least_cores: usize,
}

impl Place {
    /// Of a process that has the machine for itself.
    pub(crate) fn alone() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { ranks: None, on_machine: 0, most_on_machine: 1, cores, least_cores: cores }
    }
}

/// What went wrong on one rank, as the others are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    message: String,
    bad_input: bool,
}

impl Failed {
    fn of(error: &TrainError) -> Self {
        Self { message: error.to_string(), bad_input: error.is_bad_input() }
    }
}

/// What one rank has to tell.
#[derive(Serialize, Deserialize)]
enum Word<T> {
    Fine(T),
    Failed(Failed),
}

impl Team {
    /// This process alone.
    #[must_use]
    pub fn alone() -> Self {
        let inner = Inner {
            #[cfg(feature = "mpi")]
            ranks: None,
            place: Place::alone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// This process as one of the ranks that `mpirun` or `srun` has started, or as the only one.
    ///
    /// # Errors
    /// Where MPI cannot be started, or this program is built without it.
    #[cfg(feature = "mpi")]
    pub fn join() -> Result<Self, TrainError> {
        use parareal::exec::World;

        let world = World::init().map_err(failed)?;
        let all = world.split(Some(0)).map_err(failed)?.expect("all are in it");
        let (on_machine, beside) = (world.machine().rank(), world.machine().size());
        // Launchers may bind each rank to cores of its own: those that may use the same share them.
        let own = Cores::of_this_process();
        let all_masks =
            world.machine().all_gather(own.mask.clone().into_bytes()).map_err(failed)?;
        let sharing = all_masks.iter().filter(|mask| **mask == own.mask.as_bytes()).count();
        let cores = (own.count / sharing.max(1)).max(1);
        let mut place = Place {
            ranks: Some(world.size()),
            on_machine,
            most_on_machine: beside,
            cores,
            least_cores: cores,
        };
        let mut team = Self { inner: Arc::new(Inner { ranks: Some((world, all)), place }) };
        let told = team.collect(Ok((beside, cores)))?;
        place.most_on_machine = told.iter().map(|(beside, _)| *beside).max().unwrap_or(beside);
        place.least_cores = told.iter().map(|(_, cores)| *cores).min().unwrap_or(cores);
        Arc::get_mut(&mut team.inner).expect("nobody has a clone yet").place = place;
        Ok(team)
    }

    /// This process as one of the ranks that `mpirun` or `srun` has started, or as the only one.
    ///
    /// # Errors
    /// Where MPI cannot be started, or this program is built without it.
    #[cfg(not(feature = "mpi"))]
    pub fn join() -> Result<Self, TrainError> {
        Err(TrainError::without_mpi())
    }

    /// How many processes a launcher has started together, as far as it tells by the environment.
    #[must_use]
    pub fn launched() -> usize {
        // Open MPI's, that of MPICH, and Slurm's own.
        let told = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"].into_iter();
        let told = told.filter_map(|name| std::env::var(name).ok()?.parse().ok());
        told.max().unwrap_or(1)
    }

    /// Whether these are ranks of an MPI program, be it one.
    #[must_use]
    pub fn is_ranks(&self) -> bool {
        self.inner.place.ranks.is_some()
    }

    /// Which of them this process is, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some((world, _)) = &self.inner.ranks {
            return world.rank();
        }
        0
    }

    /// How many they are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.place.ranks.unwrap_or(1)
    }

    /// Whether this process speaks for all, and writes what is written once.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    pub(crate) fn place(&self) -> &Place {
        &self.inner.place
    }

    /// The ranks, where they are ranks.
    #[cfg(feature = "mpi")]
    pub(crate) fn world(&self) -> Option<&parareal::exec::World> {
        self.inner.ranks.as_ref().map(|(world, _)| world)
    }

    /// Ends MPI together with all others: waits until they do so as well.
    ///
    /// # Errors
    /// Where MPI fails.
    pub fn finish(&self) -> Result<(), TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((world, _)) = &self.inner.ranks {
            world.finalize().map_err(failed)?;
        }
        Ok(())
    }

    /// Ends all processes at once with this exit code, wherever they are.
    pub fn abort(&self, code: i32) -> ! {
        #[cfg(feature = "mpi")]
        if let Some((world, _)) = &self.inner.ranks {
            world.abort(code);
        }
        std::process::exit(code)
    }

    /// Hands the bytes of each to all, in the order of the ranks.
    fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, TrainError> {
        #[cfg(feature = "mpi")]
        if let Some((_, all)) = &self.inner.ranks {
            return all.all_gather(own).map_err(failed);
        }
        Ok(vec![own])
    }

    /// What each has to tell, or what kept it from that.
    fn words<T: Serialize + DeserializeOwned>(
        &self,
        own: Result<T, Failed>,
    ) -> Result<Vec<Word<T>>, TrainError> {
        let own = own.map_or_else(Word::Failed, Word::Fine);
        let own = serde_json::to_vec(&own).expect("numbers and names are JSON");
        let read = |bytes: &Vec<u8>| {
            let unknown =
                |_| TrainError::ranks("a rank tells something unknown: is it another version?");
            serde_json::from_slice(bytes).map_err(unknown)
        };
        self.gather(own)?.iter().map(read).collect()
    }

    /// Hands what each has to all, in the order of the ranks. Where one of them has failed, all
    /// have: an error is [`TrainError::Agreed`] on the first rank that has it, and
    /// [`TrainError::Elsewhere`] on all others.
    pub(crate) fn collect<T>(&self, own: Result<T, TrainError>) -> Result<Vec<T>, TrainError>
    where
        T: Serialize + DeserializeOwned,
    {
        if self.size() == 1 {
            // As it is, with its type.
            return Ok(vec![own?]);
        }
        let (own, agreed) = match own {
            Ok(own) => (Ok(own), None),
            Err(error) => (Err(Failed::of(&error)), Some(error).filter(TrainError::is_agreed)),
        };
        let (mut fine, mut failed) = (Vec::new(), Vec::new());
        for (rank, word) in self.words(own)?.into_iter().enumerate() {
            match word {
                Word::Fine(word) => fine.push(word),
                Word::Failed(error) => failed.push((rank, error)),
            }
        }
        match (failed.is_empty(), agreed) {
            (true, _) => Ok(fine),
            (false, Some(agreed)) => Err(agreed),
            (false, None) => Err(verdict(self.rank(), self.size(), &failed)),
        }
    }

    /// Gives what this process has, unless any of them has failed.
    ///
    /// # Errors
    /// As [`TrainError::Agreed`] says.
    pub fn agree<T>(&self, own: Result<T, TrainError>) -> Result<T, TrainError> {
        let (own, word) = match own {
            Ok(own) => (Some(own), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.collect(word)?;
        Ok(own.expect("nobody has failed"))
    }

    /// What the first of them has, for all.
    pub(crate) fn first<T>(
        &self,
        own: impl FnOnce() -> Result<T, TrainError>,
    ) -> Result<T, TrainError>
    where
        T: Serialize + DeserializeOwned,
    {
        let own = if self.leads() { own().map(|own| vec![own]) } else { Ok(Vec::new()) };
        let first = self.collect(own)?.into_iter().flatten().next();
        first.ok_or_else(|| TrainError::ranks("the first rank tells nothing"))
    }

    /// For each question whether any of them says yes.
    pub(crate) fn any<const K: usize>(&self, own: [bool; K]) -> Result<[bool; K], TrainError> {
        if self.size() == 1 {
            return Ok(own);
        }
        let told = self.gather(own.map(u8::from).to_vec())?;
        Ok(std::array::from_fn(|k| told.iter().any(|told| told.get(k) == Some(&1))))
    }

    /// Refuses ranks that differ in one of these, each with its name.
    pub(crate) fn compare(&self, own: BTreeMap<String, String>) -> Result<(), TrainError> {
        let told = self.collect(Ok(own))?;
        match (difference(&told), self.leads()) {
            (None, _) => Ok(()),
            (Some(message), true) => Err(TrainError::Agreed { message, bad_input: true }),
            (Some(message), false) => Err(TrainError::Elsewhere { message, bad_input: true }),
        }
    }
}

#[cfg(feature = "mpi")]
fn failed(error: parareal::exec::MpiError) -> TrainError {
    TrainError::ranks(&error.to_string())
}

/// What a rank makes of the failures of some, of which there is one.
fn verdict(rank: usize, size: usize, failed: &[(usize, Failed)]) -> TrainError {
    let bad_input = failed.iter().all(|(_, failed)| failed.bad_input);
    let own = failed.iter().find(|(number, _)| *number == rank);
    let (_, shown) = own.unwrap_or(&failed[0]);
    let having = failed.iter().filter(|(_, failed)| failed.message == shown.message);
    let having: Vec<usize> = having.map(|(number, _)| *number).collect();
    // What all have needs no number.
    let message = match having.len() == size {
        true => shown.message.clone(),
        false => format!("rank {}: {}", having[0], shown.message),
    };
    match having[0] == rank {
        true => TrainError::Agreed { message, bad_input },
        false => TrainError::Elsewhere { message, bad_input },
    }
}

/// The first difference between what ranks tell, in words.
fn difference(told: &[BTreeMap<String, String>]) -> Option<String> {
    let first = told.first()?;
    told.iter().enumerate().find_map(|(rank, other)| {
        let name =
            first.keys().chain(other.keys()).find(|&name| first.get(name) != other.get(name))?;
        let shown = |of: &BTreeMap<String, String>| {
            of.get(name).cloned().unwrap_or_else(|| "not set".into())
        };
        Some(format!(
            "{name} is {} on rank 0 and {} on rank {rank}: start all ranks alike",
            shown(first),
            shown(other)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_told_by_one_rank() {
        let failure = |message: &str| Failed { message: message.into(), bad_input: true };
        let told = |failed: &[(usize, Failed)]| {
            let told = (0..3).map(|rank| match verdict(rank, 3, failed) {
                TrainError::Agreed { message, .. } => message,
                _ => String::new(),
            });
            told.collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..3).map(|rank| (rank, failure("no"))).collect();
        assert_eq!(told(&all), ["no", "", ""]);
        assert_eq!(told(&all[1..]), ["", "rank 1: no", ""]);
        let mixed = [(0, failure("a")), (2, failure("b"))];
        assert_eq!(told(&mixed), ["rank 0: a", "", "rank 2: b"]);
        let running = Failed { bad_input: false, ..failure("c") };
        assert!(verdict(1, 3, &mixed).is_bad_input());
        assert!(!verdict(1, 3, &[mixed[0].clone(), (1, running)]).is_bad_input());
    }

    #[test]
    fn differences_are_named_with_rank_and_values() {
        let told = |seed: Option<&str>| {
            let told = [("epochs", Some("3")), ("seed", seed)].into_iter();
            let told =
                told.filter_map(|(name, value)| Some((name.to_string(), value?.to_string())));
            told.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(difference(&[told(Some("1")), told(Some("1"))]), None);
        let found = difference(&[told(Some("1")), told(Some("1")), told(Some("2"))]).unwrap();
        assert_eq!(found, "seed is 1 on rank 0 and 2 on rank 2: start all ranks alike");
        let found = difference(&[told(None), told(Some("2"))]).unwrap();
        assert_eq!(found, "seed is not set on rank 0 and 2 on rank 1: start all ranks alike");
    }
}
