//! The data that the backward pass of a chain needs.

use burn_cubecl::tensor::CubeTensor;

use super::forward::Convolution;
use super::matrices::FactorType;
use super::shape::ConvShape;

/// The convolutions of a chain.
#[derive(Debug)]
pub(crate) struct SavedChain {
    pub(crate) layers: Vec<SavedLayer>,
    /// True if the input of the first convolution is added to the output of the last.
    pub(crate) adds_input: bool,
    /// The projection whose output is added to that of the last convolution.
    pub(crate) projection: Option<SavedProjection>,
}

/// A convolution of the normalized input of the first convolution.
#[derive(Debug)]
pub(crate) struct SavedProjection {
    pub(crate) shape: ConvShape,
    pub(crate) weight: CubeTensor,
}

impl SavedProjection {
    /// Returns the projection, where `first` is the first convolution.
    pub(crate) fn convolution<'a>(&'a self, first: &'a SavedLayer) -> Convolution<'a> {
        Convolution { shape: self.shape, weight: &self.weight, ..first.convolution() }
    }
}

/// One convolution of a chain.
#[derive(Debug)]
pub(crate) struct SavedLayer {
    pub(crate) shape: ConvShape,
    pub(crate) batch: usize,
    pub(crate) input: CubeTensor,
    pub(crate) weight: CubeTensor,
    pub(crate) norm: Option<SavedNorm>,
    /// As [`Convolution::factors`].
    pub(crate) factors: Option<FactorType>,
}

#[derive(Debug)]
pub(crate) struct SavedNorm {
    /// The folded normalization.
    pub(crate) map: CubeTensor,
    pub(crate) is_batch: bool,
}

impl SavedChain {
    /// Returns the convolution of this number. After the layers it is the projection.
    pub(crate) fn convolution(&self, number: usize) -> Convolution<'_> {
        match &self.projection {
            Some(projection) if number == self.layers.len() => {
                projection.convolution(&self.layers[0])
            }
            _ => self.layers[number].convolution(),
        }
    }
}

impl SavedLayer {
    pub(crate) fn convolution(&self) -> Convolution<'_> {
        let Self { shape, batch, input, weight, norm, factors } = self;
        let map = norm.as_ref().map(|norm| &norm.map);
        let (shape, batch, factors) = (*shape, *batch, *factors);
        Convolution { shape, batch, input, map, weight, factors }
    }

    /// The number of parents that this convolution adds to the node: its weight, and with a normalization also scale and
    /// shift.
    pub(crate) fn parents(&self) -> usize {
        if self.norm.is_some() { 3 } else { 1 }
    }
}
