//! Parareal for differential equations: properties of the iteration, the methods, the problems,
//! Algorithm 1, the bridge to networks, and a reference in NumPy.

mod bounds;
mod bridge;
mod made;
mod methods;
mod peer;
mod problems;
mod properties;
mod refusals;
mod residual;
