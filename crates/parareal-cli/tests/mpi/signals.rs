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
            let expected = match (Launcher::used(), signal) {
                (_, "KILL") => None,
                // It gives the ranks a second to end by themselves.
                (Launcher::OpenMpi, _) => Some(1),
                // It forwards the signal, which ends ranks that do not handle signals yet.
                (Launcher::Hydra, "INT") if moment == Moment::Start && told == 0 => Some(2),
                (Launcher::Hydra, "TERM") if moment == Moment::Start && told == 0 => Some(15),
                (Launcher::Hydra, _) => Some(130),
            };
            assert_eq!(death.ended.code, expected, "{signal}: {:?}", death.ended);
            assert!(told <= usize::from(signal != "KILL"), "{errors}");
            assert_goes_on(errors, step);
            step = death.step;
        }
    }
    lives.finish(step);
}
