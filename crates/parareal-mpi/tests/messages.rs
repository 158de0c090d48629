//! Tests of the memory safety of the MPI wrappers, on real ranks. Each test runs itself again under `mpirun`.
//! `.ci/sanitize` runs them under the address sanitizer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parareal_mpi::{Communicator, MpiError, SilentRank, World};
use parareal_testing::ranks::Launcher;
use parareal_testing::{ranks, test_name};

/// A message length that MPI does not send before the receiver is ready.
const LONG: usize = 3_000_000;

/// Runs `body` on each of `count` ranks, with a communicator of all ranks.
fn on_ranks(count: usize, name: &str, body: impl FnOnce(&World, &Communicator)) {
    ranks::on_ranks(&[count], name, || {
        let world = World::init().unwrap();
        let all = world.split(Some(0)).unwrap().unwrap();
        body(&world, &all);
        world.finalize().unwrap();
    });
}

fn meet(all: &Communicator) {
    all.sum_f32(vec![1.0]).unwrap().wait().unwrap();
}

fn pattern(rank: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + rank * 31 + index / 251) as u8).collect()
}

#[test]
fn all_operations_work_for_all_lengths() {
    on_ranks(3, test_name!(), |world, all| {
        let (rank, size) = (all.rank(), all.size());
        let [next, before] = [(rank + 1) % size, (rank + size - 1) % size];
        for length in [0, 1, 4095, 70_000, LONG] {
            // All are in progress at once.
            let coming = all.receive(before, 3, length).unwrap();
            let leaving = all.send(next, 3, pattern(rank, length)).unwrap();
            let told = all.broadcast(1, pattern(rank, length)).unwrap();
            let singles = all.sum_f32(vec![rank as f32; length / 4]).unwrap();
            let doubles = all.sum_f64(vec![0.5; length / 8]).unwrap();
            let gathered = all.all_gather_equal(pattern(rank, length)).unwrap();
            assert_eq!(coming.wait().unwrap(), pattern(before, length));
            leaving.wait().unwrap();
            assert_eq!(told.wait().unwrap(), pattern(1, length));
            assert_eq!(singles.wait().unwrap(), vec![3.0; length / 4]);
            assert_eq!(doubles.wait().unwrap(), vec![1.5; length / 8]);
            let expected: Vec<_> = (0..size).map(|rank| pattern(rank, length)).collect();
            assert_eq!(gathered.wait().unwrap(), expected.concat());
            // Each rank contributes a different length.
            let gathered = all.all_gather(pattern(rank, length / (rank + 1))).unwrap();
            let expected = (0..size).map(|rank| pattern(rank, length / (rank + 1)));
            assert_eq!(gathered, expected.collect::<Vec<_>>());
        }
        assert!(world.split((rank > 0).then_some(4)).unwrap().is_none_or(|two| two.size() == 2));
    });
}

#[test]
fn a_message_of_another_length_is_an_error_and_does_not_overflow() {
    on_ranks(2, test_name!(), |_, all| {
        for (sent, expected) in [(10, 20), (20, 10), (LONG, 10), (LONG, LONG - 1), (0, 1)] {
            if all.rank() == 0 {
                all.send(1, 5, vec![7_u8; sent]).unwrap().wait().unwrap();
            } else {
                let error = all.receive(0, 5, expected).unwrap().wait().unwrap_err();
                assert_eq!(error, MpiError::MessageSize { from: 0, found: sent, expected });
            }
            meet(all);
        }
    });
}

