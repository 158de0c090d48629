use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::Device;
use parareal::exec::{ExecError, ExecutorBuilder, ProgramOptions};
use parareal::net::FeedForward;
use parareal::plan::Stopwatch;
use parareal_models::{
    CoarseKind, CostTable, DEFAULT_IMAGE_SIZE, ImageNetwork, NetworkCosts, PAPER_BATCH,
    PAPER_CLASSES, PAPER_ROWS, PAPER_WIDTH, PaperRow, Precision, UnitKind,
};
use parareal_text::without_byte_order_mark;
use parareal_train::{DeviceName, Resources, check_threads};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Deserialize;

use crate::VisionError;
use crate::optimizer;

/// Largest file of costs that is read, in bytes. A typical file has a few kilobytes.
const MAX_BYTES: u64 = 64 << 20;

/// Number of repetitions for each kind of component.
const REPETITIONS: usize = 5;

/// Source of the costs of the components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CostSource {
    /// A measurement on this machine.
    Measured,
    /// The paper's Table 2.
    Paper,
    /// A file with the cost table of a measurement ([`Bench`](crate::Bench)).
    File(PathBuf),
}

impl FromStr for CostSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "measured" => Self::Measured,
            "paper" => Self::Paper,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for CostSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured => f.write_str("measured"),
            Self::Paper => f.write_str("paper"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The device and the load that costs are measured with.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The device.
    pub device: DeviceName,
    /// Number of images in a batch.
    pub batch: usize,
    /// Number of threads of a worker on the CPU.
    pub threads: usize,
    /// Number of workers that are busy at the same time. They measure simultaneously, because they share
    /// caches and memory.
    pub workers: usize,
}

/// Costs of the components of networks.
#[derive(Clone, Debug)]
pub enum Costs {
    /// Measured costs by kind of component.
    Table(CostTable),
    /// The paper's costs, with an assumed share of weight gradients in the backward pass of the coarse
    /// network.
    Paper {
        /// Share of weight gradients, from 0 to 1.
        weight_share: f64,
    },
}

impl CostSource {
    /// Reads or measures the costs. A measurement includes the kinds of coarse units that `net` uses and, if
    /// `to_suggest` is true, the other kinds that [`suggest`](crate::suggest) compares. For the paper's costs,
    /// the share of weight gradients is [`Costs::PAPER_WEIGHT_SHARE`].
    ///
    /// # Errors
    /// If a file cannot be read, a device is missing, or [`Machine::check`] fails.
    pub fn load(
        &self,
        net: &ImageNetwork,
        machine: &Machine,
        to_suggest: bool,
    ) -> Result<Costs, VisionError> {
        match self {
            Self::Measured => {
                let mut kinds = net.coarse_unit_kinds();
                let is_auto = net.coarse_kind() == CoarseKind::Auto;
                if to_suggest && is_auto && net.accepts(UnitKind::Basic) {
                    kinds.push(UnitKind::Basic);
                }
                machine.check()?;
                Ok(Costs::Table(machine.measure(net, &kinds, REPETITIONS)?))
            }
            Self::Paper => Ok(Costs::Paper { weight_share: Costs::PAPER_WEIGHT_SHARE }),
            Self::File(path) => read(path).map(Costs::Table),
        }
    }
}

/// Reads the costs from the JSON output of a bench.
fn read(path: &Path) -> Result<CostTable, VisionError> {
    #[derive(Deserialize)]
    struct Benched {
        costs: CostTable,
    }
    let refused = |message: String| VisionError::Costs { path: path.to_path_buf(), message };
    let unread = |error: std::io::Error| refused(error.to_string());
    let bytes = std::fs::metadata(path).map_err(unread)?.len();
    if bytes > MAX_BYTES {
        return Err(refused(format!("expected at most {MAX_BYTES} bytes, got {bytes}")));
    }
    let text = std::fs::read(path).map_err(unread)?;
    let benched: Benched = serde_json::from_slice(without_byte_order_mark(&text))
        .map_err(|error| refused(error.to_string()))?;
    if benched.costs.batch == 0 {
        return Err(refused("expected a batch of at least 1 image, got 0".into()));
    }
    Ok(benched.costs)
}

