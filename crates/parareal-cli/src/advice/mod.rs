//! Messages of failed commands: errors of the libraries, with advice on flags and commands.
//!
//! The libraries know neither flags nor commands, so their errors state facts; the advice is added
//! here.

mod data;

use parareal_data::fetch::FetchError;
use parareal_data::one_line;
use parareal_train::TrainError;

use crate::failure::Failure;

/// The message of a failure on one line, followed by advice where there is any.
pub(crate) fn message(failure: &Failure) -> String {
    let message = match advice(failure) {
        Some(advice) => format!("{failure}; {advice}"),
        None => failure.to_string(),
    };
    one_line(&message)
}

/// What to do about a failure, as an imperative that follows its message.
fn advice(failure: &Failure) -> Option<String> {
    match failure {
        Failure::Train(TrainError::Data(error)) | Failure::Fetch(FetchError::Data(error)) => {
            data::of_data(error)
        }
        Failure::Fetch(error) => data::of_fetch(error),
        _ => None,
    }
}
