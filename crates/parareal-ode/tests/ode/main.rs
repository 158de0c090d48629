//! The parareal algorithm for differential equations: properties of the iteration, the methods, the built-in
//! problems, Algorithm 1, and a comparison with NumPy.

mod bounds;
mod made;
mod methods;
mod peer;
mod problems;
mod properties;
mod refusals;
mod residual;
