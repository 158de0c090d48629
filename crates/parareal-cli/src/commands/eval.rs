//! `eval`: evaluates saved weights of a run.

use parareal_vision::evaluate_with;

use crate::arguments::Eval;
use crate::commands::loading::Loading;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{note, percent, result};

pub(crate) fn run(arguments: Eval) -> Result<Ending, Failure> {
    let Eval { run, checkpoint, flags, json } = arguments;
    let loading = Loading::default();
    let progress = |progress| loading.show(progress);
    let evaluation =
        evaluate_with(&run.into_path(), checkpoint.parse()?, flags.settings, &progress)?;
    evaluation.notes.iter().for_each(|remark| note(&format!("note: {remark}")));
    if json {
        result(&serde_json::to_string(&evaluation).expect("numbers and names are JSON"))?;
    } else {
        result(&format!(
            "epoch {}, step {}: test loss {:.4}, test error {} ({} of {} images wrong), top-5 error {}",
            evaluation.epoch,
            evaluation.step,
            evaluation.test_loss,
            percent(evaluation.test_error),
            evaluation.wrong,
            evaluation.images,
            percent(evaluation.test_top5_error),
        ))?;
    }
    if let Some(path) = &evaluation.details {
        note(&format!("details of the evaluation are in {}", path.display()));
    }
    Ok(Ending::Done)
}
