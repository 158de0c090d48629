use std::collections::HashMap;

use parareal::exec::{CrossEntropy, Layout};
use parareal::net::{FeedForward, Init, build_subnetwork};
use parareal::plan::{
    Cost, Link, PlanError, Scenario, Schedule, SubnetworkCosts, SubnetworkTiming, Timing,
};
use parareal_models::{
    CostTable, ImageNetwork, PAPER_CLASSES, PAPER_DEPTH, PAPER_ROWS, PaperRow, UnitKind,
};
use serde::Serialize;

use super::Bench;
use super::clock::Clock;
use crate::VisionError;
use crate::network::NetworkConfig;
use crate::plan::Machine;
use crate::random_batch::RandomBatch;

/// Durations of the forward and the backward pass, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Milliseconds {
    /// Forward pass.
    pub forward: f64,
    /// Backward pass.
    pub backward: f64,
}

impl Milliseconds {
    fn of(part: &Cost) -> Self {
        Self { forward: 1e3 * part.forward, backward: 1e3 * part.backward() }
    }

    fn plus(self, other: Self) -> Self {
        let (forward, backward) = (self.forward + other.forward, self.backward + other.backward);
        Self { forward, backward }
    }

    fn max(self, other: Self) -> Self {
        let forward = self.forward.max(other.forward);
        Self { forward, backward: self.backward.max(other.backward) }
    }

    /// Returns the sum of both passes.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.forward + self.backward
    }
}

/// The paper's virtual wall-clock time, in milliseconds: each component is timed alone, as if every
/// subnetwork had its own device and nothing overlapped the coarse network. All values are medians.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Virtual {
    /// The slowest `C_j`.
    pub preprocessing_ms: Milliseconds,
    /// The slowest `g_j`.
    pub subnetworks_ms: Milliseconds,
    /// Sum over all `F_j`.
    pub coarse_ms: Milliseconds,
    /// `h` and the loss.
    pub postprocessing_ms: Milliseconds,
    /// Sum of the four above.
    pub total_ms: Milliseconds,
    /// The slowest optimizer step. As in the paper, `total_ms` does not include it.
    pub update_ms: f64,
    /// Times of each subnetwork.
    pub parts: Vec<PartTimes>,
    /// Total time of the serial network divided by the total time of this network.
    pub speedup: f64,
}

impl Virtual {
    /// Returns the largest interquartile range of a `g_j`, relative to its median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        let shares = self.parts.iter().map(|part| part.spread_ms.sum() / part.subnetwork_ms.sum());
        shares.fold(0.0, f64::max)
    }
}

/// Times of one subnetwork in milliseconds, each component timed alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartTimes {
    /// `C_j`.
    pub preprocessing_ms: Milliseconds,
    /// `g_j`.
    pub subnetwork_ms: Milliseconds,
    /// `F_{j-1}`.
    pub coarse_ms: Option<Milliseconds>,
    /// The part of the backward pass of `F_{j-1}` that computes weight gradients. It can be deferred.
    pub coarse_weights_ms: Option<f64>,
    /// `h` and the loss.
    pub postprocessing_ms: Option<Milliseconds>,
    /// The optimizer step.
    pub update_ms: f64,
    /// Interquartile ranges of the two passes of `g_j`.
    pub spread_ms: Milliseconds,
}

/// Duration of a step on a number of devices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Predicted {
    /// Number of devices.
    pub devices: usize,
    /// Duration of the step.
    pub step_ms: f64,
    /// Speedup over the serial network on one device.
    pub speedup: f64,
}

/// Results for one number of subnetworks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchRow {
    /// Number of subnetworks, `N`.
    pub subnetworks: usize,
    /// Number of units of the first `F_j`.
    pub coarse_units: usize,
    /// Positions of the cuts.
    pub cuts: Vec<usize>,
    /// Virtual wall-clock time, as in the paper.
    #[serde(rename = "virtual")]
    pub virtual_clock: Virtual,
    /// Prediction for the overlapping schedule from the times of `virtual_clock`, with one device for each
    /// subnetwork and free communication.
    pub predicted: Predicted,
    /// The step as measured with the workers of this machine.
    pub measured: Predicted,
    /// Measurement and prediction for the workers of this machine.
    pub clock: Clock,
    /// The paper's row for this `N`, if the paper measured this network with these cuts. The times are for a
    /// batch of 128 on a Titan RTX.
    pub paper: Option<PaperRow>,
}

