//! Joint launches of operations on many tensors.
//!
//! On a GPU, the update of a small tensor takes less time than its launch. Within [`join_launches`], operations may
//! [`postpone`] their work, which is then launched for many tensors at once.

use std::any::Any;
use std::cell::RefCell;

use crate::scope::within;

/// Work of one kind, on any number of tensors.
pub trait Launches: Default + 'static {
    /// Launches the work on all tensors.
    fn launch(self);
}

/// Postponed work of one kind.
struct Postponed {
    work: Box<dyn Any>,
    launch: fn(Box<dyn Any>),
}

thread_local! {
    /// The postponed work of the current scope, one of each kind; `None` outside every scope.
    static SCOPE: RefCell<Option<Vec<Postponed>>> = const { RefCell::new(None) };
}

/// Runs a computation, and then launches the work that its operations have postponed. If the computation panics, this
/// work is dropped.
///
/// Results of such operations have their values only afterwards: the computation may pass them on, but must not read
/// them or compute with them.
///
/// ```
/// use parareal_autodiff::{Launches, join_launches, postpone};
///
/// #[derive(Default)]
/// struct Prints(Vec<String>);
///
/// impl Launches for Prints {
///     fn launch(self) {
///         println!("{}", self.0.join(", "));
///     }
/// }
///
/// let print = |text: &str| postpone(|prints: &mut Prints| prints.0.push(text.to_owned()));
/// join_launches(|| {
///     print("a");
///     print("b");
/// }); // prints "a, b"
/// print("c"); // at once
/// ```
pub fn join_launches<R>(compute: impl FnOnce() -> R) -> R {
    let (result, postponed) = within(&SCOPE, Vec::new(), compute);
    for Postponed { work, launch } in postponed.into_iter().flatten() {
        launch(work);
    }
    result
}

/// Adds to the work that the surrounding [`join_launches`] launches at its end. Outside of it, launches the work at once.
pub fn postpone<L: Launches>(add: impl FnOnce(&mut L)) {
    let is_same = |postponed: &Postponed| postponed.work.is::<L>();
    // Taken out of the scope, so that `add` may use it.
    let earlier = SCOPE.with_borrow_mut(|scope| {
        let scope = scope.as_mut()?;
        Some(scope.iter().position(is_same).map(|position| scope.remove(position)))
    });
    let Some(earlier) = earlier else {
        let mut work = L::default();
        add(&mut work);
        return work.launch();
    };
    let mut work = match earlier.map(|earlier| earlier.work.downcast::<L>()) {
        Some(Ok(work)) => work,
        Some(Err(_)) | None => Box::new(L::default()),
    };
    add(&mut work);
    let launch = |work: Box<dyn Any>| {
        if let Ok(work) = work.downcast::<L>() {
            work.launch();
        }
    };
    SCOPE.with_borrow_mut(|scope| {
        if let Some(scope) = scope {
            scope.push(Postponed { work, launch });
        }
    });
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    thread_local! {
        static LAUNCHED: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Default)]
    struct Numbers(Vec<u32>);

    impl Launches for Numbers {
        fn launch(self) {
            LAUNCHED.with_borrow_mut(|launched| launched.push(self.0));
        }
    }

    #[derive(Default)]
    struct Others;

    impl Launches for Others {
        fn launch(self) {
            LAUNCHED.with_borrow_mut(|launched| launched.push(vec![99]));
        }
    }

    fn add(number: u32) {
        postpone(|numbers: &mut Numbers| numbers.0.push(number));
    }

    #[test]
    fn work_of_a_kind_is_launched_together_at_the_end() {
        add(1);
        join_launches(|| {
            add(2);
            postpone(|_: &mut Others| {});
            join_launches(|| add(3));
            add(4);
            assert_eq!(LAUNCHED.with_borrow(Vec::len), 2);
        });
        let expected = [vec![1], vec![3], vec![99], vec![2, 4]];
        assert_eq!(LAUNCHED.take(), expected, "the kind that was added to last is launched last");
    }

    #[test]
    fn work_of_a_scope_that_panics_is_dropped() {
        let scope = AssertUnwindSafe(|| {
            join_launches(|| {
                add(1);
                panic!("expected");
            })
        });
        assert!(catch_unwind(scope).is_err());
        add(2);
        assert_eq!(LAUNCHED.take(), [vec![2]]);
    }
}
