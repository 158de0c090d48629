//! Values and failures that the processes of a group exchange, so that all reach the same decisions.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ProcessGroup;
use crate::error::TrainError;
use crate::shared_error::SharedError;

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
}

fn other_version() -> TrainError {
    TrainError::ranks("a rank sent an unknown message; start all ranks with the same version")
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
}
