use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parareal::exec::{CrossEntropy, ExecutorBuilder, Layout};
use parareal::net::{FeedForward, Init, PararealNetwork};
use parareal::plan::{PlanError, Sample, Scenario, Schedule};
use parareal::timeline::Timeline;
use parareal_models::CostTable;
use serde::Serialize;

use super::Bench;
use crate::VisionError;
use crate::network::NetworkConfig;
use crate::optimizer;
use crate::plan::Machine;
use crate::random_batch::RandomBatch;

/// Predicted and measured duration of a step on the workers of this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Clock {
    /// Number of workers.
    pub workers: usize,
    /// Number of subnetworks of each worker.
    pub held: Vec<usize>,
    /// Duration predicted from a cost table that was measured with this number of busy workers.
    pub predicted_ms: f64,
    /// Median duration of the measured steps.
    pub measured_ms: f64,
    /// Interquartile range of the measured durations.
    pub spread_ms: f64,
    /// Timeline of the last step.
    #[serde(skip)]
    pub measured: Timeline,
}

impl Clock {
    /// Returns the relative error of the prediction: `predicted / measured - 1`.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.predicted_ms / self.measured_ms - 1.0
    }
}

impl Bench {
    /// Measures steps of a network whose subnetworks are spread evenly over the workers of this machine, and
    /// predicts their duration from a cost table. `tables` maps the number of busy workers to the cost table;
    /// a missing table is measured and added.
    pub(super) fn clock(
        &self,
        network: &NetworkConfig,
        tables: &mut HashMap<usize, CostTable>,
    ) -> Result<Clock, VisionError> {
        let (net, cuts) = (&network.net, &network.cuts);
        let workers = self.machine.workers.min(cuts.subnetworks());
        let layout = Layout::threads(cuts.subnetworks(), workers, 1).map_err(PlanError::from)?;
        let machine = Machine { workers, ..self.machine.clone() };
        let table = match tables.entry(workers) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let kinds = net.coarse_unit_kinds();
                unknown.insert(machine.measure(net, &kinds, self.repetitions)?)
            }
        };
        let mut scenario = Scenario::new(&table.costs(net)?, cuts, layout.clone())?;
        scenario.schedule = Schedule::Overlap(machine.program());

        let device = machine.find(net)?;
        let batch = RandomBatch::new(&net.input_shape(), self.classes, machine.batch, &device);
        let module = PararealNetwork::build(net, cuts, &Init::new(1, &device))?;
        let optimizer = optimizer::for_timing(net);
        let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer).workers(workers);
        let mut executor = machine.on_device(builder, device).start(module)?;
        let (mut sample, mut measured) = (Sample::default(), Timeline::default());
        for repetition in 0..=self.repetitions {
            let (images, labels) = (batch.images.clone(), batch.labels.clone());
            let report = executor.train_step(images, labels, 1e-3)?;
            // The first step is a warm-up: it allocates the memory that later steps reuse.
            if repetition > 0 {
                sample.push(report.duration.as_secs_f64());
                measured = report.timeline;
            }
        }
        Ok(Clock {
            workers,
            held: executor.layout().counts(),
            predicted_ms: 1e3 * scenario.predict()?.makespan(),
            measured_ms: 1e3 * sample.median(),
            spread_ms: 1e3 * sample.spread(),
            measured,
        })
    }
}
