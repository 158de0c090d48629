//! `report`: writes a page about one or several runs.

use parareal_train::{Format, OutputFile};

use crate::arguments::Report;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{count, note};

pub(crate) fn run(arguments: &Report) -> Result<Ending, Failure> {
    let Report { output, overwrite, .. } = arguments;
    let runs = arguments.runs();
    let file = OutputFile::new(output, &[Format::Html], *overwrite)?;
    let page = parareal_report::render(&runs)?;
    file.write(page.as_bytes())?;
    note(&format!("wrote a report of {} to {}", count(runs.len(), "run"), output.display()));
    Ok(Ending::Done)
}
