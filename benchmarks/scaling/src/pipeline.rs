//! GPipe: the network is divided into stages and the batch into micro-batches, which pass through the stages
//! one after the other (Huang et al., "GPipe: Efficient Training of Giant Neural Networks using Pipeline
//! Parallelism", NeurIPS 2019). With one micro-batch, this is plain model parallelism.

use parareal::net::Cuts;
use parareal::plan::{Cost, CostModel};

/// The work of one stage for one micro-batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stage {
    /// Durations of the forward and the backward pass in seconds.
    pub(crate) forward: f64,
    pub(crate) backward: f64,
    /// Duration of the transfer of the output to the next stage in seconds. The transfer of the gradient back
    /// takes the same time.
    pub(crate) link: f64,
    /// Size of the weights in bytes.
    pub(crate) weights: f64,
    /// Number of units.
    pub(crate) units: usize,
}

/// Time span of the backward pass of a stage for its last micro-batch, which completes the gradients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastPass {
    pub(crate) begin: f64,
    pub(crate) end: f64,
}

/// Simulates one step: the forward passes of all micro-batches, then the backward passes, starting with the
/// last micro-batch. Returns the last pass of each stage. The step ends when the latest of these passes ends.
///
/// With `M` micro-batches, `P` equal stages and free links, the duration is `(M + P - 1) (f + b)`, of which
/// the bubble has the share `(P - 1) / (M + P - 1)`. With `recompute`, a stage keeps only its inputs and
/// repeats the forward pass, if possible while it waits for the gradient. A link transfers one tensor at a
/// time in each direction.
pub(crate) fn gpipe(stages: &[Stage], micro_batches: usize, recompute: bool) -> Vec<LastPass> {
    let mut at = vec![0.0_f64; stages.len()];
    let mut arriving = vec![0.0; micro_batches];
    for (at, stage) in at.iter_mut().zip(stages) {
        let mut sent = 0.0_f64;
        for arrival in &mut arriving {
            *at = at.max(*arrival) + stage.forward;
            sent = sent.max(*at) + stage.link;
            *arrival = sent;
        }
    }
    let again = |stage: &Stage| if recompute { stage.forward } else { 0.0 };
    // The last stage does not wait.
    arriving.fill(0.0);
    let mut passes = vec![LastPass { begin: 0.0, end: 0.0 }; stages.len()];
    for index in (0..stages.len()).rev() {
        let (stage, mut at, mut sent) = (&stages[index], at[index], 0.0_f64);
        let link = if index > 0 { stages[index - 1].link } else { 0.0 };
        for arrival in &mut arriving {
            let begin = (at + again(stage)).max(*arrival);
            at = begin + stage.backward;
            passes[index] = LastPass { begin, end: at };
            sent = sent.max(at) + link;
            *arrival = sent;
        }
    }
    passes
}

/// Returns the time at which the gradients of a stage have been averaged. They become available in `lots`
/// equal groups during the last pass. The groups are averaged one after the other; each takes `seconds`.
pub(crate) fn averaged(pass: LastPass, lots: usize, seconds: f64) -> f64 {
    let (time, lots) = (pass.end - pass.begin, lots as f64);
    pass.begin + (time + seconds).max(time / lots + lots * seconds)
}

