//! The state of optimizers by the names of the parameters that it belongs to.
//!
//! Burn keys it by random ids, which differ between processes. Here `units.3.conv1.weight.velocity`
//! is what an optimizer keeps as `velocity` for the parameter `units.3.conv1.weight`; a number,
//! such as a count of steps, is a tensor without dimensions.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::tensor::{DType, TensorData};
use burn_pack::{Reader, Scalar, Tensor as Packed, Writer};

use super::error::ExecError;
use crate::net::{Identity, NamedTensor, Subnetwork};

/// Returns the state of the optimizer of a subnetwork.
pub(super) fn read<C: Module, U: Module, F: Module, H: Module>(
    optimizer: &ModuleOptimizer,
    module: &Subnetwork<C, U, F, H>,
) -> Result<Vec<NamedTensor>, ExecError>
where
    Subnetwork<C, U, F, H>: Module,
{
    let names: HashMap<u64, String> =
        module.identities().into_iter().map(|parameter| (parameter.id, parameter.name)).collect();
    let global = |key: &str| {
        let (id, field) = key.split_once('.')?;
        Some(format!("{}.{field}", names.get(&id.parse().ok()?)?))
    };
    let record = Reader::from_bytes(optimizer.into_bytes().map_err(failed)?).map_err(failed)?;
    let mut tensors = Vec::new();
    let mut push = |key: &str, data: TensorData| {
        tensors.extend(global(key).map(|name| NamedTensor { name, data, trainable: false }));
    };
    for (key, &value) in record.scalars() {
        push(key, number(value)?);
    }
    for tensor in record.into_tensors().map_err(failed)? {
        let (key, dtype, shape, _, bytes) = tensor.into_parts().map_err(failed)?;
        push(&key, TensorData::from_bytes(bytes, shape, dtype));
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// Checks that [`write`] can read the numbers that belong to parameters.
///
/// # Errors
/// [`ExecError::Optimizer`] with the first one, by name, of a type that [`read`] never returns.
pub(super) fn check<'a>(
    tensors: &HashMap<String, TensorData>,
    parameters: impl IntoIterator<Item = &'a str>,
) -> Result<(), ExecError> {
    let parameters: HashSet<&str> = parameters.into_iter().collect();
    let owned = |name: &str| owner(name, |parameter| parameters.get(parameter)).is_some();
    let mut numbers: Vec<_> = tensors
        .iter()
        .filter(|(name, data)| data.shape().rank() == 0 && owned(name.as_str()))
        .collect();
    numbers.sort_by_key(|(name, _)| *name);
    numbers.into_iter().try_for_each(|(name, data)| scalar(name, data).map(|_| ()))
}

/// Splits `PARAMETER.FIELD`. A field may have dots as well: the longest name that `find` knows as a
/// parameter's counts.
fn owner<'a, P>(name: &'a str, find: impl Fn(&'a str) -> Option<P>) -> Option<(P, &'a str)> {
    let mut dots = name.rmatch_indices('.').map(|(dot, _)| dot);
    dots.find_map(|dot| Some((find(&name[..dot])?, &name[dot + 1..])))
}

/// Returns an optimizer like `fresh` with the state that [`read`] returned. A parameter that is not
/// among its names has no state; other names are ignored.
pub(super) fn write<C: Module, U: Module, F: Module, H: Module>(
    fresh: ModuleOptimizer,
    module: &Subnetwork<C, U, F, H>,
    tensors: &HashMap<String, TensorData>,
) -> Result<ModuleOptimizer, ExecError>
where
    Subnetwork<C, U, F, H>: Module,
{
    let parameters: HashMap<String, Identity> = module
        .identities()
        .into_iter()
        .map(|parameter| (parameter.name.clone(), parameter))
        .collect();
    let (mut packed, mut scalars, mut paths) = (Vec::new(), Vec::new(), HashMap::new());
    for (name, data) in tensors {
        let owner = owner(name, |parameter| parameters.get(parameter));
        let Some((Identity { id, burn_path, .. }, field)) = owner else { continue };
        let key = format!("{id}.{field}");
        // By its path the optimizer finds the group that the parameter belongs to.
        paths.insert(id.to_string(), burn_path);
        match data.shape().rank() {
            0 => scalars.push((key, scalar(name, data)?)),
            _ => {
                let (bytes, shape, dtype) = data.clone().into_parts();
                packed.push(Packed::new(key, dtype, shape, Some(*id), bytes));
            }
        }
    }
    let mut writer = Writer::new(packed);
    for (key, value) in scalars {
        writer = writer.with_scalar(&key, value);
    }
    for (key, path) in paths {
        writer = writer.with_metadata(&key, path);
    }
    let bytes = writer.into_bytes().map_err(failed)?;
    Ok(fresh.load_record(OptimizerRecord::from_bytes(bytes).map_err(failed)?))
}

/// A number as a tensor of a type that every reader of safetensors knows.
fn number(value: Scalar) -> Result<TensorData, ExecError> {
    const NO_DIMENSIONS: [usize; 0] = [];
    let integer = |value: i64| TensorData::new(vec![value], NO_DIMENSIONS);
    Ok(match value {
        Scalar::Int(value) => integer(value),
        Scalar::UInt(value) => integer(i64::try_from(value).map_err(failed)?),
        Scalar::Float(value) => TensorData::new(vec![value], NO_DIMENSIONS),
        Scalar::Bool(value) => integer(i64::from(value)),
    })
}

/// Reads the output of [`number`]; unsigned integers are read as well, which earlier versions wrote.
fn scalar(name: &str, data: &TensorData) -> Result<Scalar, ExecError> {
    let number = match data.dtype() {
        DType::I64 => data.iter::<i64>().next().map(Scalar::Int),
        DType::U64 => data.iter::<u64>().next().map(Scalar::UInt),
        DType::F64 => data.iter::<f64>().next().map(Scalar::Float),
        _ => None,
    };
    number.ok_or_else(|| {
        let found = data.dtype();
        failed(format!("`{name}` is a number of type {found:?}: I64, U64 or F64 is expected"))
    })
}

fn failed(error: impl Display) -> ExecError {
    ExecError::Optimizer(error.to_string())
}
