use std::collections::HashMap;

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use parareal::exec::CrossEntropy;
use parareal::net::Init;
use parareal::plan::{Cost, Stopwatch, Timing};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::component::Component;
use super::model::NetworkCosts;
use crate::head::Head;
use crate::image_network::ImageNetwork;
use crate::precision::{Precision, narrowed};
use crate::unit::{Unit, UnitKind};

/// A number of bytes that exceeds one core's share of a last-level cache.
const OUT_OF_CACHE: usize = 64 << 20;
/// Largest number of units that are timed together.
const MAX_TIMED_TOGETHER: usize = 64;

/// The measured times of a component: medians, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentCost {
    /// The component.
    #[serde(flatten)]
    pub component: Component,
    /// The forward pass.
    pub forward_ms: f64,
    /// The backward pass without weight gradients.
    pub input_gradient_ms: f64,
    /// Weight gradients.
    pub weight_gradient_ms: f64,
    /// The optimizer step.
    pub update_ms: f64,
    /// The interquartile range of the forward pass plus that of the backward pass.
    pub spread_ms: f64,
}

/// The costs of components on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostTable {
    /// Number of images in a batch.
    pub batch: usize,
    /// Number of channels of an image.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Precision of states.
    #[serde(default)]
    pub precision: Precision,
    /// Number of threads of a worker.
    pub threads: usize,
    /// The name of the device.
    pub device: String,
    /// The components.
    #[serde(rename = "parts")]
    pub components: Vec<ComponentCost>,
}

/// An error of a cost table that cannot be used for a network.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CostError {
    /// A component of the network is not in the table.
    #[error("the cost table has no entry for {0}")]
    Missing(Component),
    /// A cost is negative, infinite or NaN.
    #[error("the cost table has an invalid time for {0}: expected a finite number of at least 0")]
    NotATime(Component),
    /// The table is for states of another precision.
    #[error(
        "the cost table is for states in {found}, not {expected}; set `precision` to {found}, or measure the costs in {expected}"
    )]
    Precision {
        /// The precision of the network's states.
        expected: Precision,
        /// The precision of the states in the table.
        found: Precision,
    },
    /// The table is for another number of classes.
    #[error("the cost table is for {found} classes, not {expected}")]
    Classes {
        /// The network's number of classes.
        expected: usize,
        /// The number of classes in the table.
        found: usize,
    },
    /// The table is for images with another number of channels.
    #[error("the cost table is for {found}-channel images, not {expected}-channel ones")]
    Channels {
        /// The number of channels of the network's images.
        expected: usize,
        /// The number of channels in the table.
        found: usize,
    },
}

impl CostTable {
    /// All components that the network can have with coarse units of these kinds, for any cuts.
    pub fn components_of(net: &ImageNetwork, kinds: &[UnitKind]) -> Vec<Component> {
        let stage = |stage| net.stage_image(stage);
        let stages = net.stages();
        let first = Component::Preprocessing { to: net.image_at(0) };
        let mut components = vec![first];
        let interfaces = (0..stages).map(|to| Component::Preprocessing { to: stage(to) });
        components.extend(interfaces.filter(|component| *component != first));
        let first_unit = net.unit_component(0);
        components.push(first_unit);
        let mut kinds = kinds.to_vec();
        kinds.push(net.unit_kind());
        kinds.sort();
        kinds.dedup();
        for kind in kinds {
            for from in 0..stages {
                let units = (from..stages.min(from + 2)).map(|to| {
                    let (from, to) = (stage(from), stage(to));
                    Component::Unit { kind, from, to }
                });
                components.extend(units.filter(|unit| *unit != first_unit));
            }
        }
        components.push(Component::Postprocessing { from: net.last_image() });
        components
    }

    /// Measures each component alone, on the current thread pool. `device_name` and `threads` are recorded in
    /// the table but do not affect the measurement.
    pub fn measure(
        net: &ImageNetwork,
        kinds: &[UnitKind],
        batch: usize,
        stopwatch: &Stopwatch,
        device: &Device,
        device_name: &str,
        threads: usize,
    ) -> Self {
        let bench = Bench { net, batch, stopwatch, device };
        let components = Self::components_of(net, kinds);
        let components = components.into_iter().map(|component| bench.cost(component)).collect();
        let (channels, classes) = (net.in_channels, net.classes());
        let (precision, device) = (net.precision(), device_name.into());
        Self { batch, channels, classes, precision, threads, device, components }
    }

