//! What ends one rank ends all of them soon, and the run goes on to the same weights. Skips with a
//! message where there is no `mpirun`.
#![cfg(all(feature = "mpi", target_os = "linux"))]

#[path = "../common/mod.rs"]
mod common;
mod files;
mod kills;
#[path = "../mpi/launch.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod launch;
mod lives;
mod signals;
