use std::collections::HashMap;

use super::cost::{Cost, CostModel};
use super::error::PlanError;
use super::operation_time::{SubnetworkCost, operation_time};
use super::scenario::Link;
use crate::exec::{Layout, Operation, Program, ProgramOptions};
use crate::net::{Cuts, Interface};
use crate::timeline::Activity;

/// The maximum number of units. The memory for the costs of all possible blocks is quadratic in the number of
/// units.
const MAX_UNITS: usize = 2000;

/// Cuts with the smallest predicted step.
#[derive(Clone, Debug, PartialEq)]
pub struct Balanced {
    /// The cuts.
    pub cuts: Cuts,
    /// The predicted duration of a step, in seconds.
    pub step: f64,
}

/// Finds the cuts with the shortest predicted step for a layout, by an exact search.
///
/// A device never waits while it has work to do. So the step depends only on the total fine work and the
/// total chain work of each device, over the instructions of the [`Program`]. The search therefore places
/// *blocks*: the consecutive subnetworks of one device. It cuts each block evenly, because the cuts within a
/// block affect only the costs of the modules at its interfaces. Let `s` be the time of a transfer over a
/// link, and `r_N = e_N + h`. The step is
///
/// ```text
/// e_w  = max(e_{w-1} + s, fine_w) + chain_w              forward, block after block
/// r_{w-1} = r_w + chain'_w + s                           backward
/// step = max over w of (r_w + chain'_w + rest_w)  +  max over w of update_w
/// ```
///
/// because no device updates its parameters before all devices have finished their backward pass. Let
/// `F = e_N`, and let `B` be the time after `r_N`.
///
/// For given limits on `F` and `B`, the search builds partial placements from the last block to the first. It
/// compares placements that have the same number of blocks and begin at the same unit. A placement is dropped
/// if another one is no worse in every quantity that the preceding blocks depend on: the time of the chain
/// from here to the end, forward and backward, the latest end of the backward pass, and the longest update. A
/// placement is also dropped if a lower bound for it, in which the remaining units are divided optimally,
/// exceeds a limit.
///
/// The placement with the smallest `B` below a limit on `F` rules out all placements with a larger `F`. The
/// range of `F` that may still contain a shorter step is halved until it is empty.
///
/// Tests check that the result equals the simulated step ([`Scenario::predict`](super::Scenario::predict)).
/// The time of sums over replicas is not included.
///
/// All program options are taken into account except `segment_units`, which does not affect these totals.
///
/// # Errors
/// [`PlanError::Cuts`] if there are fewer units than subnetworks; [`PlanError::TooLong`] if there are too
/// many units.
pub fn balance(
    costs: &dyn CostModel,
    layout: &Layout,
    link: Link,
    options: ProgramOptions,
) -> Result<Balanced, PlanError> {
    let (units, subnetworks, held) = (costs.units(), layout.subnetworks(), layout.counts());
    check_balance(units, layout)?;
    let search = Search::new(costs, &held, link, options);
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

/// Checks whether [`balance`] can cut a network of `units` units for a layout. No costs are needed, so this
/// can be called before measuring them.
///
/// # Errors
/// As [`balance`].
pub fn check_balance(units: usize, layout: &Layout) -> Result<(), PlanError> {
    Cuts::even(units, layout.subnetworks())?;
    if units > MAX_UNITS {
        return Err(PlanError::TooLong { units, most: MAX_UNITS });
    }
    Ok(())
}

/// Returns even cuts within a block.
fn inner_cuts(begin: usize, end: usize, held: usize) -> impl Iterator<Item = usize> {
    let units = end - begin;
    let (size, larger) = (units / held, units % held);
    (1..held).map(move |j| begin + j * size + j.min(larger))
}

/// The total cost of the subnetworks of one device, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Fine work of the forward pass.
    fine: f64,
    /// The chain of the forward pass.
    chain: f64,
    /// The chain of the backward pass, until its message is sent.
    chain_backward: f64,
    /// The rest of the backward pass.
    rest: f64,
    /// The optimizer.
    update: f64,
}

/// A partial placement, which contains the last blocks.
#[derive(Clone, Copy, Debug)]
struct Placed {
    /// The time from the end of the previous block's part of the chain to `e_N`.
    after: f64,
    /// The lower bound on `e_N` that follows from the fine work of these blocks.
    forward: f64,
    /// The time from `r_N` to the arrival of the cotangent at the preceding block.
    before: f64,
    /// The latest end of the backward pass of these blocks, relative to `r_N`.
    backward: f64,
    /// The longest update of these blocks.
    update: f64,
    /// The begin and end of the first block, and the index of the placement of the other blocks.
    begin: usize,
    end: usize,
    next: usize,
}

