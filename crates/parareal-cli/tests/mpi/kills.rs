//! Ranks that are killed by SIGKILL.
#![allow(clippy::print_stderr, reason = "what a longer test came to")]

use std::collections::BTreeMap;
use std::time::Duration;

use parareal_testing::ranks::Launcher;

use crate::lives::{Death, Lives, Moment, assert_goes_on};

const MOMENTS: [Moment; 4] = [Moment::Start, Moment::Step, Moment::Evaluation, Moment::Checkpoint];

/// Asserts that the launcher reports the killed rank, and that ranks print nothing themselves.
#[track_caller]
fn assert_killed(death: &Death, rank: usize) {
    let Death { ended, .. } = death;
    match Launcher::used() {
        // It names the rank, but sometimes reports only a nonzero exit code.
        Launcher::OpenMpi => {
            assert_eq!(ended.code, Some(137), "{}", ended.errors);
            let told = ended.errors.matches("exited on signal 9 (Killed)").count();
            if told == 0 {
                assert!(ended.errors.contains("a non-zero exit code"), "{}", ended.errors);
            } else {
                assert_eq!(told, 1, "{}", ended.errors);
                assert!(
                    ended.errors.contains(&format!("process rank {rank} ")),
                    "{}",
                    ended.errors
                );
            }
        }
        // It reports to standard output, and may name another process that it has killed itself.
        Launcher::Hydra => {
            assert_eq!(ended.code, Some(9), "{ended:?}");
            assert_eq!(ended.output.matches("Killed (signal 9)").count(), 1, "{ended:?}");
        }
    }
    assert!(ended.error_lines().is_empty(), "{}", ended.errors);
}

/// Kills these ranks at these moments, one after the other, and then finishes the run.
fn kill_each(lives: &mut Lives, kills: impl Iterator<Item = (usize, Moment)>) {
    let mut step = 0;
    for (rank, moment) in kills {
        // The moment may be over before the signal arrives.
        let mut tries = 0;
        loop {
            tries += 1;
            assert!(tries < 30, "rank {rank} is never killed during {moment:?}");
            let running = lives.begin(None);
            if !lives.come_to(moment) {
                running.wait().assert_done();
                lives.assert_finished();
                lives.forget();
                step = 0;
                continue;
            }
            let Some(death) = lives.kill(rank, running) else { continue };
            if death.ended.code == Some(0) {
                lives.assert_finished();
                lives.forget();
                step = 0;
                continue;
            }
            assert_killed(&death, rank);
            assert_goes_on(&death.ended.errors, step);
            step = death.step;
            if death.found == moment {
                break;
            }
        }
    }
    lives.finish(step);
}

#[test]
fn a_killed_rank_ends_all_ranks_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut lives = Lives::new(folder.path(), 3, 8, &["--subnetworks", "3"]);
    let kills = MOMENTS.iter().flat_map(|&moment| (0..3).map(move |rank| (rank, moment)));
    kill_each(&mut lives, kills);
}

#[test]
fn a_killed_rank_of_a_replica_ends_all_ranks_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--subnetworks", "2", "--replicas", "2"];
    let mut lives = Lives::new(folder.path(), 4, 4, &more);
    kill_each(&mut lives, [3, 1, 2, 0].into_iter().zip(MOMENTS));
}

/// Repeats one command, and kills ranks five times; PARAREAL_KILLS=20 requests more kills.
#[test]
fn ranks_that_are_killed_in_a_row_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = std::env::var("PARAREAL_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let epochs = wanted.max(2);
    let mut lives = Lives::new(folder.path(), 3, epochs, &["--subnetworks", "3"]);
    // Pseudorandom numbers from a linear congruential generator.
    let mut state = 7;
    let mut random = |below: u64| {
        state = state * 16_807 % 2_147_483_647_u64;
        state % below
    };
    let (mut step, mut ends, mut times, mut steps) = (0, 0, Vec::new(), Vec::new());
    let (mut found, mut victims) = (BTreeMap::new(), vec![0; lives.ranks()]);
    while times.len() < wanted {
        let rank = random(lives.ranks() as u64) as usize;
        // A third of the kills are before the first step.
        let (moment, wait) = match random(3) {
            0 => (Moment::Start, random(1_500)),
            _ => (Moment::Step, random(1_000)),
        };
        let running = lives.begin_again();
        let there = lives.come_to(moment);
        std::thread::sleep(Duration::from_millis(if there { wait } else { 0 }));
        let Some(death) = lives.kill(rank, running) else { continue };
        assert_goes_on(&death.ended.errors, step);
        step = death.step;
        if death.ended.code == Some(0) {
            // The run ended before the kill: it starts again from its beginning.
            lives.assert_finished();
            lives.forget();
            (step, ends) = (0, ends + 1);
            continue;
        }
        assert_killed(&death, rank);
        victims[rank] += 1;
        *found.entry(death.found).or_insert(0) += 1;
        times.push(death.time);
        steps.push(step);
    }
    let running = lives.begin_again();
    lives.assert_finishes(running, step);
    times.sort();
    eprintln!(
        "{} kills, {ends} runs that ended before the kill, and the same bytes: {victims:?} of the\n\
         ranks, {found:?};\n\
         after them the runs went on from the steps {steps:?};\n\
         all processes were gone after {:.1} s (median), {:.1} s at most",
        times.len(),
        times[times.len() / 2].as_secs_f64(),
        times.last().unwrap().as_secs_f64(),
    );
}
