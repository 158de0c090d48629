//! Networks and their cuts as JSON and as text.

use parareal_train::RunConfig;
use parareal_vision::{
    CoarseCost, Config, CostBasis, Cutting, NetworkConfig, Precision, Summary, UnitKind,
};
use serde_json::{Value, json};

use crate::output::{amount, count, table};

pub(crate) fn as_json(network: &NetworkConfig, summary: &Summary) -> Value {
    let coarse_units: Vec<usize> = summary.coarse.iter().map(|choice| choice.units).collect();
    json!({
        "network": summary.network,
        "width": summary.width,
        "precision": network.net.precision().to_string(),
        "classes": summary.classes,
        "subnetworks": summary.subnetworks,
        "coarse_unit": network.coarse_kind.to_string(),
        "coarse_units": coarse_units,
        "units": summary.units,
        "cuts": summary.cuts,
        "parameters": summary.parameters,
        "coarse_choices": summary.coarse,
        "coarse_costs": network.coarse_costs(),
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
        format!(
            "{}, {} classes, cut into {}{}",
            summary.network,
            summary.classes,
            subnetworks(summary),
            precision(network.net.precision()),
        ),
        table(&rows),
    ];
    if summary.subnetworks > 1 {
        sections.push(format!("Coarse networks ({})\n{}", network.coarse_kind, coarse(network)));
    }
    sections.extend(coarse_warning(network));
    sections.push(format!("Parameters\n{}", table(&counts)));
    sections.join("\n\n")
}

/// Returns what is unusual about the steps of a run, each part after a comma.
pub(crate) fn step_details(config: &Config) -> String {
    let RunConfig { accumulate, sync_batch_norm, launch_graphs, replicas, .. } = config.run;
    let mut details = precision(config.network.net.precision());
    if accumulate > 1 {
        details += &format!(", steps of {accumulate} micro-batches");
    }
    if sync_batch_norm && replicas > 1 {
        details += ", batch normalization over all replicas";
    }
    if launch_graphs {
        details += ", recorded launches";
    }
    details
}

/// Returns a precision that is not the usual one, after a comma.
pub(crate) fn precision(precision: Precision) -> String {
    match precision {
        Precision::F32 => String::new(),
        other => format!(", states in {other}"),
    }
}

/// Formats the coarse network of each interface with its cost.
pub(crate) fn coarse(network: &NetworkConfig) -> String {
    let reasons = network.coarse_reasons();
    let lines = reasons.iter().enumerate().map(|(index, reason)| {
        let (before, after) = (index + 1, index + 2);
        format!("  interface {before} (subnetworks {before} and {after}): {reason}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns a warning about coarse networks that are not cheaper than the subnetworks that they
/// approximate, with flags that make them cheaper; `None` if all are cheaper.
pub(crate) fn coarse_warning(network: &NetworkConfig) -> Option<String> {
    let costs = network.coarse_costs();
    let costly: Vec<&CoarseCost> = costs.iter().filter(|cost| !cost.is_cheaper).collect();
    let (basis, limit) = match costly.first()?.basis {
        CostBasis::MultiplyAdds => ("multiply-adds", "on a compute-bound device, "),
        CostBasis::Time => ("time", ""),
    };
    let shares: Vec<String> = costly
        .iter()
        .map(|cost| format!("{:.0} % at interface {}", 100.0 * cost.share, cost.interface))
        .collect();
    let shown = match shares.len() {
        1..=4 => shares.join(", "),
        more => format!("{}, and {} more", shares[..3].join(", "), more - 3),
    };
    let (subject, cuts) = match costly.len() {
        1 => ("is not cheaper than the subnetwork that it approximates", "this cut does"),
        _ => ("are not cheaper than the subnetworks that they approximate", "these cuts do"),
    };
    let flags = cheaper(network);
    let either = if flags.is_empty() { "" } else { " or " };
    Some(format!(
        "warning: {} of {} {subject} ({shown}, in {basis}): {limit}{cuts} not shorten a training \
         step; try {}{either}fewer subnetworks (--subnetworks)",
        costly.len(),
        count(costs.len(), "coarse network"),
        flags.join(", "),
    ))
}

/// Kinds of coarse units to propose, from the most to the least accurate one in `benchmarks/coarse-units`.
const CHEAP_KINDS: [UnitKind; 4] =
    [UnitKind::RECOMMENDED, UnitKind::Half, UnitKind::Quarter, UnitKind::Bottleneck];

/// Returns flags that make all coarse networks cheaper than the subnetworks that they approximate, by multiply-adds: the
/// most accurate kind that does, and even cuts. If there are none, returns flags that make them cheaper than they are.
fn cheaper(network: &NetworkConfig) -> Vec<String> {
    let share = |change: &dyn Fn(&mut NetworkConfig)| {
        let mut changed = NetworkConfig { coarse_times: None, ..network.clone() };
        change(&mut changed);
        changed.coarse_costs().iter().map(|cost| cost.share).fold(0.0, f64::max)
    };
    let single =
        |network: &mut NetworkConfig| network.net = network.net.clone().with_coarse_units(Some(1));
    let of_kind = |kind: UnitKind| {
        move |network: &mut NetworkConfig| network.net = network.net.clone().with_coarse_kind(kind)
    };
    let kind = |kind: UnitKind| (format!("--coarse-unit {kind}"), share(&of_kind(kind)));
    let single_of_kind = |kind: UnitKind| {
        let both = |network: &mut NetworkConfig| {
            of_kind(kind)(network);
            single(network);
        };
        (format!("--coarse-unit {kind} --coarse-units 1"), share(&both))
    };
    let fewer = ("--coarse-units 1".to_string(), share(&single));
    let even = network.net.default_cuts(network.cuts.subnetworks());
    let even = even.ok().filter(|_| network.cutting != Cutting::Even);
    let even =
        even.map(|cuts| ("--cuts even".to_string(), share(&|network| network.cuts = cuts.clone())));

    let below = |limit: f64| move |proposal: &(String, f64)| proposal.1 < limit;
    let accepted = |kind: &UnitKind| network.net.accepts(*kind);
    let kinds = CHEAP_KINDS.into_iter().filter(accepted);
    let of_kinds = kinds.flat_map(|own| [kind(own), single_of_kind(own)]);
    let first = [fewer.clone()].into_iter().chain(of_kinds).find(below(1.0));
    let enough: Vec<_> = first.into_iter().chain(even.clone().filter(below(1.0))).collect();
    let proposals = match enough.is_empty() {
        false => enough,
        true => {
            let cheapest = CHEAP_KINDS.into_iter().rfind(accepted).map(kind);
            let all = [fewer].into_iter().chain(cheapest).chain(even);
            all.filter(below(share(&|_| {}))).collect()
        }
    };
    proposals.into_iter().map(|(flags, _)| flags).collect()
}

pub(crate) fn subnetworks(summary: &Summary) -> String {
    count(summary.subnetworks, "subnetwork")
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}
