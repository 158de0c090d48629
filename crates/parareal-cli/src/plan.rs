//! How a plan looks, as JSON and as text.

use parareal_train::{NetworkConfig, Summary};
use serde_json::{Value, json};

use crate::output::{amount, count, table};

pub(crate) fn as_json(network: &NetworkConfig, summary: &Summary) -> Value {
    let coarse_units: Vec<usize> = summary.coarse.iter().map(|choice| choice.units).collect();
    json!({
        "network": summary.network,
        "classes": summary.classes,
        "subnetworks": summary.subnetworks,
        "coarse_unit": network.coarse_kind.to_string(),
        "coarse_units": coarse_units,
        "units": summary.units,
        "cuts": summary.cuts,
        "parameters": summary.parameters,
        "coarse_choices": summary.coarse,
    })
}

pub(crate) fn as_text(network: &NetworkConfig, summary: &Summary) -> String {
    let parameters = &summary.parameters;
    let mut rows = vec![row(["subnetwork", "units", "parameters"])];
    for (index, (units, own)) in summary.units.iter().zip(&parameters.per_subnetwork).enumerate() {
        rows.push(row([&(index + 1).to_string(), &units.to_string(), &amount(*own)]));
    }
    let counts = [
        row(["original network", &amount(parameters.original)]),
        row(["all preprocessing", &amount(parameters.preprocessing)]),
        row(["all units", &amount(parameters.per_subnetwork.iter().sum::<usize>())]),
        row(["all coarse networks", &amount(parameters.coarse)]),
        row(["postprocessing", &amount(parameters.postprocessing)]),
        row(["parareal network", &amount(parameters.total)]),
    ];
    let mut sections = vec![
        format!("{}, {} classes, cut into {}", summary.network, summary.classes, pieces(summary)),
        table(&rows),
    ];
    if summary.subnetworks > 1 {
        sections.push(format!("Coarse networks ({})\n{}", network.coarse_kind, coarse(network)));
    }
    sections.push(format!("Parameters\n{}", table(&counts)));
    sections.join("\n\n")
}

/// What bridges each interface, and why.
pub(crate) fn coarse(network: &NetworkConfig) -> String {
    let reasons = network.coarse_reasons();
    let lines = reasons.iter().enumerate().map(|(index, reason)| {
        let (before, behind) = (index + 1, index + 2);
        format!("  interface {before} (subnetworks {before} and {behind}): {reason}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(crate) fn pieces(summary: &Summary) -> String {
    count(summary.subnetworks, "subnetwork")
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}
