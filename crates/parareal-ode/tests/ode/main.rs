//! Parareal for differential equations: properties of the iteration, the methods, the problems,
//! Algorithm 1, and a reference in NumPy.

mod bounds;
mod made;
mod methods;
mod peer;
mod problems;
mod properties;
mod refusals;
mod residual;
