use burn::module::Module;

use super::build::{bridge, build_subnetworks, check_units};
use super::subnetwork_tensors::check_unshared;
use super::{
    Activation, Coarsen, Cuts, Init, NamedTensor, NetError, StateDict, Subnetwork, SubnetworkOf,
};

/// A parareal network: the subnetworks of a feed-forward network, and the modules at their interfaces.
///
/// With one subnetwork it is the feed-forward network itself.
#[derive(Debug)]
pub struct PararealNetwork<N: Coarsen> {
    subnetworks: Vec<SubnetworkOf<N>>,
    cuts: Cuts,
}

impl<N: Coarsen> Clone for PararealNetwork<N> {
    fn clone(&self) -> Self {
        Self { subnetworks: self.subnetworks.clone(), cuts: self.cuts.clone() }
    }
}

impl<N: Coarsen> PararealNetwork<N> {
    /// Builds all subnetworks.
    ///
    /// # Errors
    /// If the cuts are for a different network, the shapes of the modules do not fit together, two
    /// subnetworks share a parameter, or one of Burn's random layers is enabled.
    pub fn build(network: &N, cuts: &Cuts, init: &Init) -> Result<Self, NetError> {
        check_units(network, cuts)?;
        let subnetworks = build_subnetworks(network, cuts, 0..cuts.subnetworks(), init)?;
        Ok(Self { subnetworks, cuts: cuts.clone() })
    }

    pub(crate) fn from_subnetworks(subnetworks: Vec<SubnetworkOf<N>>, cuts: Cuts) -> Self {
        Self { subnetworks, cuts }
    }

    /// Changes the cuts of the network. `C`, the units and `h` keep their weights, and the modules at the
    /// interfaces are newly built. For example, this converts a trained serial network to a parareal network.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn recut(self, network: &N, cuts: &Cuts, init: &Init) -> Result<Self, NetError> {
        check_units(network, cuts)?;
        if self.cuts.units() != cuts.units() {
            let (expected, found) = (self.cuts.units(), cuts.units());
            return Err(NetError::OtherNetwork { expected, found });
        }
        let mut preprocessing = None;
        let mut units = Vec::with_capacity(cuts.units());
        let mut postprocessing = None;
        for subnetwork in self.subnetworks {
            preprocessing.get_or_insert(subnetwork.preprocessing);
            units.extend(subnetwork.units);
            postprocessing = subnetwork.postprocessing;
        }
        let mut units = units.into_iter();
        let last = cuts.subnetworks() - 1;
        let subnetworks = (0..=last)
            .map(|index| {
                let own = units.by_ref().take(cuts.units_of(index).len()).collect();
                let postprocessing = (index == last).then(|| postprocessing.take()).flatten();
                let preprocessing = preprocessing.take();
                bridge(network, cuts, index, preprocessing, own, postprocessing, init)
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_unshared(&subnetworks)?;
        Ok(Self { subnetworks, cuts: cuts.clone() })
    }

    /// Returns the cuts of the network.
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// Returns the subnetworks, in order.
    pub fn subnetworks(&self) -> &[SubnetworkOf<N>] {
        &self.subnetworks
    }

    /// Returns the subnetworks by value, in order.
    pub fn into_subnetworks(self) -> Vec<SubnetworkOf<N>> {
        self.subnetworks
    }

    /// Returns the network in evaluation mode, without automatic differentiation.
    pub fn valid(&self) -> Self {
        let subnetworks = self.subnetworks.iter().map(Module::valid).collect();
        Self { subnetworks, cuts: self.cuts.clone() }
    }

    /// Returns every parameter and buffer with its name.
    pub fn named_tensors(&self) -> Vec<NamedTensor> {
        self.subnetworks.iter().flat_map(Subnetwork::named_tensors).collect()
    }

    /// Returns every parameter and buffer with its name, together with the cuts.
    pub fn state_dict(&self) -> StateDict {
        StateDict::from_named(self.cuts.clone(), self.named_tensors())
    }

    /// Replaces every parameter and buffer with the tensor of the same name.
    ///
    /// # Errors
    /// If the tensors belong to a network with different units or cuts, or if a tensor is missing, has a
    /// different shape or is unknown.
    pub fn load(self, state: &StateDict) -> Result<Self, NetError> {
        let tensors = self.named_tensors();
        let layout = tensors.iter().map(|NamedTensor { name, data, .. }| {
            let shape: &[usize] = data.shape().as_slice();
            (name.as_str(), shape)
        });
        state.check(&self.cuts, &(0..self.cuts.subnetworks()), layout)?;
        let load = |subnetwork: SubnetworkOf<N>| subnetwork.load(state);
        let subnetworks = self.subnetworks.into_iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self { subnetworks, cuts: self.cuts })
    }

    /// Returns the number of trainable parameters, which is the same in training and in evaluation mode.
    /// Buffers and frozen parameters are not counted.
    pub fn parameters(&self) -> usize {
        let training = self.subnetworks.iter().map(|subnetwork| subnetwork.valid().train());
        let tensors = training.flat_map(|subnetwork| subnetwork.named_tensors());
        tensors.filter(|tensor| tensor.trainable).map(|tensor| tensor.data.num_elements()).sum()
    }

    /// Computes `f̃(x)` in the form of the paper, equations (2) to (4).
    pub fn forward(&self, input: N::Input) -> N::Output {
        let (x, y): (Vec<_>, Vec<_>) =
            self.subnetworks.iter().map(|own| own.forward_fine(input.clone())).unzip();
        // (3a). The last residual is zero and omitted.
        let mut residuals = y.iter().zip(&x[1..]).map(|(y, x)| y.clone().minus(x.clone()));
        // (3b)
        let mut correction: Option<N::State> = residuals.next();
        for subnetwork in &self.subnetworks[1..] {
            let propagated = correction.and_then(|residual| subnetwork.forward_coarse(residual));
            correction = match (residuals.next(), propagated) {
                (Some(residual), Some(propagated)) => Some(residual.plus(propagated)),
                (residual, propagated) => residual.or(propagated),
            };
        }
        // (3c), (4)
        let last = y[y.len() - 1].clone();
        self.finish(match correction {
            Some(correction) => last.plus(correction),
            None => last,
        })
    }

    /// Computes `f̃(x)` in the form of the coarse chain: `U_1 = y_1`,
    /// `U_{j+1} = y_{j+1} + F_j(U_j - x_{j+1})`, `f̃(x) = h(U_N)`.
    pub fn forward_chain(&self, input: N::Input) -> N::Output {
        let mut chain: Option<N::State> = None;
        for subnetwork in &self.subnetworks {
            chain = Some(subnetwork.forward_chain(chain, subnetwork.forward_fine(input.clone())));
        }
        self.finish(chain.expect("there is at least one subnetwork"))
    }

    fn finish(&self, state: N::State) -> N::Output {
        let last = &self.subnetworks[self.subnetworks.len() - 1];
        last.forward_postprocessing(state).expect("the last subnetwork holds h")
    }
}
