//! Networks, executors and plans.

mod consistency;
mod construction;
mod executors;
mod layers;
mod plan;
mod replicas;
mod resume;
mod untrained;
