//! Working memory that is used again for each block of pixels.

use super::bf16_product::TileScratch;
use super::winograd;

/// Reusable working memory of the algorithms.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) winograd: winograd::Scratch,
    pub(crate) tiles: TileScratch,
}

/// Returns memory for `len` values. It may contain values from earlier uses.
pub(crate) fn scratch_slice<T: Copy + Default>(values: &mut Vec<T>, len: usize) -> &mut [T] {
    if values.len() < len {
        *values = vec![T::default(); len];
    }
    &mut values[..len]
}
