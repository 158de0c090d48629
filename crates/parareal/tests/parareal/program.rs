//! The program of a step: what workers executed is an order that it allows, and the one that follows from
//! their durations and the arrivals of their messages.

use std::time::Duration;

use burn::tensor::DType;
use parareal::exec::{
    CrossEntropy, Executor, ExecutorBuilder, Layout, LayoutError, Operation, Program,
    ProgramOptions, WorkerTrace,
};
use parareal::net::Cuts;
use parareal::plan::replay;
use parareal_testing::{
    AnyExecutor, DenseNet, assert_follows_program, assert_messages_are_sent_first, batch, builder,
    init, start,
};

const UNITS: usize = 14;

/// Units wide enough to take longer than a look for a message.
fn wide() -> DenseNet {
    DenseNet::residual(vec![96; UNITS + 1])
}

fn start_cut(builder: ExecutorBuilder<CrossEntropy>, positions: &[usize]) -> AnyExecutor<DenseNet> {
    let cuts = Cuts::new(UNITS, positions.to_vec()).unwrap();
    start(builder, &wide(), &cuts, &init(1, DType::F32))
}

/// Trains some steps, and checks the order and the times of each.
fn steps(executor: &mut dyn Executor<DenseNet, CrossEntropy>) -> Vec<Vec<WorkerTrace>> {
    let step = |number| {
        let (input, labels) = batch(number, 24, DType::F32);
        let trace = executor.train_step(input, labels, 1e-3).unwrap().trace;
        let program = executor.program().expect("workers have a program");
        assert_follows_program(program, &trace);
        assert_messages_are_sent_first(program, &trace);
        assert_eq!(trace.len(), executor.layout().total_workers());
        trace
    };
    (0..8).map(step).collect()
}

#[test]
fn replayed_steps_have_the_recorded_order_and_ends() {
    // Workers, subnetworks of each, replicas, recomputation, units of a segment.
    for (positions, counts, replicas, recompute) in [
        (&[][..], &[1][..], 1, None),
        (&[4, 9], &[3], 1, None),
        (&[7], &[1, 1], 1, None),
        (&[7], &[1, 1], 2, None),
        (&[5, 10], &[1, 1, 1], 1, None),
        (&[5, 10], &[1, 1, 1], 2, Some(2)),
        (&[2, 4, 6, 8, 10], &[3, 3], 1, None),
        (&[2, 4, 6, 8, 10], &[1, 3, 2], 1, Some(3)),
        (&[2, 4, 6, 8, 10], &[2, 3, 1], 3, None),
    ] {
        let builder = builder().subnetworks_per_worker(counts).replicas(replicas);
        let builder = match recompute {
            Some(units) => builder.recompute(units),
            None => builder.segment_units(1),
        };
        steps(&mut *start_cut(builder, positions));
    }
}

/// The first worker is late, so the second one turns to fine work that its program lists after the chain.
#[test]
fn fine_work_overtakes_a_chain_that_has_not_arrived() {
    let mut executor =
        start_cut(builder().subnetworks_per_worker([1, 3]).segment_units(1), &[8, 9, 10]);
    let is_overtaken = |trace: &Vec<WorkerTrace>| {
        let second = trace.iter().find(|own| own.worker == 1).unwrap();
        !second.executed.is_sorted_by_key(|executed| executed.instruction)
    };
    let traces = steps(&mut *executor);
    assert!(traces.iter().any(is_overtaken), "{traces:?}");

    // Had its message been there from the beginning, it would have kept to the list.
    let program = executor.program().unwrap();
    let mut trace = traces.into_iter().find(is_overtaken).unwrap();
    let recorded = trace.clone();
    for executed in &mut trace[1].executed {
        let operation = &program.worker(1).instructions()[executed.instruction].operation;
        if matches!(operation, Operation::ReceiveState { .. }) {
            executed.arrival = Some(Duration::ZERO);
        }
    }
    let replayed = replay(program, &trace);
    assert!(!is_overtaken(&replayed));
    assert_ne!(replayed[1], recorded[1]);
    assert_eq!(replayed[0], recorded[0], "its own durations have not changed");
}

