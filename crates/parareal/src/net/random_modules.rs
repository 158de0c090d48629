//! Burn's layers that draw random numbers in the forward pass.

use burn::module::{Flag, Module, ModuleVisitor, Param};

use super::error::NetError;
use super::named_tensor::is_enum;

/// A type of `burn::nn` that draws from a process-wide generator in training mode.
struct RandomKind {
    /// The name of the type.
    name: &'static str,
    /// Returns true if a layer with these fields draws random numbers; `None` if the fields do not belong to
    /// this type.
    draws: fn(&str) -> Option<bool>,
}

const RANDOM: [RandomKind; 3] = [
    RandomKind { name: "Dropout", draws: |fields| Some(number(fields, "prob")? != 0.0) },
    RandomKind { name: "GaussianNoise", draws: |fields| Some(number(fields, "std")? != 0.0) },
    RandomKind {
        name: "RRelu",
        draws: |fields| Some(number(fields, "lower")? != number(fields, "upper")?),
    },
];

/// Reads the number of a field from the `Debug` output of a struct, up to its field `training`.
fn number(fields: &str, name: &str) -> Option<f64> {
    let fields = fields.split("training:").next()?;
    let (_, behind) = fields.split_once(&format!("{name}: "))?;
    behind.split([',', ' ', '}']).next()?.parse().ok()
}

/// Returns an error if a module contains one of Burn's random layers and the layer is enabled. `name_of`
/// converts a path within the module to the name in the network.
///
/// Visitors get the types of layers and whether they are in training, but no plain numbers such as a
/// probability. The `Debug` output of a module contains these numbers. Both list the layers in the same
/// order.
///
/// # Errors
/// [`NetError::RandomLayer`], or [`NetError::HiddenLayer`] if the `Debug` output omits a layer.
pub(super) fn refuse_random(
    module: &impl Module,
    name_of: impl Fn(String) -> String,
) -> Result<(), NetError> {
    let mut visitor = Layers { path: Vec::new(), found: Vec::new() };
    module.visit(&mut visitor);
    if visitor.found.is_empty() {
        return Ok(());
    }
    let text = format!("{module:?}");
    for RandomKind { name: kind, draws } in RANDOM {
        let visited = visitor.found.iter().filter(|layer| layer.kind == kind);
        let mut shown = structs(&text, kind);
        for Layer { path, is_enabled, .. } in visited {
            match (is_enabled, shown.next()) {
                (true, None) => {
                    return Err(NetError::HiddenLayer { name: name_of(path.clone()), kind });
                }
                (true, Some(fields)) if draws(fields) == Some(true) => {
                    return Err(NetError::RandomLayer { name: name_of(path.clone()), kind });
                }
                // A layer of this crate starts with a different field, so `draws` returns `None`. A frozen
                // layer draws no random numbers.
                _ => {}
            }
        }
    }
    Ok(())
}

/// Returns the text after the opening brace of each struct of this name in a `Debug` output.
fn structs<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let beginning = format!("{name} {{");
    let is_part_of_name =
        |before: &str| before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    let starts: Vec<usize> = text
        .match_indices(&beginning)
        .filter(|(start, _)| !is_part_of_name(&text[..*start]))
        .map(|(start, _)| start + beginning.len())
        .collect();
    starts.into_iter().map(move |start| &text[start..])
}

/// Finds the random layers of a module by the training flag that each of them has.
struct Layers {
    /// Names of the submodules on the path to the current one, and their containers.
    path: Vec<(String, String)>,
    found: Vec<Layer>,
}

struct Layer {
    kind: &'static str,
    path: String,
    is_enabled: bool,
}