/// Bytes that are overwritten when they are dropped.
struct Fading(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Fading {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Fading {
    fn drop(&mut self) {
        self.0.fill(0);
        self.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_buffer_is_kept_until_it_is_sent() {
    on_ranks(2, test_name!(), |_, all| {
        for round in 0..5 {
            if all.rank() == 0 {
                let gone = Arc::new(AtomicBool::new(false));
                let data = Fading(pattern(round, LONG), Arc::clone(&gone));
                // No thread waits for the result.
                drop(all.send(1, 6, data).unwrap());
                assert!(!gone.load(Ordering::SeqCst));
                meet(all);
                meet(all);
                let begun = Instant::now();
                while !gone.load(Ordering::SeqCst) {
                    assert!(begun.elapsed() < Duration::from_secs(60), "it is kept for ever");
                    std::thread::yield_now();
                }
            } else {
                meet(all);
                let got = all.receive(0, 6, LONG).unwrap().wait().unwrap();
                assert_eq!(got, pattern(round, LONG));
                meet(all);
            }
        }
    });
}

#[test]
fn a_receive_can_be_cancelled_at_any_time() {
    on_ranks(2, test_name!(), |_, all| {
        for round in 0..60 {
            let length = if round % 2 == 0 { LONG } else { 64 };
            let tag = 100 + round;
            if all.rank() == 0 {
                let sent = all.send(1, tag, pattern(0, length)).unwrap();
                meet(all);
                // Dropping the request does not cancel the send.
                drop(sent);
            } else {
                let dropped = all.receive(0, tag, length).unwrap();
                if round % 3 == 0 {
                    std::thread::sleep(Duration::from_micros(50 * round as u64));
                }
                drop(dropped);
                meet(all);
                // The first receive has taken nothing or the whole message.
                let mut second = all.receive(0, tag, length).unwrap();
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(30) {
                    if let Some(got) = second.test().unwrap() {
                        assert_eq!(got, pattern(0, length));
                        break;
                    }
                    std::thread::yield_now();
                }
            }
            meet(all);
        }
    });
}

#[test]
fn ranks_that_do_not_exist_are_refused() {
    on_ranks(2, test_name!(), |_, all| {
        // As C integers, the last two are special values of MPI such as `MPI_ANY_SOURCE`.
        for rank in [2, usize::MAX, -1_i32 as u32 as usize, -2_i32 as u32 as usize] {
            let expected = MpiError::InvalidRank { rank, size: 2 };
            let receive = all.receive(rank, 1, 8).unwrap().wait().unwrap_err();
            let send = all.send(rank, 1, vec![0_u8; 8]).unwrap().wait().unwrap_err();
            let broadcast = all.broadcast(rank, vec![0; 8]).unwrap().wait().unwrap_err();
            assert_eq!([&receive, &send, &broadcast], [&expected; 3]);
        }
        // Messages longer than MPI can count are rejected as well.
        let length = i32::MAX as usize + 1;
        let refused = all.receive(0, 1, length).unwrap().wait().unwrap_err();
        assert_eq!(refused, MpiError::TooLong { count: length });
    });
}

#[test]
fn a_panic_of_one_rank_ends_all_ranks_during_operations() {
    if ranks::is_rank() {
        let world = World::init().unwrap();
        let all = world.split(Some(0)).unwrap().unwrap();
        let coming = all.receive((all.rank() + 1) % 2, 1, LONG).unwrap();
        let sum = all.sum_f32(vec![0.0; if all.rank() == 0 { 1000 } else { 1 }]);
        assert!(all.rank() == 0, "this rank fails");
        let _ = sum.unwrap().wait();
        let _ = coming.wait();
        return;
    }
    let ended = ranks::run_test(2, test_name!());
    assert_ne!(ended.code, Some(0));
    assert!(ended.errors.contains("this rank fails"), "{}", ended.errors);
}

/// The time without a heartbeat in these tests.
const SILENCE: Duration = Duration::from_secs(3);

#[test]
fn a_stopped_rank_ends_all_ranks() {
    let name = test_name!();
    if !ranks::is_rank() {
        let ended = ranks::run_test(3, name);
        assert_eq!(ended.code, Some(7), "{}", ended.errors);
        assert!(ended.errors.contains("rank 2 reports rank 1"), "{}", ended.errors);
        return;
    }
    let world = World::init().unwrap();
    let rank = world.rank();
    let report = move |silent: &SilentRank| {
        assert!(silent.process.as_ref().is_some_and(|(_, machine)| !machine.is_empty()));
        #[allow(clippy::print_stderr, reason = "it is what the test reads")]
        {
            eprintln!("rank {rank} reports rank {}", silent.rank);
        }
        7
    };
    world.watch(SILENCE, report).unwrap();
    let all = world.split(Some(0)).unwrap().unwrap();
    // The first heartbeat names the process.
    std::thread::sleep(Duration::from_secs(2));
    if rank == 1 {
        ranks::stop();
    }
    let _ = all.sum_f32(vec![1.0]).unwrap().wait();
    panic!("rank {rank} continues without rank 1");
}

#[test]
fn a_rank_that_computes_or_ends_late_is_not_silent() {
    ranks::on_ranks(&[1, 3], test_name!(), || {
        let world = World::init().unwrap();
        // A false report ends the ranks with an error.
        world.watch(SILENCE, |_| 9).unwrap();
        let wait = |rank| {
            if world.rank() == rank {
                std::thread::sleep(2 * SILENCE);
            }
        };
        wait(0);
        let all = world.split(Some(0)).unwrap().unwrap();
        wait(1);
        meet(&all);
        wait(2);
        world.finalize().unwrap();
    });
}

/// Starts this test as two ranks in which a function of MPI does not return.
fn run_hanging(name: &str, call: &str) -> ranks::Ended {
    let mut command = ranks::test_command(2, name);
    command.envs(ranks::hanging_in(call));
    let seconds = [("PARAREAL_MPI_START_SECONDS", "20"), ("PARAREAL_MPI_FINALIZE_SECONDS", "2")];
    ranks::Running::start(command.envs(seconds)).wait()
}

#[allow(clippy::print_stderr, reason = "it is what the test reads")]
fn exit(world: &World, error: &MpiError, code: i32) -> ! {
    eprintln!("rank {}: {error}", world.rank());
    World::exit(code)
}

#[test]
fn mpi_that_does_not_finalize_is_left() {
    let (name, call) = (test_name!(), "MPI_Finalize");
    if !ranks::is_rank() {
        let ended = run_hanging(name, call);
        let error = MpiError::Timeout { call, seconds: 2 };
        assert!(ended.errors.contains(&error.to_string()), "{}", ended.errors);
        // A rank that ends without `MPI_Finalize` counts as failed, for Hydra only if another one still runs.
        match Launcher::used() {
            Launcher::OpenMpi => assert_eq!(ended.code, Some(1), "{}", ended.errors),
            Launcher::Hydra => assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}"),
        }
        return;
    }
    let world = World::init().unwrap();
    let all = world.split(Some(0)).unwrap().unwrap();
    meet(&all);
    exit(&world, &world.finalize().unwrap_err(), 0)
}

#[test]
fn a_split_that_does_not_return_is_an_error() {
    let (name, call) = (test_name!(), "MPI_Comm_split");
    if !ranks::is_rank() {
        let ended = run_hanging(name, call);
        let error = MpiError::Timeout { call, seconds: 20 };
        assert_eq!(ended.code, Some(3), "{}", ended.errors);
        assert!(ended.errors.contains(&error.to_string()), "{}", ended.errors);
        return;
    }
    let world = World::init().unwrap();
    exit(&world, &world.split(Some(0)).err().unwrap(), 3)
}

#[test]
fn a_rank_that_stops_at_its_end_ends_all_ranks() {
    let name = test_name!();
    if !ranks::is_rank() {
        let ended = ranks::run_test(3, name);
        assert_eq!(ended.code, Some(7), "{}", ended.errors);
        assert!(ended.errors.contains("rank 1 is silent"), "{}", ended.errors);
        return;
    }
    let world = World::init().unwrap();
    world.watch(SILENCE, report).unwrap();
    if world.rank() == 1 {
        ranks::stop();
    }
    world.finalize().unwrap();
    panic!("rank {} ends without rank 1", world.rank());
}

#[allow(clippy::print_stderr, reason = "it is what the test reads")]
fn report(silent: &SilentRank) -> i32 {
    eprintln!("rank {} is silent", silent.rank);
    7
}

/// Over TCP, UCX may hang in `MPI_Finalize` of MPICH.
#[test]
fn ranks_that_communicate_over_tcp_end() {
    let name = test_name!();
    if !ranks::is_rank() {
        for _ in 0..4 {
            let mut command = ranks::test_command(3, name);
            command.envs(Launcher::used().over_tcp().iter().copied());
            let ended = ranks::Running::start(&mut command).wait();
            if !ended.errors.contains("MPI_Finalize has not returned within 30 s") {
                ended.assert_done();
            }
        }
        return;
    }
    let world = World::init().unwrap();
    let all = world.split(Some(0)).unwrap().unwrap();
    meet(&all);
    if let Err(error) = world.finalize() {
        exit(&world, &error, 0);
    }
}
