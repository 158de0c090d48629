use std::collections::{HashMap, HashSet};
use std::ops::Range;

use burn::tensor::TensorData;

use super::{Cuts, NamedTensor, NetError};

/// Named tensors, such as the weights of a network, and the cuts of the network that they belong to.
///
/// The names of units do not depend on the cuts, but with different cuts `interfaces.1` is a different
/// module. So a network loads only state with its own cuts. From a network with different cuts it can load
/// only [`C`, the units and `h`](Self::units_only).
///
/// ```
/// use parareal::net::{Cuts, StateDict};
///
/// let weights = StateDict::new(Cuts::even(9, 3)?, [("interfaces.1.bias".into(), [0.0f32].into())]);
/// assert_eq!(weights.cuts().positions(), [3, 6]);
/// assert!(weights.units_only().tensors().is_empty());
/// # Ok::<(), parareal::net::NetError>(())
/// ```
#[derive(Clone, Debug)]
pub struct StateDict {
    cuts: Cuts,
    tensors: HashMap<String, TensorData>,
    is_units_only: bool,
}

/// The prefix of the names of modules that a cut adds to a network.
const INTERFACES: &str = "interfaces.";

impl StateDict {
    /// Creates a state dict from named tensors.
    pub fn new(cuts: Cuts, tensors: impl IntoIterator<Item = (String, TensorData)>) -> Self {
        Self { cuts, tensors: tensors.into_iter().collect(), is_units_only: false }
    }

    /// Creates a state dict from the tensors that a network or an executor returns.
    pub fn from_named(cuts: Cuts, tensors: impl IntoIterator<Item = NamedTensor>) -> Self {
        Self::new(cuts, tensors.into_iter().map(|tensor| (tensor.name, tensor.data)))
    }

    /// Removes the modules at the interfaces. The remaining tensors (of `C`, the units and `h`) fit a network
    /// with any cuts, and loading them does not change the modules at its interfaces.
    #[must_use]
    pub fn units_only(mut self) -> Self {
        self.tensors.retain(|name, _| !name.starts_with(INTERFACES));
        self.is_units_only = true;
        self
    }

    /// Returns the cuts of the network that the tensors belong to.
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// Returns the names and tensors of the modules at the interfaces, in arbitrary order.
    pub fn interface_tensors(&self) -> impl Iterator<Item = (&str, &TensorData)> {
        let named = self.tensors.iter().map(|(name, data)| (name.as_str(), data));
        named.filter(|(name, _)| name.starts_with(INTERFACES))
    }

    /// Returns the tensors, keyed by name.
    pub fn tensors(&self) -> &HashMap<String, TensorData> {
        &self.tensors
    }

    /// Converts the state dict to its tensors, keyed by name.
    pub fn into_tensors(self) -> HashMap<String, TensorData> {
        self.tensors
    }

    /// Checks that a network with these cuts can load the tensors.
    ///
    /// # Errors
    /// If the tensors belong to a network with different units or cuts.
    pub(crate) fn check_cuts(&self, cuts: &Cuts) -> Result<(), NetError> {
        let (expected, found) = (cuts.units(), self.cuts.units());
        if expected != found {
            return Err(NetError::OtherUnits { expected, found });
        }
        if !self.is_units_only && *cuts != self.cuts {
            let [expected, found] = [cuts, &self.cuts].map(|cuts| cuts.positions().to_vec());
            return Err(NetError::OtherCuts { expected, found });
        }
        Ok(())
    }

    /// Checks that this state contains exactly the tensors of the subnetworks `held` of a network with these
    /// cuts. `tensors` are the names and shapes of these subnetworks' tensors. Tensors of other subnetworks
    /// in the state are ignored.
    ///
    /// # Errors
    /// As [`Self::check_cuts`], or if a tensor is missing, has a different shape or is unknown.
    pub(crate) fn check<'a>(
        &self,
        cuts: &Cuts,
        held: &Range<usize>,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<(), NetError> {
        self.check_cuts(cuts)?;
        let mut known = HashSet::new();
        for (name, shape) in tensors {
            known.insert(name);
            self.find(name, shape)?;
        }
        let is_unknown = |name: &str| {
            let owner = cuts.owner(name);
            !known.contains(name) && owner.is_none_or(|owner| held.contains(&owner))
        };
        // The first name in alphabetical order, so that the error is reproducible.
        match self.tensors.keys().filter(|name| is_unknown(name)).min() {
            Some(name) => Err(NetError::UnknownTensor { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Returns the tensor of this name, if it has the expected shape; `None` if it belongs to a module at an
    /// interface that should not be changed.
    ///
    /// # Errors
    /// If the tensor is missing or has a different shape.
    pub(crate) fn find(
        &self,
        name: &str,
        expected: &[usize],
    ) -> Result<Option<&TensorData>, NetError> {
        if self.is_units_only && name.starts_with(INTERFACES) {
            return Ok(None);
        }
        let name = name.to_string();
        let Some(data) = self.tensors.get(&name) else {
            return Err(NetError::MissingTensor { name });
        };
        let found = data.shape().as_slice().to_vec();
        if found != expected {
            return Err(NetError::TensorShape { name, expected: expected.to_vec(), found });
        }
        Ok(Some(data))
    }
}

impl Cuts {
    /// Returns the index, from 0, of the subnetwork that holds the tensor of this name; `None` if there is no
    /// such tensor.
    pub(crate) fn owner(&self, name: &str) -> Option<usize> {
        let mut parts = name.split('.');
        let number = |parts: &mut std::str::Split<'_, char>| parts.next()?.parse::<usize>().ok();
        match parts.next()? {
            "preprocessing" => Some(0),
            "postprocessing" => Some(self.positions().len()),
            "units" => {
                let unit = number(&mut parts).filter(|&unit| unit < self.units())?;
                Some(self.positions().partition_point(|&position| position <= unit))
            }
            "interfaces" => {
                number(&mut parts).filter(|index| (1..self.subnetworks()).contains(index))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_subnetworks() {
        let cuts = Cuts::new(5, vec![2, 3]).unwrap();
        for (name, owner) in [
            ("preprocessing.conv.weight", Some(0)),
            ("units.0", Some(0)),
            ("units.1.weight", Some(0)),
            ("units.2.weight", Some(1)),
            ("units.4.weight", Some(2)),
            ("units.5.weight", None),
            ("interfaces.1.coarse.weight", Some(1)),
            ("interfaces.3.coarse.weight", None),
            ("interfaces.0.coarse.weight", None),
            ("postprocessing.bias", Some(2)),
            ("optimizer", None),
        ] {
            assert_eq!(cuts.owner(name), owner, "{name}");
        }
    }
}
