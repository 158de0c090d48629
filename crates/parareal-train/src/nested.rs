//! Nested initialization: initial weights of a deeper network from the weights of a shallower one.

use burn::tensor::TensorData;
use parareal::net::{NetError, StateDict};

/// The source of the weights of a unit of a deeper network. Units are numbered from 0 over the whole network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnitSource {
    /// A unit of the shallower network.
    Unit(usize),
    /// A weighted mean of two units of the shallower network with the same shapes: `(1 - share) · first + share ·
    /// second`.
    Between {
        /// The first unit.
        first: usize,
        /// The second unit.
        second: usize,
        /// Share of the second unit, from 0 to 1.
        share: f64,
    },
    /// The initial weights of the deeper network, for a unit whose shapes no unit of the shallower network has.
    Initial,
}

/// Spreads the units of a shallower network over a deeper one, and returns weights for the deeper one.
///
/// `initial` contains all initial weights of the deeper network, and `sources` the source of each of its units.
/// Running statistics are treated like parameters. `scale` is called with the index of a unit of the deeper
/// network and the name of a tensor within this unit, such as `conv3.weight`. It returns the factor by which the
/// tensor is multiplied.
///
/// The weights of preprocessing and postprocessing are copied from the shallower network. The weights of the
/// interfaces are copied as well if both networks have interface tensors of the same names and shapes. Otherwise
/// the result contains no interfaces ([`StateDict::units_only`]), and the interfaces of the deeper network keep
/// their initial weights. Names and shapes do not tell all kinds of coarse networks apart, nor where the cuts are: for
/// other coarse networks or cuts at other places, pass `weights.units_only()`.
///
/// # Errors
/// If a tensor of the deeper network has no counterpart ([`NetError::MissingTensor`]) or a counterpart of a
/// different shape ([`NetError::TensorShape`]).
///
/// # Examples
///
/// ```
/// use parareal_train::{UnitSource, spread_units};
/// use parareal_train::prelude::*;
/// use parareal::net::StateDict;
///
/// let weight = |unit: usize, value: f32| (format!("units.{unit}.weight"), [value].into());
/// let shallow = StateDict::new(Cuts::even(2, 1)?, [weight(0, 1.0), weight(1, 3.0)]);
/// let deep = StateDict::new(Cuts::even(3, 1)?, (0..3).map(|unit| weight(unit, 0.0)));
/// let between = UnitSource::Between { first: 0, second: 1, share: 0.5 };
/// let sources = [UnitSource::Unit(0), between, UnitSource::Unit(1)];
/// let spread = spread_units(&shallow, &deep, &sources, |_, _| 1.0)?;
/// assert_eq!(spread.tensors()["units.1.weight"].as_slice::<f32>().unwrap(), [2.0]);
/// # Ok::<(), parareal::net::NetError>(())
/// ```
///
/// # Panics
/// If the number of sources differs from the number of units of the deeper network.
pub fn spread_units(
    weights: &StateDict,
    initial: &StateDict,
    sources: &[UnitSource],
    scale: impl Fn(usize, &str) -> f64,
) -> Result<StateDict, NetError> {
    assert_eq!(sources.len(), initial.cuts().units(), "there is one source for each unit");
    let keeps_interfaces = interfaces(initial) == interfaces(weights);
    let initial = if keeps_interfaces { initial.clone() } else { initial.clone().units_only() };
    let mut tensors = Vec::with_capacity(initial.tensors().len());
    for (name, data) in initial.tensors() {
        let shape: &[usize] = data.shape().as_slice();
        let find = |name: String| find(weights, name, shape);
        let found = match unit_of(name) {
            Some((unit, rest)) => {
                let unit_name = |unit: usize| format!("units.{unit}.{rest}");
                let found = match sources[unit] {
                    UnitSource::Unit(unit) => find(unit_name(unit))?,
                    UnitSource::Between { first, second, share } => {
                        mean(&find(unit_name(first))?, &find(unit_name(second))?, share)
                    }
                    UnitSource::Initial => data.clone(),
                };
                scaled(found, scale(unit, rest))
            }
            None => find(name.clone())?,
        };
        tensors.push((name.clone(), found));
    }
    let spread = StateDict::new(initial.cuts().clone(), tensors);
    Ok(if keeps_interfaces { spread } else { spread.units_only() })
}

/// Returns the names and shapes of the interface tensors, sorted.
fn interfaces(weights: &StateDict) -> Vec<(&str, &[usize])> {
    let tensors = weights.interface_tensors();
    let mut all: Vec<_> = tensors.map(|(name, data)| (name, data.shape().as_slice())).collect();
    all.sort_unstable();
    all
}

/// Returns the index of a tensor's unit and the tensor's name within the unit; `None` for tensors of other
/// components.
fn unit_of(name: &str) -> Option<(usize, &str)> {
    let (unit, rest) = name.strip_prefix("units.")?.split_once('.')?;
    Some((unit.parse().ok()?, rest))
}

/// Returns the tensor with this name after checking its shape.
fn find(weights: &StateDict, name: String, expected: &[usize]) -> Result<TensorData, NetError> {
    let Some(data) = weights.tensors().get(&name) else {
        return Err(NetError::MissingTensor { name });
    };
    let found = data.shape().as_slice().to_vec();
    if found != expected {
        return Err(NetError::TensorShape { name, expected: expected.to_vec(), found });
    }
    Ok(data.clone())
}

/// Returns `(1 - share) · first + share · second`, in a form that is exact for equal values.
fn mean(first: &TensorData, second: &TensorData, share: f64) -> TensorData {
    let values = first.iter::<f64>().zip(second.iter::<f64>());
    let values = values.map(|(first, second)| first + share * (second - first));
    TensorData::new(values.collect(), first.shape().clone()).convert_dtype(first.dtype())
}

