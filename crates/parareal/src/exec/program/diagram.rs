use super::simulation::{Moment, Simulation, TimingModel};
use super::{Message, Operation, Program};

/// The width of a cell in characters.
const CELL: usize = 5;

impl Program {
    /// Returns a text diagram of the step: one line per worker, with time going to the right. All operations
    /// are drawn with the same length, and messages take no time.
    ///
    /// | symbol | operation |
    /// | --- | --- |
    /// | `C2`, `g2` | `x_2 = C_2(x)`, a segment of `y_2 = g_2(x_2)` |
    /// | `F1` | `U_2 = y_2 + F_1(U_1 - x_2)` |
    /// | `h` | postprocessing and loss, forward and backward |
    /// | `F1'` | `ρ_1 = F_1'(U_1 - x_2)ᵀ ρ_2` |
    /// | `∇F1`, `∇g2`, `∇C2` | gradients of the weights of `F_1`; backward passes of a segment of `g_2`, and of `C_2` |
    /// | `g2"` | a segment of `g_2`, recomputed to build its graph |
    /// | `upd` | the optimizer, for one subnetwork |
    /// | `↓`, `↑` | after the operation, a message is sent to the next or the previous worker |
    #[must_use]
    pub fn diagram(&self) -> String {
        let workers = self.workers.len();
        let mut model = Slots { cells: vec![Vec::new(); workers] };
        let executed = Simulation::new(self, 1).run(&mut model);
        debug_assert!(self.is_complete(&executed), "every message is sent");
        let lines = model.cells.iter().enumerate().map(|(worker, cells)| {
            let cells: String = cells.iter().map(|cell| format!("{cell:CELL$}")).collect();
            format!("{:>2}  {}\n", worker + 1, cells.trim_end())
        });
        lines.collect()
    }
}

/// A timing model with one slot of time per operation that computes.
struct Slots {
    /// The cells of each worker's line.
    cells: Vec<Vec<String>>,
}

impl TimingModel for Slots {
    fn send(&mut self, worker: usize, message: Message, at: Moment) -> Moment {
        let arrow = match message {
            Message::State { .. } => '↓',
            Message::Cotangent { .. } => '↑',
        };
        self.cells[worker].last_mut().into_iter().for_each(|cell| cell.push(arrow));
        at
    }

    fn execute(
        &mut self,
        worker: usize,
        _index: usize,
        operation: &Operation,
        at: Moment,
    ) -> Option<Moment> {
        let Some(symbol) = symbol(operation) else { return Some(at) };
        let cells = &mut self.cells[worker];
        cells.resize(at.time as usize, String::new());
        cells.push(symbol);
        Some(Moment { time: at.time + 1.0, cause: None })
    }
}

/// Returns the symbol of an operation; `None` if it only waits or communicates.
fn symbol(operation: &Operation) -> Option<String> {
    let j = operation.subnetwork()? + 1;
    Some(match operation {
        Operation::ForwardPreprocessing { .. } => format!("C{j}"),
        Operation::ForwardUnits { .. } => format!("g{j}"),
        Operation::ForwardCoarse { .. } => format!("F{}", j - 1),
        Operation::Head { .. } => "h".into(),
        Operation::BackwardCoarse { .. } => format!("F{}'", j - 1),
        Operation::BackwardCoarseWeights { .. } => format!("∇F{}", j - 1),
        Operation::RecomputeUnits { .. } => format!("g{j}\""),
        Operation::BackwardUnits { .. } => format!("∇g{j}"),
        Operation::BackwardPreprocessing { .. } => format!("∇C{j}"),
        Operation::Update { .. } => "upd".into(),
        Operation::BeginMicroBatch { .. }
        | Operation::ReceiveState { .. }
        | Operation::SendState { .. }
        | Operation::ReduceTargetFailures { .. }
        | Operation::MergeStatistics { .. }
        | Operation::ReduceStatistics { .. }
        | Operation::ReceiveCotangent { .. }
        | Operation::SendCotangent { .. }
        | Operation::ReduceGradients { .. }
        | Operation::AwaitReductions
        | Operation::ReduceTotals => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::ProgramOptions;
    use super::*;
    use crate::exec::Layout;
    use crate::net::Cuts;

    fn diagram(counts: &[usize], cuts: &Cuts, options: ProgramOptions) -> String {
        let layout = Layout::from_counts(counts, 1).unwrap();
        Program::new(&layout, cuts, options).unwrap().diagram()
    }

    /// The diagram in the documentation of [`crate::exec`].
    #[test]
    fn the_diagram_of_the_documentation_is_that_of_the_program() {
        let cuts = Cuts::even(12, 3).unwrap();
        let printed = diagram(&[1, 1, 1], &cuts, ProgramOptions::default());
        let documented = include_str!("../three_workers.txt");
        let documented = documented.trim_start_matches("```text\n").trim_end_matches("```\n");
        assert_eq!(documented, printed, "exec/three_workers.txt must be:\n{printed}");
    }

    #[test]
    fn the_chain_overtakes_the_fine_work_of_later_subnetworks() {
        let options = ProgramOptions { segment_units: 1, ..ProgramOptions::default() };
        // U_1 arrives before all units of the third subnetwork have run.
        let cuts = Cuts::new(6, vec![3, 4]).unwrap();
        let printed = diagram(&[1, 2], &cuts, options);
        let expected = "
 1  C1   g1   g1   g1↓                                ∇g1  ∇g1  ∇g1  ∇C1                 upd
 2  C2   g2   C3   g3   F1   g3   F2   h    F2'  F1'↑ ∇F2  ∇F1  ∇g2  ∇C2  ∇g3  ∇g3  ∇C3  upd  upd
";
        assert_eq!(format!("\n{printed}"), expected);
    }
}
