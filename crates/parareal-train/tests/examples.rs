//! Tests that the networks of the examples learn, both serial and cut.

// Their functions `main` are not called.
#![allow(dead_code)]

#[path = "../examples/regression.rs"]
mod regression;
#[path = "../examples/sentences.rs"]
mod sentences;
#[path = "../examples/signals/main.rs"]
mod signals;

/// There are four kinds of signals, so guessing gives an accuracy of 0.25.
#[test]
fn signals_are_recognized() {
    let [serial, parareal] = [1, 3].map(|subnetworks| signals::train(subnetworks).unwrap());
    assert!(serial > 0.9 && parareal > 0.9, "{serial} {parareal}");
}

/// Angles and velocities have a variance of about 1, for comparison with the mean squared error.
#[test]
fn the_motion_of_a_pendulum_is_learned() {
    let [serial, parareal] = [1, 4].map(|subnetworks| regression::train(subnetworks).unwrap());
    assert!(serial < 0.01 && parareal < 0.01, "{serial} {parareal}");
}

/// There are three words, so guessing gives an accuracy of 1/3.
#[test]
fn the_most_frequent_word_is_found() {
    let [serial, parareal] = [1, 3].map(|subnetworks| sentences::train(subnetworks).unwrap());
    assert!(serial > 0.9 && parareal > 0.9, "{serial} {parareal}");
}
