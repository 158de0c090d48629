//! The command on the ranks of `mpirun`: training, common start and end, and resumption.

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
#[cfg(target_os = "linux")]
mod stops;
mod training;
