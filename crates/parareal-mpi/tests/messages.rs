//! What the boundary to MPI promises about memory, between real ranks: each test starts itself once
//! more under `mpirun`. `.ci/sanitize` runs them under the address sanitizer.
#![cfg(feature = "mpi")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parareal_mpi::{Communicator, MpiError, World};

/// Set in a process that is a rank.
const RANK: &str = "PARAREAL_TEST_RANK";
/// Too long to be sent before anybody waits for it.
const LONG: usize = 3_000_000;

/// Starts the test of this name as so many ranks; `None`, with a message, where there is no
/// launcher. `MPIRUN` names another one than Open MPI's.
fn start(ranks: usize, name: &str) -> Option<Output> {
    let launcher = std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".into());
    let mut command = Command::new(&launcher);
    command
        .args(["-n", &ranks.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
        .envs([("OMPI_MCA_rmaps_base_oversubscribe", "1"), (RANK, "1")])
        .stdin(Stdio::null());
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("skipped: {launcher}: {error}");
            None
        }
    }
}

/// Runs `body` in each of so many ranks.
fn on_ranks(ranks: usize, name: &str, body: impl FnOnce(&World, &Communicator)) {
    if std::env::var_os(RANK).is_some() {
        let world = World::init().unwrap();
        let all = world.split(Some(0)).unwrap().unwrap();
        body(&world, &all);
        world.finalize().unwrap();
        return;
    }
    let Some(output) = start(ranks, name) else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    assert_eq!(text.matches("ok. 1 passed").count(), ranks, "{text}");
}

fn meet(all: &Communicator) {
    all.sum_f32(vec![1.0]).unwrap().wait().unwrap();
}

fn pattern(rank: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + rank * 31 + index / 251) as u8).collect()
}

#[test]
fn all_operations_of_all_lengths() {
    on_ranks(3, "all_operations_of_all_lengths", |world, all| {
        let (rank, size) = (all.rank(), all.size());
        let [next, before] = [(rank + 1) % size, (rank + size - 1) % size];
        for length in [0, 1, 4095, 70_000, LONG] {
            // All are under way at once.
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
            // And of another length from each.
            let gathered = all.all_gather(pattern(rank, length / (rank + 1))).unwrap();
            let expected = (0..size).map(|rank| pattern(rank, length / (rank + 1)));
            assert_eq!(gathered, expected.collect::<Vec<_>>());
        }
        assert!(world.split((rank > 0).then_some(4)).unwrap().is_none_or(|two| two.size() == 2));
    });
}

#[test]
fn a_message_of_another_length_is_an_error_and_writes_no_further() {
    let name = "a_message_of_another_length_is_an_error_and_writes_no_further";
    on_ranks(2, name, |_, all| {
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

/// Bytes that are overwritten when they are let go of.
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
fn what_is_sent_is_kept_until_it_has_left() {
    on_ranks(2, "what_is_sent_is_kept_until_it_has_left", |_, all| {
        for round in 0..5 {
            if all.rank() == 0 {
                let gone = Arc::new(AtomicBool::new(false));
                let data = Fading(pattern(round, LONG), Arc::clone(&gone));
                // Nobody waits for the answer.
                drop(all.send(1, 6, data).unwrap());
                assert!(!gone.load(Ordering::SeqCst));
                meet(all);
                meet(all);
                let begun = Instant::now();
                while !gone.load(Ordering::SeqCst) {
                    assert!(begun.elapsed() < Duration::from_secs(20), "it is kept for ever");
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
fn a_receive_can_be_taken_back_at_any_time() {
    on_ranks(2, "a_receive_can_be_taken_back_at_any_time", |_, all| {
        for round in 0..60 {
            let length = if round % 2 == 0 { LONG } else { 64 };
            let tag = 100 + round;
            if all.rank() == 0 {
                let sent = all.send(1, tag, pattern(0, length)).unwrap();
                meet(all);
                // It leaves unless it was taken already.
                drop(sent);
            } else {
                let dropped = all.receive(0, tag, length).unwrap();
                if round % 3 == 0 {
                    std::thread::sleep(Duration::from_micros(50 * round as u64));
                }
                drop(dropped);
                meet(all);
                // Posted before the message has come it took nothing, or all of it.
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
fn ranks_that_are_not_there_are_refused() {
    on_ranks(2, "ranks_that_are_not_there_are_refused", |_, all| {
        // The last two are what MPI takes for any rank and for none, if it is asked.
        for rank in [2, usize::MAX, -1_i32 as u32 as usize, -2_i32 as u32 as usize] {
            let expected = MpiError::InvalidRank { rank, size: 2 };
            let receive = all.receive(rank, 1, 8).unwrap().wait().unwrap_err();
            let send = all.send(rank, 1, vec![0_u8; 8]).unwrap().wait().unwrap_err();
            let broadcast = all.broadcast(rank, vec![0; 8]).unwrap().wait().unwrap_err();
            assert_eq!([&receive, &send, &broadcast], [&expected; 3]);
        }
        // Nor is more than MPI counts.
        let length = i32::MAX as usize + 1;
        let refused = all.receive(0, 1, length).unwrap().wait().unwrap_err();
        assert_eq!(refused, MpiError::TooLong { count: length });
    });
}

#[test]
fn a_rank_that_panics_ends_all_with_operations_under_way() {
    let name = "a_rank_that_panics_ends_all_with_operations_under_way";
    if std::env::var_os(RANK).is_some() {
        let world = World::init().unwrap();
        let all = world.split(Some(0)).unwrap().unwrap();
        let coming = all.receive((all.rank() + 1) % 2, 1, LONG).unwrap();
        let sum = all.sum_f32(vec![0.0; if all.rank() == 0 { 1000 } else { 1 }]);
        assert!(all.rank() == 0, "this rank fails");
        let _ = sum.unwrap().wait();
        let _ = coming.wait();
        return;
    }
    let begun = Instant::now();
    let Some(output) = start(2, name) else { return };
    assert!(!output.status.success());
    assert!(begun.elapsed() < Duration::from_secs(60), "the others wait for ever");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("this rank fails"), "{errors}");
}
