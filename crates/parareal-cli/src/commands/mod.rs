//! The commands. Each passes its flags to a library and shows the result.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod loading;
pub(crate) mod lr_find;
pub(crate) mod man;
pub(crate) mod ode;
pub(crate) mod plan;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod train;
