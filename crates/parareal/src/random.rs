//! Random numbers that are a function of the seed, step, replica, section and call.
//!
//! A random layer such as [`Dropout`](crate::nn::Dropout) draws with [`rng`], which returns a new generator
//! for each call. In an executor, the numbers depend on
//!
//! - the seed of the [`Init`](crate::net::Init) that the network was built with,
//! - the number of the training step ([`Executor::step`](crate::exec::Executor::step)),
//! - the replica, from 0; with K micro-batches, K times the replica plus the micro-batch,
//! - the [`Section`] of the network that is being applied, and
//! - the number of calls of [`rng`] before this one in the same application of that section.
//!
//! So every executor draws the same numbers, and the numbers that units draw do not depend on the cuts. A
//! recomputed unit draws the same numbers again, and a resumed run continues as if it had not been
//! interrupted. Executors set the step and section on the thread that computes, so a layer must draw on the
//! thread that applies it.
//!
//! Outside an executor, the numbers depend on the number of calls of [`rng`] on the current thread.

use std::cell::Cell;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A training step of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepKey {
    /// The seed of the network.
    pub(crate) seed: u64,
    /// The number of the step, from 0.
    pub(crate) step: u64,
    /// The replica, from 0.
    pub(crate) replica: usize,
}

/// A section of a network: a module that is applied as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// `C_j`, with the index of its subnetwork, from 0.
    Preprocessing(usize),
    /// A unit, with its index in the whole network, from 0.
    Unit(usize),
    /// `F_{j-1}`, with the index of its subnetwork, from 0.
    Coarse(usize),
    /// `h`.
    Postprocessing,
}

impl Section {
    /// Returns the kind and the index. Kind 0 is reserved for [`Init`](crate::net::Init), whose keys end with
    /// zeros.
    fn numbers(self) -> (u32, usize) {
        match self {
            Self::Preprocessing(index) => (1, index),
            Self::Unit(index) => (2, index),
            Self::Coarse(index) => (3, index),
            Self::Postprocessing => (4, 0),
        }
    }
}

/// The kind for computations of a step outside every section, such as the loss.
const OUTSIDE_SECTIONS: u32 = 5;
/// The kind for calls outside an executor.
const OUTSIDE_STEPS: u32 = 6;

/// The step and section that the current thread is computing.
#[derive(Clone, Copy, Default)]
struct Scope {
    step: Option<StepKey>,
    section: Option<Section>,
    /// The number of calls of [`rng`] in this scope.
    calls: u32,
}

