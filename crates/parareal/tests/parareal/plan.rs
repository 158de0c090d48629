//! Predicted steps, compared with calculations by hand, with closed forms, and with all possible cuts.

use parareal::exec::{Layout, LayoutError, ProgramOptions};
use parareal::net::{Cuts, Interface};
use parareal::plan::{Cost, CostModel, Link, PlanError, Scenario, Schedule, balance};
use parareal::timeline::{Activity, Span};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Costs whose sums are exact in floating point.
#[derive(Clone)]
struct Costs {
    preprocessing: Vec<Cost>,
    units: Vec<Cost>,
    coarse: Vec<Cost>,
    postprocessing: Cost,
    bytes: Vec<f64>,
}

fn part(forward: f64, input_gradient: f64, weight_gradient: f64) -> Cost {
    Cost { forward, input_gradient, weight_gradient, ..Cost::default() }
}

impl Costs {
    fn uniform(units: usize, unit: Cost, coarse: Cost) -> Self {
        Self {
            preprocessing: vec![Cost::default(); units],
            units: vec![unit; units],
            coarse: vec![coarse; units],
            postprocessing: Cost::default(),
            bytes: vec![0.0; units + 1],
        }
    }

    fn random(units: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut part = |scale: f64| Cost {
            forward: scale * random.random_range(0.5..1.5),
            input_gradient: scale * random.random_range(0.5..1.5),
            weight_gradient: scale * random.random_range(0.5..1.5),
            update: 0.1 * scale * random.random_range(0.0..1.0),
            weights: 10.0,
            kept: 100.0,
        };
        let mut many = |scale| (0..units).map(|_| part(scale)).collect::<Vec<_>>();
        let (preprocessing, own, coarse) = (many(0.3), many(1.0), many(0.8));
        let postprocessing = many(0.2)[0];
        let bytes = (0..=units).map(|at| (at % 3) as f64).collect();
        Self { preprocessing, units: own, coarse, postprocessing, bytes }
    }
}

impl CostModel for Costs {
    fn units(&self) -> usize {
        self.units.len()
    }

    fn preprocessing(&self, position: usize) -> Cost {
        self.preprocessing[position]
    }

    fn unit(&self, index: usize) -> Cost {
        self.units[index]
    }

    fn coarse(&self, interface: &Interface) -> Cost {
        // The cost depends on the positions of the cut and of the next one.
        let mut part = self.coarse[interface.position];
        part.forward += 0.05 * (interface.next - interface.position) as f64 * part.input_gradient;
        part
    }

    fn postprocessing(&self) -> Cost {
        self.postprocessing
    }

    fn interface_bytes(&self, position: usize) -> f64 {
        self.bytes[position]
    }
}

fn cut(costs: &Costs, positions: &[usize], devices: usize) -> Scenario {
    let cuts = Cuts::new(costs.units.len(), positions.to_vec()).unwrap();
    Scenario::new(costs, &cuts, even(&cuts, devices)).unwrap()
}

/// Distributes subnetworks evenly over devices.
fn even(cuts: &Cuts, devices: usize) -> Layout {
    Layout::threads(cuts.subnetworks(), devices, 1).unwrap()
}

/// Creates a layout whose devices hold these numbers of subnetworks.
fn counts(counts: &[usize]) -> Layout {
    Layout::from_counts(counts, 1).unwrap()
}

fn options(defer_weights: bool) -> ProgramOptions {
    ProgramOptions { defer_weights, ..ProgramOptions::default() }
}

/// Returns all options that affect the order or the time of a step.
fn all_options() -> impl Iterator<Item = ProgramOptions> {
    let choices = [(false, false), (false, true), (true, false), (true, true)];
    choices.into_iter().map(|(recompute, defer)| ProgramOptions { recompute, ..options(defer) })
}

fn makespan(scenario: &Scenario) -> f64 {
    scenario.predict().unwrap().makespan()
}

fn assert_close(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0), "{what}: {a} and {b}");
}

#[test]
fn without_a_chain_the_speedup_is_the_number_of_devices() {
    let costs = Costs::uniform(24, part(1.0, 1.0, 1.0), Cost::default());
    let serial = makespan(&cut(&costs, &[], 1));
    assert_eq!(serial, 72.0);
    for devices in [2, 3, 4, 6, 8, 12, 24] {
        let cuts = Cuts::even(24, devices).unwrap();
        let step = makespan(&Scenario::new(&costs, &cuts, even(&cuts, devices)).unwrap());
        assert_eq!(serial / step, devices as f64);
    }
}

