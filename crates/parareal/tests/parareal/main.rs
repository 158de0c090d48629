//! Networks, executors and plans.

mod accumulation;
mod builder;
mod consistency;
mod construction;
mod distillation;
mod executors;
mod layers;
mod losses;
mod optimizers;
mod plan;
mod program;
mod random_layers;
mod replicas;
mod resume;
mod running_statistics;
mod untrained;
