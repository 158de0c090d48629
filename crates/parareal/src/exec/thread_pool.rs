//! Thread pools for the operations of workers.

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::error::ExecError;

/// Creates a pool of at least one thread for the operations of one worker.
///
/// # Errors
/// [`ExecError::Spawn`] if the operating system cannot start the threads.
pub(super) fn thread_pool(name: &str, threads: usize) -> Result<ThreadPool, ExecError> {
    let name = name.to_string();
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |thread| format!("{name}.{thread}"))
        .build()
        .map_err(|error| ExecError::Spawn(error.to_string()))
}
