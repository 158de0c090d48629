use std::collections::HashMap;

use super::setting::Held;
use super::{CostModel, Link, PlanError};
use crate::net::{Cuts, Interface};

/// Cuts with the smallest predicted step.
#[derive(Clone, Debug, PartialEq)]
pub struct Balanced {
    /// Where to cut.
    pub cuts: Cuts,
    /// The step that the formulas predict, in seconds.
    pub step: f64,
}

/// Finds the cuts with the smallest predicted step for devices that hold so many subnetworks each,
/// by an exact search.
///
/// The subnetworks of one device follow each other in the forward pass of the chain without
/// waiting, so for the step they are one block: the sum of their fine work, and the sum of their
/// work in the chain. The search therefore places blocks, and cuts a block evenly, which changes
/// nothing but the costs of what bridges its interfaces. With `s` for the seconds of a link and
/// `r_N = e_N + h`, the step is
///
/// ```text
/// e_w  = max(e_{w-1} + s, fine_w) + chain_w              forward, block after block
/// r_{w-1} = r_w + chain'_w + s                           backward
/// step = max over w of  r_w + chain'_w + rest_w
/// ```
///
/// It goes from the last block to the first and keeps, for each number of blocks and each position,
/// the partial placements that are no worse than another in all of: the chain's time from here to
/// the end, forward and backward, the latest end of a forward pass, and of a backward pass. What
/// cannot become better than the best complete placement known is dropped: the work that is left,
/// shared as well as it could be, bounds it from below.
///
/// `defer` is whether gradients of the coarse network's weights wait; see [`super::Schedule`].
///
/// # Errors
/// Where there are fewer units than subnetworks, or a device without any.
pub fn balance(
    costs: &dyn CostModel,
    held: &Held,
    link: Link,
    defer: bool,
) -> Result<Balanced, PlanError> {
    let (units, subnetworks) = (costs.units(), held.iter().sum());
    // Refuses what cannot be cut.
    Cuts::even(units, subnetworks)?;
    if held.contains(&0) {
        return Err(PlanError::Spread { held: held.clone(), subnetworks });
    }
    let search = Search::new(costs, held, link, defer);
    // First a few of the most promising placements each, for a bound that is nearly met; then all
    // that may be better.
    let rough = search.run(f64::INFINITY, Some(4));
    let bound = rough.as_ref().map_or(f64::INFINITY, |found| found.step);
    let found = search.run(bound, None).or(rough);
    let Found { step, begins } = found.expect("even cuts are among the placements");
    let ends = begins[1..].iter().copied().chain([units]);
    let mut positions = Vec::with_capacity(subnetworks - 1);
    for ((&begin, end), &held) in begins.iter().zip(ends).zip(held) {
        positions.extend(inner_cuts(begin, end, held));
        positions.push(end);
    }
    positions.pop();
    Ok(Balanced { cuts: Cuts::new(units, positions)?, step })
}

/// Even cuts within a block.
fn inner_cuts(begin: usize, end: usize, held: usize) -> impl Iterator<Item = usize> {
    let units = end - begin;
    let (size, larger) = (units / held, units % held);
    (1..held).map(move |j| begin + j * size + j.min(larger))
}

/// What the subnetworks of one device cost together, in seconds.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Forward, without the chain.
    fine: f64,
    /// The chain forward.
    chain: f64,
    /// The chain backward, before anything is sent.
    chain_backward: f64,
    /// All else of the backward pass, and the update.
    rest: f64,
}

/// The last blocks, placed.
#[derive(Clone, Copy, Debug)]
struct Placed {
    /// From when the block before them is done with its part of the chain to `e_N`.
    after: f64,
    /// The latest `e_N` that the fine work of these blocks asks for.
    forward: f64,
    /// From `r_N` to the arrival of `ρ` at the block before them.
    before: f64,
    /// The latest end of these blocks, from `r_N` on.
    backward: f64,
    /// Where the first of them begins and ends, and which placement of the others it is.
    begin: usize,
    end: usize,
    next: usize,
}

impl Placed {
    fn nothing(units: usize) -> Self {
        let begin = units;
        Self { after: 0.0, forward: 0.0, before: 0.0, backward: 0.0, begin, end: units, next: 0 }
    }