#[test]
fn with_all_cost_in_the_chain_nothing_is_gained() {
    let costs = Costs {
        coarse: vec![part(2.0, 3.0, 0.0); 12],
        ..Costs::uniform(12, part(0.0, 0.0, 0.0), Cost::default())
    };
    for (devices, held) in [(2, 2), (4, 1), (4, 3)] {
        let cuts = Cuts::even(12, devices * held).unwrap();
        let alone = makespan(&Scenario::new(&costs, &cuts, even(&cuts, 1)).unwrap());
        let spread = makespan(&Scenario::new(&costs, &cuts, even(&cuts, devices)).unwrap());
        assert_close(alone, spread, "all in the chain");
    }
}

/// A scenario with three subnetworks of 2, 3 and 2 units on three devices.
fn three() -> Scenario {
    let costs = Costs {
        preprocessing: vec![part(1.0, 0.0, 1.0); 7],
        postprocessing: part(1.0, 1.0, 1.0),
        ..Costs::uniform(7, part(2.0, 2.0, 2.0), Cost::default())
    };
    let mut scenario = cut(&costs, &[2, 5], 3);
    for subnetwork in &mut scenario.subnetworks[1..] {
        subnetwork.coarse = Some(part(1.0, 2.0, 3.0));
    }
    scenario
}

#[test]
fn a_step_on_three_devices_takes_the_time_computed_by_hand() {
    // Forward: y_1 at 5, y_2 at 7, y_3 at 5; U_2 at 7 + 1, U_3 at 8 + 1. h until 12. Backward: ρ_2
    // at 14, ρ_1 at 16. Device 3: weights until 17, g_3 until 25, C_3 until 26. Device 2: ρ_1 until
    // 16, weights until 19, g_2 until 31, C_2 until 32. Device 1: g_1 from 16 until 24, C_1 25.
    let scenario = three();
    let prediction = scenario.predict().unwrap();
    assert_eq!(prediction.makespan(), 32.0);
    let end = |device: usize| {
        let own = prediction.timeline.spans.iter().filter(|span| span.device == device);
        own.map(|span| span.end).fold(0.0, f64::max)
    };
    assert_eq!([end(0), end(1), end(2)], [25.0, 32.0, 26.0]);
    assert_eq!(prediction.timeline.waiting(0), [[5.0, 16.0], [25.0, 32.0]]);
    assert_eq!(prediction.timeline.waiting(2), [[5.0, 8.0], [26.0, 32.0]]);
    assert_eq!(prediction.timeline.work(1), 7.0 + 1.0 + 5.0 + 12.0 + 1.0);
    assert_eq!(prediction.timeline.utilization()[1], 26.0 / 32.0);

    // The critical path: y_2, F_1, F_2 and h, ρ_2, then device 2 to its end.
    let kinds: Vec<_> =
        prediction.critical.iter().map(|span| (span.device, span.activity)).collect();
    use Activity::{ChainBackward, ChainForward, ChainWeights, FineBackward, FineForward, Head};
    assert_eq!(
        kinds,
        [
            (1, FineForward),
            (1, FineForward),
            (1, ChainForward),
            (2, ChainForward),
            (2, Head),
            (2, ChainBackward),
            (1, ChainBackward),
            (1, ChainWeights),
            (1, FineBackward),
            (1, FineBackward),
        ]
    );
    assert_eq!(prediction.critical_time(Activity::is_coarse), 1.0 + 1.0 + 2.0 + 2.0 + 3.0);

    // Without deferred gradients of weights, ρ_2 arrives at 17 and ρ_1 at 22, so device 2 ends at 35.
    let at_once = Scenario { schedule: Schedule::Overlap(options(false)), ..scenario.clone() };
    assert_eq!(makespan(&at_once), 35.0);
    // Nothing overlaps with the chain: C 1, g 6, F 2, h 3, F 10, g 12, C 1.
    let paper = Scenario { schedule: Schedule::Virtual, ..scenario.clone() };
    assert_eq!(makespan(&paper), 35.0);
    // All on one device: forward 3 + 14 + 2, h 3, backward 10 + 28 + 3.
    assert_eq!(makespan(&Scenario { layout: counts(&[3]), ..scenario }), 63.0);
}

