//! The network of the comparison, and its costs.

use parareal_models::{ImageNetwork, NetworkCosts, PaperRow, UnitKind};

/// Assumed share of weight gradients in the coarse network's backward pass. The paper does not state it.
const WEIGHT_SHARE: f64 = 0.5;

/// Returns ResNet-1001 with the paper's coarse network, for CIFAR-100.
pub(crate) fn net() -> ImageNetwork {
    let net = ImageNetwork::resnet(1001).expect("1001 = 9 · 111 + 2");
    net.with_classes(100).with_coarse_kind(UnitKind::Basic)
}

/// Returns the paper's costs, from the nearest row of Table 2.
pub(crate) fn costs(net: &ImageNetwork, subnetworks: usize) -> NetworkCosts {
    NetworkCosts::paper(net, PaperRow::nearest(subnetworks), WEIGHT_SHARE)
}