thread_local! {
    static SCOPE: Cell<Scope> = const { Cell::new(Scope { step: None, section: None, calls: 0 }) };
    static CALLS_OUTSIDE: Cell<u64> = const { Cell::new(0) };
    /// The number of generators that this thread has created in steps.
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

/// Restores the previous scope, even after a panic, because the threads of a pool are reused.
struct Restore(Scope);

impl Drop for Restore {
    fn drop(&mut self) {
        SCOPE.set(self.0);
    }
}

fn within<T>(scope: Scope, compute: impl FnOnce() -> T) -> T {
    let _restore = Restore(SCOPE.replace(scope));
    compute()
}

/// Runs a computation as part of a training step on this thread.
pub(crate) fn in_step<T>(step: StepKey, compute: impl FnOnce() -> T) -> T {
    within(Scope { step: Some(step), section: None, calls: 0 }, compute)
}

/// Runs a computation as a section of the network.
///
/// A section within another section counts as part of the outer one. This happens if a network is a unit of
/// another network.
pub(crate) fn in_section<T>(section: Section, compute: impl FnOnce() -> T) -> T {
    let scope = SCOPE.get();
    match scope {
        Scope { step: Some(step), section: None, .. } => {
            within(Scope { step: Some(step), section: Some(section), calls: 0 }, compute)
        }
        _ => compute(),
    }
}

/// Returns the generator of the next random numbers. Each call returns a different generator.
pub(crate) fn rng() -> ChaCha8Rng {
    let mut scope = SCOPE.get();
    let Some(step) = scope.step else {
        let calls = CALLS_OUTSIDE.get();
        CALLS_OUTSIDE.set(calls.wrapping_add(1));
        let step = StepKey { seed: 0, step: calls, replica: 0 };
        return keyed(step, (OUTSIDE_STEPS, 0), 0);
    };
    DRAWN.set(DRAWN.get().wrapping_add(1));
    let calls = scope.calls;
    scope.calls = calls.wrapping_add(1);
    SCOPE.set(scope);
    let section = scope.section.map_or((OUTSIDE_SECTIONS, 0), Section::numbers);
    keyed(step, section, calls)
}

/// Returns the number of generators that this thread has created in steps.
#[cfg(feature = "cube")]
pub(crate) fn drawn() -> u64 {
    DRAWN.get()
}

fn keyed(step: StepKey, (kind, index): (u32, usize), calls: u32) -> ChaCha8Rng {
    let number = |index| u32::try_from(index).expect("a network has fewer than 2^32 modules");
    let mut key = [0; 32];
    key[..8].copy_from_slice(&step.seed.to_le_bytes());
    key[8..16].copy_from_slice(&step.step.to_le_bytes());
    for (place, value) in [number(step.replica), kind, number(index), calls].iter().enumerate() {
        key[16 + 4 * place..20 + 4 * place].copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand_chacha::rand_core::Rng;

    use super::*;

    const STEP: StepKey = StepKey { seed: 1, step: 2, replica: 3 };

    fn draw() -> u64 {
        rng().next_u64()
    }

    fn first(step: StepKey, section: Section) -> u64 {
        in_step(step, || in_section(section, draw))
    }

    #[test]
    fn numbers_depend_on_each_part_of_the_key_and_on_nothing_else() {
        let unit = Section::Unit(4);
        let mut seen = HashSet::from([
            first(STEP, unit),
            first(StepKey { seed: 9, ..STEP }, unit),
            first(StepKey { step: 9, ..STEP }, unit),
            first(StepKey { replica: 9, ..STEP }, unit),
            first(STEP, Section::Unit(9)),
            first(STEP, Section::Preprocessing(4)),
            first(STEP, Section::Coarse(4)),
            first(STEP, Section::Postprocessing),
            in_step(STEP, draw),
            draw(),
        ]);
        in_step(STEP, || in_section(unit, || (draw(), seen.insert(draw()), seen.insert(draw()))));
        assert_eq!(seen.len(), 12);
        // The same number on another thread, after other draws, and when it is drawn again.
        let again = std::thread::spawn(move || (draw(), first(STEP, unit))).join().unwrap().1;
        assert_eq!(again, first(STEP, unit));
    }

    #[test]
    fn each_application_of_a_section_starts_from_scratch() {
        let apply = || in_section(Section::Unit(0), || [draw(), draw()]);
        let (outside, first, second, behind) = in_step(STEP, || (draw(), apply(), apply(), draw()));
        assert_eq!(first, second);
        assert!(first[0] != first[1] && outside != behind && outside != first[0]);
    }

    #[test]
    fn a_section_within_a_section_belongs_to_it() {
        let plain = in_step(STEP, || in_section(Section::Unit(1), || [draw(), draw()]));
        let nested = in_step(STEP, || {
            in_section(Section::Unit(1), || [in_section(Section::Unit(0), draw), draw()])
        });
        assert_eq!(nested, plain);
    }

    #[test]
    fn outside_a_step_the_thread_counts() {
        let draws =
            || [draw(), in_section(Section::Unit(0), draw), in_section(Section::Unit(0), draw)];
        let [first, second] = [0, 1].map(|_| std::thread::spawn(draws).join().unwrap());
        assert_eq!(first, second);
        assert_eq!(HashSet::from(first).len(), 3);
    }

    #[test]
    fn a_panic_ends_the_step() {
        std::thread::spawn(|| {
            let before = draw();
            let step = || in_step(STEP, || in_section(Section::Unit(0), || panic!("expected")));
            std::panic::catch_unwind(step).unwrap_err();
            assert!(SCOPE.get().step.is_none());
            assert_ne!(draw(), before);
        })
        .join()
        .unwrap();
    }
}