    /// The costs of a network.
    ///
    /// # Errors
    /// If the table is for another precision or number of classes or channels, a component that the network can have is
    /// not in the table, or its cost is not a valid time.
    pub fn costs(&self, net: &ImageNetwork) -> Result<NetworkCosts, CostError> {
        if self.precision != net.precision() {
            let (expected, found) = (net.precision(), self.precision);
            return Err(CostError::Precision { expected, found });
        }
        if self.classes != net.classes() {
            let (expected, found) = (net.classes(), self.classes);
            return Err(CostError::Classes { expected, found });
        }
        if self.channels != net.in_channels {
            let (expected, found) = (net.in_channels, self.channels);
            return Err(CostError::Channels { expected, found });
        }
        let costs = self.components.iter().map(|cost| (cost.component, cost.in_seconds()));
        let costs: HashMap<_, _> = costs.collect();
        for component in Self::components_of(net, &net.coarse_unit_kinds()) {
            let Some(cost) = costs.get(&component) else {
                return Err(CostError::Missing(component));
            };
            let times = [cost.forward, cost.input_gradient, cost.weight_gradient, cost.update];
            if times.iter().any(|time| !time.is_finite() || *time < 0.0) {
                return Err(CostError::NotATime(component));
            }
        }
        Ok(NetworkCosts::measured(net, self.batch, costs))
    }
}

impl ComponentCost {
    fn in_seconds(&self) -> Cost {
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
    net: &'a ImageNetwork,
    batch: usize,
    stopwatch: &'a Stopwatch,
    device: &'a Device,
}

impl Bench<'_> {
    fn cost(&self, component: Component) -> ComponentCost {
        let (timing, count) = match component {
            Component::Preprocessing { to } => {
                let size = self.net.image_size();
                let input = self.noise([self.net.in_channels, size, size]);
                let module = self.net.build_preprocessing(to, &self.init());
                (self.stopwatch.entry(module, &input), 1)
            }
            Component::Unit { kind, from, to } => {
                let count = if from == to { self.timed_together(&component, kind) } else { 1 };
                let input = self.state([from.size, from.size, from.channels]);
                let units: Vec<Unit> = (0..count)
                    .map(|index| {
                        let init = self.init().scope("units").scope(index);
                        kind.build(from, to, &init)
                    })
                    .collect();
                (self.stopwatch.chain(units, &input), count)
            }
            Component::Postprocessing { from } => {
                let input = self.state([from.size, from.size, from.channels]);
                let labels: Vec<i64> =
                    (0..self.batch).map(|i| (i % self.net.classes()) as i64).collect();
                let labels: Tensor<1, Int> =
                    Tensor::from_data(TensorData::new(labels, [self.batch]), self.device);
                let head = Head::new(self.net, &self.init());
                let loss = CrossEntropy::default();
                (self.stopwatch.exit(head, &input, &loss, &labels), 1)
            }
        };
        cost(component, &timing, count)
    }

    /// The number of equal units that are timed together. It is at least the number of units that share an
    /// autodiff graph.
    ///
    /// For units of the fine network it is larger, up to the units of a stage: as in a training step, the
    /// values stored by the first unit should no longer be in the cache when its backward pass begins.
    fn timed_together(&self, component: &Component, kind: UnitKind) -> usize {
        let segment = self.stopwatch.segment_units.max(1);
        if kind != self.net.unit_kind() {
            return segment;
        }
        let size = component.stored_precision(self.net).size();
        let stored = size * self.batch * component.size(self.net).stored;
        let stage = self.net.stage_units().iter().copied().max().unwrap_or(1);
        OUT_OF_CACHE.div_ceil(stored.max(1)).min(stage).min(MAX_TIMED_TOGETHER).max(segment)
    }

    fn init(&self) -> Init {
        Init::new(1, self.device)
    }

    /// A random state.
    fn state(&self, sizes: [usize; 3]) -> Tensor<4> {
        narrowed(self.noise(sizes), self.net.precision() == Precision::Bf16)
    }

    fn noise(&self, [a, b, c]: [usize; 3]) -> Tensor<4> {
        Tensor::random([self.batch, a, b, c], Distribution::Normal(0.0, 1.0), self.device)
    }
}

fn cost(component: Component, timing: &Timing, count: usize) -> ComponentCost {
    let part = timing.cost(count);
    ComponentCost {
        component,
        forward_ms: 1e3 * part.forward,
        input_gradient_ms: 1e3 * part.input_gradient,
        weight_gradient_ms: 1e3 * part.weight_gradient,
        update_ms: 1e3 * part.update,
        spread_ms: 1e3 * (timing.forward.spread() + timing.backward.spread()) / count as f64,
    }
}