impl Placed {
    fn nothing(units: usize) -> Self {
        let (after, forward, before, backward, update) = (0.0, 0.0, 0.0, 0.0, 0.0);
        Self { after, forward, before, backward, update, begin: units, end: units, next: 0 }
    }

    /// Adds a block before these blocks. `link` is the transfer time at `begin`, between the new block and
    /// the one that will precede it.
    fn prepend(&self, begin: usize, block: Block, link: f64, next: usize) -> Self {
        Self {
            after: self.after + block.chain + link,
            forward: self.forward.max(self.after + block.fine + block.chain),
            before: self.before + block.chain_backward + link,
            backward: self.backward.max(self.before + block.chain_backward + block.rest),
            update: self.update.max(block.update),
            begin,
            end: self.begin,
            next,
        }
    }

    /// Returns true if no choice of preceding blocks gives a shorter step than with `other`. Both must be
    /// within the limit on `F`.
    fn is_no_better_than(&self, other: &Self) -> bool {
        other.after <= self.after
            && other.before <= self.before
            && other.backward <= self.backward
            && other.update <= self.update
    }
}

/// A complete placement.
struct Found {
    forward: f64,
    /// The time after `r_N`, including the update.
    backward: f64,
    /// The begin of each block.
    begins: Vec<usize>,
}

impl Found {
    fn step(&self, head: f64) -> f64 {
        self.forward + head + self.backward
    }
}

/// The operations of a worker for each of its subnetworks, in order.
struct BlockProgram(Vec<Vec<(Operation, Phase)>>);

/// The part of a [`Block`] that an instruction belongs to.
#[derive(Clone, Copy)]
enum Phase {
    Fine,
    Chain,
    ChainBackward,
    Rest,
    Update,
}

impl Block {
    fn of(&mut self, phase: Phase) -> &mut f64 {
        match phase {
            Phase::Fine => &mut self.fine,
            Phase::Chain => &mut self.chain,
            Phase::ChainBackward => &mut self.chain_backward,
            Phase::Rest => &mut self.rest,
            Phase::Update => &mut self.update,
        }
    }
}

impl BlockProgram {
    /// Assigns the operations of a worker that holds `held` subnetworks to phases. `is_first` and `is_last`
    /// are true for the first and the last worker of a replica.
    fn new(held: usize, is_first: bool, is_last: bool, options: ProgramOptions) -> Self {
        let worker = usize::from(!is_first);
        let mut counts = vec![held];
        counts.splice(0..0, (!is_first).then_some(1));
        counts.extend((!is_last).then_some(1));
        let subnetworks = counts.iter().sum();
        let layout = Layout::from_counts(&counts, 1).expect("every worker holds a subnetwork");
        let cuts = Cuts::even(subnetworks, subnetworks).expect("there is one unit per subnetwork");
        let program = Program::new(&layout, &cuts, options)
            .expect("the layout and the cuts have the same number of subnetworks");

        let own = layout.subnetworks_of(worker);
        let mut operations = vec![Vec::new(); held];
        // No worker waits for the backward pass of the first worker.
        let mut backward = if is_first { Phase::Rest } else { Phase::ChainBackward };
        for instruction in program.worker(worker).instructions() {
            let operation = &instruction.operation;
            if matches!(operation, Operation::SendCotangent { .. }) {
                backward = Phase::Rest;
            }
            let (Some(activity), Some(subnetwork)) = (operation.activity(), operation.subnetwork())
            else {
                continue;
            };
            let phase = match activity {
                Activity::FineForward => Phase::Fine,
                Activity::ChainForward => Phase::Chain,
                Activity::ChainBackward
                | Activity::ChainWeights
                | Activity::Recompute
                | Activity::FineBackward => backward,
                Activity::Update => Phase::Update,
                // The cost of the head does not depend on the cuts, and no operation is an activity of a
                // link.
                Activity::Head | Activity::Transfer | Activity::Reduce => continue,
            };
            operations[subnetwork - own.start].push((operation.clone(), phase));
        }
        Self(operations)
    }
}

struct Search<'a> {
    costs: &'a dyn CostModel,
    held: &'a [usize],
    options: ProgramOptions,
    units: usize,
    subnetworks: usize,
    head: f64,
    /// For each position, the total costs of the units before it: forward, backward, update.
    sums: Vec<[f64; 3]>,
    /// The transfer time of a state at each position, in seconds.
    link: Vec<f64>,
    /// Blocks, keyed by their number of subnetworks, and then indexed by their begin and end.
    blocks: HashMap<usize, Vec<Block>>,
    /// For each position, the minimum costs of the blocks that end there or before.
    least: Vec<Least>,
}