#[test]
fn links_delay_the_chain_and_nothing_else() {
    let mut scenario = three();
    for subnetwork in &mut scenario.subnetworks {
        subnetwork.output_bytes = 8.0;
    }
    scenario.link = Link { latency: 0.5, bandwidth: 16.0 };
    // With one second per transfer, U_2 is sent at 8 and U_3 is computed at 10. h ends at 13, and ρ_2 is sent
    // at 15 and arrives at 16. The rest is as before.
    let prediction = scenario.predict().unwrap();
    assert_eq!(prediction.makespan(), 34.0);
    let transfers: Vec<_> = prediction
        .timeline
        .spans
        .iter()
        .filter(|span| span.activity == Activity::Transfer)
        .map(|span| (span.device, span.begin, span.end))
        .collect();
    assert_eq!(transfers, [(0, 5.0, 6.0), (1, 8.0, 9.0), (2, 15.0, 16.0), (1, 18.0, 19.0)]);
    assert_eq!(prediction.critical_time(|kind| kind == Activity::Transfer), 2.0);
}

#[test]
fn replicas_average_their_gradients_while_others_are_computed() {
    let mut costs =
        Costs::uniform(4, Cost { weights: 8.0, ..part(1.0, 1.0, 1.0) }, part(0.0, 0.0, 0.0));
    costs.units.iter_mut().for_each(|unit| unit.update = 0.5);
    let mut scenario = cut(&costs, &[], 1);
    scenario.schedule = Schedule::Overlap(ProgramOptions { segment_units: 1, ..options(true) });
    scenario.layout = Layout::threads(1, 1, 2).unwrap();
    // Two messages with half of eight bytes each: one second per unit.
    scenario.link = Link { latency: 0.0, bandwidth: 8.0 };
    // The forward pass ends at 4. Gradients are computed at 6, 8, 10, 12 and averaged at 7, 9, 11, 13. The
    // update takes 2.
    assert_eq!(makespan(&scenario), 15.0);
    // The averages take longer than the gradients: the first one begins at 6, and each takes 4.
    scenario.link.bandwidth = 2.0;
    assert_eq!(makespan(&scenario), 6.0 + 16.0 + 2.0);
    scenario.layout = Layout::threads(1, 1, 1).unwrap();
    assert_eq!(makespan(&scenario), 14.0);
}

#[test]
fn devices_do_one_thing_at_a_time_and_messages_arrive_before_use() {
    for seed in 0..20 {
        let costs = Costs::random(18, seed);
        let mut scenario = cut(&costs, &[2, 5, 9, 11, 14], 1 + seed as usize % 6);
        scenario.link = Link { latency: 0.1, bandwidth: 10.0 };
        scenario.schedule = Schedule::Overlap(ProgramOptions { segment_units: 2, ..options(true) });
        let prediction = scenario.predict().unwrap();
        let works = |device: usize| {
            let spans = prediction.timeline.spans.iter();
            spans.filter(move |span| span.device == device && span.activity.is_work())
        };
        for device in 0..scenario.layout.workers() {
            let own: Vec<&Span> = works(device).collect();
            assert!(own.windows(2).all(|pair| pair[0].end <= pair[1].begin + 1e-9));
            let idle: f64 =
                prediction.timeline.waiting(device).iter().map(|[from, to]| to - from).sum();
            assert_close(idle + prediction.timeline.work(device), prediction.makespan(), "time");
        }
        // The critical path has no gaps and covers the whole step.
        let path = &prediction.critical;
        assert_eq!(path[0].begin, 0.0);
        assert!(path.windows(2).all(|pair| pair[0].end == pair[1].begin));
        assert_eq!(path[path.len() - 1].end, prediction.makespan());
        // The total work is the same for any number of devices.
        let all: f64 =
            (0..scenario.layout.workers()).map(|device| prediction.timeline.work(device)).sum();
        let alone = Scenario { layout: counts(&[6]), link: Link::FREE, ..scenario };
        assert_close(all, makespan(&alone), "work");
    }
}

