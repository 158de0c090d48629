use std::iter::Sum;
use std::ops::{Add, AddAssign};

use crate::net::Interface;

/// The cost of a module in one training step. Times are in seconds, memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// The forward pass.
    pub forward: f64,
    /// The part of the backward pass that computes the gradient of the input.
    pub input_gradient: f64,
    /// The part of the backward pass that computes the gradients of weights.
    pub weight_gradient: f64,
    /// The optimizer.
    pub update: f64,
    /// The weights.
    pub weights: f64,
    /// Values that the forward pass keeps for the backward pass.
    pub kept: f64,
}

impl Cost {
    /// Returns the time of the whole backward pass.
    pub fn backward(&self) -> f64 {
        self.input_gradient + self.weight_gradient
    }

    /// Returns the memory that the module needs in training: weights, gradients, momentum, and the values
    /// that the forward pass keeps.
    pub fn memory(&self) -> f64 {
        3.0 * self.weights + self.kept
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            forward: self.forward + other.forward,
            input_gradient: self.input_gradient + other.input_gradient,
            weight_gradient: self.weight_gradient + other.weight_gradient,
            update: self.update + other.update,
            weights: self.weights + other.weights,
            kept: self.kept + other.kept,
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Self::add)
    }
}

/// The costs of the modules of a network, for any cuts.
pub trait CostModel {
    /// Returns the number of units.
    fn units(&self) -> usize;

    /// Returns the cost of `C` for position 0, or of the `C_j` that ends at a position above 0.
    fn preprocessing(&self, position: usize) -> Cost;

    /// Returns the cost of the unit with this index, from 0.
    fn unit(&self, index: usize) -> Cost;

    /// Returns the cost of `F_j` at an interface.
    fn coarse(&self, interface: &Interface) -> Cost;

    /// Returns the cost of `h` and the loss.
    fn postprocessing(&self) -> Cost;

    /// Returns the size of a state at this position, in bytes. A tensor of this size crosses an interface in
    /// each direction.
    fn interface_bytes(&self, position: usize) -> f64;
}
