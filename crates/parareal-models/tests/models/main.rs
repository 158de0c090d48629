//! The ResNet: its executors, its parameters and the PyTorch reference.

mod executors;
mod fixture;
mod parameter_counts;
mod reference;
mod vgg_head;
