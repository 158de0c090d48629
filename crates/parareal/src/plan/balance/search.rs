//! The search for the placement of blocks with the shortest step.

use super::block::{Block, BlockCosts};

/// The first range of steps that is searched is this fraction of the range between a lower bound and the step with
/// blocks of equal work.
const NARROWEST: f64 = 1.0 / 32.0;
/// Relative differences below this one are rounding errors.
const ROUNDING: f64 = 1e-13;

/// Returns the duration of the shortest step on devices that hold these numbers of subnetworks, in seconds, and
/// the unit at which the block of each device begins.
pub(super) fn shortest(costs: &BlockCosts, held: &[usize]) -> (f64, Vec<usize>) {
    let search = Search { costs, held, remaining: remaining(costs, held), units: costs.units() };
    let (found, head) = (search.even_out(search.best()), costs.head());
    (found.forward + head + found.backward, found.begins)
}

/// A partial placement, which contains the last blocks.
#[derive(Clone, Copy, Debug, Default)]
struct Placed {
    /// The time from the end of the previous block's part of the chain to `e_N`.
    after: f64,
    /// The lower bound on `e_N` that follows from the fine work of these blocks.
    forward: f64,
    /// The time from `r_N` to the arrival of the cotangent at the preceding block.
    before: f64,
    /// The latest end of the backward pass of these blocks and of their sums over replicas, relative to `r_N`.
    backward: f64,
    /// The longest update of these blocks.
    update: f64,
    /// A lower bound on the latest end of the backward pass of all blocks.
    least_backward: f64,
    /// A lower bound on the longest update of all blocks.
    least_update: f64,
    /// The begin and end of the first block, and the index of the placement of the other blocks.
    begin: usize,
    end: usize,
    next: usize,
}

impl Placed {
    /// Returns the placement without blocks.
    fn nothing(units: usize) -> Self {
        Self { begin: units, end: units, ..Self::default() }
    }

    /// Adds a block before these blocks. `transfer` is the time of a transfer at `begin`, between the new block
    /// and the one that will precede it.
    fn prepend(&self, begin: usize, block: &Block, transfer: f64, next: usize) -> Self {
        Self {
            after: self.after + block.chain + transfer,
            forward: self.forward.max(self.after + block.fine + block.chain),
            before: self.before + block.chain_backward + transfer,
            backward: self.backward.max(self.before + block.chain_backward + block.rest),
            update: self.update.max(block.update),
            begin,
            end: self.begin,
            next,
            ..*self
        }
    }

    /// Computes the lower bounds for all blocks, and returns those of `F` and `B`.
    fn bound(&mut self, remaining: &Remaining) -> [f64; 2] {
        self.least_backward = self.backward.max(self.before + remaining.backward);
        self.least_update = self.update.max(remaining.update);
        let forward = self.forward.max(self.after + remaining.forward);
        [forward, self.least_backward + self.least_update]
    }

    /// Returns true if no choice of preceding blocks gives a smaller `B` than with `other`. Both must be within
    /// the limit on `F`, and begin at the same unit.
    ///
    /// The end of the backward pass of `other` and its update may even be later than here, up to what all blocks
    /// need here in any case.
    fn is_no_better_than(&self, other: &Self) -> bool {
        other.after <= self.after
            && other.before <= self.before
            && other.backward <= self.least_backward
            && other.update <= self.least_update
    }

