use parareal::plan::Cost;
use serde::Serialize;

/// Batch size in the paper's measurements.
pub const PAPER_BATCH: usize = 128;

/// Depth of the network in the paper's measurements.
pub const PAPER_DEPTH: usize = 1001;

/// Number of classes in the paper's measurements (CIFAR-100).
pub const PAPER_CLASSES: usize = 100;

/// Number of units of the network in the paper's measurements (ResNet-1001).
const PAPER_UNITS: usize = 333;

/// Times of a forward and a backward pass, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Passes {
    /// Forward pass.
    pub forward: f64,
    /// Backward pass.
    pub backward: f64,
}

/// A row of the paper's Table 2: ResNet-1001, CIFAR-100, batch 128, each component timed alone on a
/// Titan RTX.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PaperRow {
    /// `N`.
    pub subnetworks: usize,
    /// `C_j`.
    pub preprocessing: Passes,
    /// The largest `g_j`.
    pub fine: Passes,
    /// All `F_j` together.
    pub coarse: Option<Passes>,
    /// `h`.
    pub postprocessing: Passes,
}

const fn passes(forward: f64, backward: f64) -> Passes {
    Passes { forward, backward }
}

const fn row(
    subnetworks: usize,
    preprocessing: Passes,
    fine: Passes,
    coarse: Option<Passes>,
    postprocessing: Passes,
) -> PaperRow {
    PaperRow { subnetworks, preprocessing, fine, coarse, postprocessing }
}

/// The paper's Table 2.
#[rustfmt::skip]
pub const PAPER_ROWS: [PaperRow; 6] = [
    row(1, passes(0.25, 6.46), passes(443.81, 1387.62), None, passes(0.06, 3.18)),
    row(3, passes(0.25, 6.45), passes(131.92, 458.87), Some(passes(10.01, 97.60)), passes(0.06, 3.71)),
    row(6, passes(0.27, 6.42), passes(67.59, 219.72), Some(passes(14.68, 137.08)), passes(0.06, 3.33)),
    row(12, passes(0.28, 6.59), passes(48.47, 113.33), Some(passes(17.97, 149.52)), passes(0.06, 3.63)),
    row(18, passes(0.29, 6.17), passes(30.40, 77.84), Some(passes(27.87, 163.25)), passes(0.06, 3.64)),
    row(24, passes(0.29, 6.58), passes(22.71, 58.04), Some(passes(41.03, 242.87)), passes(0.06, 3.54)),
];

/// Number of epochs in the paper's Table 3.
pub const PAPER_EPOCHS: usize = 200;

/// Number of training images of CIFAR-100, which the paper's Table 3 is for.
pub const PAPER_IMAGES: usize = 50_000;

/// The paper's Table 3: for each `N`, the measured duration of 200 epochs on CIFAR-100, in seconds.
pub const PAPER_SECONDS: [(usize, f64); 3] = [(1, 81_893.0), (3, 59_318.0), (6, 42_493.0)];

impl PaperRow {
    /// The row for this many subnetworks, or the nearest one. Of two rows at the same distance, it is the one
    /// with fewer subnetworks. The row for `N = 1` is used only for `N = 1`, because it has no coarse
    /// network.
    pub fn nearest(subnetworks: usize) -> Self {
        let rows = PAPER_ROWS.into_iter().filter(|row| (row.subnetworks > 1) == (subnetworks > 1));
        rows.min_by_key(|row| row.subnetworks.abs_diff(subnetworks)).unwrap_or(PAPER_ROWS[0])
    }

    /// The number of units of the largest subnetwork, whose time is in the table. Each of the three stages
    /// has 111 units and a third of the subnetworks.
    fn units_of_largest_subnetwork(&self) -> usize {
        match self.subnetworks {
            1 => PAPER_UNITS,
            subnetworks => (PAPER_UNITS / 3).div_ceil(subnetworks / 3),
        }
    }

    /// The times of one residual unit.
    pub fn unit(&self) -> Passes {
        self.fine.divided_by(self.units_of_largest_subnetwork())
    }

    /// The times of one `F_j`.
    pub fn coarse(&self) -> Option<Passes> {
        self.coarse.map(|all| all.divided_by(self.subnetworks - 1))
    }

    /// The sum of all components.
    pub fn total(&self) -> Passes {
        let components = [self.preprocessing, self.fine, self.postprocessing].into_iter();
        components.chain(self.coarse).fold(passes(0.0, 0.0), |sum, component| {
            passes(sum.forward + component.forward, sum.backward + component.backward)
        })
    }
}

