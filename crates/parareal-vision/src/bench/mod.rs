//! Measured durations of a step and of its components: the paper's Tables 2 and 3 for this machine.

mod clock;
mod row;

use std::collections::HashMap;

use parareal_models::{CostTable, UnitKind};
use serde::Serialize;

pub use clock::Clock;
pub use row::{BenchRow, Milliseconds, Predicted, Virtual};

use crate::network::{Cutting, NetworkConfig};
use crate::plan::{Costs, Machine, PlanSettings, in_range};
use crate::settings::SettingValue;
use crate::{CutsSetting, Recipe, Settings, VisionError};

/// Measurement of a network's components and of its training step.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Settings of the network. The number of subnetworks is ignored.
    pub settings: Settings,
    /// Numbers of subnetworks to measure.
    pub subnetworks: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Device, batch size, threads and workers of the measurement.
    pub machine: Machine,
    /// Number of repetitions of each component and of the step.
    pub repetitions: usize,
}

/// Result of a [`Bench`].
#[derive(Clone, Debug, Serialize)]
pub struct Benched {
    /// The network's name.
    pub network: String,
    /// Number of channels of the first layer.
    pub width: usize,
    /// The number of classes.
    pub classes: usize,
    /// Number of images in a batch.
    pub batch_size: usize,
    /// Name of the device.
    pub device: String,
    /// Number of threads of a worker.
    pub threads: usize,
    /// The requested kind of coarse units.
    pub coarse_unit: String,
    /// One row for each number of subnetworks.
    pub rows: Vec<BenchRow>,
    /// Measured costs, from which a plan can be computed ([`CostSource::File`](crate::CostSource)).
    pub costs: CostTable,
}

impl Bench {
    /// Measures the components and the steps of all networks. `progress` is called with the name of each
    /// measurement before it starts.
    ///
    /// # Errors
    /// If the network cannot be built, a device is missing, or a worker fails.
    pub fn run(&self, progress: &mut dyn FnMut(&str)) -> Result<Benched, VisionError> {
        self.machine.check()?;
        in_range("classes", self.classes)?;
        in_range("repetitions", self.repetitions)?;
        if self.subnetworks.is_empty() {
            let expected = "expected at least one number of subnetworks, for example 1,3,6";
            return Err(VisionError::setting("subnetworks", "[]", expected));
        }
        // All networks are checked before anything is measured.
        let networks = self.subnetworks.iter().map(|&count| self.network(count));
        let mut networks = networks.collect::<Result<Vec<_>, _>>()?;
        let serial = self.network(1)?;
        for network in &networks {
            PlanSettings::here(network.cuts.subnetworks()).check(network)?;
        }
        self.machine.find(&serial.net)?;

        progress("the kinds of components");
        let alone = Machine { workers: 1, ..self.machine.clone() };
        let kinds: Vec<_> =
            UnitKind::ALL.into_iter().filter(|kind| serial.net.accepts(*kind)).collect();
        let costs = alone.measure(&serial.net, &kinds, self.repetitions)?;
        let known = Costs::Table(costs.clone());
        for network in &mut networks {
            if network.cutting == Cutting::Balanced {
                let settings = PlanSettings::here(network.cuts.subnetworks());
                *network = crate::plan::plan(network.clone(), &known, &settings)?.network;
            }
        }

        progress("the serial network");
        let mut tables = HashMap::from([(1, costs.clone())]);
        let base = self.row(&serial, None, &mut tables)?;
        let mut rows = Vec::new();
        for network in &networks {
            let count = network.cuts.subnetworks();
            if count == 1 {
                rows.push(base.clone());
                continue;
            }
            progress(&format!("N = {count}"));
            rows.push(self.row(network, Some(&base), &mut tables)?);
        }
        Ok(Benched {
            network: serial.net.name(),
            width: serial.net.width(),
            classes: self.classes,
            batch_size: self.machine.batch,
            device: self.machine.device.to_string(),
            threads: self.machine.threads,
            coarse_unit: serial.coarse_kind.to_string(),
            rows,
            costs,
        })
    }

    fn network(&self, subnetworks: usize) -> Result<NetworkConfig, VisionError> {
        let mut settings = self.settings.clone();
        settings.subnetworks = Some(subnetworks);
        if let Some(cuts @ CutsSetting::Positions(_)) = &settings.cuts {
            let expected = "expected even or balanced, which apply to any number of subnetworks";
            return Err(VisionError::setting("cuts", cuts.to_text(), expected));
        }
        let mut network = NetworkConfig::resolve(&settings, Recipe::default())?;
        network.net = network.net.with_classes(self.classes);
        Ok(network)
    }
}
