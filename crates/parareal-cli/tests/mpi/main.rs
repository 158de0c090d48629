//! The command on the ranks of `mpirun`: it trains as threads do, starts and ends together, and leaves
//! runs that go on.

#[path = "../common/mod.rs"]
mod common;
mod ending;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod kills;
mod launch;
#[cfg(target_os = "linux")]
mod lives;
mod refusals;
#[cfg(target_os = "linux")]
mod signals;
mod training;