impl Passes {
    fn divided_by(self, count: usize) -> Self {
        passes(self.forward / count as f64, self.backward / count as f64)
    }

    /// Converts the times to costs in seconds. `weight_share` is the share of weight gradients in the
    /// backward pass.
    pub(super) fn part(self, weight_share: f64) -> Cost {
        let [forward, backward] = [self.forward, self.backward].map(|time| time / 1e3);
        let weight_gradient = backward * weight_share;
        let input_gradient = backward - weight_gradient;
        Cost { forward, input_gradient, weight_gradient, ..Cost::default() }
    }
}

#[cfg(test)]
mod tests {
    use parareal::exec::{Layout, ProgramOptions};
    use parareal::net::Cuts;
    use parareal::plan::{Link, Scenario, Schedule, balance};

    use super::*;
    use crate::{ImageNetwork, NetworkCosts, UnitKind};

    fn net() -> ImageNetwork {
        ImageNetwork::resnet(1001).unwrap().with_classes(100).with_coarse_kind(UnitKind::Basic)
    }

    fn costs(subnetworks: usize) -> NetworkCosts {
        NetworkCosts::paper(&net(), PaperRow::nearest(subnetworks), 0.5)
    }

    /// One worker for each subnetwork.
    fn one_each(subnetworks: usize) -> Layout {
        Layout::threads(subnetworks, subnetworks, 1).unwrap()
    }

    fn step(subnetworks: usize, cuts: &Cuts, schedule: Schedule) -> f64 {
        let layout = one_each(cuts.subnetworks());
        let scenario = Scenario::new(&costs(subnetworks), cuts, layout).unwrap();
        Scenario { schedule, ..scenario }.predict().unwrap().makespan()
    }

    fn serial() -> f64 {
        step(1, &net().default_cuts(1).unwrap(), Schedule::Virtual)
    }

    #[test]
    fn rows_add_up_to_the_totals_that_the_paper_prints() {
        let printed = [
            (444.12, 1397.26),
            (142.24, 566.63),
            (82.60, 366.55),
            (66.78, 273.07),
            (58.62, 250.90),
            (64.09, 311.03),
        ];
        for (row, (forward, backward)) in PAPER_ROWS.iter().zip(printed) {
            let total = row.total();
            assert!((total.forward - forward).abs() < 0.005, "{total:?}");
            assert!((total.backward - backward).abs() < 0.005, "{total:?}");
        }
    }

    #[test]
    fn the_papers_schedule_gives_the_papers_speedups() {
        let printed = [(3, "2.60"), (6, "4.10"), (12, "5.42"), (18, "5.95"), (24, "4.91")];
        for (subnetworks, expected) in printed {
            let cuts = net().default_cuts(subnetworks).unwrap();
            let speedup = serial() / step(subnetworks, &cuts, Schedule::Virtual);
            assert_eq!(format!("{speedup:.2}"), expected, "N = {subnetworks}");
        }
    }

    #[test]
    fn overlap_cuts_and_deferred_weight_gradients_improve_on_the_paper() {
        for (subnetworks, least) in [(6, 4.95), (18, 9.7)] {
            let costs = costs(subnetworks);
            let layout = one_each(subnetworks);
            let options = ProgramOptions::default();
            let balanced = balance(&costs, &layout, Link::FREE, options).unwrap();
            let found = step(subnetworks, &balanced.cuts, Schedule::Overlap(options));
            assert!((found - balanced.step).abs() < 1e-12);
            assert!(serial() / found >= least, "N = {subnetworks}: {}", serial() / found);
            // Without balanced cuts or without deferred weight gradients, the step is longer.
            let even = net().default_cuts(subnetworks).unwrap();
            assert!(step(subnetworks, &even, Schedule::Overlap(options)) > found);
            let at_once = ProgramOptions { defer_weights: false, ..options };
            assert!(balance(&costs, &layout, Link::FREE, at_once).unwrap().step > found);
        }
    }

    #[test]
    fn between_rows_the_nearest_counts() {
        let nearest = |subnetworks| PaperRow::nearest(subnetworks).subnetworks;
        let rows = [1, 2, 4, 5, 8, 9, 10, 15, 20, 21, 100].map(nearest);
        assert_eq!(rows, [1, 3, 3, 6, 6, 6, 12, 12, 18, 18, 24]);
    }
}
