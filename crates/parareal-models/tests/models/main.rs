//! The ResNet: its executors, its parameters and the PyTorch reference.

mod executors;
mod parameter_counts;
mod reference;
