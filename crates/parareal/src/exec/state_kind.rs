use std::ops::Range;

use super::error::ExecError;
use super::optimizer;
use crate::net::{Cuts, StateDict};

/// The kind of state that an executor reads and writes by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Every parameter and buffer. Writing weights resets the optimizers and removes the moving average.
    Weights,
    /// The state of the optimizers, such as momentum, as tensors named `PARAMETER.FIELD`. A number, such as a count
    /// of steps, is a tensor without dimensions. A parameter without a tensor in a written state has no state
    /// afterwards.
    ///
    /// Burn's optimizers restore tensors in the default type of the device, 32-bit floats unless it is configured
    /// otherwise. The state of parameters of another type is refused if this would change it.
    Optimizer,
    /// The moving average of every parameter and buffer; nothing if no step requested one
    /// ([`Update::average_decay`](super::Update::average_decay)). Writing an empty state removes it.
    Average,
}

impl StateKind {
    /// Checks, before anything is replaced, that the subnetworks `held`, whose tensors have these names
    /// and shapes, can load a state of this kind.
    ///
    /// # Errors
    /// If the state belongs to another network, does not fit, or has an optimizer's number of a type
    /// that cannot be read. Whether the optimizers take a state is known only where they are:
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
