//! The `parareal` command: its output, its files and its errors.

mod accumulation;
mod bench;
#[path = "../common/mod.rs"]
mod common;
mod data_fetch;
mod datasets;
mod documentation;
mod exports;
mod faults;
mod file_systems;
mod help;
mod initialization;
mod lr_find;
mod networks;
mod ode;
mod old_formats;
mod outputs;
mod own_networks;
mod plan;
mod precision;
mod predict;
mod recipe;
mod resume;
mod signals;
mod streamed_images;
mod terminal;
mod train;
mod usage;
mod weights;