/// All ways to cut a network.
fn all_cuts(units: usize, subnetworks: usize) -> Vec<Vec<usize>> {
    fn extend(
        from: usize,
        units: usize,
        left: usize,
        cuts: &mut Vec<usize>,
        all: &mut Vec<Vec<usize>>,
    ) {
        if left == 0 {
            return all.push(cuts.clone());
        }
        for cut in from..units {
            cuts.push(cut);
            extend(cut + 1, units, left - 1, cuts, all);
            cuts.pop();
        }
    }
    let mut all = Vec::new();
    extend(1, units, subnetworks - 1, &mut Vec::new(), &mut all);
    all
}

#[test]
fn balanced_cuts_are_the_best_of_all() {
    let devices = 1..=6;
    let settings = devices.flat_map(|devices| all_options().map(move |program| (devices, program)));
    for (seed, (devices, program)) in (0..).zip(settings) {
        let costs = Costs::random(11, seed);
        let link = Link { latency: 0.1, bandwidth: 5.0 };
        let scenarios = all_cuts(11, devices).into_iter().map(|positions| {
            let schedule = Schedule::Overlap(program);
            let scenario = cut(&costs, &positions, devices);
            makespan(&Scenario { link, schedule, ..scenario })
        });
        let best = scenarios.fold(f64::INFINITY, f64::min);
        let balanced = balance(&costs, &counts(&vec![1; devices]), link, program).unwrap();
        assert_close(balanced.step, best, &format!("seed {seed}, {devices} devices"));
        let scenario =
            Scenario::new(&costs, &balanced.cuts, even(&balanced.cuts, devices)).unwrap();
        let schedule = Schedule::Overlap(program);
        assert_close(makespan(&Scenario { link, schedule, ..scenario }), best, "its prediction");
    }
}

/// In a long chain the step does not depend on most of the cuts.
#[test]
fn balanced_cuts_are_about_even_where_the_step_leaves_a_choice() {
    for (units, devices, coarse) in [(120, 30, 3.0), (333, 60, 2.0), (90, 10, 9.0)] {
        let costs = Costs::uniform(units, part(1.0, 1.0, 1.0), part(coarse, coarse, 0.0));
        let layout = counts(&vec![1; devices]);
        let balanced = balance(&costs, &layout, Link::FREE, options(true)).unwrap();
        let blocks = (0..devices).map(|device| balanced.cuts.units_of(device).len());
        let (longest, even) = (blocks.max().unwrap(), units.div_ceil(devices));
        // The first blocks are shorter, because they receive their cotangents last.
        assert!(longest <= 3 * even / 2, "{longest} {even}: {:?}", balanced.cuts);
    }
    // Of all cuts with the shortest step, those with the shortest longest block.
    let ties = Costs { units: vec![part(1.0, 1.0, 1.0); 9], ..Costs::random(9, 3) };
    let mut ties = Costs { coarse: vec![part(4.0, 4.0, 0.0); 9], ..ties };
    ties.preprocessing = vec![Cost::default(); 9];
    let step = |positions: &[usize]| makespan(&cut(&ties, positions, 5));
    let all = all_cuts(9, 5);
    let least = all.iter().map(|cuts| step(cuts)).fold(f64::INFINITY, f64::min);
    let longest = |cuts: &Cuts| (0..5).map(|j| cuts.units_of(j).len()).max().unwrap();
    let best = all.iter().filter(|cuts| step(cuts) <= least * (1.0 + 1e-12));
    let shortest = best.map(|cuts| longest(&Cuts::new(9, cuts.clone()).unwrap())).min().unwrap();
    let balanced = balance(&ties, &counts(&[1; 5]), Link::FREE, options(true)).unwrap();
    assert_close(balanced.step, least, "step");
    assert_eq!(longest(&balanced.cuts), shortest, "{:?}", balanced.cuts);
}