impl Bench {
    /// Measures one network. `base` is the row of the serial network; `tables` is as in
    /// [`Self::clock`].
    pub(super) fn row(
        &self,
        network: &NetworkConfig,
        base: Option<&BenchRow>,
        tables: &mut HashMap<usize, CostTable>,
    ) -> Result<BenchRow, VisionError> {
        let timings = self.timings(network)?;
        let mut virtual_clock = virtual_times(&timings);
        let serial = base.map_or(virtual_clock.total_ms, |base| base.virtual_clock.total_ms);
        virtual_clock.speedup = serial.sum() / virtual_clock.total_ms.sum();

        let count = timings.len();
        let layout = Layout::threads(count, count, 1).map_err(PlanError::from)?;
        let step_ms = 1e3 * self.scenario(network, &timings, layout).predict()?.makespan();
        let serial = base.map_or(step_ms, |base| base.predicted.step_ms);
        let predicted = Predicted { devices: count, step_ms, speedup: serial / step_ms };

        let clock = self.clock(network, tables)?;
        let serial = base.map_or(clock.measured_ms, |base| base.measured.step_ms);
        let (devices, step_ms) = (clock.workers, clock.measured_ms);
        let measured = Predicted { devices, step_ms, speedup: serial / step_ms };

        let coarse_units = network.first_coarse_units();
        let cuts = network.cuts.positions().to_vec();
        let subnetworks = count;
        let paper = self.paper_row(network)?;
        Ok(BenchRow {
            subnetworks,
            coarse_units,
            cuts,
            virtual_clock,
            predicted,
            measured,
            clock,
            paper,
        })
    }

    /// Returns the paper's row if the paper measured this network: ResNet-1001 with 100 classes, and the same
    /// coarse networks and cuts. Otherwise returns `None`.
    fn paper_row(&self, network: &NetworkConfig) -> Result<Option<PaperRow>, VisionError> {
        let count = network.cuts.subnetworks();
        let paper = ImageNetwork::resnet(PAPER_DEPTH)?
            .with_classes(PAPER_CLASSES)
            .with_coarse_kind(UnitKind::Basic);
        let same = network.net.name() == paper.name()
            && self.classes == PAPER_CLASSES
            && paper.default_cuts(count).is_ok_and(|cuts| cuts == network.cuts)
            && network
                .cuts
                .interfaces()
                .all(|at| network.net.coarse_choice(&at) == paper.coarse_choice(&at));
        let row = PAPER_ROWS.into_iter().find(|row| row.subnetworks == count);
        Ok(row.filter(|_| same))
    }

    /// Times each component alone. Only one subnetwork at a time is in memory.
    fn timings(&self, network: &NetworkConfig) -> Result<Vec<SubnetworkTiming>, VisionError> {
        let device = self.machine.find(&network.net)?;
        let (net, cuts) = (&network.net, &network.cuts);
        let batch = RandomBatch::new(&net.input_shape(), self.classes, self.machine.batch, &device);
        let stopwatch = Machine::stopwatch(net, self.repetitions);
        let init = Init::new(1, &device);
        let pool = self.machine.thread_pool(0)?;
        (0..cuts.subnetworks())
            .map(|index| {
                let subnetwork = build_subnetwork(net, cuts, index, &init)?;
                let loss = CrossEntropy::default();
                Ok(pool.install(|| {
                    stopwatch.subnetwork::<ImageNetwork, CrossEntropy>(
                        subnetwork,
                        &batch.images,
                        &loss,
                        &batch.labels,
                    )
                }))
            })
            .collect()
    }

