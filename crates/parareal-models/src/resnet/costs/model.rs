use std::collections::HashMap;

use parareal::net::{FeedForward, Interface};
use parareal::plan::{Cost, CostModel};

use super::component::Component;
use super::paper::{PAPER_BATCH, PaperRow};
use super::size::Size;
use crate::resnet::network::ResNet;

/// The costs of a ResNet, for any cuts.
#[derive(Clone, Debug)]
pub struct ResNetCosts {
    net: ResNet,
    batch: usize,
    times: Times,
}

/// The source of the times.
#[derive(Clone, Debug)]
enum Times {
    Measured(HashMap<Component, Cost>),
    Paper {
        row: PaperRow,
        /// The share of weight gradients in a backward pass of the coarse network, from 0 to 1.
        weight_share: f64,
    },
}

impl ResNetCosts {
    /// The times of this row of the paper's Table 2, spread evenly over all units and over all `F_j`.
    ///
    /// The paper has no separate times for weight gradients. `weight_share`, from 0 to 1, is their assumed
    /// share in the backward pass of the coarse network. The paper has no time for the optimizer either; it
    /// is taken as zero.
    pub fn paper(net: &ResNet, row: PaperRow, weight_share: f64) -> Self {
        let times = Times::Paper { row, weight_share };
        Self { net: net.clone(), batch: PAPER_BATCH, times }
    }

    /// Creates costs from measured times of components for a batch of this many images.
    pub(super) fn measured(net: &ResNet, batch: usize, times: HashMap<Component, Cost>) -> Self {
        Self { net: net.clone(), batch, times: Times::Measured(times) }
    }

    /// The number of images in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    fn component(&self, component: &Component) -> Cost {
        let times = match &self.times {
            Times::Measured(times) => times.get(component).copied().unwrap_or_default(),
            Times::Paper { row, .. } => match component {
                Component::Preprocessing { .. } => row.preprocessing.part(0.0),
                Component::Unit { .. } => row.unit().part(0.0),
                Component::Postprocessing { .. } => row.postprocessing.part(0.0),
            },
        };
        let Size { weights, stored } = Size::of(component, &self.net);
        let bytes = size_of::<f32>() as f64;
        let kept = bytes * (stored * self.batch) as f64;
        Cost { weights: bytes * weights as f64, kept, ..times }
    }
}

impl CostModel for ResNetCosts {
    fn units(&self) -> usize {
        FeedForward::units(&self.net)
    }

    fn preprocessing(&self, position: usize) -> Cost {
        self.component(&Component::Preprocessing { to: self.net.image_at(position) })
    }

    fn unit(&self, index: usize) -> Cost {
        self.component(&Component::fine_unit(&self.net, index))
    }

    fn coarse(&self, interface: &Interface) -> Cost {
        let choice = self.net.coarse_choice(interface);
        let kind = choice.kind;
        let units = self.net.coarse_shapes(interface, choice.units);
        let sum: Cost =
            units.map(|(from, to)| self.component(&Component::Unit { kind, from, to })).sum();
        match &self.times {
            Times::Measured(_) => sum,
            Times::Paper { row, weight_share } => {
                let times = row.coarse().map_or_else(Cost::default, |f| f.part(*weight_share));
                Cost { weights: sum.weights, kept: sum.kept, ..times }
            }
        }
    }

    fn postprocessing(&self) -> Cost {
        let from = self.net.image_at(FeedForward::units(&self.net));
        self.component(&Component::Postprocessing { from })
    }

    fn interface_bytes(&self, position: usize) -> f64 {
        let image = self.net.image_at(position);
        (size_of::<f32>() * image.values() * self.batch) as f64
    }
}