/// With replicas, the sums over them may end after all other work, or begin late because others are pending.
#[test]
fn balanced_cuts_take_the_sums_over_replicas_into_account() {
    let layouts = [vec![1; 2], vec![1; 3], vec![1; 5], vec![2, 1, 2], vec![4]];
    let (mut differ, mut wait) = (0, 0);
    for (seed, held) in (100..).zip(layouts.iter().cycle().take(20)) {
        let mut costs = Costs::random(12, seed);
        let all = [&mut costs.units, &mut costs.coarse, &mut costs.preprocessing];
        for (index, cost) in all.into_iter().flatten().enumerate() {
            cost.weights = (7 * index % 11) as f64;
        }
        let replicas = 2 + seed as usize % 3;
        let layout = Layout::from_counts(held, replicas).unwrap();
        let bandwidth = [1.0, 5.0, 25.0][seed as usize % 3];
        let link = Link { latency: 0.05, bandwidth };
        for program in all_options() {
            let program = ProgramOptions { segment_units: 1 + seed as usize % 4, ..program };
            let predicted = |cuts: &Cuts, link: Link| {
                let scenario = Scenario::new(&costs, cuts, layout.clone()).unwrap();
                makespan(&Scenario { link, schedule: Schedule::Overlap(program), ..scenario })
            };
            let balanced = balance(&costs, &layout, link, program).unwrap();
            assert_close(balanced.step, predicted(&balanced.cuts, link), "its prediction");
            let alone = Layout::from_counts(held, 1).unwrap();
            let without = balance(&costs, &alone, link, program).unwrap();
            differ += usize::from(without.cuts != balanced.cuts);
            wait += usize::from(without.step < balanced.step);
            // With several subnetworks on a device, their cuts are even and may not be the best.
            if held.iter().all(|&held| held == 1) {
                let all = all_cuts(12, held.len()).into_iter();
                let steps =
                    all.map(|positions| predicted(&Cuts::new(12, positions).unwrap(), link));
                assert_close(balanced.step, steps.fold(f64::INFINITY, f64::min), "all cuts");
            }
        }
    }
    assert!(differ > 20 && wait > 40, "{differ} {wait}");
}