/// Where operations can leave gradients of weights, what is left is computed after the cotangent is sent.
#[test]
fn the_first_worker_defers_nothing() {
    let cuts = Cuts::even(6, 4).unwrap();
    let layout = Layout::from_counts(&[2, 1, 1], 1).unwrap();
    let program = |defer_weights| {
        let options = ProgramOptions { defer_weights, ..ProgramOptions::default() };
        Program::new(&layout, &cuts, options).unwrap()
    };
    let count = |program: &Program, worker: usize| {
        let own = program.worker(worker).instructions().iter();
        let late =
            |operation: &Operation| matches!(operation, Operation::BackwardCoarseWeights { .. });
        own.filter(|instruction| late(&instruction.operation)).count()
    };
    let deferring = program(true);
    assert_eq!([0, 1, 2].map(|worker| count(&deferring, worker)), [0, 1, 1]);
    let at_once = program(false);
    assert_eq!([0, 1, 2].map(|worker| count(&at_once, worker)), [0, 0, 0]);
}

#[test]
fn the_sequential_executor_has_no_program() {
    let mut executor = start_cut(builder().sequential(), &[7]);
    assert!(executor.program().is_none());
    let (input, labels) = batch(1, 5, DType::F32);
    assert_eq!(executor.train_step(input, labels, 1e-3).unwrap().trace, []);
}

#[test]
fn a_program_is_for_a_layout_of_the_same_network() {
    let layout = Layout::threads(3, 2, 1).unwrap();
    let refused = Program::new(&layout, &Cuts::even(6, 2).unwrap(), ProgramOptions::default());
    assert_eq!(refused, Err(LayoutError::OtherNetwork { layout: 3, network: 2 }));
}

/// All units are run forward and backward once, and every message is sent to the worker that receives it.
#[test]
fn every_program_is_complete() {
    let cuts = Cuts::new(17, vec![3, 4, 8, 12, 15]).unwrap();
    for counts in [&[6][..], &[1, 5], &[2, 2, 2], &[1; 6], &[4, 1, 1]] {
        for (replicas, recompute, defer_weights) in
            [(1, false, true), (1, true, false), (2, false, false), (2, true, true)]
        {
            let layout = Layout::from_counts(counts, replicas).unwrap();
            let options = ProgramOptions { segment_units: 3, recompute, defer_weights };
            let program = Program::new(&layout, &cuts, options).unwrap();
            let all = || program.workers().iter().flat_map(|own| own.instructions());
            let units = |run: fn(&Operation) -> Option<std::ops::Range<usize>>| {
                let mut units: Vec<_> =
                    all().filter_map(|own| run(&own.operation)).flatten().collect();
                units.sort_unstable();
                units
            };
            let each = (0..17).collect::<Vec<_>>();
            let forward = units(|operation| match operation {
                Operation::ForwardUnits { units, .. } => Some(units.clone()),
                _ => None,
            });
            let backward = units(|operation| match operation {
                Operation::BackwardUnits { units, .. } => Some(units.clone()),
                _ => None,
            });
            let again = units(|operation| match operation {
                Operation::RecomputeUnits { units, .. } => Some(units.clone()),
                _ => None,
            });
            assert_eq!((&forward, &backward), (&each, &each));
            assert_eq!(again, if recompute { each } else { Vec::new() });
            for (worker, own) in program.workers().iter().enumerate() {
                let has = |worker: usize, operation| {
                    let other = program.workers().get(worker).map(|own| own.instructions());
                    other.is_some_and(|other| other.iter().any(|own| own.operation == operation))
                };
                for instruction in own.instructions() {
                    match instruction.operation {
                        Operation::SendState { subnetwork } => {
                            assert!(has(worker + 1, Operation::ReceiveState { subnetwork }));
                        }
                        Operation::SendCotangent { subnetwork } => {
                            assert!(has(worker - 1, Operation::ReceiveCotangent { subnetwork }));
                        }
                        _ => {}
                    }
                }
                // Gradients are summed after everything that computes them.
                let last = own.instructions().iter().rposition(|own| {
                    matches!(own.operation, Operation::BackwardPreprocessing { .. })
                });
                let sum = own
                    .instructions()
                    .iter()
                    .rposition(|own| matches!(own.operation, Operation::ReduceGradients { .. }));
                assert_eq!(sum, (replicas > 1).then(|| last.unwrap() + 1));
            }
        }
    }
}