/// Returns the cuts that minimize the time of the slowest stage.
pub(crate) fn stage_cuts(costs: &dyn CostModel, stages: usize) -> Cuts {
    let units = costs.units();
    let time = |part: Cost| part.forward + part.backward();
    let unit: Vec<f64> = (0..units).map(|index| time(costs.unit(index))).collect();
    let [first, last] = [costs.preprocessing(0), costs.postprocessing()].map(time);
    // Greedy cuts: a stage ends before it exceeds the limit, or when the remaining stages need all remaining
    // units.
    let positions = |limit: f64| {
        let (mut positions, mut sum, mut begin) = (Vec::new(), first, 0);
        for (index, own) in unit.iter().enumerate() {
            let rest = if index + 1 == units { last } else { 0.0 };
            let behind = stages - 1 - positions.len();
            let must = units - index == behind;
            if index > begin && behind > 0 && (must || sum + own + rest > limit) {
                positions.push(index);
                (sum, begin) = (0.0, index);
            }
            sum += own + rest;
            if sum > limit * (1.0 + 1e-12) {
                return None;
            }
        }
        (positions.len() == stages - 1).then_some(positions)
    };
    let total = first + last + unit.iter().sum::<f64>();
    let (mut low, mut high) = (0.0, total);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match positions(middle) {
            Some(_) => high = middle,
            None => low = middle,
        }
    }
    match positions(high) {
        Some(positions) => Cuts::new(units, positions).expect("positions rise"),
        None => Cuts::even(units, stages).expect("no more stages than units"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{costs, net};

    fn end(stages: &[Stage], micro_batches: usize, recompute: bool) -> f64 {
        let passes = gpipe(stages, micro_batches, recompute);
        passes.iter().map(|pass| pass.end).fold(0.0, f64::max)
    }

    fn equal(count: usize, link: f64) -> Vec<Stage> {
        vec![Stage { forward: 1.0, backward: 2.0, link, ..Stage::default() }; count]
    }

    #[test]
    fn equal_stages_have_the_bubble_of_the_paper() {
        for (stages, micro_batches) in [(1, 1), (1, 4), (4, 1), (4, 4), (8, 32), (3, 2)] {
            let expected = 3.0 * (micro_batches + stages - 1) as f64;
            assert_eq!(end(&equal(stages, 0.0), micro_batches, false), expected);
        }
    }

    #[test]
    fn two_stages_two_micro_batches_by_hand() {
        // Forward: stage 1 until 2, tensors arrive at 1.5 and 2.5, stage 2 until 2.5 and 3.5.
        // Backward: stage 2 until 5.5 and 7.5, arrivals at 6 and 8, stage 1 until 8 and 10.
        assert_eq!(end(&equal(2, 0.5), 2, false), 10.0);
        // Links of two seconds are the bottleneck: arrivals at 3 and 5, stage 2 until 6; backward
        // until 8 and 10, arrivals at 10 and 12, until 14.
        assert_eq!(end(&equal(2, 2.0), 2, false), 14.0);
        // With recomputation: stage 2 from 3 on, 1 + 2, twice; stage 1 has recomputed by then,
        // once.
        assert_eq!(end(&equal(2, 0.0), 2, true), 11.0);
        assert_eq!(end(&equal(1, 0.0), 5, true), 20.0);
    }

    #[test]
    fn gradients_are_hidden_by_the_last_pass() {
        let pass = LastPass { begin: 10.0, end: 14.0 };
        // Either the link waits for the last group, or the link is slower than the pass.
        assert_eq!(averaged(pass, 4, 0.5), 14.5);
        assert_eq!(averaged(pass, 4, 3.0), 23.0);
        assert_eq!(averaged(pass, 1, 3.0), 17.0);
        assert_eq!(averaged(pass, 4, 0.0), 14.0);
    }

    /// Computes the smallest possible time of the slowest of this many stages, by dynamic programming.
    fn least(unit: &[f64], [first, last]: [f64; 2], stages: usize) -> f64 {
        let units = unit.len();
        let sums: Vec<f64> = std::iter::once(&0.0)
            .chain(unit)
            .scan(first, |sum, own| {
                *sum += own;
                Some(*sum)
            })
            .collect();
        // The first `end` units are in one stage. Each iteration adds a stage.
        let mut best = sums.clone();
        best[0] = f64::INFINITY;
        for stage in 1..stages {
            let ends = (0..=units).map(|end| {
                let more = if stage + 1 == stages && end == units { last } else { 0.0 };
                let one_more = (0..end).map(|cut| best[cut].max(sums[end] - sums[cut] + more));
                one_more.fold(f64::INFINITY, f64::min)
            });
            best = ends.collect();
        }
        if stages == 1 { best[units] + last } else { best[units] }
    }

    #[test]
    fn the_slowest_stage_is_as_fast_as_can_be() {
        let costs = costs(&net(), 1);
        let time = |part: Cost| part.forward + part.backward();
        let ends = [costs.preprocessing(0), costs.postprocessing()].map(time);
        let unit: Vec<f64> = (0..costs.units()).map(|index| time(costs.unit(index))).collect();
        for stages in [1, 2, 7, 8, 64, 333] {
            let cuts = stage_cuts(&costs, stages);
            assert_eq!(cuts.subnetworks(), stages);
            let slowest = (0..stages).map(|index| {
                let own: f64 = unit[cuts.units_of(index)].iter().sum();
                let first = if index == 0 { ends[0] } else { 0.0 };
                let last = if index + 1 == stages { ends[1] } else { 0.0 };
                own + first + last
            });
            let (slowest, least) = (slowest.fold(0.0, f64::max), least(&unit, ends, stages));
            assert!((slowest - least).abs() < 1e-9, "{stages}: {slowest} {least}");
        }
    }
}
