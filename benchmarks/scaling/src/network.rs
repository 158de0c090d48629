//! The network of the comparison, and its costs.

use parareal_models::resnet::{PaperRow, ResNet, ResNetCosts, UnitKind};

/// Assumed share of weight gradients in the coarse network's backward pass. The paper does not state it.
const WEIGHT_SHARE: f64 = 0.5;

/// Returns ResNet-1001 with the paper's coarse network, for CIFAR-100.
pub(crate) fn net() -> ResNet {
    let net = ResNet::new(1001).expect("1001 = 9 · 111 + 2");
    net.with_classes(100).with_coarse_kind(UnitKind::Basic)
}

/// Returns the paper's costs, from the nearest row of Table 2.
pub(crate) fn costs(net: &ResNet, subnetworks: usize) -> ResNetCosts {
    ResNetCosts::paper(net, PaperRow::nearest(subnetworks), WEIGHT_SHARE)
}
