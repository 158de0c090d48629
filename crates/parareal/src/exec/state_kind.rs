use std::ops::Range;

use super::error::ExecError;
use super::optimizer;
use crate::net::{Cuts, StateDict};

/// The kinds of state that an executor reads and writes as named tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Every parameter and buffer. Writing weights resets the optimizers and removes the moving average.
    Weights,
    /// The state of the optimizers, such as momentum, as tensors named `PARAMETER.FIELD`. A number, such as a
    /// count of steps, is a tensor without dimensions. After writing, a parameter without a tensor in the
    /// written state has no state.
    ///
    /// Burn's optimizers restore tensors in the default type of the device, which is 32-bit floats unless
    /// configured otherwise. The state of parameters of a different type is rejected if the conversion would
    /// change it.
    Optimizer,
    /// The moving average of every parameter and buffer. It is empty if no step has requested one
    /// ([`Update::average_decay`](super::Update::average_decay)). Writing an empty state removes the moving
    /// average.
    Average,
}

impl StateKind {
    /// Checks that the subnetworks `held` can load a state of this kind. `tensors` are the names and shapes
    /// of their tensors.
    ///
    /// # Errors
    /// If the state belongs to a different network, does not fit, or contains an optimizer's number whose
    /// type cannot be read. This function cannot check whether the optimizers accept a state; see
    /// [`TrainedModule::check_optimizer`](super::trained_module::TrainedModule::check_optimizer).
    pub(super) fn check<'a>(
        self,
        state: &StateDict,
        cuts: &Cuts,
        held: &Range<usize>,
        tensors: impl IntoIterator<Item = &'a (String, Vec<usize>)>,
    ) -> Result<(), ExecError> {
        let tensors = tensors.into_iter();
        let tensors = tensors.map(|(name, shape)| (name.as_str(), shape.as_slice()));
        match self {
            Self::Optimizer => {
                state.check_cuts(cuts)?;
                optimizer::check(state.tensors(), cuts, held, tensors.map(|(name, _)| name))
            }
            Self::Average if state.tensors().is_empty() => Ok(state.check_cuts(cuts)?),
            Self::Weights | Self::Average => Ok(state.check(cuts, held, tensors)?),
        }
    }
}
