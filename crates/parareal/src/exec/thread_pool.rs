//! Pools of threads for the operations of workers.

use std::any::Any;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::error::ExecError;

/// Returns the text of a panic, if it has one.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".into())
}

/// Creates a pool of threads for the operations of one worker.
///
/// # Errors
/// [`ExecError::Spawn`] if the operating system cannot start the threads.
pub fn thread_pool(name: &str, threads: usize) -> Result<ThreadPool, ExecError> {
    let name = name.to_string();
    ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(move |thread| format!("{name}.{thread}"))
        .build()
        .map_err(|error| ExecError::Spawn(error.to_string()))
}
