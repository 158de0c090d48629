use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::{NetError, StateDict, Subnetwork};

/// A parameter or buffer of a network, or a gradient, under the name that it has in the whole.
///
/// Units are numbered through the whole network, from 0: `units.17.conv1.weight` has this name
/// however the network is cut. What interface `j` adds stands below `interfaces.j`:
/// `interfaces.1.preprocessing` is `C_2`, `interfaces.1.coarse` is `F_1`. The variant of an enum is not
/// part of a name.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// The dotted name.
    pub name: String,
    /// Shape, type and values.
    pub data: TensorData,
    /// Whether it is a parameter with a gradient, and not a buffer such as a running mean.
    pub trainable: bool,
}

/// Turns names within a subnetwork into names within the network.
#[derive(Clone, Copy)]
pub(super) struct Naming {
    pub(super) index: usize,
    pub(super) first_unit: usize,
}

impl Naming {
    pub(super) fn global(self, local: &str) -> String {
        let (head, rest) = local.split_once('.').unwrap_or((local, ""));
        let head = match head {
            "units" => {
                let (unit, rest) = rest.split_once('.').unwrap_or((rest, ""));
                let unit = unit.parse::<usize>().map_or(0, |unit| self.first_unit + unit);
                return join(&format!("units.{unit}"), rest);
            }
            "preprocessing" | "coarse" if self.index > 0 => {
                format!("interfaces.{}.{head}", self.index)
            }
            _ => head.to_string(),
        };
        join(&head, rest)
    }
}

fn join(head: &str, rest: &str) -> String {
    if rest.is_empty() { head.to_string() } else { format!("{head}.{rest}") }
}

/// The position in a walk through a module.
struct Path {
    naming: Naming,
    names: Vec<String>,
}

/// Returns true for the container type that Burn's derive reports for the variant of an enum.
fn is_enum(container: &str) -> bool {
    container.starts_with("Enum:")
}

impl Path {
    fn new(naming: Naming) -> Self {
        Self { naming, names: Vec::new() }
    }

    fn name(&self) -> String {
        self.naming.global(&self.names.join("."))
    }
}

macro_rules! follow_path {
    () => {
        fn enter_module(&mut self, name: &str, container: &str) {
            if !is_enum(container) {
                self.path.names.push(name.to_string());
            }
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            if !is_enum(container) {
                self.path.names.pop();
            }
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
            self.tensors.push(NamedTensor {
                name: self.path.name(),
                data: tensor.into_data(),
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
        match self.state.find(&self.path.name(), param.shape().as_slice()) {
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

/// Which parameter is which, here and in other processes.
pub(crate) struct Identity {
    /// Burn's id, which is another one in every process.
    pub(crate) id: u64,
    /// The name within the subnetwork.
    pub(crate) path: String,
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
        let (path, name) = (self.path.names.join("."), self.path.name());
        self.found.push(Identity { id: param.id.val(), path, name });
    }
}

impl<C: Module, U: Module, F: Module, H: Module> Subnetwork<C, U, F, H>
where
    Self: Module,
{
    /// The ids of all parameters and buffers.
    pub(crate) fn identities(&self) -> Vec<Identity> {
        let mut identities = Identities { path: Path::new(self.naming()), found: Vec::new() };
        self.visit(&mut identities);
        identities.found
    }

    /// Every parameter and buffer, under its name in the whole network.
    pub fn named_tensors(&self) -> Vec<NamedTensor> {
        self.read(None)
    }

    /// Replaces every parameter and buffer by the tensor of its name; other names are ignored. The
    /// cuts have been checked.
    ///
    /// # Errors
    /// Where a tensor is missing or has another shape.
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

/// The gradients of a subnetwork's parameters, under the parameters' names.
pub(crate) fn named_gradients<C: Module, U: Module, F: Module, H: Module>(
    subnetwork: &Subnetwork<C, U, F, H>,
    gradients: &GradientsParams,
) -> Vec<NamedTensor>
where
    Subnetwork<C, U, F, H>: Module,
{
    subnetwork.read(Some(gradients))
}

/// The names of the parameters that require a gradient and have none among these.
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
            self.names.push(self.path.name());
        }
    }
}

/// Checks that no two subnetworks hold the same parameter or buffer: each would train a copy of its
/// own.
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

    use super::*;

    #[test]
    fn names_are_those_of_the_whole_network() {
        let first = Naming { index: 0, first_unit: 0 };
        assert_eq!(first.global("preprocessing.conv.weight"), "preprocessing.conv.weight");
        assert_eq!(first.global("units.2.norm"), "units.2.norm");
        let third = Naming { index: 2, first_unit: 5 };
        assert_eq!(third.global("preprocessing.weight"), "interfaces.2.preprocessing.weight");
        assert_eq!(third.global("coarse.units.0.weight"), "interfaces.2.coarse.units.0.weight");
        assert_eq!(third.global("units.1.weight"), "units.6.weight");
        assert_eq!(third.global("units.1"), "units.6");
        assert_eq!(third.global("postprocessing.bias"), "postprocessing.bias");
    }

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