    /// One more block in front of these; `link` is what a tensor takes to it.
    fn behind(&self, begin: usize, block: Block, link: f64, next: usize) -> Self {
        Self {
            after: self.after + block.chain + link,
            forward: self.forward.max(self.after + block.fine + block.chain),
            before: self.before + block.chain_backward + link,
            backward: self.backward.max(self.before + block.chain_backward + block.rest),
            begin,
            end: self.begin,
            next,
        }
    }

    fn step(&self, head: f64) -> f64 {
        self.forward + head + self.backward
    }

    fn is_no_better_than(&self, other: &Self) -> bool {
        other.after <= self.after
            && other.forward <= self.forward
            && other.before <= self.before
            && other.backward <= self.backward
    }
}

struct Found {
    step: f64,
    /// Where each block begins.
    begins: Vec<usize>,
}

struct Search<'a> {
    costs: &'a dyn CostModel,
    held: &'a [usize],
    defer: bool,
    units: usize,
    subnetworks: usize,
    head: f64,
    /// Sums of the units before each position: forward, backward with update.
    sums: Vec<[f64; 2]>,
    /// Seconds that a tensor takes at each position.
    link: Vec<f64>,
    /// Blocks by the number of their subnetworks, where they begin and where they end, but for
    /// the first.
    blocks: HashMap<usize, Vec<Block>>,
    least: Least,
}

/// The least that any block but the first takes.
#[derive(Clone, Copy, Debug)]
struct Least {
    chain: f64,
    chain_backward: f64,
    /// What it has to do besides its units, forward and backward.
    fine: f64,
    rest: f64,
}

impl<'a> Search<'a> {
    fn new(costs: &'a dyn CostModel, held: &'a [usize], link: Link, defer: bool) -> Self {
        let units = costs.units();
        let mut sums = vec![[0.0; 2]];
        for index in 0..units {
            let (unit, [forward, backward]) = (costs.unit(index), sums[index]);
            sums.push([forward + unit.forward, backward + unit.backward() + unit.update]);
        }
        let link = (0..=units).map(|at| link.time(costs.interface_bytes(at))).collect();
        let h = costs.postprocessing();
        let (head, subnetworks) = (h.forward + h.backward(), held.iter().sum());
        let least = Least { chain: 0.0, chain_backward: 0.0, fine: 0.0, rest: 0.0 };
        let blocks = HashMap::new();
        let mut this =
            Self { costs, held, defer, units, subnetworks, head, sums, link, blocks, least };
        this.tabulate();
        this
    }

    fn tabulate(&mut self) {
        let units = self.units;
        let unknown = Block { fine: 0.0, chain: 0.0, chain_backward: 0.0, rest: 0.0 };
        let infinite = f64::INFINITY;
        let mut least =
            Least { chain: infinite, chain_backward: infinite, fine: infinite, rest: infinite };
        let mut kinds = self.held[1..].to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        for held in kinds {
            let mut table = vec![unknown; (units + 1) * (units + 1)];
            for begin in 1..units {
                for end in begin + held..=units {
                    let block = self.block(begin, end, held);
                    let work = [0, 1].map(|i| self.sums[end][i] - self.sums[begin][i]);
                    least.chain = least.chain.min(block.chain);
                    least.chain_backward = least.chain_backward.min(block.chain_backward);
                    least.fine = least.fine.min(block.fine - work[0]);
                    least.rest = least.rest.min(block.rest - work[1]);
                    table[begin * (units + 1) + end] = block;
                }
            }
            self.blocks.insert(held, table);
        }
        if self.held.len() > 1 {
            self.least = least;
        }
    }

    /// The block of `held` subnetworks from one position to another.
    fn block(&self, begin: usize, end: usize, held: usize) -> Block {
        let [forward, backward] = [0, 1].map(|i| self.sums[end][i] - self.sums[begin][i]);
        let mut block = Block { fine: forward, chain: 0.0, chain_backward: 0.0, rest: backward };
        // Nobody waits for the first block.
        let defer = self.defer && begin > 0;
        let starts = std::iter::once(begin).chain(inner_cuts(begin, end, held));
        let ends = inner_cuts(begin, end, held).chain([end]);
        for (position, next) in starts.zip(ends) {
            let first = self.costs.preprocessing(position);
            block.fine += first.forward;
            block.rest += first.backward() + first.update;
            if position > 0 {
                // Which interface it is changes no cost: how many there are does.
                let (index, subnetworks) = (1, self.subnetworks);
                let interface = Interface { index, position, next, subnetworks };
                let coarse = self.costs.coarse(&interface);
                block.chain += coarse.forward;
                block.chain_backward += coarse.input_gradient;
                match defer {
                    true => block.rest += coarse.weight_gradient,
                    false => block.chain_backward += coarse.weight_gradient,
                }
                block.rest += coarse.update;
            }
        }
        if end == self.units {
            block.rest += self.costs.postprocessing().update;
        }
        block
    }