/// The minimum costs of a block other than the first.
#[derive(Clone, Copy, Debug)]
struct Least {
    chain: f64,
    chain_backward: f64,
    /// Costs without those of the units: forward (`fine`), backward (`rest`) and update.
    fine: f64,
    rest: f64,
    update: f64,
}

impl Least {
    /// Replaces each cost by the minimum of the two.
    fn take(&mut self, other: Self) {
        self.chain = self.chain.min(other.chain);
        self.chain_backward = self.chain_backward.min(other.chain_backward);
        self.fine = self.fine.min(other.fine);
        self.rest = self.rest.min(other.rest);
        self.update = self.update.min(other.update);
    }
}

impl<'a> Search<'a> {
    fn new(
        costs: &'a dyn CostModel,
        held: &'a [usize],
        link: Link,
        options: ProgramOptions,
    ) -> Self {
        let units = costs.units();
        let mut sums = vec![[0.0; 3]];
        for index in 0..units {
            let (unit, [forward, backward, update]) = (costs.unit(index), sums[index]);
            sums.push([forward + unit.forward, backward + unit.backward(), update + unit.update]);
        }
        let link = (0..=units).map(|at| link.time(costs.interface_bytes(at))).collect();
        let h = costs.postprocessing();
        let (head, subnetworks) = (h.forward + h.backward(), held.iter().sum());
        let (blocks, least) = (HashMap::new(), Vec::new());
        let mut this =
            Self { costs, held, options, units, subnetworks, head, sums, link, blocks, least };
        this.tabulate();
        this
    }

