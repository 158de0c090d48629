use std::collections::HashMap;
use std::fmt;

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use parareal::exec::CrossEntropy;
use parareal::net::{FeedForward, Init};
use parareal::plan::{Cost, Stopwatch, Timing};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::size::Size;
use super::{ResNetCosts, Times};
use crate::resnet::config::IMAGE_SIZE;
use crate::resnet::{CoarseKind, Head, Image, Preprocessing, ResNet, ResidualUnit, UnitKind};

/// Bytes that no last-level cache keeps for one core.
const OUT_OF_CACHE: usize = 64 << 20;
/// More units are not timed together.
const MOST_IN_A_ROW: usize = 64;

/// A part of a ResNet. Parts of one name cost the same, wherever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "lowercase")]
pub enum PartName {
    /// `C_j`.
    Preprocessing {
        /// Where it leads.
        to: Image,
    },
    /// A unit of the network, which is a bottleneck unit, or of an `F_j`.
    Unit {
        /// What it is made of.
        kind: UnitKind,
        /// What it takes.
        from: Image,
        /// What it gives.
        to: Image,
    },
    /// `h` and the loss.
    Postprocessing {
        /// What it takes.
        from: Image,
    },
}

impl PartName {
    pub(super) fn of_unit(net: &ResNet, index: usize) -> Self {
        let (from, to) = (net.image_at(index), net.image_at(index + 1));
        Self::Unit { kind: UnitKind::Bottleneck, from, to }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = |image: &Image| format!("{}×{1}×{1}", image.channels, image.size);
        match self {
            Self::Preprocessing { to } => write!(f, "preprocessing to {}", image(to)),
            Self::Unit { kind, from, to } => {
                write!(f, "{kind} unit {} to {}", image(from), image(to))
            }
            Self::Postprocessing { from } => write!(f, "postprocessing of {}", image(from)),
        }
    }
}

/// What a part was measured to take: medians, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartCost {
    /// Which part.
    #[serde(flatten)]
    pub name: PartName,
    /// Forward.
    pub forward_ms: f64,
    /// The backward pass without gradients of weights.
    pub input_gradient_ms: f64,
    /// What they add.
    pub weight_gradient_ms: f64,
    /// The optimizer.
    pub update_ms: f64,
    /// From the lower to the upper quartile of a forward and a backward pass together.
    pub spread_ms: f64,
}

/// What each kind of part takes on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostTable {
    /// Images of a step.
    pub batch: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Classes to tell apart.
    pub classes: usize,
    /// Threads of a worker.
    pub threads: usize,
    /// The device, as it is named on the command line.
    pub device: String,
    /// The parts.
    pub parts: Vec<PartCost>,
}

/// A table that does not know all parts of a network, or is of another one.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Missing {
    /// A part without costs.
    #[error("there are no costs of a {0}: measure them with the same --coarse-unit")]
    Part(PartName),
    /// A cost that is none.
    #[error("the cost of a {0} is not a time: it is negative or not a number")]
    Cost(PartName),
}

impl CostTable {
    /// The parts that a network with these coarse units can have.
    pub fn parts_of(net: &ResNet, kinds: &[UnitKind]) -> Vec<PartName> {
        let stage = |stage| net.stage_image(stage);
        let mut names = vec![PartName::Preprocessing { to: net.image_at(0) }];
        names.extend((0..3).map(|to| PartName::Preprocessing { to: stage(to) }));
        names.push(PartName::of_unit(net, 0));
        let mut kinds = kinds.to_vec();
        kinds.push(UnitKind::Bottleneck);
        kinds.sort_by_key(|kind| *kind as u8);
        kinds.dedup();
        for kind in kinds {
            for from in 0..3 {
                names.extend((from..3.min(from + 2)).map(|to| {
                    let (from, to) = (stage(from), stage(to));
                    PartName::Unit { kind, from, to }
                }));
            }
        }
        names.push(PartName::Postprocessing { from: stage(2) });
        names
    }