impl Machine {
    /// Checks that the batch size and the numbers of threads and workers are valid for a measurement.
    ///
    /// # Errors
    /// If a number is out of range ([`TrainError::Setting`](parareal_train::TrainError::Setting)).
    pub fn check(&self) -> Result<(), VisionError> {
        let numbers =
            [("batch-size", self.batch), ("threads", self.threads), ("workers", self.workers)];
        numbers.into_iter().try_for_each(|(name, value)| in_range(name, value))?;
        Ok(check_threads(self.threads, Resources::alone().cores)?)
    }

    pub(crate) fn stopwatch(net: &ImageNetwork, repetitions: usize) -> Stopwatch {
        let optimizer = optimizer::for_timing(net);
        Stopwatch { optimizer, segment_units: 4, repetitions, warm_up: 1 }
    }

    /// Returns the options of a step's program on this device. Weight gradients are deferred on the CPU only,
    /// because only its fused operations can do so.
    pub(crate) fn program(&self) -> ProgramOptions {
        ProgramOptions { defer_weights: self.device.is_cpu(), ..ProgramOptions::default() }
    }

    /// Returns the device, which must be able to compute with the states of the network.
    pub(crate) fn find(&self, net: &ImageNetwork) -> Result<Device, VisionError> {
        Ok(self.device.find_for(net.state_dtype())?)
    }

    /// Sets the device of the builder and, on the CPU, the number of threads per worker.
    pub(crate) fn on_device<L>(
        &self,
        builder: ExecutorBuilder<L>,
        device: Device,
    ) -> ExecutorBuilder<L> {
        let builder = builder.devices([device]);
        if self.device.is_cpu() { builder.threads(self.threads) } else { builder }
    }

    /// Creates a thread pool for the worker with this index, from 0.
    pub(crate) fn thread_pool(&self, worker: usize) -> Result<ThreadPool, VisionError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(move |thread| format!("parareal-bench-{worker}.{thread}"));
        Ok(pool.build().map_err(|error| ExecError::Spawn(error.to_string()))?)
    }

    /// Measures the costs of coarse networks with these kinds of units, and of all other components.
    pub(crate) fn measure(
        &self,
        net: &ImageNetwork,
        kinds: &[UnitKind],
        repetitions: usize,
    ) -> Result<CostTable, VisionError> {
        let (device, name) = (self.find(net)?, self.device.to_string());
        let stopwatch = Self::stopwatch(net, repetitions);
        let pools = (0..self.workers.max(1))
            .map(|worker| self.thread_pool(worker))
            .collect::<Result<Vec<_>, _>>()?;
        let measure =
            || CostTable::measure(net, kinds, self.batch, &stopwatch, &device, &name, self.threads);
        let tables: Vec<CostTable> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                pools.iter().map(|pool| scope.spawn(|| pool.install(measure))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let first = tables.into_iter().next();
        Ok(first.expect("measurements do not panic"))
    }
}

/// Checks that a count is from 1 to 1,000,000.
pub(crate) fn in_range(name: &'static str, value: usize) -> Result<(), VisionError> {
    match (1..=1_000_000).contains(&value) {
        true => Ok(()),
        false => Err(VisionError::setting(name, value, "expected a number from 1 to 1000000")),
    }
}

impl Costs {
    /// The assumed share of weight gradients in the backward pass of the paper's coarse network.
    pub const PAPER_WEIGHT_SHARE: f64 = 0.5;