fn scaled(data: TensorData, factor: f64) -> TensorData {
    if factor == 1.0 {
        return data;
    }
    let values = data.iter::<f64>().map(|value| factor * value);
    TensorData::new(values.collect(), data.shape().clone()).convert_dtype(data.dtype())
}

#[cfg(test)]
mod tests {
    use parareal::net::Cuts;

    use super::*;

    /// Returns weights of units with a weight and a running mean of these values.
    fn dict(units: &[f32], cuts: &[usize], interface: Option<&[f32]>) -> StateDict {
        let both = |(unit, &value): (usize, &f32)| {
            ["weight", "norm.running_mean"]
                .map(|name| (format!("units.{unit}.{name}"), TensorData::from([value, -value])))
        };
        let mut all: Vec<(String, TensorData)> = units.iter().enumerate().flat_map(both).collect();
        all.push(("preprocessing.weight".into(), [units[0]].into()));
        all.push(("postprocessing.bias".into(), [units[0]].into()));
        if let Some(values) = interface {
            all.push(("interfaces.1.coarse.weight".into(), values.into()));
        }
        StateDict::new(Cuts::new(units.len(), cuts.to_vec()).unwrap(), all)
    }

    fn values<'a>(weights: &'a StateDict, name: &str) -> &'a [f32] {
        weights.tensors()[name].as_slice().unwrap()
    }

    const SOURCES: [UnitSource; 4] = [
        UnitSource::Unit(0),
        UnitSource::Between { first: 0, second: 1, share: 0.25 },
        UnitSource::Unit(1),
        UnitSource::Initial,
    ];

    #[test]
    fn units_are_copied_averaged_and_left_with_their_running_statistics() {
        let shallow = dict(&[1.0, 5.0], &[], None);
        let spread = spread_units(&shallow, &dict(&[7.0; 4], &[], None), &SOURCES, |_, _| 1.0);
        let spread = spread.unwrap();
        for name in ["weight", "norm.running_mean"] {
            for (unit, value) in [1.0f32, 2.0, 5.0, 7.0].into_iter().enumerate() {
                assert_eq!(values(&spread, &format!("units.{unit}.{name}")), [value, -value]);
            }
        }
        assert_eq!(values(&spread, "preprocessing.weight"), [1.0]);
        assert_eq!(values(&spread, "postprocessing.bias"), [1.0]);
    }

    #[test]
    fn the_mean_of_equal_units_is_that_unit() {
        let value = 0.1f32 + f32::EPSILON;
        let shallow = dict(&[value; 2], &[], None);
        for share in [0.0, 1.0 / 3.0, 0.7, 1.0] {
            let sources = [UnitSource::Between { first: 0, second: 1, share }; 4];
            let spread = spread_units(&shallow, &dict(&[7.0; 4], &[], None), &sources, |_, _| 1.0);
            assert_eq!(values(&spread.unwrap(), "units.3.weight"), [value, -value]);
        }
    }

    #[test]
    fn tensors_are_scaled_by_unit_and_name() {
        let scale = |unit, name: &str| if unit == 2 && name == "weight" { 0.5 } else { 1.0 };
        let (shallow, deep) = (dict(&[1.0, 5.0], &[], None), dict(&[7.0; 4], &[], None));
        let spread = spread_units(&shallow, &deep, &SOURCES, scale).unwrap();
        assert_eq!(values(&spread, "units.2.weight"), [2.5, -2.5]);
        assert_eq!(values(&spread, "units.2.norm.running_mean"), [5.0, -5.0]);
        assert_eq!(values(&spread, "units.0.weight"), [1.0, -1.0]);
    }

    #[test]
    fn interfaces_are_kept_where_they_have_the_same_shapes() {
        let has_interface = |shallow: Option<&[f32]>, deep: Option<&[f32]>| {
            let (shallow, deep) = (dict(&[1.0, 5.0], &[1], shallow), dict(&[7.0; 4], &[2], deep));
            let spread = spread_units(&shallow, &deep, &SOURCES, |_, _| 1.0).unwrap();
            spread.tensors().get("interfaces.1.coarse.weight").map(|data| data.iter().collect())
        };
        let same: Option<Vec<f32>> = has_interface(Some(&[9.0, 8.0]), Some(&[0.0, 0.0]));
        assert_eq!(same, Some(vec![9.0, 8.0]));
        assert_eq!(has_interface(Some(&[9.0]), Some(&[0.0, 0.0])), None);
        assert_eq!(has_interface(None, Some(&[0.0, 0.0])), None);
    }

    #[test]
    fn units_of_other_shapes_or_without_a_tensor_are_refused() {
        let (shallow, deep) = (dict(&[1.0, 5.0], &[], None), dict(&[7.0; 4], &[], None));
        let refused = |name: &str, data: Option<TensorData>| {
            let mut tensors = shallow.tensors().clone();
            tensors.remove(name);
            tensors.extend(data.map(|data| (name.to_string(), data)));
            let other = StateDict::new(shallow.cuts().clone(), tensors);
            spread_units(&other, &deep, &SOURCES, |_, _| 1.0).unwrap_err()
        };
        let name = "units.1.weight";
        let error = refused(name, Some([1.0f32].into()));
        assert_eq!(error.to_string(), format!("tensor `{name}` has shape [1]: expected [2]"));
        let error = refused(name, None);
        let is_named =
            matches!(&error, NetError::MissingTensor { name: missing } if missing == name);
        assert!(is_named, "{error}");
    }
}
