//! Advice for errors of reports.

use parareal_report::ReportError;

/// Returns what to do about an error; `None` where the error says it all.
pub(crate) fn of_report(error: &ReportError) -> Option<String> {
    match error {
        ReportError::NoRuns | ReportError::NoRun { .. } => {
            Some("name a folder that `parareal train` wrote".into())
        }
        _ => None,
    }
}
