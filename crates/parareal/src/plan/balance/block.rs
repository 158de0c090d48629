//! The costs of all blocks that a device could hold.

use std::ops::Range;

use crate::exec::{Layout, Operation, Program, ProgramOptions, segments};
use crate::net::{Cuts, Interface};
use crate::plan::cost::{Cost, CostModel};
use crate::plan::operation_time::{SubnetworkCost, gradient_bytes, operation_time};
use crate::plan::scenario::Link;
use crate::timeline::Activity;

/// Returns even cuts within a block.
pub(super) fn inner_cuts(begin: usize, end: usize, held: usize) -> impl Iterator<Item = usize> {
    let units = end - begin;
    let (size, larger) = (units / held, units % held);
    (1..held).map(move |j| begin + j * size + j.min(larger))
}

/// The total cost of the subnetworks of one device, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// Fine work of the forward pass.
    pub(super) fine: f64,
    /// The chain of the forward pass.
    pub(super) chain: f64,
    /// The chain of the backward pass, until its message is sent.
    pub(super) chain_backward: f64,
    /// The rest of the backward pass, until the gradients are complete and summed over the replicas.
    pub(super) rest: f64,
    /// The optimizer.
    pub(super) update: f64,
}

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

/// The operations of a worker, in order of execution, each with its subnetwork among those of the worker.
struct BlockProgram(Vec<(Operation, usize, Phase)>);

impl BlockProgram {
    /// Assigns the operations of a worker that holds `held` subnetworks to phases. `is_first` and `is_last`
    /// are true for the first and the last worker of a replica.
    fn new(
        held: usize,
        (is_first, is_last): (bool, bool),
        replicas: usize,
        options: ProgramOptions,
    ) -> Self {
        let worker = usize::from(!is_first);
        let mut counts = vec![held];
        counts.splice(0..0, (!is_first).then_some(1));
        counts.extend((!is_last).then_some(1));
        let subnetworks = counts.iter().sum();
        let layout =
            Layout::from_counts(&counts, replicas).expect("every worker holds a subnetwork");
        let cuts = Cuts::even(subnetworks, subnetworks).expect("there is one unit per subnetwork");
        let program = Program::new(&layout, &cuts, options)
            .expect("the layout and the cuts have the same number of subnetworks");

        let own = layout.subnetworks_of(worker);
        let mut operations = Vec::new();
        // No worker waits for the backward pass of the first worker.
        let mut backward = if is_first { Phase::Rest } else { Phase::ChainBackward };
        for instruction in program.worker(worker).instructions() {
            let operation = &instruction.operation;
            if matches!(operation, Operation::SendCotangent { .. }) {
                backward = Phase::Rest;
            }
            let Some(subnetwork) = operation.subnetwork() else { continue };
            let phase = match operation.activity() {
                Some(Activity::FineForward) => Phase::Fine,
                Some(Activity::ChainForward) => Phase::Chain,
                Some(
                    Activity::ChainBackward
                    | Activity::ChainWeights
                    | Activity::Recompute
                    | Activity::FineBackward,
                ) => backward,
                Some(Activity::Update) => Phase::Update,
                // The time of the head does not depend on the cuts, but the sum of its gradients does.
                Some(Activity::Head) => Phase::Rest,
                // No operation is an activity of a link, or a recording of several operations.
                Some(Activity::Transfer | Activity::Reduce | Activity::Replay) => continue,
                None if matches!(operation, Operation::ReduceGradients { .. }) => backward,
                None => continue,
            };
            operations.push((operation.clone(), subnetwork - own.start, phase));
        }
        Self(operations)
    }
}

/// The costs of all blocks.
pub(super) struct BlockCosts<'a> {
    costs: &'a dyn CostModel,
    options: ProgramOptions,
    units: usize,
    subnetworks: usize,
    replicas: usize,
    link: Link,
    /// For each position, the total costs of the units before it: forward, backward, update, bytes of weights.
    sums: Vec<[f64; 4]>,
    /// The transfer time of a state at each position, in seconds.
    transfers: Vec<f64>,
    /// Blocks, indexed by their number of subnetworks, and then by their begin and end. Empty for numbers that no
    /// device holds.
    blocks: Vec<Vec<Block>>,
}

impl<'a> BlockCosts<'a> {
    /// Computes the costs of all blocks of a network with this layout.
    pub(super) fn new(
        costs: &'a dyn CostModel,
        layout: &Layout,
        link: Link,
        options: ProgramOptions,
    ) -> Self {
        let units = costs.units();
        let mut sums = vec![[0.0; 4]];
        for index in 0..units {
            let unit = costs.unit(index);
            let own = [unit.forward, unit.backward(), unit.update, unit.weights];
            let before = sums[index];
            sums.push(std::array::from_fn(|i| before[i] + own[i]));
        }
        let transfers = (0..=units).map(|at| link.time(costs.interface_bytes(at))).collect();
        let (subnetworks, replicas) = (layout.subnetworks(), layout.replicas());
        let blocks = Vec::new();
        let mut this =
            Self { costs, options, units, subnetworks, replicas, link, sums, transfers, blocks };
        let counts = layout.counts();
        let most = counts.iter().copied().max().unwrap_or(0);
        let table = |held| if counts.contains(&held) { this.table(held) } else { Vec::new() };
        this.blocks = (0..=most).map(table).collect();
        this
    }