    fn tabulate(&mut self) {
        let units = self.units;
        let most = f64::INFINITY;
        let nothing =
            Least { chain: most, chain_backward: most, fine: most, rest: most, update: most };
        let mut least = vec![nothing; units + 1];
        let mut kinds = self.held.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        for held in kinds {
            let kinds = [(false, false), (false, true), (true, false), (true, true)];
            let programs =
                kinds.map(|(first, last)| BlockProgram::new(held, first, last, self.options));
            let mut table = vec![Block::default(); units * (units + 1)];
            for begin in 0..units {
                for (end, least) in least.iter_mut().enumerate().skip(begin + held) {
                    let kind = 2 * usize::from(begin == 0) + usize::from(end == units);
                    let block = self.block(&programs[kind], begin, end, held);
                    table[begin * (units + 1) + end] = block;
                    if begin > 0 {
                        let work = self.work(begin, end);
                        least.take(Least {
                            chain: block.chain,
                            chain_backward: block.chain_backward,
                            fine: block.fine - work[0],
                            rest: block.rest - work[1],
                            update: block.update - work[2],
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

    /// Returns the total costs of the units between two positions: forward, backward, update.
    fn work(&self, begin: usize, end: usize) -> [f64; 3] {
        std::array::from_fn(|i| self.sums[end][i] - self.sums[begin][i])
    }

    /// Returns the block of `held` subnetworks between two positions. Its costs are sums over the
    /// instructions of its worker.
    fn block(&self, program: &BlockProgram, begin: usize, end: usize, held: usize) -> Block {
        let mut block = Block::default();
        let starts = std::iter::once(begin).chain(inner_cuts(begin, end, held));
        let ends = inner_cuts(begin, end, held).chain([end]);
        for ((position, next), operations) in starts.zip(ends).zip(&program.0) {
            let [forward, backward, update] = self.work(position, next);
            let units = Cost { forward, input_gradient: backward, update, ..Cost::default() };
            // The cost depends on the number of interfaces, but not on the index of an interface.
            let (index, subnetworks) = (1, self.subnetworks);
            let coarse = (position > 0)
                .then(|| self.costs.coarse(&Interface { index, position, next, subnetworks }));
            let costs = SubnetworkCost {
                preprocessing: self.costs.preprocessing(position),
                units,
                coarse: coarse.unwrap_or_default(),
                head: if next == self.units {
                    self.costs.postprocessing()
                } else {
                    Cost::default()
                },
            };
            for (operation, phase) in operations {
                *block.of(*phase) += operation_time(operation, &costs);
            }
        }
        block
    }

    /// Returns the placement with the shortest step.
    fn best(&self) -> Found {
        let mut best = self.even();
        let lowest = self.at_least(&Placed::nothing(self.units), self.held.len());
        // Ranges of `F` to be searched. Each includes its lower end and excludes its upper end.
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

    /// Returns a placement whose blocks have about the same amount of work.
    fn even(&self) -> Found {
        let total = |position: usize| self.sums[position].iter().sum::<f64>();
        let (mut placed, mut begins) = (Placed::nothing(self.units), Vec::new());
        for (device, &held) in self.held.iter().enumerate().rev() {
            let before = self.held[..device].iter().sum::<usize>();
            let share = total(placed.begin) * device as f64 / (device + 1) as f64;
            let begin = self.sums.partition_point(|sums| sums.iter().sum::<f64>() < share);
            let begin = if device == 0 { 0 } else { begin.clamp(before, placed.begin - held) };
            let block = self.blocks[&held][begin * (self.units + 1) + placed.begin];
            placed = placed.prepend(begin, block, self.link[begin], 0);
            begins.push(begin);
        }
        begins.reverse();
        Found { forward: placed.forward, backward: placed.backward + placed.update, begins }
    }

    /// Returns a placement with the smallest `B` among those with `F` and `B` below these limits.
    fn within(&self, limits: [f64; 2]) -> Option<Found> {
        // The placements of each layer have one more block than those of the previous layer. They are grouped
        // by their begin.
        let mut nothing = vec![Vec::new(); self.units + 1];
        nothing[self.units].push(Placed::nothing(self.units));
        let mut layers = vec![nothing];
        for device in (0..self.held.len()).rev() {
            layers.push(self.extended(device, &layers[layers.len() - 1], limits));
        }
        let complete = layers[layers.len() - 1][0].iter();
        let backward = |placed: &Placed| placed.backward + placed.update;
        let mut at = complete.min_by(|a, b| backward(a).total_cmp(&backward(b)))?;
        let (forward, backward, mut begins) = (at.forward, backward(at), vec![at.begin]);
        for layer in layers[1..].iter().rev().skip(1) {
            at = &layer[at.end][at.next];
            begins.push(at.begin);
        }
        Some(Found { forward, backward, begins })
    }

    /// Adds a device's block to the placements of a layer, and returns those that may be completed within the
    /// limits.
    fn extended(&self, device: usize, layer: &[Vec<Placed>], limits: [f64; 2]) -> Vec<Vec<Placed>> {
        let (held, units) = (self.held[device], self.units);
        let before = self.held[..device].iter().sum::<usize>();
        let mut extended = vec![Vec::new(); units + 1];
        let begins = if device == 0 { 0..1 } else { before..units };
        for begin in begins {
            let here: &mut Vec<Placed> = &mut extended[begin];
            for (end, others) in layer.iter().enumerate().skip(begin + held) {
                let work = self.work(begin, end);
                if (0..2).any(|i| work[i] >= limits[i]) {
                    break;
                }
                let block = self.blocks[&held][begin * (units + 1) + end];
                for (next, placed) in others.iter().enumerate() {
                    let placed = placed.prepend(begin, block, self.link[begin], next);
                    let least = self.at_least(&placed, device);
                    let fits = (0..2).all(|i| least[i] < limits[i]);
                    if fits && !here.iter().any(|other| placed.is_no_better_than(other)) {
                        here.retain(|other| !other.is_no_better_than(&placed));
                        here.push(placed);
                    }
                }
            }
        }
        extended
    }

    /// Returns lower bounds of `F` and `B` for a placement to which `device` more blocks will be added.
    ///
    /// Each of these blocks ends no earlier than its own work allows, so the latest end is at least the mean
    /// of their ends. The mean includes all remaining work, and the time that the chain takes between these
    /// blocks.
    fn at_least(&self, placed: &Placed, device: usize) -> [f64; 2] {
        if device == 0 {
            return [placed.forward, placed.backward + placed.update];
        }
        let (blocks, least) = (device as f64, self.least[placed.begin]);
        let [mut forward, mut backward, mut update] = self.sums[placed.begin];
        if device > 1 {
            // The chain passes through 0 + 1 + .. of these blocks. All blocks except the first also have work
            // besides their units.
            let (between, others) = (blocks * (blocks - 1.0) / 2.0, blocks - 1.0);
            forward += others * (least.fine + least.chain) + between * least.chain;
            backward +=
                others * (least.rest + least.chain_backward) + between * least.chain_backward;
            update += others * least.update;
        }
        [
            placed.forward.max(placed.after + forward / blocks),
            placed.backward.max(placed.before + backward / blocks)
                + placed.update.max(update / blocks),
        ]
    }
}
