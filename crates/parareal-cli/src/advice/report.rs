//! Advice for errors of reports.

use parareal_report::ReportError;

/// Returns advice on an error; `None` if the error suffices.
pub(crate) fn of_report(error: &ReportError) -> Option<String> {
    match error {
        ReportError::NoRuns | ReportError::NoRun { .. } => {
            Some("pass a folder that `parareal train` wrote".into())
        }
        _ => None,
    }
}
