use std::collections::HashMap;

use super::cost::CostModel;
use super::error::PlanError;
use super::scenario::Link;
use crate::exec::Layout;
use crate::net::{Cuts, Interface};

/// The maximum number of units: the costs of all possible blocks need memory quadratic in it.
const MAX_UNITS: usize = 2000;

/// Cuts with the smallest predicted step.
#[derive(Clone, Debug, PartialEq)]
pub struct Balanced {
    /// Where to cut.
    pub cuts: Cuts,
    /// The step that the formulas predict, in seconds.
    pub step: f64,
}

/// Finds the cuts with the smallest predicted step for a layout by an exact search.
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
/// so its two halves are the latest forward and the latest backward end, `F` and `B`. For limits on
/// both, partial placements are built from the last block to the first. Of those with as many blocks
/// and the same beginning, the ones are kept that are no worse than another in all that the blocks
/// before them can see: the chain's time from here to the end, forward and backward, and `B`. What is
/// left to be placed, shared as well as it could be, is checked against both limits. The placement with
/// the least `B` below a limit on `F` rules out all with a larger `F`; the range of `F` in which a
/// better step can still lie is halved until there is none.
///
/// `defer` is whether gradients of the coarse network's weights wait; see [`super::Schedule`].
///
/// # Errors
/// [`PlanError::Cuts`] if there are fewer units than subnetworks, [`PlanError::TooLong`] if there are
/// too many.
pub fn balance(
    costs: &dyn CostModel,
    layout: &Layout,
    link: Link,
    defer: bool,
) -> Result<Balanced, PlanError> {
    let (units, subnetworks, held) = (costs.units(), layout.subnetworks(), layout.counts());
    check_balance(units, layout)?;
    let search = Search::new(costs, &held, link, defer);
    let found = search.best();
    let (step, begins) = (found.step(search.head), found.begins);
    let ends = begins[1..].iter().copied().chain([units]);
    let mut positions = Vec::with_capacity(subnetworks - 1);
    for ((&begin, end), &held) in begins.iter().zip(ends).zip(&held) {
        positions.extend(inner_cuts(begin, end, held));
        positions.push(end);
    }
    positions.pop();
    Ok(Balanced { cuts: Cuts::new(units, positions)?, step })
}

/// Checks whether [`balance`] can cut a network of `units` units for a layout. It needs no costs, so
/// nothing has to be measured first.
///
/// # Errors
/// Those of [`balance`].
pub fn check_balance(units: usize, layout: &Layout) -> Result<(), PlanError> {
    Cuts::even(units, layout.subnetworks())?;
    if units > MAX_UNITS {
        return Err(PlanError::TooLong { units, most: MAX_UNITS });
    }
    Ok(())
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

    /// For all that comes before them. Both have kept the limit on `F`.
    fn is_no_better_than(&self, other: &Self) -> bool {
        other.after <= self.after && other.before <= self.before && other.backward <= self.backward
    }
}

/// All blocks, placed.
struct Found {
    forward: f64,
    backward: f64,
    /// Where each block begins.
    begins: Vec<usize>,
}

impl Found {
    fn step(&self, head: f64) -> f64 {
        self.forward + head + self.backward
    }
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
    /// Blocks by the number of their subnetworks, where they begin and where they end.
    blocks: HashMap<usize, Vec<Block>>,
    /// By a position: the least of the blocks that end there or before.
    least: Vec<Least>,
}

/// The least that a block takes that is not the first.
#[derive(Clone, Copy, Debug)]
struct Least {
    chain: f64,
    chain_backward: f64,
    /// What it has to do besides its units, forward and backward.
    fine: f64,
    rest: f64,
}

