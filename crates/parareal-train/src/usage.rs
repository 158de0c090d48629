//! How long a run has taken, and how busy the subnetworks were.

use std::time::Duration;

use parareal::exec::SubnetworkTime;
use serde::{Deserialize, Serialize};

/// How one subnetwork spent the training steps, as shares that add up to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Its own units, preprocessing, loss and update.
    pub computing: f64,
    /// Its coarse network, in the chain that goes through all subnetworks.
    pub coarse: f64,
    /// The rest.
    pub waiting: f64,
}

/// Sums over the steps of a run, in seconds, whatever number of processes took them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Times {
    /// All of it, evaluations included.
    pub(crate) run: f64,
    steps: f64,
    images: f64,
    subnetworks: Vec<Busy>,
}

/// A subnetwork's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Busy {
    fine: f64,
    coarse: f64,
}

impl Times {
    pub(crate) fn add(&mut self, step: Duration, subnetworks: &[SubnetworkTime]) {
        self.steps += step.as_secs_f64();
        // An executor that does not run them one by one knows of none.
        self.subnetworks.resize_with(subnetworks.len(), Busy::default);
        for (sum, time) in self.subnetworks.iter_mut().zip(subnetworks) {
            sum.fine += time.fine.as_secs_f64();
            sum.coarse += time.coarse.as_secs_f64();
        }
    }

    /// Time between two steps in which the images of the next were not ready yet.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.images += time.as_secs_f64();
    }

    /// The share that this has of steps and waiting together.
    pub(crate) fn waiting_for_images(&self) -> f64 {
        if self.steps > 0.0 { self.images / (self.images + self.steps) } else { 0.0 }
    }

    /// These, for a run that has taken so long in all.
    pub(crate) fn until(&self, run: f64) -> Self {
        Self { run, ..self.clone() }
    }

    pub(crate) fn usage(&self) -> Vec<Usage> {
        let share = |time: f64| if self.steps > 0.0 { time / self.steps } else { 0.0 };
        self.subnetworks
            .iter()
            .map(|time| {
                let (computing, coarse) = (share(time.fine), share(time.coarse));
                Usage { computing, coarse, waiting: (1.0 - computing - coarse).max(0.0) }
            })
            .collect()
    }

    /// Whether a run can have taken as long.
    pub(crate) fn is_possible(&self) -> bool {
        let busy = self.subnetworks.iter().flat_map(|busy| [busy.fine, busy.coarse]);
        [self.run, self.steps, self.images].into_iter().chain(busy).all(|time| {
            // As a file may tell of no number, or of less than nothing.
            (0.0..1e12).contains(&time)
        })
    }
}