    /// The best placement with a step of no more than `bound`, where there is one; with `keep` only
    /// the most promising so many of each state are followed.
    fn run(&self, bound: f64, keep: Option<usize>) -> Option<Found> {
        // Sums in another order round differently.
        let bound = bound * (1.0 + 1e-12);
        // From the last block to the first, the placements by where they begin.
        let mut layers: Vec<Vec<Vec<Placed>>> = Vec::with_capacity(self.held.len());
        for device in (0..self.held.len()).rev() {
            let before = self.held[..device].iter().sum::<usize>();
            let mut layer = vec![Vec::new(); self.units];
            let begins = if device == 0 { 0..1 } else { before..self.units };
            for begin in begins {
                let mut candidates = self.candidates(device, begin, layers.last());
                candidates.retain(|(least, _)| *least <= bound);
                candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
                let here: &mut Vec<Placed> = &mut layer[begin];
                for (_, placed) in candidates {
                    if keep.is_some_and(|keep| here.len() >= keep) {
                        break;
                    }
                    if !here.iter().any(|other| placed.is_no_better_than(other)) {
                        here.push(placed);
                    }
                }
            }
            layers.push(layer);
        }
        let complete = layers.last()?.first()?;
        let step = |placed: &&Placed| placed.step(self.head);
        let mut at = complete.iter().min_by(|a, b| step(a).total_cmp(&step(b)))?;
        let (step, mut begins) = (step(&at), vec![at.begin]);
        for layer in layers.iter().rev().skip(1) {
            at = &layer[at.end][at.next];
            begins.push(at.begin);
        }
        Some(Found { step, begins })
    }

    /// All placements of one more block from `begin` on, each with a bound on the step.
    fn candidates(
        &self,
        device: usize,
        begin: usize,
        placed: Option<&Vec<Vec<Placed>>>,
    ) -> Vec<(f64, Placed)> {
        let held = self.held[device];
        let block = |end: usize| match device {
            0 => self.block(begin, end, held),
            _ => self.blocks[&held][begin * (self.units + 1) + end],
        };
        let with_bound = |placed| (self.at_least(&placed, device), placed);
        let Some(placed) = placed else {
            if begin + held > self.units {
                return Vec::new();
            }
            let nothing = Placed::nothing(self.units);
            return vec![with_bound(nothing.behind(begin, block(self.units), self.link[begin], 0))];
        };
        let mut candidates = Vec::new();
        for end in (begin + held..self.units).filter(|&end| !placed[end].is_empty()) {
            let (block, link) = (block(end), self.link[begin]);
            let all = placed[end].iter().enumerate();
            candidates.extend(
                all.map(|(next, placed)| with_bound(placed.behind(begin, block, link, next))),
            );
        }
        candidates
    }

    /// What the step will take at least, with `device` more blocks to come.
    ///
    /// Each of them ends no earlier than its own work allows, so the latest ends no earlier than
    /// their mean: all work that is left, and the chain's way to each of them.
    fn at_least(&self, placed: &Placed, device: usize) -> f64 {
        if device == 0 {
            return placed.step(self.head);
        }
        let (blocks, least) = (device as f64, self.least);
        let [forward, backward] = self.sums[placed.begin];
        // 0 + 1 + .. of the chain's steps between them, and what all but the first do besides.
        let (between, others) = (blocks * (blocks - 1.0) / 2.0, blocks - 1.0);
        let forward = forward + others * (least.fine + least.chain) + between * least.chain;
        let backward = backward
            + others * (least.rest + least.chain_backward)
            + between * least.chain_backward;
        let forward = placed.forward.max(placed.after + forward / blocks);
        forward + self.head + placed.backward.max(placed.before + backward / blocks)
    }
}
