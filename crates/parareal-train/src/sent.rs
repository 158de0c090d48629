//! What ranks send in the steps of a run.

use serde::{Deserialize, Serialize};

use crate::{Team, TrainError};

/// Bytes that a rank has given to others in training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The steps.
    pub steps: u64,
    /// Tensors over interfaces.
    pub interfaces: u64,
    /// Terms of all-reduces between replicas; where these go around a ring of `R`, each byte is sent
    /// `2 (R - 1) / R` times.
    pub reduced: u64,
}

impl Sent {
    /// What this process has sent since MPI began, in steps or not.
    pub(crate) fn so_far(team: &Team) -> Self {
        #[cfg(feature = "mpi")]
        if let Some(world) = team.world() {
            let parareal::exec::Traffic { sent, reduced } = world.traffic();
            return Self { steps: 0, interfaces: sent, reduced };
        }
        let _ = team;
        Self::default()
    }

    /// Counts a step, before which this had been sent.
    pub(crate) fn add_step(&mut self, team: &Team, before: Self) {
        let now = Self::so_far(team);
        self.steps += 1;
        self.interfaces += now.interfaces - before.interfaces;
        self.reduced += now.reduced - before.reduced;
    }

    /// Those of all ranks, in their order; nothing where there are none.
    pub(crate) fn of_all(self, team: &Team) -> Result<Vec<Self>, TrainError> {
        if team.is_ranks() { team.collect(Ok(self)) } else { Ok(Vec::new()) }
    }
}
