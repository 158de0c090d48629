//! Messages of failed commands: errors of the libraries, with advice on flags and commands.
//!
//! The libraries do not know the command line, so their errors state facts only; the advice is added
//! here.

mod data;
mod report;
mod train;
mod vision;

use parareal_data::fetch::FetchError;
use parareal_text::one_line;

use crate::failure::Failure;

/// Returns the message of a failure on one line, followed by advice if there is any.
pub(crate) fn message(failure: &Failure) -> String {
    one_line(&match advice(failure) {
        Some(advice) => format!("{failure}; {advice}"),
        None => failure.to_string(),
    })
}

/// Returns advice on a failure, as an imperative that follows its message.
fn advice(failure: &Failure) -> Option<String> {
    match failure {
        Failure::Vision(error) => vision::of_vision(error),
        Failure::Fetch(FetchError::Data(error)) => data::of_data(error),
        Failure::Fetch(error) => data::of_fetch(error),
        Failure::Report(error) => report::of_report(error),
        Failure::Agreed { failure, .. } => advice(failure),
        _ => None,
    }
}
