use burn::tensor::TensorData;

/// A parameter, buffer or gradient with its name in the network.
///
/// Units are numbered consecutively through the whole network, from 0, so the name `units.17.conv1.weight`
/// does not depend on the cuts. The names of the modules that interface `j` adds start with `interfaces.j`:
/// `interfaces.1.preprocessing` is `C_2`, and `interfaces.1.coarse` is `F_1`. The variant of an enum is not
/// part of a name.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// The dotted name.
    pub name: String,
    /// The shape, type and values.
    pub data: TensorData,
    /// True for a parameter that requires a gradient, false for a buffer such as a running mean.
    pub trainable: bool,
}

/// Converts names within a subnetwork to names within the network.
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

/// The current path of a visitor in a module.
pub(super) struct Path {
    naming: Naming,
    /// The name of each submodule on the path, and true for the variant of an enum.
    submodules: Vec<(String, bool)>,
}

impl Path {
    pub(super) fn new(naming: Naming) -> Self {
        Self { naming, submodules: Vec::new() }
    }

    /// Enters a submodule of a container.
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.submodules.push((name.to_string(), is_enum(container)));
    }

    /// Leaves the submodule that was entered last.
    pub(super) fn exit(&mut self) {
        self.submodules.pop();
    }

    /// Returns the path within the subnetwork that Burn's optimizers use for a parameter.
    pub(super) fn of_burn(&self) -> String {
        self.joined(|_| true)
    }

    /// Returns the name within the network.
    pub(super) fn global(&self) -> String {
        self.naming.global(&self.joined(|is_variant| !is_variant))
    }

    /// Joins the names of the wanted submodules. The argument of `is_wanted` is true for the variant of an
    /// enum.
    fn joined(&self, is_wanted: impl Fn(bool) -> bool) -> String {
        let wanted = self.submodules.iter().filter(|(_, is_variant)| is_wanted(*is_variant));
        wanted.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }
}

/// Returns true for the container type that Burn's derive reports for the variant of an enum.
pub(super) fn is_enum(container: &str) -> bool {
    container.starts_with("Enum:")
}

#[cfg(test)]
mod tests {
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
}