#[test]
fn balanced_cuts_are_one_of_several_best_choices_and_better_than_even_cuts() {
    // The units have different costs. All costs are integers, so that equal times compare as equal.
    for (unit_costs, weights, devices) in [
        ([3.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 1.0, 4),
        ([1.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 1.0, 4),
        ([4.0, 4.0, 4.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0], 0.0, 3),
    ] {
        let units = unit_costs.len();
        let mut costs = Costs::uniform(units, Cost::default(), part(1.0, 0.0, weights));
        costs.units = unit_costs.map(|cost| part(cost, cost, cost)).to_vec();
        let choices: Vec<(Vec<usize>, f64)> = all_cuts(units, devices)
            .into_iter()
            .map(|positions| {
                let step = makespan(&cut(&costs, &positions, devices));
                (positions, step)
            })
            .collect();
        let least = choices.iter().map(|(_, step)| *step).fold(f64::INFINITY, f64::min);
        let best: Vec<_> = choices.iter().filter(|(_, step)| *step == least).collect();
        assert!(1 < best.len() && best.len() < choices.len(), "{unit_costs:?}: {best:?}");
        let even = Cuts::even(units, devices).unwrap();
        assert!(best.iter().all(|(positions, _)| positions != even.positions()), "{best:?}");

        let balanced =
            balance(&costs, &counts(&vec![1; devices]), Link::FREE, options(true)).unwrap();
        assert_eq!(balanced.step, least, "{unit_costs:?} on {devices} devices");
        let found = balanced.cuts.positions();
        assert!(best.iter().any(|(positions, _)| positions == found), "{found:?} in {best:?}");
    }
}

#[test]
fn balancing_works_without_costs_and_without_a_choice() {
    let costs = Costs::uniform(9, Cost::default(), Cost::default());
    let balanced = balance(&costs, &counts(&[1, 2, 1]), Link::FREE, options(true)).unwrap();
    assert_eq!((balanced.step, balanced.cuts.subnetworks()), (0.0, 4));
    // With as many subnetworks as units, there is only one choice of cuts.
    let costs = Costs::random(7, 1);
    let balanced = balance(&costs, &counts(&[1; 7]), Link::FREE, options(true)).unwrap();
    assert_eq!(balanced.cuts, Cuts::even(7, 7).unwrap());
}

#[test]
fn the_step_that_balancing_predicts_is_that_of_the_program() {
    let layouts = [vec![3, 2, 1], vec![5, 1], vec![2, 2, 2, 2], vec![4]];
    let settings =
        layouts.iter().flat_map(|held| all_options().map(move |program| (held, program)));
    for (seed, (held, program)) in (0..).zip(settings) {
        let costs = Costs::random(30, seed);
        let link = Link { latency: 0.05, bandwidth: 20.0 };
        let balanced = balance(&costs, &counts(held), link, program).unwrap();
        let even = Cuts::even(30, held.iter().sum()).unwrap();
        let [found, even] = [&balanced.cuts, &even].map(|cuts| {
            let scenario = Scenario::new(&costs, cuts, counts(held)).unwrap();
            makespan(&Scenario { link, schedule: Schedule::Overlap(program), ..scenario })
        });
        assert_close(balanced.step, found, "prediction");
        assert!(found <= even);
    }
}

#[test]
fn no_device_updates_before_all_have_finished_their_backward_pass() {
    let mut costs = Costs::uniform(4, part(1.0, 1.0, 1.0), Cost::default());
    costs.units[0].update = 5.0;
    costs.units[3].update = 2.0;
    // The first device finishes its only unit at 3, and the second device its three units at 9.
    let scenario = cut(&costs, &[1], 2);
    let prediction = scenario.predict().unwrap();
    let updates = prediction.timeline.spans.iter().filter(|own| own.activity == Activity::Update);
    let updates: Vec<_> = updates.map(|own| (own.device, own.begin, own.end)).collect();
    assert_eq!(updates, [(0, 9.0, 14.0), (1, 9.0, 11.0)]);
    assert_eq!(prediction.makespan(), 14.0);
}

#[test]
fn recomputed_units_take_another_forward_pass_and_keep_their_states_alone() {
    let mut scenario = three();
    let makespan_without = makespan(&scenario);
    let recompute = ProgramOptions { recompute: true, segment_units: 2, ..options(true) };
    scenario.schedule = Schedule::Overlap(recompute);
    // Device 2 is still critical. Recomputing each of its three units takes two seconds.
    assert_eq!(makespan(&scenario), makespan_without + 6.0);
    let activities = scenario.predict().unwrap().timeline.spans;
    let again = activities.iter().filter(|own| own.activity == Activity::Recompute);
    assert_eq!(again.map(Span::duration).sum::<f64>(), 7.0 * 2.0);

    let costs = Costs { bytes: vec![5.0; 8], ..Costs::random(7, 1) };
    let mut scenario = cut(&costs, &[3], 1);
    let memory = scenario.memory()[0];
    scenario.schedule = Schedule::Overlap(recompute);
    // Instead of 7 units with 100 bytes each, a segment of two units is kept, and one state for each of four
    // segments.
    assert_eq!(scenario.memory(), [memory - 700.0 + 200.0 + 4.0 * 5.0]);
}

#[test]
fn impossible_plans_are_refused() {
    let costs = Costs::uniform(6, part(1.0, 1.0, 1.0), Cost::default());
    let cuts = Cuts::even(6, 3).unwrap();
    let fewer = LayoutError::OtherNetwork { layout: 2, network: 3 };
    assert_eq!(Scenario::new(&costs, &cuts, counts(&[1, 1])), Err(PlanError::Layout(fewer)));
    let other = Cuts::even(5, 3).unwrap();
    assert_eq!(
        Scenario::new(&costs, &other, even(&other, 1)),
        Err(PlanError::Units { costs: 6, cuts: 5 })
    );
    let mut scenario = Scenario::new(&costs, &cuts, even(&cuts, 3)).unwrap();
    scenario.subnetworks[1].preprocessing.forward = f64::NAN;
    assert!(matches!(scenario.predict(), Err(PlanError::Cost(_))));
    assert!(balance(&costs, &counts(&[4, 3]), Link::FREE, options(true)).is_err());
    let long = Costs::uniform(2001, part(1.0, 1.0, 1.0), Cost::default());
    let refused = balance(&long, &counts(&[1, 1]), Link::FREE, options(true));
    assert_eq!(refused, Err(PlanError::TooLong { units: 2001, most: 2000 }));
}

#[test]
fn memory_is_three_times_the_weights_and_the_kept_states() {
    let costs = Costs::random(6, 1);
    let scenario = cut(&costs, &[2, 4], 2);
    // Each module needs 3 · 10 + 100 bytes. Device 1 holds two C, four units and F_1, and device 2 holds C_3,
    // F_2, two units and h.
    assert_eq!(scenario.memory(), [130.0 * (2 + 4 + 1) as f64, 130.0 * (1 + 1 + 2 + 1) as f64]);
}
