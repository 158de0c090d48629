use std::ops::Range;

use burn::module::Module;

use super::feed_forward::{Coarsen, FeedForward};
use super::named_tensor::Naming;

/// A subnetwork of a parareal network, with all modules that its device holds.
///
/// Every subnetwork has `C_j` and the units of `g_j`. All except the first one also have `F_{j-1}`, because
/// the coarse networks are executed as a chain. The last one also has `h`.
#[derive(Module, Debug)]
pub struct Subnetwork<C: Module, U: Module, F: Module, H: Module> {
    /// `C_j`, which maps the input of the network to the initial state of this subnetwork.
    pub preprocessing: C,
    /// The units of `g_j`.
    pub units: Vec<U>,
    /// `F_{j-1}`, which maps from the interface before this subnetwork to the one after it.
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
    /// Assembles subnetwork `index`, from 0. `first_unit` is the index of its first unit in the network, and
    /// `seed` is for random layers.
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

    /// Returns the index of the subnetwork, from 0: the paper's `j - 1`.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the indices, in the whole network, of the units that this subnetwork holds.
    pub fn unit_range(&self) -> Range<usize> {
        self.first_unit..self.first_unit + self.units.len()
    }

    /// Returns the seed of the [`Init`](super::Init) that the subnetwork was built with.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn naming(&self) -> Naming {
        Naming { index: self.index, first_unit: self.first_unit }
    }
}
