//! Counter of the bytes that ranks send in the steps of a run.

use parareal_run::Traffic;

use crate::{ProcessGroup, TrainError};

/// Counts the bytes that this process sends in training steps.
#[derive(Default)]
pub(crate) struct TrafficCounter {
    counted: Traffic,
}

impl TrafficCounter {
    /// Returns the bytes that this process has sent since MPI was initialized, inside and outside
    /// of steps.
    pub(crate) fn so_far(group: &ProcessGroup) -> Traffic {
        #[cfg(feature = "mpi")]
        if let Some(world) = group.world() {
            let parareal::exec::Traffic { sent, reduced, .. } = world.traffic();
            return Traffic { steps: 0, interfaces: sent, reduced };
        }
        let _ = group;
        Traffic::default()
    }

    /// Counts a step; `before` is the traffic before it.
    pub(crate) fn add_step(&mut self, group: &ProcessGroup, before: Traffic) {
        let now = Self::so_far(group);
        self.counted.steps += 1;
        self.counted.interfaces += now.interfaces - before.interfaces;
        self.counted.reduced += now.reduced - before.reduced;
    }

    /// Returns the counts of all ranks, in order; empty without MPI.
    pub(crate) fn of_all(&self, group: &ProcessGroup) -> Result<Vec<Traffic>, TrainError> {
        if group.is_ranks() { group.all_gather(Ok(self.counted)) } else { Ok(Vec::new()) }
    }
}