    /// Returns the costs of a network that is cut into this number of subnetworks.
    ///
    /// # Errors
    /// If the costs of a component of the network are missing.
    pub fn of(&self, net: &ImageNetwork, subnetworks: usize) -> Result<NetworkCosts, VisionError> {
        match self {
            Self::Table(table) => Ok(table.costs(net)?),
            Self::Paper { weight_share } => {
                if net.unit_kind() != UnitKind::Bottleneck {
                    let expected =
                        "expected resnet-D, the network of the paper's Table 2; use measured costs";
                    return Err(VisionError::setting("network", net.name(), expected));
                }
                if net.image_size() != DEFAULT_IMAGE_SIZE {
                    let expected =
                        "expected 32, the image size of the paper's Table 2; use measured costs";
                    return Err(VisionError::setting("image-size", net.image_size(), expected));
                }
                if net.width() != PAPER_WIDTH {
                    let expected = format!(
                        "expected {PAPER_WIDTH}, the width of the paper's Table 2; leave it unset, or \
                         use measured costs"
                    );
                    return Err(VisionError::setting("width", net.width(), expected));
                }
                if net.precision() != Precision::F32 {
                    let expected =
                        "expected f32, the precision of the paper's Table 2; use measured costs";
                    return Err(VisionError::setting("precision", net.precision(), expected));
                }
                let expected = "expected basic without `coarse-units`, the coarse networks of the \
                                paper's Table 2; set `coarse-unit` to basic, or use measured costs";
                let kind = net.coarse_kind();
                let is_basic = kind == CoarseKind::Units(UnitKind::Basic);
                if subnetworks > 1 && (!is_basic || net.coarse_units().is_some()) {
                    return Err(VisionError::setting("coarse-unit", kind, expected));
                }
                Ok(NetworkCosts::paper(net, PaperRow::nearest(subnetworks), *weight_share))
            }
        }
    }

    /// Returns the number of threads of each device that the costs are for.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self {
            Self::Table(table) => table.threads,
            Self::Paper { .. } => 1,
        }
    }

    /// Returns the kinds of coarse units to suggest: the recommended kind and the paper's, if their costs are
    /// known. Other kinds are not suggested, because they are cheaper but less accurate.
    pub fn kinds(&self, net: &ImageNetwork) -> Vec<CoarseKind> {
        match self {
            Self::Paper { .. } => vec![UnitKind::Basic.into()],
            Self::Table(table) => {
                let known =
                    |kind: &CoarseKind| table.costs(&net.clone().with_coarse_kind(*kind)).is_ok();
                let mut kinds = vec![CoarseKind::Auto, UnitKind::Basic.into()];
                kinds.retain(known);
                if kinds.is_empty() {
                    // The plan then fails with an error that the costs of this kind are missing.
                    kinds.push(CoarseKind::Auto);
                }
                kinds
            }
        }
    }

    /// Returns true if the costs of coarse networks are known for any number of units.
    pub(super) fn know_any_number(&self) -> bool {
        matches!(self, Self::Table(_))
    }

    /// Returns remarks on the origin and the validity of the costs.
    pub fn remarks(&self, net: &ImageNetwork, subnetworks: usize) -> Vec<String> {
        let mut remarks = Vec::new();
        let weight_share = match self {
            Self::Paper { weight_share } => weight_share,
            Self::Table(CostTable { batch, threads, device, precision, .. }) => {
                let ending = if *threads == 1 { "" } else { "s" };
                let states = match precision {
                    Precision::F32 => String::new(),
                    other => format!(", states in {other}"),
                };
                return vec![format!(
                    "costs measured with a batch of {batch} on {device}, {threads} thread{ending}{states}"
                )];
            }
        };
        remarks.push(format!(
            "costs of the paper's Table 2, with a batch of {PAPER_BATCH} on a Titan RTX"
        ));
        let row = PaperRow::nearest(subnetworks).subnetworks;
        let listed = PAPER_ROWS.iter().any(|row| row.subnetworks == subnetworks);
        if !listed {
            remarks.push(format!(
                "Table 2 has no row for N = {subnetworks}: N = {row} is used instead"
            ));
        }
        if net.units() != 333 {
            remarks.push("Table 2 is for ResNet-1001: its time per unit is used".into());
        }
        if net.classes() != PAPER_CLASSES {
            remarks.push(format!("Table 2 is for {PAPER_CLASSES} classes: its time of h is used"));
        }
        if subnetworks > 1 {
            remarks.push(format!(
                "Table 2 has no times of weight gradients: {:.0} % of the coarse network's backward pass is \
                 assumed",
                100.0 * weight_share
            ));
        }
        remarks
    }
}
