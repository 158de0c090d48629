//! Burn's layers that draw random numbers in the forward pass.

use burn::module::{Flag, Module, ModuleVisitor, Param};

use super::named_tensor::is_enum;

/// Layers of `burn::nn` that draw from the generator of the whole process in training mode, each with the
/// field that is zero if it does not.
const RANDOM: [(&str, &str); 2] = [("Dropout", "prob"), ("GaussianNoise", "std")];

/// A layer that draws random numbers which neither recomputation nor another executor can draw again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RandomModule {
    /// Its name within the module that was searched.
    pub(super) path: String,
    pub(super) kind: &'static str,
}

/// Finds the first of Burn's random layers in a module.
///
/// Visitors see names and types of layers, but no plain numbers such as a dropout's probability; the `Debug`
/// output of a module has those. Both list the layers in the same order. A module whose `Debug` output leaves
/// out a layer hides it.
pub(super) fn find_random(module: &impl Module) -> Option<RandomModule> {
    let mut visitor = Layers { path: Vec::new(), found: Vec::new() };
    module.visit(&mut visitor);
    if visitor.found.is_empty() {
        return None;
    }
    let text = format!("{module:?}");
    RANDOM.into_iter().find_map(|(kind, field)| {
        let paths: Vec<_> = visitor.found.iter().filter(|(found, _)| *found == kind).collect();
        let beginning = format!("{kind} {{ ");
        let layers: Vec<&str> = text.split(beginning.as_str()).skip(1).collect();
        let is_random = |layer: &&str| {
            // The layers of this crate with the same name begin with another field.
            let value = layer.strip_prefix(field)?.strip_prefix(": ")?;
            let number = value.split([',', ' ', '}']).next()?.parse::<f64>().ok()?;
            (number != 0.0).then_some(())
        };
        let index = layers.iter().position(|layer| is_random(layer).is_some())?;
        let path = paths.get(index).map(|(_, path)| path.clone()).unwrap_or_default();
        Some(RandomModule { path, kind })
    })
}

/// Finds the random layers by the flag that each of them has.
struct Layers {
    /// Names of the submodules on the way, and their containers.
    path: Vec<(String, String)>,
    found: Vec<(&'static str, String)>,
}

impl ModuleVisitor for Layers {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.to_string(), container.to_string()));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_flag(&mut self, _: &Param<Flag>) {
        let Some(((_, container), outer)) = self.path.split_last() else { return };
        let kind = container.strip_prefix("Struct:");
        let Some((kind, _)) = RANDOM.into_iter().find(|(name, _)| kind == Some(*name)) else {
            return;
        };
        let names = outer.iter().filter(|(_, container)| !is_enum(container));
        let path = names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".");
        self.found.push((kind, path));
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Dropout, DropoutConfig, GaussianNoiseConfig, Linear, LinearConfig};
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::net::{AnyLayer, layer};

    #[derive(Module, Debug)]
    struct Inner {
        linear: Linear,
        dropout: Dropout,
    }

    #[derive(Module, Debug)]
    struct Outer {
        first: Inner,
        others: Vec<Inner>,
    }

    fn outer(probabilities: [f64; 3]) -> Outer {
        let inner = |prob| Inner {
            linear: LinearConfig::new(2, 2).init(&Device::flex()),
            dropout: DropoutConfig::new(prob).init(),
        };
        let [first, second, third] = probabilities.map(inner);
        Outer { first, others: vec![second, third] }
    }

    #[test]
    fn the_layer_that_draws_is_found_by_name() {
        let found = |probabilities| find_random(&outer(probabilities)).map(|found| found.path);
        assert_eq!(found([0.0; 3]), None);
        assert_eq!(found([0.1, 0.2, 0.3]).unwrap(), "first.dropout");
        assert_eq!(found([0.0, 0.0, 0.3]).unwrap(), "others.1.dropout");
    }

    #[test]
    fn layers_without_a_type_are_searched_as_well() {
        let identity = |_: &(usize, Outer), x: Tensor<2>| x;
        let any: AnyLayer<_, Tensor<2>> = layer((0_usize, outer([0.0, 0.5, 0.0])), identity);
        assert_eq!(find_random(&any).unwrap().path, "1.others.0.dropout");
        let noise = GaussianNoiseConfig::new(0.1).init();
        let found = find_random(&vec![noise]).unwrap();
        assert_eq!((found.path.as_str(), found.kind), ("0", "GaussianNoise"));
    }
}