    /// The kinds of units that coarse networks of this kind are made of.
    pub fn kinds_of(kind: CoarseKind) -> &'static [UnitKind] {
        match kind {
            CoarseKind::Auto => &[UnitKind::Basic, UnitKind::Bottleneck],
            CoarseKind::Basic => &[UnitKind::Basic],
            CoarseKind::Bottleneck => &[UnitKind::Bottleneck],
            CoarseKind::Depthwise => &[UnitKind::Depthwise],
        }
    }

    /// Measures every part alone, on the calling thread's pool. `device_name` and `threads` are
    /// written down.
    pub fn measure(
        net: &ResNet,
        kinds: &[UnitKind],
        batch: usize,
        stopwatch: &Stopwatch,
        device: &Device,
        device_name: &str,
        threads: usize,
    ) -> Self {
        let bench = Bench { net, batch, stopwatch, device };
        let parts = Self::parts_of(net, kinds).into_iter().map(|name| bench.cost(name)).collect();
        let (channels, classes) = (net.in_channels, net.classes());
        Self { batch, channels, classes, threads, device: device_name.into(), parts }
    }

    /// The costs of a network.
    ///
    /// # Errors
    /// Where a part that it can have is not in the table, or has a time that is none.
    pub fn costs(&self, net: &ResNet) -> Result<ResNetCosts, Missing> {
        let parts: HashMap<_, _> = self.parts.iter().map(|cost| (cost.name, cost.part())).collect();
        for name in Self::parts_of(net, Self::kinds_of(net.coarse_kind)) {
            let Some(part) = parts.get(&name) else { return Err(Missing::Part(name)) };
            let times = [part.forward, part.input_gradient, part.weight_gradient, part.update];
            if times.iter().any(|time| !time.is_finite() || *time < 0.0) {
                return Err(Missing::Cost(name));
            }
        }
        Ok(ResNetCosts { net: net.clone(), batch: self.batch, times: Times::Parts(parts) })
    }
}

impl PartCost {
    fn part(&self) -> Cost {
        Cost {
            forward: self.forward_ms / 1e3,
            input_gradient: self.input_gradient_ms / 1e3,
            weight_gradient: self.weight_gradient_ms / 1e3,
            update: self.update_ms / 1e3,
            ..Cost::default()
        }
    }
}

struct Bench<'a> {
    net: &'a ResNet,
    batch: usize,
    stopwatch: &'a Stopwatch,
    device: &'a Device,
}

impl Bench<'_> {
    fn cost(&self, name: PartName) -> PartCost {
        let (timing, count) = match name {
            PartName::Preprocessing { to } => {
                let input = self.noise([self.net.in_channels, IMAGE_SIZE, IMAGE_SIZE]);
                (self.stopwatch.entry(self.preprocessing(to), &input), 1)
            }
            PartName::Unit { kind, from, to } => {
                let count = if from == to { self.in_a_row(&name, kind) } else { 1 };
                let input = self.noise([from.size, from.size, from.channels]);
                let units: Vec<ResidualUnit> = (0..count)
                    .map(|index| {
                        let init = self.init().scope("units").scope(index);
                        kind.build(from.channels, to.channels, from.size / to.size, &init)
                    })
                    .collect();
                (self.stopwatch.chain(units, &input), count)
            }
            PartName::Postprocessing { from } => {
                let input = self.noise([from.size, from.size, from.channels]);
                let labels: Vec<i64> =
                    (0..self.batch).map(|i| (i % self.net.classes()) as i64).collect();
                let labels: Tensor<1, Int> =
                    Tensor::from_data(TensorData::new(labels, [self.batch]), self.device);
                let head = Head::new(from.channels, self.net.classes(), &self.init());
                let loss = CrossEntropy::default();
                (self.stopwatch.exit(head, &input, &loss, &labels), 1)
            }
        };
        cost(name, &timing, count)
    }

    /// How many equal units are timed together: as many as share a graph, and of the network's own so
    /// many that what the first has kept is no longer in the cache when it is differentiated, as in a
    /// step, but no more than follow each other in this network.
    fn in_a_row(&self, name: &PartName, kind: UnitKind) -> usize {
        let segment = self.stopwatch.segment_units.max(1);
        if kind != UnitKind::Bottleneck {
            return segment;
        }
        let kept = size_of::<f32>() * self.batch * Size::of(name, self.net).kept;
        let stage = FeedForward::units(self.net) / 3;
        OUT_OF_CACHE.div_ceil(kept.max(1)).min(stage).min(MOST_IN_A_ROW).max(segment)
    }

    fn preprocessing(&self, to: Image) -> Preprocessing {
        let (channels, init) = (self.net.in_channels, self.init());
        match to.channels == self.net.width {
            true => self.net.preprocessing(&init),
            false => {
                let poolings = (IMAGE_SIZE / to.size).ilog2() as usize;
                Preprocessing::interface(channels, to.channels, poolings, &init)
            }
        }
    }

    fn init(&self) -> Init {
        Init::new(1, self.device)
    }

    fn noise(&self, [a, b, c]: [usize; 3]) -> Tensor<4> {
        Tensor::random([self.batch, a, b, c], Distribution::Normal(0.0, 1.0), self.device)
    }
}

fn cost(name: PartName, timing: &Timing, count: usize) -> PartCost {
    let part = timing.cost(count);
    PartCost {
        name,
        forward_ms: 1e3 * part.forward,
        input_gradient_ms: 1e3 * part.input_gradient,
        weight_gradient_ms: 1e3 * part.weight_gradient,
        update_ms: 1e3 * part.update,
        spread_ms: 1e3 * (timing.forward.spread() + timing.backward.spread()) / count as f64,
    }
}