impl Least {
    /// The smaller of each.
    fn take(&mut self, other: Self) {
        self.chain = self.chain.min(other.chain);
        self.chain_backward = self.chain_backward.min(other.chain_backward);
        self.fine = self.fine.min(other.fine);
        self.rest = self.rest.min(other.rest);
    }
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
        let (blocks, least) = (HashMap::new(), Vec::new());
        let mut this =
            Self { costs, held, defer, units, subnetworks, head, sums, link, blocks, least };
        this.tabulate();
        this
    }

    fn tabulate(&mut self) {
        let units = self.units;
        let nothing = Block { fine: 0.0, chain: 0.0, chain_backward: 0.0, rest: 0.0 };
        let most = f64::INFINITY;
        let mut least =
            vec![Least { chain: most, chain_backward: most, fine: most, rest: most }; units + 1];
        let mut kinds = self.held.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        for held in kinds {
            let mut table = vec![nothing; units * (units + 1)];
            for begin in 0..units {
                for (end, least) in least.iter_mut().enumerate().skip(begin + held) {
                    let block = self.block(begin, end, held);
                    table[begin * (units + 1) + end] = block;
                    if begin > 0 {
                        let work = self.work(begin, end);
                        least.take(Least {
                            chain: block.chain,
                            chain_backward: block.chain_backward,
                            fine: block.fine - work[0],
                            rest: block.rest - work[1],
                        });
                    }
                }
            }
            self.blocks.insert(held, table);
        }
        for position in 1..=units {
            let before = least[position - 1];
            least[position].take(before);
        }
        self.least = least;
    }

    /// The units from one position to another, forward, and backward with the update.
    fn work(&self, begin: usize, end: usize) -> [f64; 2] {
        [0, 1].map(|i| self.sums[end][i] - self.sums[begin][i])
    }

    /// The block of `held` subnetworks from one position to another.
    fn block(&self, begin: usize, end: usize, held: usize) -> Block {
        let [forward, backward] = self.work(begin, end);
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

    /// The placement with the smallest step.
    fn best(&self) -> Found {
        let mut best = self.even();
        let lowest = self.at_least(&Placed::nothing(self.units), self.held.len());
        // Ranges of `F`, the lower end within and the upper not.
        let mut open = vec![[lowest[0], f64::INFINITY]];
        while let Some([low, high]) = open.pop() {
            let room = best.step(self.head) - self.head;
            let limits = [high.min(room - lowest[1]), room - low];
            let Some(found) = self.within(limits) else { continue };
            let least = found.backward;
            let mut high = found.forward;
            if found.step(self.head) < best.step(self.head) {
                best = found;
            }
            high = high.min(best.step(self.head) - self.head - least);
            if low < high {
                let middle = 0.5 * (low + high);
                open.extend([[low, middle], [middle, high]]);
            }
        }
        best
    }

    /// Blocks with about the same work each.
    fn even(&self) -> Found {
        let total = |position: usize| self.sums[position][0] + self.sums[position][1];
        let (mut placed, mut begins) = (Placed::nothing(self.units), Vec::new());
        for (device, &held) in self.held.iter().enumerate().rev() {
            let before = self.held[..device].iter().sum::<usize>();
            let share = total(placed.begin) * device as f64 / (device + 1) as f64;
            let begin = self.sums.partition_point(|sums| sums[0] + sums[1] < share);
            let begin = if device == 0 { 0 } else { begin.clamp(before, placed.begin - held) };
            let block = self.blocks[&held][begin * (self.units + 1) + placed.begin];
            placed = placed.behind(begin, block, self.link[begin], 0);
            begins.push(begin);
        }
        begins.reverse();
        Found { forward: placed.forward, backward: placed.backward, begins }
    }

    /// Of the placements whose `F` and `B` are below these limits one with the least `B`.
    fn within(&self, limits: [f64; 2]) -> Option<Found> {
        // Layer by layer one block more, the placements by where they begin.
        let mut nothing = vec![Vec::new(); self.units + 1];
        nothing[self.units].push(Placed::nothing(self.units));
        let mut layers = vec![nothing];
        for device in (0..self.held.len()).rev() {
            layers.push(self.behind(device, &layers[layers.len() - 1], limits));
        }
        let complete = layers[layers.len() - 1][0].iter();
        let mut at = complete.min_by(|a, b| a.backward.total_cmp(&b.backward))?;
        let (forward, backward, mut begins) = (at.forward, at.backward, vec![at.begin]);
        for layer in layers[1..].iter().rev().skip(1) {
            at = &layer[at.end][at.next];
            begins.push(at.begin);
        }
        Some(Found { forward, backward, begins })
    }

    /// All placements with a device's block in front of others that may end up within the limits.
    fn behind(&self, device: usize, behind: &[Vec<Placed>], limits: [f64; 2]) -> Vec<Vec<Placed>> {
        let (held, units) = (self.held[device], self.units);
        let before = self.held[..device].iter().sum::<usize>();
        let mut layer = vec![Vec::new(); units + 1];
        let begins = if device == 0 { 0..1 } else { before..units };
        for begin in begins {
            let here: &mut Vec<Placed> = &mut layer[begin];
            for (end, behind) in behind.iter().enumerate().skip(begin + held) {
                let work = self.work(begin, end);
                if (0..2).any(|i| work[i] >= limits[i]) {
                    break;
                }
                let block = self.blocks[&held][begin * (units + 1) + end];
                for (next, placed) in behind.iter().enumerate() {
                    let placed = placed.behind(begin, block, self.link[begin], next);
                    let least = self.at_least(&placed, device);
                    let fits = (0..2).all(|i| least[i] < limits[i]);
                    if fits && !here.iter().any(|other| placed.is_no_better_than(other)) {
                        here.retain(|other| !other.is_no_better_than(&placed));
                        here.push(placed);
                    }
                }
            }
        }
        layer
    }

    /// What `F` and `B` will be at least, with `device` more blocks to come.
    ///
    /// Each of them ends no earlier than its own work allows, so the latest ends no earlier than
    /// their mean: all work that is left, and the chain's way to each of them.
    fn at_least(&self, placed: &Placed, device: usize) -> [f64; 2] {
        if device == 0 {
            return [placed.forward, placed.backward];
        }
        let (blocks, least) = (device as f64, self.least[placed.begin]);
        let [mut forward, mut backward] = self.sums[placed.begin];
        if device > 1 {
            // 0 + 1 + .. of the chain's steps between them, and what all but the first do besides.
            let (between, others) = (blocks * (blocks - 1.0) / 2.0, blocks - 1.0);
            forward += others * (least.fine + least.chain) + between * least.chain;
            backward +=
                others * (least.rest + least.chain_backward) + between * least.chain_backward;
        }
        [
            placed.forward.max(placed.after + forward / blocks),
            placed.backward.max(placed.before + backward / blocks),
        ]
    }
}
