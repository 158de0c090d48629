//! Steps as `parareal plan` predicts them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parareal::exec::ProgramOptions;
use parareal::plan::{Scenario, Schedule};
use parareal_models::{CoarseKind, ImageNetwork};
use parareal_train::DeviceName;
use parareal_vision::{CostSource, Costs, Machine};

use crate::Result;
use crate::network::Network;

/// Predictions for the networks of one depth and batch. The costs are measured while as many workers and threads are
/// busy as the network has, each time that a number of them is first needed.
pub(crate) struct Predictor {
    net: ImageNetwork,
    batch: usize,
    /// Costs by the numbers of workers and of threads per worker.
    costs: HashMap<(usize, usize), Costs>,
}

impl Predictor {
    /// Creates a predictor that knows no costs yet.
    ///
    /// # Errors
    /// If the depth is not possible.
    pub(crate) fn new(depth: usize, batch: usize) -> Result<Self> {
        let net = ImageNetwork::resnet(depth)?.with_coarse_kind(CoarseKind::Auto);
        Ok(Self { net, batch, costs: HashMap::new() })
    }

    /// Returns the predicted duration of a step with this number of threads per worker, in seconds.
    ///
    /// # Errors
    /// If the costs cannot be measured.
    pub(crate) fn predict(&mut self, network: &Network, threads: usize) -> Result<f64> {
        let layout = network.layout();
        let workers = layout.workers();
        let costs = match self.costs.entry((workers, threads)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let device = DeviceName::cpu();
                let machine = Machine { device, batch: self.batch, threads, workers };
                unknown.insert(CostSource::Measured.load(&self.net, &machine, true)?)
            }
        };
        let model = costs.of(network.net(), layout.subnetworks())?;
        let mut scenario = Scenario::new(&model, network.cuts(), layout.clone())?;
        scenario.schedule = Schedule::Overlap(ProgramOptions::default());
        Ok(scenario.predict()?.makespan())
    }
}
