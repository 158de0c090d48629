//! A linear network as a sequence of time steps: evaluating its parareal network once is one parareal
//! iteration. The network is defined in the example.

#[path = "../examples/time_stepping.rs"]
#[allow(dead_code, unreachable_pub)]
mod time_stepping;

use time_stepping::{differential_equation, network};

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    parareal_ode::State::distance(&a, &b)
}

#[test]
fn a_parareal_network_is_one_iteration() {
    let serial = network(1).unwrap();
    assert!(distance(serial, differential_equation(1, 1).unwrap()) < 1e-14);
    for slices in [2, 3, 4, 5, 6, 10, 12, 20, 30, 60] {
        let cut = network(slices).unwrap();
        let once = differential_equation(slices, 1).unwrap();
        let difference = distance(cut, once);
        assert!(difference < 1e-13, "{slices} slices: {difference:.1e}");
        // The serial network and other numbers of iterations give different results, so the test can fail.
        if (3..60).contains(&slices) {
            let others = [
                serial,
                differential_equation(slices, 0).unwrap(),
                differential_equation(slices, 2).unwrap(),
            ];
            for other in others {
                assert!(distance(cut, other) > 1e-6, "{slices} slices");
            }
        }
    }
}
