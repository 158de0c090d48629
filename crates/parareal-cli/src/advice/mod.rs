//! Messages of failed commands: errors of the libraries, with advice on flags and commands.
//!
//! The libraries know neither flags nor commands, so their errors state facts; the advice is added here.

mod train;

use parareal_data::one_line;

use crate::failure::Failure;

/// Returns the message of a failure on one line, followed by advice where there is any.
pub(crate) fn message(failure: &Failure) -> String {
    let message = match advice(failure) {
        Some(advice) => format!("{failure}; {advice}"),
        None => failure.to_string(),
    };
    one_line(&message)
}

/// Returns what to do about a failure, as an imperative that follows its message.
fn advice(failure: &Failure) -> Option<String> {
    match failure {
        Failure::Train(error) => train::of_train(error),
        _ => None,
    }
}
