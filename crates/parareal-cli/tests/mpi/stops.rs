//! Ranks that are stopped by SIGSTOP, and do not end by themselves.

use std::time::Duration;

use crate::launch::send;
use crate::lives::{Lives, Moment};

/// Begins the run until a step and returns its launcher. A run that has ended before begins again.
fn begin(lives: &mut Lives, moment: Moment) -> parareal_testing::ranks::Running {
    loop {
        let running = lives.begin_with(None, &["--timeout", "5"]);
        if lives.come_to(moment) && lives.processes().len() == lives.ranks() {
            return running;
        }
        running.wait().assert_done();
        lives.forget();
    }
}

#[test]
fn a_stopped_rank_is_named_and_the_run_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let mut lives = Lives::new(folder.path(), 3, 12, &["--subnetworks", "3"]);
    let mut step = 0;
    for (rank, moment) in [(1, Moment::Step), (0, Moment::Step), (2, Moment::Evaluation)] {
        let running = begin(&mut lives, moment);
        let process = lives.processes()[&rank];
        send("STOP", process);
        let death = lives.bury(running);
        assert_eq!(death.ended.code, Some(1), "{}", death.ended.errors);
        let lines = death.ended.error_lines();
        let [line] = lines[..] else { panic!("{}", death.ended.errors) };
        let first = format!("error: rank {rank} (process {process} on ");
        let last = " has not responded for 5 s: it is stopped, or its machine cannot be reached; all ranks \
                    end, and --resume continues from the latest checkpoint";
        assert!(line.starts_with(&first) && line.contains(last), "{line}");
        step = death.step;
    }
    lives.finish(step);
}

#[test]
fn ranks_that_are_stopped_for_a_while_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut lives = Lives::new(folder.path(), 3, 12, &["--subnetworks", "3"]);
    let running = begin(&mut lives, Moment::Step);
    let processes = lives.processes();
    let send_to = |signal: &str, ranks: &[usize]| {
        ranks.iter().for_each(|rank| send(signal, processes[rank]));
    };
    // A batch system suspends all ranks of a job. Afterwards one is stopped for less than the limit.
    for (ranks, seconds) in [(&[0, 1, 2][..], 9), (&[1], 3)] {
        send_to("STOP", ranks);
        std::thread::sleep(Duration::from_secs(seconds));
        send_to("CONT", ranks);
        std::thread::sleep(Duration::from_millis(300));
    }
    running.wait().assert_done();
    lives.assert_finished();
}
