//! Signals to the launcher.

use parareal_testing::ranks::Launcher;

use crate::launch::send;
use crate::lives::{Lives, Moment, assert_goes_on};

#[test]
fn signals_that_end_the_launcher_end_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let mut lives = Lives::new(folder.path(), 3, 10, &["--subnetworks", "3"]);
    let mut step = 0;
    for moment in [Moment::Start, Moment::Step] {
        for signal in ["INT", "TERM", "KILL"] {
            let running = lives.begin(None);
            assert!(lives.come_to(moment), "the run is over");
            send(signal, running.id());
            let death = lives.bury(running);
            let errors = &death.ended.errors;
            assert!(death.ended.error_lines().is_empty(), "{errors}");
            let told = errors.matches("stopped after step").count();
            assert!(told <= 1, "{errors}");
            match (Launcher::used(), signal) {
                (_, "KILL") => assert_eq!(death.ended.code, None, "{errors}"),
                // It gives the ranks a second to end by themselves.
                (Launcher::OpenMpi, _) => {
                    assert_eq!(death.ended.code, Some(1), "{signal}: {errors}");
                }
                // It forwards the signal and waits, but sometimes returns 0 instead of the code of its ranks.
                (Launcher::Hydra, _) if told == 1 => {
                    assert!(
                        matches!(death.ended.code, Some(0 | 130)),
                        "{signal}: {:?}",
                        death.ended
                    );
                }
                // The signal ends ranks that do not handle it yet.
                (Launcher::Hydra, _) => assert_eq!(moment, Moment::Start, "{:?}", death.ended),
            }
            assert_goes_on(errors, step);
            step = death.step;
        }
    }
    lives.finish(step);
}
