use super::{Operation, WorkerProgram};

/// The next instruction of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// An instruction that can run immediately. If it receives a message, the message has arrived.
    Run(usize),
    /// A receive instruction whose message has not arrived, when no other instruction can run.
    Wait(usize),
}

/// The instructions of a [`WorkerProgram`] that have been executed, and the rule that chooses the next one.
///
/// Workers and the simulation of [`crate::plan`] both follow this rule, so they differ only in how they
/// decide whether a message has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    done: Vec<bool>,
    /// All instructions before this one have been executed.
    first: usize,
}

impl Progress {
    pub(crate) fn new(program: &WorkerProgram) -> Self {
        Self { done: vec![false; program.instructions().len()], first: 0 }
    }

    /// Chooses the first instruction in the program whose predecessors have been executed and, if it receives
    /// a message, whose message has arrived. If there is none, chooses the first receive instruction to wait
    /// for. Returns `None` at the end of the program.
    ///
    /// # Errors
    /// The errors of `has_arrived`.
    pub(crate) fn next<E>(
        &self,
        program: &WorkerProgram,
        mut has_arrived: impl FnMut(usize, &Operation) -> Result<bool, E>,
    ) -> Result<Option<Next>, E> {
        let mut awaited = None;
        let instructions = program.instructions().iter().enumerate().skip(self.first);
        for (index, instruction) in instructions {
            let is_ready = |&before: &usize| self.done[before];
            if self.done[index] || !instruction.after.iter().all(is_ready) {
                continue;
            }
            if !instruction.operation.is_receive() || has_arrived(index, &instruction.operation)? {
                return Ok(Some(Next::Run(index)));
            }
            awaited = awaited.or(Some(Next::Wait(index)));
        }
        Ok(awaited)
    }

    /// Records that an instruction has been executed.
    pub(crate) fn finish(&mut self, index: usize) {
        self.done[index] = true;
        while self.done.get(self.first) == Some(&true) {
            self.first += 1;
        }
    }
}