    /// Returns true if `other` makes these blocks superfluous. Of two that do so for each other, the one whose own
    /// blocks end earlier stays.
    fn yields_to(&self, other: &Self) -> bool {
        let end = |placed: &Self| placed.forward + placed.backward + placed.update;
        self.is_no_better_than(other) && (end(other) <= end(self) || !other.is_no_better_than(self))
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
    /// Returns the time of the step without `h`.
    fn step(&self) -> f64 {
        self.forward + self.backward
    }
}

/// Lower bounds for the blocks before a position.
#[derive(Clone, Copy, Debug)]
struct Remaining {
    /// The end of the forward pass, if the chain of the blocks that follow takes no time.
    forward: f64,
    /// The end of the backward pass, after the arrival of the cotangent.
    backward: f64,
    /// The longest update.
    update: f64,
}

impl Remaining {
    /// The bounds without blocks, which do not restrict anything.
    const NOTHING: Self =
        Self { forward: f64::NEG_INFINITY, backward: f64::NEG_INFINITY, update: 0.0 };
    /// The bounds of blocks that do not fit before a position.
    const IMPOSSIBLE: Self =
        Self { forward: f64::INFINITY, backward: f64::INFINITY, update: f64::INFINITY };
}

/// Returns lower bounds for the blocks of the first `count` devices, indexed by `count` and the position at which they
/// end.
///
/// Each block ends no earlier than its own work allows, so the latest end is at least the mean of their ends. The
/// mean includes all work, and the time that the chain takes between these blocks. The latest end is also at
/// least that of the first block, if the chain from there to the position is the shortest possible one.
fn remaining(costs: &BlockCosts, held: &[usize]) -> Vec<Vec<Remaining>> {
    let (units, least) = (costs.units(), least(costs, held));
    let mut all = vec![vec![Remaining::NOTHING; units + 1]];
    // The ends of the first block, forward and backward.
    let mut first: Vec<[f64; 2]> = Vec::new();
    let mut before = 0;
    for (device, &own) in held.iter().enumerate() {
        let mut next = vec![[f64::INFINITY; 2]; units + 1];
        for (end, next) in next.iter_mut().enumerate().skip(before + own) {
            if device == 0 {
                let block = costs.get(own, 0, end);
                *next = [block.fine + block.chain, block.chain_backward + block.rest];
                continue;
            }
            for (begin, first) in first.iter().enumerate().take(end - own + 1).skip(before) {
                let (block, transfer) = (costs.get(own, begin, end), costs.transfer(begin));
                next[0] = next[0].min(first[0] + block.chain + transfer);
                next[1] = next[1].min(first[1] + block.chain_backward + transfer);
            }
        }
        first = next;
        before += own;
        let bounds = first.iter().zip(&least).enumerate().map(|(position, (first, least))| {
            if position < before {
                return Remaining::IMPOSSIBLE;
            }
            // The chain passes through 0 + 1 + .. of these blocks. All blocks except the first also have work
            // besides their units.
            let (blocks, others) = ((device + 1) as f64, device as f64);
            let between = blocks * others / 2.0;
            let [forward, backward, update, _] = costs.work(0, position);
            let sum = |work: f64, least: f64, chain: f64| match device {
                0 => work,
                _ => work + others * (least + chain) + between * chain,
            };
            let forward = sum(forward, least.fine, least.chain);
            let backward = sum(backward, least.rest, least.chain_backward);
            Remaining {
                forward: first[0].max(forward / blocks),
                backward: first[1].max(backward / blocks),
                update: sum(update, least.update, 0.0) / blocks,
            }
        });
        all.push(bounds.collect());
    }
    all
}

/// Returns the minimum costs of the blocks that begin after position 0 and end at a position or before. The costs of
/// units are not included.
fn least(costs: &BlockCosts, held: &[usize]) -> Vec<Block> {
    let units = costs.units();
    let most = f64::INFINITY;
    let none = Block { fine: most, chain: most, chain_backward: most, rest: most, update: most };
    let mut least = vec![none; units + 1];
    let mut kinds = held.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    for begin in 1..units {
        for &held in &kinds {
            for (end, least) in least.iter_mut().enumerate().skip(begin + held) {
                let (block, work) = (costs.get(held, begin, end), costs.work(begin, end));
                least.fine = least.fine.min(block.fine - work[0]);
                least.chain = least.chain.min(block.chain);
                least.chain_backward = least.chain_backward.min(block.chain_backward);
                least.rest = least.rest.min(block.rest - work[1]);
                least.update = least.update.min(block.update - work[2]);
            }
        }
    }
    for position in 1..=units {
        let before = least[position - 1];
        let own = &mut least[position];
        own.fine = own.fine.min(before.fine);
        own.chain = own.chain.min(before.chain);
        own.chain_backward = own.chain_backward.min(before.chain_backward);
        own.rest = own.rest.min(before.rest);
        own.update = own.update.min(before.update);
    }
    least
}

/// The costs of a network on devices, for the search.
struct Search<'a> {
    costs: &'a BlockCosts<'a>,
    /// The number of subnetworks of each device.
    held: &'a [usize],
    /// Lower bounds for the blocks of the first devices, indexed by their number and their end.
    remaining: Vec<Vec<Remaining>>,
    units: usize,
}

