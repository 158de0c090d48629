//! How busy the subnetworks were.

use std::time::Duration;

use parareal::exec::SubnetworkTime;
use serde::Serialize;

/// How one subnetwork spent the training steps, as shares that add up to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// Its own units, preprocessing, loss and update.
    pub computing: f64,
    /// Its coarse network, in the chain that goes through all subnetworks.
    pub coarse: f64,
    /// The rest.
    pub waiting: f64,
}

/// Sums over steps.
#[derive(Default)]
pub(crate) struct Times {
    steps: Duration,
    images: Duration,
    subnetworks: Vec<SubnetworkTime>,
}

impl Times {
    pub(crate) fn add(&mut self, step: Duration, subnetworks: &[SubnetworkTime]) {
        self.steps += step;
        self.subnetworks.resize_with(subnetworks.len(), SubnetworkTime::default);
        for (sum, time) in self.subnetworks.iter_mut().zip(subnetworks) {
            sum.fine += time.fine;
            sum.coarse += time.coarse;
        }
    }

    /// Time between two steps in which the images of the next were not ready yet.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.images += time;
    }

    /// The share that this has of steps and waiting together.
    pub(crate) fn waiting_for_images(&self) -> f64 {
        let (waiting, steps) = (self.images.as_secs_f64(), self.steps.as_secs_f64());
        if steps > 0.0 { waiting / (waiting + steps) } else { 0.0 }
    }

    pub(crate) fn usage(&self) -> Vec<Usage> {
        let whole = self.steps.as_secs_f64();
        let share = |time: Duration| if whole > 0.0 { time.as_secs_f64() / whole } else { 0.0 };
        self.subnetworks
            .iter()
            .map(|time| {
                let (computing, coarse) = (share(time.fine), share(time.coarse));
                Usage { computing, coarse, waiting: (1.0 - computing - coarse).max(0.0) }
            })
            .collect()
    }
}
