//! Splitting a batch over replicas and micro-batches.

use std::ops::Range;

use super::error::ExecError;
use super::layout::even_shares;
use crate::net::Value;

/// Splits the samples of a batch evenly over the micro-batches of all replicas, replica by replica.
///
/// # Errors
/// [`ExecError::Batch`] if there are fewer samples than parts.
pub(super) fn split(
    samples: usize,
    replicas: usize,
    micro_batches: usize,
) -> Result<Vec<Range<usize>>, ExecError> {
    let parts = replicas.saturating_mul(micro_batches);
    if parts == 0 || samples < parts {
        return Err(ExecError::Batch { samples, replicas, micro_batches });
    }
    Ok(even_shares(samples, parts).collect())
}

/// Returns the samples of a value in the range `part`, which may contain all of them.
pub(super) fn samples_of<V: Value>(value: &V, part: &Range<usize>) -> V {
    match *part == (0..value.samples()) {
        true => value.clone(),
        false => value.clone().part(part.clone()),
    }
}

/// Concatenates the samples of all parts on the device of the first one.
pub(super) fn join<V: Value>(mut parts: Vec<V>) -> V {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let device = parts[0].device();
    V::join(parts.into_iter().map(|part| part.to_device(&device)).collect())
}
