use std::ops::Range;

use burn::module::Module;

use super::feed_forward::{Coarsen, FeedForward};
use super::named_tensor::Naming;

/// A subnetwork of a parareal network with everything that its device holds: `C_j`, the units of `g_j`,
/// and, because the network is executed as a chain of neighbors, `F_{j-1}` (all but the first) and `h`
/// (the last).
#[derive(Module, Debug)]
pub struct Subnetwork<C: Module, U: Module, F: Module, H: Module> {
    /// `C_j`, from the network's input to this subnetwork's.
    pub preprocessing: C,
    /// The units of `g_j`.
    pub units: Vec<U>,
    /// `F_{j-1}`, from the interface before this subnetwork to the one after it.
    pub coarse: Option<F>,
    /// `h`, held by the last subnetwork.
    pub postprocessing: Option<H>,
    index: usize,
    first_unit: usize,
    /// The seed of the network, for random layers.
    seed: u64,
}

/// The subnetworks of a network `N`.
pub type SubnetworkOf<N> = Subnetwork<
    <N as FeedForward>::Preprocessing,
    <N as FeedForward>::Unit,
    <N as Coarsen>::Coarse,
    <N as FeedForward>::Postprocessing,
>;

impl<C: Module, U: Module, F: Module, H: Module> Subnetwork<C, U, F, H> {
    /// Assembles subnetwork `index`, from 0, whose first unit is `first_unit` of the network, for a seed of
    /// its random layers.
    pub(super) fn new(
        preprocessing: C,
        units: Vec<U>,
        coarse: Option<F>,
        postprocessing: Option<H>,
        index: usize,
        first_unit: usize,
        seed: u64,
    ) -> Self {
        Self { preprocessing, units, coarse, postprocessing, index, first_unit, seed }
    }

    /// The index of the subnetwork, from 0: the paper's `j - 1`.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The units of the whole network that this subnetwork holds.
    pub fn unit_range(&self) -> Range<usize> {
        self.first_unit..self.first_unit + self.units.len()
    }

    /// The seed of the [`Init`](super::Init) that the subnetwork was built with.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn naming(&self) -> Naming {
        Naming { index: self.index, first_unit: self.first_unit }
    }
}
