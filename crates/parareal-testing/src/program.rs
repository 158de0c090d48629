//! Comparison of recorded steps with the program of their executor.

use std::time::Duration;

use parareal::exec::{Instruction, Operation, Program, WorkerTrace};
use parareal::plan::replay;

/// Asserts that the workers of a trace have executed every instruction of their programs once, in an order that
/// the programs allow. A simulation with the same durations must give the same order, arrival times and end
/// times.
///
/// # Panics
/// Panics if the trace does not follow the program, or if it is empty.
pub fn assert_follows_program(program: &Program, trace: &[WorkerTrace]) {
    assert!(!trace.is_empty(), "no worker has recorded anything");
    for own in trace {
        let instructions = program.worker(own.worker % program.workers().len()).instructions();
        let mut done = vec![false; instructions.len()];
        let mut reached = own.begin;
        for executed in &own.executed {
            let instruction = &instructions[executed.instruction];
            let what = &instruction.operation;
            assert!(!done[executed.instruction], "{what}: executed twice");
            assert!(
                instruction.after.iter().all(|&before| done[before]),
                "{what}: executed too early"
            );
            assert!(executed.end >= reached, "{what}: ends before it begins");
            assert_eq!(executed.arrival.is_some(), what.is_receive(), "{what}");
            assert!(executed.arrival.is_none_or(|arrival| arrival <= executed.end), "{what}");
            done[executed.instruction] = true;
            reached = executed.end;
        }
        assert!(
            done.iter().all(|done| *done),
            "worker {}: not at the end of its program",
            own.worker
        );
    }
    assert_eq!(replay(program, trace), trace);

    // No worker learns the totals before all workers have contributed.
    let turned = |own: &WorkerTrace| {
        let instructions = program.worker(own.worker % program.workers().len()).instructions();
        let is_totals = |index: usize| instructions[index].operation == Operation::ReduceTotals;
        let at = own.executed.iter().position(|own| is_totals(own.instruction)).expect("a sum");
        [own.executed[at - 1].end, own.executed[at].end]
    };
    let all_there = trace.iter().map(|own| turned(own)[0]).max();
    assert!(
        trace.iter().all(|own| Some(turned(own)[1]) >= all_there),
        "a worker continues too early"
    );
}

/// Asserts that no message arrives before its sender has begun to send it. The trace must contain all workers.
///
/// # Panics
/// Panics if a message arrives too early, or if a sender is missing.
pub fn assert_messages_are_sent_first(program: &Program, trace: &[WorkerTrace]) {
    let workers = program.workers().len();
    let operation = |own: &WorkerTrace, index: usize| {
        &program.worker(own.worker % workers).instructions()[index].operation
    };
    let mut messages = 0;
    for receiver in trace {
        for executed in receiver.executed.iter().filter(|executed| executed.arrival.is_some()) {
            let (sender, sends) = match *operation(receiver, executed.instruction) {
                Operation::ReceiveState { subnetwork, micro_batch } => {
                    (receiver.worker - 1, Operation::SendState { subnetwork, micro_batch })
                }
                Operation::ReceiveCotangent { subnetwork, micro_batch } => {
                    (receiver.worker + 1, Operation::SendCotangent { subnetwork, micro_batch })
                }
                ref other => panic!("{other} receives nothing"),
            };
            let sender = trace.iter().find(|own| own.worker == sender).expect("the sender");
            let sent =
                sender.executed.iter().position(|own| *operation(sender, own.instruction) == sends);
            let sent: Duration = match sent.expect("the message is sent") {
                0 => sender.begin,
                at => sender.executed[at - 1].end,
            };
            assert!(executed.arrival.is_some_and(|arrival| sent <= arrival), "{sends}");
            messages += 1;
        }
    }
    let begins = |own: &&Instruction| matches!(own.operation, Operation::BeginMicroBatch { .. });
    let micro_batches = program.worker(0).instructions().iter().filter(begins).count().max(1);
    let interfaces = trace.len() - trace.len() / workers;
    assert_eq!(messages, 2 * micro_batches * interfaces, "two for each interface");
}
