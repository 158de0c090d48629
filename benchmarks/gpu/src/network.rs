//! The network that is trained.

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use clap::Args;
use parareal::net::{Init, PararealNetwork};
use parareal_kernels::Sgd;
use parareal_models::{CoarseKind, ImageNetwork, Precision};

use crate::Result;
use crate::images::CLASSES;

#[derive(Args)]
pub(crate) struct Network {
    /// Layers of the ResNet: 9n + 2.
    #[arg(long, default_value_t = 164)]
    pub(crate) depth: usize,
    /// Subnetworks; 1 is the serial network.
    #[arg(long, default_value_t = 1)]
    pub(crate) subnetworks: usize,
    /// Coarse units, in the paper's number of them.
    #[arg(long, default_value = "basic")]
    pub(crate) coarse_unit: CoarseKind,
    /// Precision of states: f32 or bf16.
    #[arg(long, default_value_t)]
    pub(crate) precision: Precision,
}

impl Network {
    /// Builds the network with weights that depend only on its shape.
    pub(crate) fn build(&self) -> Result<PararealNetwork<ImageNetwork>> {
        let net = ImageNetwork::resnet(self.depth)?.with_classes(CLASSES);
        let net = net.with_coarse_kind(self.coarse_unit).with_precision(self.precision);
        let cuts = net.default_cuts(self.subnetworks)?;
        Ok(PararealNetwork::build(&net, &cuts, &Init::new(1, &Device::flex()))?)
    }
}

/// The paper's optimizer.
pub(crate) fn optimizer() -> ModuleOptimizer {
    Sgd { momentum: 0.9, weight_decay: 5e-4, joins_launches: true, ..Sgd::default() }.into()
}