impl ModuleVisitor for Layers {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.to_string(), container.to_string()));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        let Some(((_, container), outer)) = self.path.split_last() else { return };
        let container = container.strip_prefix("Struct:");
        let kind = RANDOM.iter().find(|kind| container == Some(kind.name));
        let Some(RandomKind { name: kind, .. }) = kind else { return };
        let names = outer.iter().filter(|(_, container)| !is_enum(container));
        let path = names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".");
        self.found.push(Layer { kind, path, is_enabled: flag.val().is_enabled() });
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use burn::nn::activation::{RRelu, RReluConfig};
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
        last: Option<Inner>,
    }

    fn inner(prob: f64) -> Inner {
        Inner {
            linear: LinearConfig::new(2, 2).init(&Device::flex()),
            dropout: DropoutConfig::new(prob).init(),
        }
    }

    fn outer(probabilities: [f64; 4]) -> Outer {
        let [first, second, third, last] = probabilities.map(inner);
        Outer { first, others: vec![second, third], last: Some(last) }
    }

    fn refused(module: &impl Module) -> Option<NetError> {
        refuse_random(module, |path| path).err()
    }

    fn random(name: &str, kind: &'static str) -> Option<NetError> {
        Some(NetError::RandomLayer { name: name.into(), kind })
    }

    #[test]
    fn the_layer_that_draws_is_found_by_name() {
        assert_eq!(refused(&outer([0.0; 4])), None);
        assert_eq!(refused(&outer([0.1, 0.2, 0.3, 0.0])), random("first.dropout", "Dropout"));
        assert_eq!(refused(&outer([0.0, 0.0, 0.3, 0.0])), random("others.1.dropout", "Dropout"));
        assert_eq!(refused(&outer([0.0, 0.0, 0.0, 0.3])), random("last.dropout", "Dropout"));
        let ours = (crate::nn::DropoutConfig::new(0.5).init(), inner(0.0));
        assert_eq!(refused(&ours), None);
        let ours = (crate::nn::DropoutConfig::new(0.5).init(), inner(0.1));
        assert_eq!(refused(&ours), random("1.dropout", "Dropout"));
    }

    #[test]
    fn layers_without_a_type_are_searched_as_well() {
        let identity = |_: &(usize, Outer), x: Tensor<2>| x;
        let module = (0_usize, outer([0.0, 0.5, 0.0, 0.0]));
        let any: AnyLayer<_, Tensor<2>> = layer(module, identity);
        assert_eq!(refused(&any), random("1.others.0.dropout", "Dropout"));
    }

    #[test]
    fn other_random_layers_are_found() {
        let noise = |std| vec![GaussianNoiseConfig::new(std).init()];
        assert_eq!(refused(&noise(0.1)), random("0", "GaussianNoise"));
        assert_eq!(refused(&noise(0.0)), None);
        let rrelu = |upper| -> (usize, RRelu) {
            (0, RReluConfig::new().with_lower(0.125).with_upper(upper).init())
        };
        assert_eq!(refused(&rrelu(0.5)), random("1", "RRelu"));
        assert_eq!(refused(&rrelu(0.125)), None);
    }

    #[test]
    fn a_frozen_layer_draws_nothing() {
        assert_eq!(refused(&outer([0.5; 4]).freeze()), None);
        let partly = (inner(0.5).freeze(), inner(0.5));
        assert_eq!(refused(&partly), random("1.dropout", "Dropout"));
    }

    #[test]
    fn names_with_the_same_ending_are_other_types() {
        #[derive(Module, Debug)]
        struct TokenDropout {
            prob: f64,
            dropout: Dropout,
        }

        let module = TokenDropout { prob: 0.2, dropout: DropoutConfig::new(0.0).init() };
        assert_eq!(refused(&module), None);
    }

    #[test]
    fn a_layer_that_the_debug_output_hides_is_refused() {
        #[derive(Module)]
        struct Quiet {
            dropout: Dropout,
        }

        impl fmt::Debug for Quiet {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Quiet")
            }
        }

        let hidden = NetError::HiddenLayer { name: "dropout".into(), kind: "Dropout" };
        assert_eq!(refused(&Quiet { dropout: DropoutConfig::new(0.5).init() }), Some(hidden));
    }
}
