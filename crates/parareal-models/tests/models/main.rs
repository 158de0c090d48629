//! The built-in networks: their executors, their parameters and the PyTorch references.

mod bfloat16;
mod executors;
mod finite_differences;
mod fixture;
mod original_units;
mod parameter_counts;
mod reference;
mod sync_batch_norm;
mod vgg_head;