    /// Returns the blocks of `held` subnetworks, indexed by their begin and end.
    fn table(&self, held: usize) -> Vec<Block> {
        let units = self.units;
        let programs = [(false, false), (false, true), (true, false), (true, true)]
            .map(|ends| BlockProgram::new(held, ends, self.replicas, self.options));
        let mut table = vec![Block::default(); units * (units + 1)];
        for begin in 0..units {
            for end in begin + held..=units {
                let kind = 2 * usize::from(begin == 0) + usize::from(end == units);
                table[begin * (units + 1) + end] = self.block(&programs[kind], begin, end, held);
            }
        }
        table
    }

    /// Returns the number of units of the network.
    pub(super) fn units(&self) -> usize {
        self.units
    }

    /// Returns the time of `h` and the loss.
    pub(super) fn head(&self) -> f64 {
        let h = self.costs.postprocessing();
        h.forward + h.backward()
    }

    /// Returns the transfer time of a state at a position, in seconds.
    pub(super) fn transfer(&self, position: usize) -> f64 {
        self.transfers[position]
    }

    /// Returns the total costs of the units between two positions: forward, backward, update, bytes of weights.
    pub(super) fn work(&self, begin: usize, end: usize) -> [f64; 4] {
        std::array::from_fn(|i| self.sums[end][i] - self.sums[begin][i])
    }

    /// Returns the position before which the units make up about this fraction of the work before `end`.
    pub(super) fn position_of(&self, fraction: f64, end: usize) -> usize {
        let work = |sums: &[f64; 4]| sums[..3].iter().sum::<f64>();
        let share = fraction * work(&self.sums[end]);
        self.sums.partition_point(|sums| work(sums) < share)
    }

    /// Returns the block of `held` subnetworks between two positions.
    pub(super) fn get(&self, held: usize, begin: usize, end: usize) -> &Block {
        &self.blocks[held][begin * (self.units + 1) + end]
    }

    /// Computes the block of `held` subnetworks between two positions. Its costs are sums over the
    /// instructions of its worker.
    fn block(&self, program: &BlockProgram, begin: usize, end: usize, held: usize) -> Block {
        let starts = std::iter::once(begin).chain(inner_cuts(begin, end, held));
        let ends = inner_cuts(begin, end, held).chain([end]);
        let own: Vec<_> = starts.zip(ends).map(|(from, to)| from..to).collect();
        let costs: Vec<_> = own.iter().map(|units| self.subnetwork(units)).collect();
        let mut block = Block::default();
        for (operation, subnetwork, phase) in &program.0 {
            if !matches!(operation, Operation::Head { .. }) {
                *block.of(*phase) += operation_time(operation, &costs[*subnetwork]);
            }
        }
        if self.replicas > 1 {
            block.rest = block.rest.max(self.reduced(program, &own, &costs) - block.chain_backward);
        }
        block
    }

    /// Returns the time from the beginning of a block's backward pass to the end of its last sum over the
    /// replicas, which the simulation of `overlap.rs` computes in the same way. A sum begins when its gradients are
    /// complete and the previous one has ended.
    fn reduced(
        &self,
        program: &BlockProgram,
        own: &[Range<usize>],
        costs: &[SubnetworkCost],
    ) -> f64 {
        let (mut now, mut reduced) = (0.0_f64, 0.0_f64);
        let mut gradients = vec![0.0; own.len()];
        let mut reduce = |now: f64, bytes: &mut f64| {
            let bytes = std::mem::take(bytes);
            if bytes > 0.0 {
                reduced = reduced.max(now) + self.link.all_reduce_time(bytes, self.replicas);
            }
        };
        for (operation, subnetwork, phase) in &program.0 {
            let (cost, bytes) = (&costs[*subnetwork], &mut gradients[*subnetwork]);
            match (phase, operation) {
                (Phase::Fine | Phase::Chain | Phase::Update, _) => {}
                (_, Operation::Head { .. }) => *bytes += gradient_bytes(operation, cost),
                (_, Operation::ReduceGradients { .. }) => reduce(now, bytes),
                // Recomputed before the gradients of each segment.
                (_, Operation::RecomputeUnits { .. }) => {}
                (_, Operation::BackwardUnits { .. }) => {
                    let segments = segments(own[*subnetwork].clone(), self.options.segment_units);
                    for units in segments.collect::<Vec<_>>().into_iter().rev() {
                        let [forward, backward, _, weights] = self.work(units.start, units.end);
                        now += backward + if self.options.recompute { forward } else { 0.0 };
                        *bytes += weights;
                        reduce(now, bytes);
                    }
                }
                _ => {
                    now += operation_time(operation, cost);
                    *bytes += gradient_bytes(operation, cost);
                }
            }
        }
        reduced
    }

    /// Returns the costs of a subnetwork with these units.
    fn subnetwork(&self, &Range { start: position, end: next }: &Range<usize>) -> SubnetworkCost {
        let [forward, backward, update, weights] = self.work(position, next);
        // The cost depends on the number of interfaces, but not on the index of an interface.
        let (index, subnetworks) = (1, self.subnetworks);
        let coarse = (position > 0)
            .then(|| self.costs.coarse(&Interface { index, position, next, subnetworks }));
        SubnetworkCost {
            preprocessing: self.costs.preprocessing(position),
            units: Cost { forward, input_gradient: backward, update, weights, ..Cost::default() },
            coarse: coarse.unwrap_or_default(),
            head: if next == self.units { self.costs.postprocessing() } else { Cost::default() },
        }
    }
}
