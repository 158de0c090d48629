//! Networks and their cuts as JSON and as text.

use parareal_train::RunConfig;
use parareal_vision::{
    CoarseCost, CoarseKind, Config, CostBasis, Cutting, NetworkConfig, Precision, Summary, UnitKind,
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

/// A change of a network, as flags of the command.
struct Proposal {
    flags: String,
    network: NetworkConfig,
}

/// Returns the largest cost of a coarse network relative to the subnetwork that it approximates.
fn largest_share(network: &NetworkConfig) -> f64 {
    network.coarse_costs().iter().map(|cost| cost.share).fold(0.0, f64::max)
}

/// Returns the largest share as [`largest_share`], in multiply-adds even if times are known.
fn largest_share_of_multiply_adds(network: &NetworkConfig) -> f64 {
    largest_share(&NetworkConfig { coarse_times: None, ..network.clone() })
}

/// Returns flags that make all coarse networks cheaper than the subnetworks that they approximate: those of the first
/// coarse units among [`other_coarse_units`] that are, and even cuts. If neither is sufficient, returns flags that make
/// them cheaper than they are.
///
/// Costs of changed networks are compared in multiply-adds. If those of the network are times, the times are assumed to
/// be proportional.
fn cheaper(network: &NetworkConfig) -> Vec<String> {
    let share = |proposal: &Proposal| largest_share_of_multiply_adds(&proposal.network);
    let now = largest_share_of_multiply_adds(network);
    let sufficient = now.min(now / largest_share(network));
    let coarse = other_coarse_units(network);
    let even = even_cuts(network);
    let below = |limit: f64| move |proposal: &&Proposal| share(proposal) < limit;
    let mut found: Vec<&Proposal> = Vec::new();
    found.extend(coarse.iter().find(below(sufficient)));
    found.extend(even.iter().find(below(sufficient)));
    if found.is_empty() {
        let cheapest = coarse.iter().min_by(|a, b| share(a).total_cmp(&share(b)));
        found.extend(cheapest.into_iter().chain(&even).filter(below(now)));
    }
    found.into_iter().map(|proposal| proposal.flags.clone()).collect()
}

/// Returns a network with other coarse units each: the recommended ones, a single one of its own kind, and single ones of kinds
/// with fewer multiply-adds. In `benchmarks/coarse-units`, errors grow in this order.
fn other_coarse_units(network: &NetworkConfig) -> Vec<Proposal> {
    let change = |flags: &[&str], kind: CoarseKind, units: Option<usize>| {
        let net = network.net.clone().with_coarse_kind(kind).with_coarse_units(units);
        Proposal { flags: flags.join(" "), network: NetworkConfig { net, ..network.clone() } }
    };
    let single = "--coarse-units 1";
    let recommended = match network.coarse_units {
        None => change(&["--coarse-unit auto"], CoarseKind::Auto, None),
        Some(_) => change(&["--coarse-unit auto", single], CoarseKind::Auto, Some(1)),
    };
    let mut proposals = vec![recommended, change(&[single], network.coarse_kind, Some(1))];
    for kind in [UnitKind::Quarter, UnitKind::Bottleneck] {
        if network.net.accepts(kind) {
            let flag = format!("--coarse-unit {kind}");
            proposals.push(change(&[&flag, single], kind.into(), Some(1)));
        }
    }
    proposals
}

/// Returns the network with even cuts, unless it has them.
fn even_cuts(network: &NetworkConfig) -> Option<Proposal> {
    let subnetworks = network.cuts.subnetworks();
    let flags = match network.cutting {
        Cutting::Even => return None,
        Cutting::Balanced => "--cuts even".to_string(),
        Cutting::Given => format!("--cuts even --subnetworks {subnetworks}"),
    };
    let cuts = network.net.default_cuts(subnetworks).ok()?;
    Some(Proposal { flags, network: NetworkConfig { cuts, ..network.clone() } })
}

pub(crate) fn subnetworks(summary: &Summary) -> String {
    count(summary.subnetworks, "subnetwork")
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}

#[cfg(test)]
mod tests {
    use parareal_vision::{Recipe, Settings};

    use super::*;

    /// Returns the flags that are proposed for three subnetworks of depth 110 whose coarse networks take longer than what
    /// they approximate, although they have fewer multiply-adds.
    fn proposed(kind: CoarseKind, units: Option<usize>) -> Vec<String> {
        let settings = Settings {
            depth: Some(110),
            subnetworks: Some(3),
            coarse_unit: Some(kind),
            coarse_units: units,
            ..Settings::default()
        };
        let network = NetworkConfig::resolve(&settings, Recipe::default()).unwrap();
        assert!(network.coarse_costs().iter().all(|cost| cost.is_cheaper));
        cheaper(&NetworkConfig { coarse_times: Some(vec![1.1, 1.3]), ..network })
    }

    #[test]
    fn only_what_has_fewer_multiply_adds_is_proposed_for_long_times() {
        let quarter = "--coarse-unit quarter --coarse-units 1";
        assert_eq!(proposed(CoarseKind::Auto, None), [quarter]);
        assert_eq!(
            proposed(UnitKind::Half.into(), Some(1)),
            ["--coarse-unit auto --coarse-units 1"]
        );
        assert!(proposed(UnitKind::None.into(), None).is_empty());
    }
}
