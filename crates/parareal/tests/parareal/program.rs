//! The program of a step. Workers execute it in an order that it allows, and the order follows from the
//! durations of instructions and the arrivals of messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor};
use parareal::exec::{
    CrossEntropy, Executor, ExecutorBuilder, Layout, LayoutError, Operation, Program,
    ProgramOptions, WorkerTrace,
};
use parareal::net::{Cuts, Init, Sequential, layer};
use parareal::plan::replay_scaled;
use parareal_testing::{
    AnyExecutor, CLASSES, DenseNet, FEATURES, assert_follows_program,
    assert_messages_are_sent_first, batch, builder, init, start,
};

const UNITS: usize = 14;

/// A network whose units are wide enough to take longer than a check for a message.
fn wide() -> DenseNet {
    DenseNet::residual(vec![96; UNITS + 1])
}

fn start_cut(builder: ExecutorBuilder<CrossEntropy>, positions: &[usize]) -> AnyExecutor<DenseNet> {
    let cuts = Cuts::new(UNITS, positions.to_vec()).unwrap();
    start(builder, &wide(), &cuts, &init(1, DType::F32))
}

/// Runs some training steps, and checks the order and the times of each.
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
    // Positions of the cuts, subnetworks of each worker, replicas, recomputation.
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

/// The first unit of the first worker waits for a unit of the third subnetwork, which the second worker only reaches
/// if it does not wait for the chain.
#[test]
fn fine_work_overtakes_a_chain_that_has_not_arrived() {
    let device = Device::flex();
    // True while a dry run determines the shapes of the network.
    let is_passed = Arc::new(AtomicBool::new(true));
    let passed = Arc::clone(&is_passed);
    let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
    let network = Sequential::stem(Tensor::<2>::zeros([1, FEATURES], &device), move |init| {
        layer(linear(FEATURES, 8, init), Linear::forward)
    })
    .units(8, move |index, init| {
        let passed = Arc::clone(&passed);
        layer(linear(8, 8, init), move |linear: &Linear, x: Tensor<2>| {
            let begun = Instant::now();
            while index == 0 && !passed.load(Ordering::SeqCst) {
                assert!(begun.elapsed() < Duration::from_secs(60), "the chain was waited for");
                std::thread::sleep(Duration::from_millis(1));
            }
            if index == 5 {
                passed.store(true, Ordering::SeqCst);
            }
            x.clone() + linear.forward(x).tanh()
        })
    })
    .head(move |init| layer(linear(8, CLASSES, init), Linear::forward))
    .unwrap();
    let cuts = Cuts::new(8, vec![2, 5]).unwrap();
    let builder = builder().subnetworks_per_worker([1, 2]).segment_units(1);
    let mut executor = start(builder, &network, &cuts, &init(1, DType::F32));

    let (input, labels) = batch(1, 12, DType::F32);
    is_passed.store(false, Ordering::SeqCst);
    let trace = executor.train_step(input, labels, 1e-3).unwrap().trace;
    let program = executor.program().unwrap();
    assert_follows_program(program, &trace);
    assert_messages_are_sent_first(program, &trace);
    let place = |trace: &[WorkerTrace], find: &dyn Fn(&Operation) -> bool| {
        let instructions = program.worker(1).instructions();
        let is_it = |index: usize| find(&instructions[index].operation);
        trace[1].executed.iter().position(|own| is_it(own.instruction)).unwrap()
    };
    let receive = |operation: &Operation| matches!(operation, Operation::ReceiveState { .. });
    let unit_5 = |operation: &Operation| matches!(operation, Operation::ForwardUnits { units, .. } if *units == (5..6));
    assert!(place(&trace, &unit_5) < place(&trace, &receive), "{trace:?}");

    // The first worker takes no time, and the second one begins with a long operation. So the message arrives
    // before the second worker checks for it.
    let early = replay_scaled(program, &trace, |worker, operation| match operation {
        Operation::ForwardUnits { .. } | Operation::ForwardPreprocessing { .. } if worker == 0 => {
            0.0
        }
        Operation::ForwardPreprocessing { subnetwork: 1 } => 1e6,
        _ => 1.0,
    });
    assert!(place(&early, &receive) < place(&early, &unit_5), "{early:?}");
}

/// The end times of a replay follow from the durations and, through messages, from the durations of other
/// workers.
#[test]
fn a_delay_in_a_replay_passes_through_the_messages_to_all_workers() {
    let mut executor = start_cut(builder().subnetworks_per_worker([1, 1, 1]).replicas(2), &[5, 10]);
    let trace = steps(&mut *executor).pop().unwrap();
    let program = executor.program().unwrap();
    // The last fine work of the first worker of the first replica takes a hundred times as long.
    let is_late = |worker: usize, operation: &Operation| {
        worker == 0 && matches!(operation, Operation::ForwardUnits { units, .. } if units.end == 5)
    };
    let late = replay_scaled(
        program,
        &trace,
        |worker, operation| {
            if is_late(worker, operation) { 100.0 } else { 1.0 }
        },
    );
    let end = |trace: &[WorkerTrace], worker: usize, operation: &Operation| {
        let own = &trace[worker];
        let instructions = program.worker(worker % 3).instructions();
        let is_it = |index: usize| instructions[index].operation == *operation;
        own.executed.iter().find(|own| is_it(own.instruction)).unwrap().end
    };
    let send = Operation::SendState { subnetwork: 0, micro_batch: 0 };
    let delay = end(&late, 0, &send) - end(&trace, 0, &send);
    assert!(delay > Duration::ZERO);
    let receive = Operation::ReceiveState { subnetwork: 0, micro_batch: 0 };
    let arrival = |trace: &[WorkerTrace]| {
        let instructions = program.worker(1).instructions();
        let is_it = |index: usize| instructions[index].operation == receive;
        trace[1].executed.iter().find(|own| is_it(own.instruction)).unwrap().arrival.unwrap()
    };
    assert_eq!(arrival(&late), arrival(&trace) + delay);
    let totals = Operation::ReduceTotals;
    let ends = [0, 1, 2, 3, 4, 5].map(|worker| end(&late, worker, &totals));
    assert!(ends.iter().all(|&end_of| end_of > end(&late, 2, &Operation::Head { subnetwork: 2 })));
    let head = Operation::Head { subnetwork: 2 };
    assert_eq!(end(&late, 5, &head), end(&trace, 5, &head), "another replica");
}

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
    let empty = ProgramOptions { segment_units: 0, ..ProgramOptions::default() };
    let refused = Program::new(&layout, &Cuts::even(6, 3).unwrap(), empty);
    assert_eq!(refused, Err(LayoutError::EmptySegments));
}

/// Every unit has one forward and one backward pass, and every message is sent to the worker that receives
/// it.
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
                        Operation::SendState { subnetwork, micro_batch } => {
                            assert!(has(
                                worker + 1,
                                Operation::ReceiveState { subnetwork, micro_batch }
                            ));
                        }
                        Operation::SendCotangent { subnetwork, micro_batch } => {
                            assert!(has(
                                worker - 1,
                                Operation::ReceiveCotangent { subnetwork, micro_batch }
                            ));
                        }
                        Operation::ReceiveState { subnetwork, micro_batch } => {
                            assert!(has(
                                worker - 1,
                                Operation::SendState { subnetwork, micro_batch }
                            ));
                        }
                        Operation::ReceiveCotangent { subnetwork, micro_batch } => {
                            assert!(has(
                                worker + 1,
                                Operation::SendCotangent { subnetwork, micro_batch }
                            ));
                        }
                        _ => {}
                    }
                }
                // Gradients are summed after all operations that compute them.
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
