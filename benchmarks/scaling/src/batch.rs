//! The costs of components for other batch sizes than the measured one.

use parareal::net::Interface;
use parareal::plan::{Cost, CostModel};
use parareal_models::{NetworkCosts, PAPER_BATCH};

/// Costs of the paper's network for a number of images.
///
/// The paper measured a single batch size, so the dependence of the time on the number of images is an
/// assumption. `fixed` is the fraction of the time at [`PAPER_BATCH`] that does not decrease with fewer
/// images. With 0, the time is proportional to the number of images. With 1, it is constant, as if only
/// kernel launches took time. Larger batches are processed in pieces of [`PAPER_BATCH`] images, one after the
/// other.
pub(crate) struct AtBatch<'a> {
    pub(crate) costs: &'a NetworkCosts,
    pub(crate) images: usize,
    pub(crate) fixed: f64,
}

impl AtBatch<'_> {
    fn share(&self) -> f64 {
        self.images as f64 / PAPER_BATCH as f64
    }

    /// The time for these images relative to the time for [`PAPER_BATCH`] images.
    pub(crate) fn factor(&self) -> f64 {
        match self.images < PAPER_BATCH {
            true => self.fixed + (1.0 - self.fixed) * self.share(),
            false => self.share(),
        }
    }

    fn scaled(&self, part: Cost) -> Cost {
        let time = self.factor();
        Cost {
            forward: time * part.forward,
            input_gradient: time * part.input_gradient,
            weight_gradient: time * part.weight_gradient,
            kept: self.share().min(1.0) * part.kept,
            ..part
        }
    }
}

impl CostModel for AtBatch<'_> {
    fn units(&self) -> usize {
        self.costs.units()
    }

    fn preprocessing(&self, position: usize) -> Cost {
        self.scaled(self.costs.preprocessing(position))
    }

    fn unit(&self, index: usize) -> Cost {
        self.scaled(self.costs.unit(index))
    }

    fn coarse(&self, interface: &Interface) -> Cost {
        self.scaled(self.costs.coarse(interface))
    }

    fn postprocessing(&self) -> Cost {
        self.scaled(self.costs.postprocessing())
    }

    fn interface_bytes(&self, position: usize) -> f64 {
        self.share() * self.costs.interface_bytes(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{costs, net};

    #[test]
    fn both_extremes_and_between() {
        let costs = costs(&net(), 1);
        let factor = |images, fixed| AtBatch { costs: &costs, images, fixed }.factor();
        assert_eq!([factor(32, 0.0), factor(32, 1.0), factor(32, 0.5)], [0.25, 1.0, 0.625]);
        assert_eq!([factor(128, 0.0), factor(128, 1.0), factor(512, 1.0)], [1.0, 1.0, 4.0]);
        let quarter = AtBatch { costs: &costs, images: 32, fixed: 1.0 };
        assert_eq!(quarter.interface_bytes(200), costs.interface_bytes(200) / 4.0);
        assert_eq!(quarter.unit(5).weights, costs.unit(5).weights);
    }
}
