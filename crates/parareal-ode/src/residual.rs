//! Algorithm 1 of the paper for linear systems, which propagates jumps instead of states.
//!
//! Let `G` be one step of backward Euler, `u_j` the fine solution that starts from `U_j`, and `S_{j+1} =
//! u_j(T_{j+1}) - U_{j+1}` the jump. The equations in the paper lack two terms:
//!
//! | as printed | corrected |
//! | --- | --- |
//! | `(δ_{j+1} - δ_j) / ΔT_j = A δ_{j+1} + S_j` | `(δ_{j+1} - δ_j) / ΔT_j = A δ_{j+1} + S_j / ΔT_j` |
//! | `U_{j+1} ← U_{j+1} + δ_{j+1}` | `U_{j+1} ← U_{j+1} + S_{j+1} + δ_{j+1}` |
//! | `δ_{j+1} = G(δ_j + ΔT_j S_j)` | `δ_{j+1} = G(δ_j + S_j)` |
//!
//! The last row is the first row solved for `δ_{j+1}`. With `Δ_j = S_j + δ_j`, the corrected form is `Δ_{j+1}
//! = S_{j+1} + G Δ_j`, `U_{j+1} ← U_{j+1} + Δ_{j+1}`, which is equation (3b) of the network.
//!
//! The printed form never corrects the first jump: `δ_1 = G(0) = 0`, so `U_1` remains the coarse solution.

use crate::error::OdeError;
use crate::grid::Grid;
use crate::propagator::Propagator;
use crate::state::State;

/// A form of Algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualForm {
    /// The convergent form.
    Corrected,
    /// The form in the paper, without the two terms. It does not converge.
    AsPrinted,
}

/// Computes iterates `0..=iterations` of Algorithm 1, each of them `U_0 .. U_N`.
///
/// This is a simple reference implementation: it is sequential, and solves every slice in every iteration.
///
/// `coarse` must be linear. With [`ResidualForm::Corrected`], the iterates equal those of
/// [`Parareal`](crate::Parareal) up to rounding errors.
///
/// # Errors
/// If the initial value has size 0, or a propagator fails.
pub fn residual_iterates<S: State, F: Propagator<S>, G: Propagator<S>>(
    grid: &Grid,
    fine: &F,
    coarse: &G,
    initial: &S,
    iterations: usize,
    form: ResidualForm,
) -> Result<Vec<Vec<S>>, OdeError> {
    if initial.size() == 0 {
        return Err(OdeError::EmptyState);
    }
    let slices = grid.slices();
    let (mut fine_work, mut coarse_work) = (fine.workspace(), coarse.workspace());
    let mut u = vec![initial.clone(); slices.len() + 1];
    for (j, &slice) in slices.iter().enumerate() {
        let mut next = initial.clone();
        coarse.propagate(slice, &u[j], &mut next, &mut coarse_work)?;
        u[j + 1] = next;
    }
    let mut zero = initial.clone();
    zero.add_scaled(-1.0, initial);
    let mut iterates = vec![u.clone()];
    for _ in 0..iterations {
        // S_0 = 0 and S_{j+1} = u_j(T_{j+1}) - U_{j+1}.
        let mut jumps = vec![zero.clone(); slices.len() + 1];
        for (j, &slice) in slices.iter().enumerate() {
            fine.propagate(slice, &u[j], &mut jumps[j + 1], &mut fine_work)?;
            jumps[j + 1].add_scaled(-1.0, &u[j + 1]);
        }
        let mut delta = zero.clone();
        for (j, &slice) in slices.iter().enumerate() {
            let weight = match form {
                ResidualForm::Corrected => 1.0,
                ResidualForm::AsPrinted => slice.length,
            };
            let mut driven = delta.clone();
            driven.add_scaled(weight, &jumps[j]);
            coarse.propagate(slice, &driven, &mut delta, &mut coarse_work)?;
            if form == ResidualForm::Corrected {
                u[j + 1].add_scaled(1.0, &jumps[j + 1]);
            }
            u[j + 1].add_scaled(1.0, &delta);
        }
        iterates.push(u.clone());
    }
    Ok(iterates)
}
