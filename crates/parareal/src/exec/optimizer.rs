//! The state of optimizers, keyed by the names of parameters.
//!
//! Burn keys this state by random ids, which differ between processes. Here `units.3.conv1.weight.velocity`
//! is the field `velocity` that an optimizer keeps for the parameter `units.3.conv1.weight`. A number, such
//! as a count of steps, is a tensor without dimensions.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::ops::Range;

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::tensor::{DType, TensorData};
use burn_pack::{Reader, Scalar, Tensor as Packed, Writer};

use super::error::{ExecError, listed};
use crate::net::{Cuts, Identity, NamedTensor, Subnetwork};

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

/// Checks that each tensor belongs to a parameter of the subnetworks `held` or to another subnetwork, and
/// that [`write`] can read the numbers.
///
/// # Errors
/// [`ExecError::Optimizer`] with the names that belong to no parameter, or with the first name, in
/// alphabetical order, of a number whose type [`read`] never returns.
pub(super) fn check<'a>(
    tensors: &HashMap<String, TensorData>,
    cuts: &Cuts,
    held: &Range<usize>,
    parameters: impl IntoIterator<Item = &'a str>,
) -> Result<(), ExecError> {
    let parameters: HashSet<&str> = parameters.into_iter().collect();
    let is_elsewhere = |name: &str| cuts.owner(name).is_some_and(|owner| !held.contains(&owner));
    let (mut numbers, mut unknown) = (Vec::new(), Vec::new());
    for (name, data) in tensors {
        match owner(name, |parameter| parameters.get(parameter)) {
            Some(_) if data.shape().rank() == 0 => numbers.push((name, data)),
            Some(_) => {}
            None if is_elsewhere(name) => {}
            None => unknown.push(name.clone()),
        }
    }
    if !unknown.is_empty() {
        unknown.sort();
        return Err(failed(format!("the network has no parameter for {}", listed(&unknown))));
    }
    numbers.sort_by_key(|(name, _)| *name);
    numbers.into_iter().try_for_each(|(name, data)| scalar(name, data).map(|_| ()))
}

/// Splits `PARAMETER.FIELD`. A field may contain dots as well, so the parameter is the longest prefix for
/// which `find` returns a value.
fn owner<'a, P>(name: &'a str, find: impl Fn(&'a str) -> Option<P>) -> Option<(P, &'a str)> {
    let mut dots = name.rmatch_indices('.').map(|(dot, _)| dot);
    dots.find_map(|dot| Some((find(&name[..dot])?, &name[dot + 1..])))
}

/// Returns an optimizer like `fresh`, with state that [`read`] returned. A parameter without tensors in this
/// state has no state. Names of other subnetworks are ignored.
///
/// Burn silently ignores fields that an optimizer does not have, and the whole state of a parameter if one of
/// its fields is missing. So the state is read back and compared.
///
/// # Errors
/// [`ExecError::Optimizer`] with the names that the optimizer has not restored exactly.
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
    let mut given = Vec::new();
    for (name, data) in tensors {
        let owner = owner(name, |parameter| parameters.get(parameter));
        let Some((Identity { id, burn_path, .. }, field)) = owner else { continue };
        given.push((name, data));
        let key = format!("{id}.{field}");
        // The optimizer uses the path to find the group of the parameter.
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
    let loaded = fresh.load_record(OptimizerRecord::from_bytes(bytes).map_err(failed)?);
    let found = read(&loaded, module)?.into_iter().map(|tensor| (tensor.name, tensor.data));
    let found: HashMap<String, TensorData> = found.collect();
    let is_lost = |(name, data): &(&String, &TensorData)| {
        found.get(*name).is_none_or(|found| !is_same(name, data, found))
    };
    let mut lost: Vec<_> =
        given.into_iter().filter(is_lost).map(|(name, _)| name.clone()).collect();
    if lost.is_empty() {
        return Ok(loaded);
    }
    lost.sort();
    Err(failed(format!(
        "cannot restore {}: the optimizer must be the one that wrote them, with parameters of the \
         same type",
        listed(&lost)
    )))
}

/// Returns true if the tensor that was read back equals the given one. Numbers of different integer types are
/// compared by value.
fn is_same(name: &str, given: &TensorData, found: &TensorData) -> bool {
    if given.shape().rank() > 0 || given.dtype() == found.dtype() {
        return given.dtype() == found.dtype() && given == found;
    }
    let integer = |data| match scalar(name, data) {
        Ok(Scalar::Int(value)) => Some(i128::from(value)),
        Ok(Scalar::UInt(value)) => Some(i128::from(value)),
        _ => None,
    };
    integer(given).is_some() && integer(given) == integer(found)
}

/// Converts a number to a tensor, of a type that every reader of safetensors supports.
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

/// Reads the output of [`number`], and unsigned integers, which earlier versions wrote.
fn scalar(name: &str, data: &TensorData) -> Result<Scalar, ExecError> {
    let number = match data.dtype() {
        DType::I64 => data.iter::<i64>().next().map(Scalar::Int),
        DType::U64 => data.iter::<u64>().next().map(Scalar::UInt),
        DType::F64 => data.iter::<f64>().next().map(Scalar::Float),
        _ => None,
    };
    number.ok_or_else(|| {
        let found = data.dtype();
        failed(format!("`{name}` is a number of type {found:?}: expected I64, U64 or F64"))
    })
}

fn failed(error: impl Display) -> ExecError {
    ExecError::Optimizer(error.to_string())
}
