use burn::module::Module;
use burn::tensor::Device;
use parareal::net::{Cuts, Init, NetError, build_subnetwork};
use serde::Serialize;

use crate::coarse::CoarseChoice;
use crate::image_network::ImageNetwork;

/// The subnetworks and coarse networks of a parareal network, and their sizes.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The name of the network ([`ImageNetwork::name`]).
    pub network: String,
    /// Number of channels of the first layer.
    pub width: usize,
    /// The number of classes.
    pub classes: usize,
    /// The number of subnetworks, `N`.
    pub subnetworks: usize,
    /// The cuts: the number of units before each interface.
    pub cuts: Vec<usize>,
    /// Number of units of each subnetwork.
    pub units: Vec<usize>,
    /// The coarse network at each interface.
    pub coarse: Vec<CoarseChoice>,
    /// The numbers of parameters.
    pub parameters: ParameterCounts,
}

/// Numbers of parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParameterCounts {
    /// The network without cuts.
    pub original: usize,
    /// All `C_j`.
    pub preprocessing: usize,
    /// Each `g_j`.
    pub per_subnetwork: Vec<usize>,
    /// All `F_j`.
    pub coarse: usize,
    /// `h`.
    pub postprocessing: usize,
    /// The parareal network.
    pub total: usize,
}

impl Summary {
    /// Summarizes a network with these cuts. Only one subnetwork at a time is in memory.
    ///
    /// # Errors
    /// If the cuts are for another network.
    pub fn new(net: &ImageNetwork, cuts: &Cuts) -> Result<Self, NetError> {
        let init = Init::new(0, &Device::flex());
        let mut counts = ParameterCounts {
            original: 0,
            preprocessing: 0,
            per_subnetwork: Vec::new(),
            coarse: 0,
            postprocessing: 0,
            total: 0,
        };
        for index in 0..cuts.subnetworks() {
            let subnetwork = build_subnetwork(net, cuts, index, &init)?;
            let preprocessing = trainable(&subnetwork.preprocessing);
            let units = trainable(&subnetwork.units);
            let postprocessing = trainable(&subnetwork.postprocessing);
            counts.original += units + postprocessing;
            if index == 0 {
                counts.original += preprocessing;
            }
            counts.preprocessing += preprocessing;
            counts.per_subnetwork.push(units);
            counts.coarse += trainable(&subnetwork.coarse);
            counts.postprocessing += postprocessing;
        }
        counts.total = counts.preprocessing
            + counts.per_subnetwork.iter().sum::<usize>()
            + counts.coarse
            + counts.postprocessing;
        Ok(Self {
            network: net.name(),
            width: net.width(),
            classes: net.classes(),
            subnetworks: cuts.subnetworks(),
            cuts: cuts.positions().to_vec(),
            units: (0..cuts.subnetworks()).map(|j| cuts.units_of(j).len()).collect(),
            coarse: cuts.interfaces().map(|interface| net.coarse_choice(&interface)).collect(),
            parameters: counts,
        })
    }
}

/// The number of parameters of a module, without running statistics.
fn trainable<M: Module>(module: &M) -> usize {
    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::Tensor;

    struct Count(usize);
    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0 += param.shape().num_elements();
            }
        }
    }
    let mut count = Count(0);
    module.visit(&mut count);
    count.0
}
