//! `plan`: shows how a network is cut, and predicts a step.

mod prediction;
mod step_text;
mod suggestion_text;

use parareal_vision::{NetworkConfig, Recipe};

use crate::arguments::Plan;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::network_text;
use crate::output::result;

pub(crate) fn run(arguments: &Plan) -> Result<Ending, Failure> {
    let mut network = NetworkConfig::resolve(&arguments.network.settings, Recipe::default())?;
    // Rejects an invalid network before anything is measured.
    network.summary(3, arguments.classes)?;
    network.net = network.net.with_classes(arguments.classes);
    let step = arguments.predict(&network)?;
    if let Some(step) = &step {
        network = step.planned.network.clone();
    }
    let summary = network.summary(3, arguments.classes)?;
    if arguments.json {
        let mut value = network_text::as_json(&network, &summary);
        if let Some(step) = &step {
            value["predicted"] = step.as_json();
        }
        result(&value.to_string())?;
    } else {
        let mut text = network_text::as_text(&network, &summary);
        if let Some(step) = &step {
            text = format!("{text}\n\n{}", step.as_text());
        }
        result(&text)?;
    }
    Ok(Ending::Done)
}