impl Search<'_> {
    /// Returns the placement with the shortest step.
    fn best(&self) -> Found {
        let mut best = self.even();
        let all = &self.remaining[self.held.len()][self.units];
        let lowest = Placed::nothing(self.units).bound(all);
        // A narrow search is fast. It is widened until it finds a placement, because a short step narrows the
        // ranges below.
        let lowest_step = lowest[0] + lowest[1];
        let mut wider = NARROWEST * (best.step() - lowest_step);
        while wider > 0.0 && lowest_step + wider < best.step() {
            if let Some(found) = self.within(lowest.map(|limit| limit + wider), self.units) {
                if found.step() < best.step() {
                    best = found;
                }
                break;
            }
            wider *= 2.0;
        }
        // Ranges of `F` to be searched. Each includes its lower end and excludes its upper end.
        let mut open = vec![[lowest[0], f64::INFINITY]];
        while let Some([low, high]) = open.pop() {
            let room = best.step();
            let limits = [high.min(room - lowest[1]), room - low];
            let Some(found) = self.within(limits, self.units) else { continue };
            let least = found.backward;
            let mut high = found.forward;
            if found.step() < best.step() {
                best = found;
            }
            high = high.min(best.step() - least);
            if low < high {
                let middle = 0.5 * (low + high);
                open.extend([[low, middle], [middle, high]]);
            }
        }
        best
    }

    /// Returns a placement whose blocks have about the same amount of work.
    fn even(&self) -> Found {
        let (mut placed, mut begins) = (Placed::nothing(self.units), Vec::new());
        for (device, &held) in self.held.iter().enumerate().rev() {
            let before = self.held[..device].iter().sum::<usize>();
            let fraction = device as f64 / (device + 1) as f64;
            let begin = self.costs.position_of(fraction, placed.begin);
            let begin = if device == 0 { 0 } else { begin.clamp(before, placed.begin - held) };
            let block = self.costs.get(held, begin, placed.begin);
            placed = placed.prepend(begin, block, self.costs.transfer(begin), 0);
            begins.push(begin);
        }
        begins.reverse();
        Found { forward: placed.forward, backward: placed.backward + placed.update, begins }
    }

    /// Returns a placement with a step no longer than the given one, whose longest block is as short as possible.
    fn even_out(&self, mut best: Found) -> Found {
        let limits = [best.forward, best.backward].map(|end| end * (1.0 + ROUNDING));
        // No placement has blocks below `least`; that of `best` has none above `most`.
        let longest = |found: &Found| {
            let ends = found.begins[1..].iter().chain([&self.units]);
            found.begins.iter().zip(ends).map(|(begin, end)| end - begin).max().unwrap_or(0)
        };
        let (mut least, mut most) = (self.units.div_ceil(self.held.len()), longest(&best));
        while least < most {
            let middle = usize::midpoint(least, most);
            match self.within(limits, middle) {
                Some(found) => {
                    most = longest(&found);
                    best = found;
                }
                None => least = middle + 1,
            }
        }
        best
    }

    /// Returns a placement with the smallest `B` among those with `F` and `B` below these limits and blocks of at most
    /// `most` units.
    fn within(&self, limits: [f64; 2], most: usize) -> Option<Found> {
        // The placements of each layer have one more block than those of the previous layer. They are grouped
        // by their begin.
        let mut nothing = vec![Vec::new(); self.units + 1];
        nothing[self.units].push(Placed::nothing(self.units));
        let mut layers = vec![nothing];
        for device in (0..self.held.len()).rev() {
            layers.push(self.extended(device, &layers[layers.len() - 1], limits, most));
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
    /// limits, with blocks of at most `most` units.
    fn extended(
        &self,
        device: usize,
        layer: &[Vec<Placed>],
        limits: [f64; 2],
        most: usize,
    ) -> Vec<Vec<Placed>> {
        let (held, units) = (self.held[device], self.units);
        let before = self.held[..device].iter().sum::<usize>();
        // For each position, the shortest chains from there or a later position, forward and backward.
        let mut chains = vec![[f64::INFINITY; 2]; units + 2];
        for position in (0..=units).rev() {
            let here = layer[position].iter().map(|placed| [placed.after, placed.before]);
            let later = chains[position + 1];
            chains[position] = here.fold(later, |a, b| [a[0].min(b[0]), a[1].min(b[1])]);
        }
        let mut extended = vec![Vec::new(); units + 1];
        let begins = if device == 0 { 0..1 } else { before..units };
        for begin in begins {
            let here: &mut Vec<Placed> = &mut extended[begin];
            let (transfer, remaining) =
                (self.costs.transfer(begin), &self.remaining[device][begin]);
            let longest = (begin + most).min(units);
            for (end, others) in layer.iter().enumerate().take(longest + 1).skip(begin + held) {
                let work = self.costs.work(begin, end);
                // A later end means more work.
                if (0..2).any(|i| chains[end][i] + work[i] >= limits[i]) {
                    break;
                }
                let block = self.costs.get(held, begin, end);
                for (next, placed) in others.iter().enumerate() {
                    let mut placed = placed.prepend(begin, block, transfer, next);
                    let least = placed.bound(remaining);
                    let fits = (0..2).all(|i| least[i] < limits[i]);
                    if fits && !here.iter().any(|other| placed.yields_to(other)) {
                        here.retain(|other| !other.is_no_better_than(&placed));
                        here.push(placed);
                    }
                }
            }
        }
        extended
    }
}