    /// Returns the scenario of a step with these times.
    fn scenario(
        &self,
        network: &NetworkConfig,
        timings: &[SubnetworkTiming],
        layout: Layout,
    ) -> Scenario {
        let subnetworks = timings.iter().enumerate().map(|(index, timing)| {
            let units = network.cuts.units_of(index);
            let one = timing.fine.cost(units.len());
            SubnetworkCosts {
                preprocessing: timing.preprocessing.cost(1),
                units: vec![one; units.len()],
                coarse: timing.coarse.as_ref().map(|coarse| coarse.cost(1)),
                postprocessing: timing.postprocessing.as_ref().map(|h| h.cost(1)),
                // The links are free, so the size does not matter.
                output_bytes: 0.0,
            }
        });
        Scenario {
            subnetworks: subnetworks.collect(),
            layout,
            link: Link::FREE,
            schedule: Schedule::Overlap(self.machine.program()),
        }
    }
}

fn virtual_times(timings: &[SubnetworkTiming]) -> Virtual {
    let mut all = Virtual::default();
    for timing in timings {
        let [preprocessing, fine] = [&timing.preprocessing, &timing.fine].map(|part| part.cost(1));
        let coarse = timing.coarse.as_ref().map(|coarse| coarse.cost(1));
        let head = timing.postprocessing.as_ref().map(|h| h.cost(1));
        let update = preprocessing.update
            + fine.update
            + coarse.iter().chain(&head).map(|part| part.update).sum::<f64>();
        let spread = |timing: &Timing| Milliseconds {
            forward: 1e3 * timing.forward.spread(),
            backward: 1e3 * timing.backward.spread(),
        };
        let part = PartTimes {
            preprocessing_ms: Milliseconds::of(&preprocessing),
            subnetwork_ms: Milliseconds::of(&fine),
            coarse_ms: coarse.as_ref().map(Milliseconds::of),
            coarse_weights_ms: coarse.map(|coarse| 1e3 * coarse.weight_gradient),
            postprocessing_ms: head.as_ref().map(Milliseconds::of),
            update_ms: 1e3 * update,
            spread_ms: spread(&timing.fine),
        };
        all.preprocessing_ms = all.preprocessing_ms.max(part.preprocessing_ms);
        all.subnetworks_ms = all.subnetworks_ms.max(part.subnetwork_ms);
        all.coarse_ms = all.coarse_ms.plus(part.coarse_ms.unwrap_or_default());
        all.postprocessing_ms =
            all.postprocessing_ms.plus(part.postprocessing_ms.unwrap_or_default());
        all.update_ms = all.update_ms.max(part.update_ms);
        all.parts.push(part);
    }
    let parts = [all.preprocessing_ms, all.subnetworks_ms, all.coarse_ms, all.postprocessing_ms];
    all.total_ms = parts.into_iter().fold(Milliseconds::default(), Milliseconds::plus);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use parareal_train::DeviceName;

    /// Returns `N` of the paper's row for this network, if there is one.
    fn row(settings: Settings, classes: usize, subnetworks: usize) -> Option<usize> {
        let device: DeviceName = "cpu".parse().unwrap();
        let machine = Machine { device, batch: 4, threads: 1, workers: 1 };
        let counts = vec![subnetworks];
        let bench = Bench { settings, subnetworks: counts, classes, machine, repetitions: 1 };
        let network = bench.network(subnetworks).unwrap();
        bench.paper_row(&network).unwrap().map(|row| row.subnetworks)
    }

    #[test]
    fn times_of_the_paper_are_shown_for_its_network_only() {
        let deep = || Settings { depth: Some(1001), ..Settings::default() };
        let kind = |kind: &str| Settings { coarse_unit: Some(kind.parse().unwrap()), ..deep() };
        for subnetworks in [1, 3, 6, 12, 18, 24] {
            assert_eq!(row(kind("basic"), 100, subnetworks), Some(subnetworks));
            assert_eq!(row(kind("basic"), 10, subnetworks), None);
            assert_eq!(row(Settings { depth: Some(992), ..kind("basic") }, 100, subnetworks), None);
            assert_eq!(row(Settings { width: Some(15), ..kind("basic") }, 100, subnetworks), None);
            let cut = subnetworks > 1;
            assert_eq!(row(kind("depthwise"), 100, subnetworks).is_none(), cut);
            let units = Settings { coarse_units: Some(5), ..kind("basic") };
            assert_eq!(row(units, 100, subnetworks).is_none(), cut);
        }
        assert_eq!(row(kind("basic"), 100, 4), None);
        // Only the paper's recipe has the paper's coarse units by default.
        assert_eq!(row(deep(), 100, 3), None);
    }
}
