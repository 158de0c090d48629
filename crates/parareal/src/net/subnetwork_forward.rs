//! Forward passes of the modules of a subnetwork. Each module is a separate section for random layers.

use std::ops::Range;

use burn::module::Module;

use super::feed_forward::Layer;
use super::subnetwork::Subnetwork;
use super::value::Activation;
use crate::random::{Section, in_section};

impl<C: Module, U: Module, F: Module, H: Module> Subnetwork<C, U, F, H> {
    /// Computes `x_j = C_j(x)`.
    pub(crate) fn forward_preprocessing<X, S>(&self, input: X) -> S
    where
        C: Layer<X, S>,
    {
        in_section(Section::Preprocessing(self.index()), || self.preprocessing.forward(input))
    }

    /// Applies `F_{j-1}`. Returns `None` for the first subnetwork.
    pub(crate) fn forward_coarse<S>(&self, residual: S) -> Option<S>
    where
        F: Layer<S, S>,
    {
        let coarse = self.coarse.as_ref()?;
        Some(in_section(Section::Coarse(self.index()), || coarse.forward(residual)))
    }

    /// Computes equation (2): `x_j = C_j(x)` and `y_j = g_j(x_j)`.
    pub(crate) fn forward_fine<X, S: Activation>(&self, input: X) -> (S, S)
    where
        C: Layer<X, S>,
        U: Layer<S, S>,
    {
        let x: S = self.forward_preprocessing(input);
        let y = forward_units(self.numbered_units(0..self.units.len()), x.clone());
        (x, y)
    }

    /// Computes `U_j = y_j + F_{j-1}(U_{j-1} - x_j)`, equation (3b) in the form of the coarse chain. Without
    /// `U_{j-1}`, the result is `U_1 = y_1`.
    pub(crate) fn forward_chain<S: Activation>(&self, upstream: Option<S>, (x, y): (S, S)) -> S
    where
        F: Layer<S, S>,
    {
        match upstream.and_then(|upstream| self.forward_coarse(upstream.minus(x))) {
            Some(correction) => y.plus(correction),
            None => y,
        }
    }

    /// Applies `h`. Returns `None` for all subnetworks except the last.
    pub(crate) fn forward_postprocessing<S, Y>(&self, state: S) -> Option<Y>
    where
        H: Layer<S, Y>,
    {
        let h = self.postprocessing.as_ref()?;
        Some(in_section(Section::Postprocessing, || h.forward(state)))
    }

    /// Returns some of the units, with their indices in the whole network.
    pub(crate) fn numbered_units(&self, local: Range<usize>) -> impl Iterator<Item = (usize, &U)> {
        (self.unit_range().start + local.start..).zip(&self.units[local])
    }
}

/// Applies units, which are given with their indices in the whole network.
pub(crate) fn forward_units<'a, S, U: Layer<S, S>>(
    units: impl Iterator<Item = (usize, &'a U)>,
    start: S,
) -> S {
    units.fold(start, |state, (number, unit)| {
        in_section(Section::Unit(number), || unit.forward(state))
    })
}
