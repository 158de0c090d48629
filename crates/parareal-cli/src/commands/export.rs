//! `export`: writes the weights of a run as one file.

use parareal_train::{Format, OutputFile};
use parareal_vision::export_run;

use crate::arguments::Export;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{amount, count, note, result};

pub(crate) fn run(arguments: Export) -> Result<Ending, Failure> {
    let which = arguments.checkpoint.parse()?;
    let output = OutputFile::new(&arguments.output, &[Format::Safetensors], arguments.overwrite)?;
    let exported = export_run(&arguments.run.into_path(), which, &output)?;
    if arguments.json {
        result(&serde_json::to_string(&exported).expect("numbers and names are JSON"))?;
    } else {
        note(&format!(
            "wrote {} of step {} to {} ({}B)",
            count(exported.tensors, "tensor"),
            exported.step,
            exported.path.display(),
            amount(exported.bytes),
        ));
    }
    Ok(Ending::Done)
}
