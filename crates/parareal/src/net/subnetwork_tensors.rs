//! Reading and loading of the named tensors of a subnetwork.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::error::NetError;
use super::named_tensor::{NamedTensor, Path};
use super::state_dict::StateDict;
use super::subnetwork::Subnetwork;

macro_rules! follow_path {
    () => {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
    };
}

struct Reader<'a> {
    path: Path,
    gradients: Option<&'a GradientsParams>,
    tensors: Vec<NamedTensor>,
}

impl ModuleVisitor for Reader<'_> {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.gradients {
            None => Some(param.val()),
            Some(gradients) => gradients.get::<D>(param.id),
        };
        if let Some(tensor) = tensor {
            let data = tensor.into_data();
            // Data of a GPU are read at the first access, and a later step may overwrite them.
            data.as_bytes();
            self.tensors.push(NamedTensor {
                name: self.path.global(),
                data,
                trainable: param.is_require_grad(),
            });
        }
    }
}

struct Writer<'a> {
    path: Path,
    state: &'a StateDict,
    error: Option<NetError>,
}

impl ModuleMapper for Writer<'_> {
    follow_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.state.find(&self.path.global(), param.shape().as_slice()) {
            Ok(None) => param,
            Ok(Some(data)) => param.map(|old| {
                let new = Tensor::from_data(data.clone(), (&old.device(), old.dtype()));
                new.set_require_grad(old.is_require_grad())
            }),
            Err(error) => {
                self.error.get_or_insert(error);
                param
            }
        }
    }
}

/// The identity of a parameter or buffer, in this process and across processes.
pub(crate) struct Identity {
    /// Burn's id, which differs between processes.
    pub(crate) id: u64,
    /// The path within the subnetwork that Burn's optimizers use. In contrast to `name`, it includes the
    /// variants of enums.
    pub(crate) burn_path: String,
    /// The name within the network.
    pub(crate) name: String,
}

struct Identities {
    path: Path,
    found: Vec<Identity>,
}

impl ModuleVisitor for Identities {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (burn_path, name) = (self.path.of_burn(), self.path.global());
        self.found.push(Identity { id: param.id.val(), burn_path, name });
    }
}

impl<C: Module, U: Module, F: Module, H: Module> Subnetwork<C, U, F, H>
where
    Self: Module,
{
    /// Returns the identities of all parameters and buffers.
    pub(crate) fn identities(&self) -> Vec<Identity> {
        let mut identities = Identities { path: Path::new(self.naming()), found: Vec::new() };
        self.visit(&mut identities);
        identities.found
    }

    /// Returns every parameter and buffer with its name in the whole network.
    pub fn named_tensors(&self) -> Vec<NamedTensor> {
        self.read(None)
    }

    /// Replaces every parameter and buffer with the tensor of the same name. Other names are ignored. The
    /// cuts must have been checked before.
    ///
    /// # Errors
    /// If a tensor is missing or has a different shape.
    pub(crate) fn load(self, state: &StateDict) -> Result<Self, NetError> {
        let mut writer = Writer { path: Path::new(self.naming()), state, error: None };
        let loaded = self.map(&mut writer);
        writer.error.map_or(Ok(loaded), Err)
    }

    fn read(&self, gradients: Option<&GradientsParams>) -> Vec<NamedTensor> {
        let path = Path::new(self.naming());
        let mut reader = Reader { path, gradients, tensors: Vec::new() };
        self.visit(&mut reader);
        reader.tensors
    }
}

/// Returns the gradients of a subnetwork's parameters, with the names of the parameters.
pub(crate) fn named_gradients<C: Module, U: Module, F: Module, H: Module>(
    subnetwork: &Subnetwork<C, U, F, H>,
    gradients: &GradientsParams,
) -> Vec<NamedTensor>
where
    Subnetwork<C, U, F, H>: Module,
{
    subnetwork.read(Some(gradients))
}

/// Returns the names of the parameters that require a gradient and have none in `gradients`.
pub(crate) fn names_without_gradient<C: Module, U: Module, F: Module, H: Module>(
    subnetwork: &Subnetwork<C, U, F, H>,
    gradients: &GradientsParams,
) -> Vec<String>
where
    Subnetwork<C, U, F, H>: Module,
{
    let path = Path::new(subnetwork.naming());
    let mut visitor = WithoutGradient { path, gradients, names: Vec::new() };
    subnetwork.visit(&mut visitor);
    visitor.names
}

struct WithoutGradient<'a> {
    path: Path,
    gradients: &'a GradientsParams,
    names: Vec<String>,
}

impl ModuleVisitor for WithoutGradient<'_> {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() && self.gradients.get::<D>(param.id).is_none() {
            self.names.push(self.path.global());
        }
    }
}

/// Checks that no two subnetworks hold the same parameter or buffer, because each would train its own copy.
///
/// # Errors
/// [`NetError::SharedParameter`] with both names.
pub(crate) fn check_unshared<'a, C: Module, U: Module, F: Module, H: Module>(
    subnetworks: impl IntoIterator<Item = &'a Subnetwork<C, U, F, H>>,
) -> Result<(), NetError>
where
    Subnetwork<C, U, F, H>: Module + 'a,
{
    let mut owners: HashMap<u64, (usize, String)> = HashMap::new();
    for subnetwork in subnetworks {
        let index = subnetwork.index();
        for Identity { id, name, .. } in subnetwork.identities() {
            match owners.get(&id) {
                Some((owner, first)) if *owner != index => {
                    return Err(NetError::SharedParameter { first: first.clone(), second: name });
                }
                Some(_) => {}
                None => drop(owners.insert(id, (index, name))),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::named_tensor::Naming;
    use super::*;

    #[test]
    fn variants_of_enums_are_not_part_of_names() {
        #[derive(Module, Debug)]
        enum Either {
            Left(Leaf),
        }

        #[derive(Module, Debug)]
        struct Leaf {
            weight: Param<Tensor<1>>,
        }

        let weight = Param::from_tensor(Tensor::zeros([2], &Device::flex()));
        let module = vec![Either::Left(Leaf { weight })];
        let path = Path::new(Naming { index: 0, first_unit: 0 });
        let mut reader = Reader { path, gradients: None, tensors: Vec::new() };
        module.visit(&mut reader);
        assert_eq!(reader.tensors[0].name, "0.weight");
    }
}
