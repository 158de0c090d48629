//! The bytes that ranks send in one training step.

use parareal::exec::Layout;
use parareal::plan::{CostModel, PlanError, Scenario};
use parareal_models::ImageNetwork;

use crate::machine::ring;
use crate::network::costs;

/// Numbers of bytes sent in one step, with 32-bit numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) subnetworks: usize,
    /// Bytes sent by each rank of the chain: `U_j` to the next rank and `ρ_{j-1}` to the previous one.
    pub(crate) chain: Vec<f64>,
    /// Bytes sent by the process in the center of the star. It receives the same number.
    pub(crate) center: f64,
    /// Bytes sent by all processes of the star.
    pub(crate) star: f64,
    /// The largest number of bytes that a rank sends to average gradients over 2 and over 8 replicas.
    pub(crate) replicas: [f64; 2],
    /// Bytes sent by each of `N` data-parallel ranks.
    pub(crate) data_parallel: f64,
}

/// Returns the number of bytes that a member of a ring sends.
fn sent(replicas: usize, bytes: f64) -> f64 {
    // At one byte per second, the duration in seconds is the number of bytes.
    ring(replicas, bytes, parareal::plan::Link { latency: 0.0, bandwidth: 1.0 })
}

impl Traffic {
    /// Computes the traffic of a network that is cut as in the paper.
    ///
    /// The star implements equations (3a) to (3c): the process with the coarse network receives all `y_j` and
    /// all `x_j` except the first, and sends back the gradient of each.
    pub(crate) fn of(net: &ImageNetwork, subnetworks: usize) -> Result<Self, PlanError> {
        let (costs, cuts) = (costs(net, subnetworks), net.default_cuts(subnetworks)?);
        let layout = Layout::threads(subnetworks, subnetworks, 1)?;
        let scenario = Scenario::new(&costs, &cuts, layout)?;
        let interface = |index: usize| scenario.subnetworks[index].output_bytes;
        let last = subnetworks - 1;
        let chain = (0..subnetworks).map(|index| {
            let forward = if index < last { interface(index) } else { 0.0 };
            let backward = if index > 0 { interface(index - 1) } else { 0.0 };
            forward + backward
        });
        let interfaces: f64 = (0..last).map(interface).sum();
        let center = 2.0 * interfaces + interface(last);
        let own = scenario.subnetworks.iter().map(|subnetwork| subnetwork.total().weights);
        let largest = own.fold(0.0, f64::max);
        let units: f64 = (0..costs.units()).map(|unit| costs.unit(unit).weights).sum();
        let original = units + costs.preprocessing(0).weights + costs.postprocessing().weights;
        Ok(Self {
            subnetworks,
            chain: chain.collect(),
            center,
            star: 2.0 * center,
            replicas: [2, 8].map(|replicas| sent(replicas, largest)),
            data_parallel: sent(subnetworks, original),
        })
    }
}

#[cfg(test)]
mod tests {
    use parareal_models::Summary;

    use super::*;
    use crate::network::net;

    #[test]
    fn three_subnetworks_by_hand() {
        let found = Traffic::of(&net(), 3).unwrap();
        // Batch, channels, height, width, bytes.
        let (first, second) = (128 * 64 * 32 * 32 * 4, 128 * 128 * 16 * 16 * 4);
        let last = 128 * 256 * 8 * 8 * 4;
        let expected = [first, first + second, second].map(f64::from);
        assert_eq!(found.chain, expected);
        let center = f64::from(2 * (first + second) + last);
        assert_eq!((found.center, found.star), (center, 2.0 * center));
        let parameters = Summary::new(&net(), &net().default_cuts(1).unwrap()).unwrap().parameters;
        let expected = 2.0 * 2.0 / 3.0 * 4.0 * parameters.total as f64;
        assert!((found.data_parallel - expected).abs() < 1e-3);
    }
}
