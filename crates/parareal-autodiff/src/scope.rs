//! State of a scope on the current thread, for crates that add operations.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Runs a computation with `state` in the cell. Returns its result and the state after it. The state of the surrounding scope
/// is restored, even after a panic.
pub fn within<T: 'static, R>(
    cell: &'static LocalKey<RefCell<Option<T>>>,
    state: T,
    compute: impl FnOnce() -> R,
) -> (R, Option<T>) {
    struct Restore<T: 'static> {
        cell: &'static LocalKey<RefCell<Option<T>>>,
        surrounding: Option<T>,
    }
    impl<T> Drop for Restore<T> {
        fn drop(&mut self) {
            self.cell.set(self.surrounding.take());
        }
    }
    let _restore = Restore { cell, surrounding: cell.replace(Some(state)) };
    let result = compute();
    (result, cell.take())
}
