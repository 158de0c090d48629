//! What the parts of a ResNet cost: measured here or in a file ([`CostTable`]), or the paper's
//! ([`PaperRow`]).

mod paper;
mod size;
mod table;

use std::collections::HashMap;

use parareal::net::{FeedForward, Interface};
use parareal::plan::{Cost, CostModel};

pub use paper::{
    PAPER_BATCH, PAPER_CLASSES, PAPER_DEPTH, PAPER_EPOCHS, PAPER_HOURS, PAPER_IMAGES, PAPER_ROWS,
    PaperRow, Passes,
};
pub use table::{CostTable, Missing, PartCost, PartName};

use super::ResNet;
use super::coarse::shapes;
use size::Size;

/// The costs of a ResNet, however it is cut.
#[derive(Clone, Debug)]
pub struct ResNetCosts {
    net: ResNet,
    batch: usize,
    times: Times,
}

/// Where times come from.
#[derive(Clone, Debug)]
enum Times {
    Parts(HashMap<PartName, Cost>),
    Paper {
        row: PaperRow,
        /// What part of a backward pass of the coarse network gradients of weights are.
        weight_share: f64,
    },
}

impl ResNetCosts {
    /// What the paper measured for this row of its Table 2, spread evenly over all units and over
    /// all `F_j`. The paper has no parts of a backward pass: `weight_share`, from 0 to 1, is what
    /// gradients of weights are assumed to take of the coarse network's. Nor has it a time for the
    /// optimizer: it is zero.
    pub fn paper(net: &ResNet, row: PaperRow, weight_share: f64) -> Self {
        let times = Times::Paper { row, weight_share };
        Self { net: net.clone(), batch: PAPER_BATCH, times }
    }

    /// The images of a step.
    pub fn batch(&self) -> usize {
        self.batch
    }

    fn named(&self, name: &PartName) -> Cost {
        let times = match &self.times {
            Times::Parts(parts) => parts.get(name).copied().unwrap_or_default(),
            Times::Paper { row, .. } => match name {
                PartName::Preprocessing { .. } => row.preprocessing.part(0.0),
                PartName::Unit { .. } => row.unit().part(0.0),
                PartName::Postprocessing { .. } => row.postprocessing.part(0.0),
            },
        };
        let Size { weights, kept } = Size::of(name, &self.net);
        let bytes = size_of::<f32>() as f64;
        let kept = bytes * (kept * self.batch) as f64;
        Cost { weights: bytes * weights as f64, kept, ..times }
    }
}

impl CostModel for ResNetCosts {
    fn units(&self) -> usize {
        FeedForward::units(&self.net)
    }

    fn preprocessing(&self, position: usize) -> Cost {
        self.named(&PartName::Preprocessing { to: self.net.image_at(position) })
    }

    fn unit(&self, index: usize) -> Cost {
        self.named(&PartName::of_unit(&self.net, index))
    }

    fn coarse(&self, interface: &Interface) -> Cost {
        let choice = self.net.coarse_choice(interface);
        let kind = choice.kind;
        let units = shapes(&self.net, interface, choice.units);
        let sum: Cost =
            units.map(|(from, to)| self.named(&PartName::Unit { kind, from, to })).sum();
        match &self.times {
            Times::Parts(_) => sum,
            Times::Paper { row, weight_share } => {
                let times = row.coarse().map_or_else(Cost::default, |f| f.part(*weight_share));
                Cost { weights: sum.weights, kept: sum.kept, ..times }
            }
        }
    }

    fn postprocessing(&self) -> Cost {
        let from = self.net.image_at(FeedForward::units(&self.net));
        self.named(&PartName::Postprocessing { from })
    }

    fn interface_bytes(&self, position: usize) -> f64 {
        let image = self.net.image_at(position);
        (size_of::<f32>() * image.channels * image.size * image.size * self.batch) as f64
    }
}
