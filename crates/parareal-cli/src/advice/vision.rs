//! Advice for errors of image classification.

use parareal_vision::{CostError, VisionError};

use super::data::of_data;
use super::train::of_train;

/// Returns advice on an error; `None` if the error suffices.
pub(crate) fn of_vision(error: &VisionError) -> Option<String> {
    let advice = match error {
        VisionError::Train(error) => return of_train(error),
        VisionError::Data(error) => return of_data(error),
        VisionError::Agreed { error, .. } => return of_vision(error),
        VisionError::OtherImages { .. } => {
            "pass the same images with --data-dir, or start a new run"
        }
        VisionError::Costs { .. } => "`parareal bench --json` writes such a file",
        VisionError::Cost(CostError::Missing(_)) => {
            "measure the costs with the same --network, --width, --image-size and --coarse-unit"
        }
        VisionError::Cost(CostError::Classes { expected, found }) => {
            return Some(format!(
                "pass --classes {found}, or measure the costs of this network with `parareal bench --classes {expected}`"
            ));
        }
        VisionError::Cost(CostError::Channels { .. }) => {
            "measure the costs with `parareal bench --json`"
        }
        _ => return None,
    };
    Some(advice.into())
}
