//! Signals to the launcher.

use crate::launch::send;
use crate::lives::{Lives, Moment, assert_goes_on};

#[test]
fn signals_that_end_the_launcher_end_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let mut lives = Lives::new(folder.path(), 3, 10, &["--subnetworks", "3"]);
    let mut step = 0;
    for moment in [Moment::Start, Moment::Step] {
        for (signal, code) in [("INT", Some(1)), ("TERM", Some(1)), ("KILL", None)] {
            let running = lives.begin(None);
            assert!(lives.come_to(moment), "the run is over");
            send(signal, running.id());
            let death = lives.bury(running);
            let errors = &death.ended.errors;
            assert_eq!(death.ended.code, code, "{signal}: {errors}");
            assert!(death.ended.error_lines().is_empty(), "{errors}");
            // The launcher gives the ranks a second to end by themselves.
            let told = errors.matches("stopped after step").count();
            assert!(told <= 1, "{errors}");
            assert_goes_on(errors, step);
            step = death.step;
        }
    }
    lives.finish(step);
}
