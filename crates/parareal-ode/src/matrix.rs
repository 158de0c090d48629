//! Matrices of linear systems, with products and LU factorizations from the crate `faer`.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::lu::partial_pivoting::{factor, solve};
use faer::linalg::matmul::matmul;
use faer::perm::PermRef;
use faer::sparse::linalg::lu::{LuRef, NumericLu, SymbolicLu, factorize_symbolic_lu};
use faer::sparse::linalg::matmul::sparse_dense_matmul;
use faer::sparse::{SparseColMat, Triplet};
use faer::{Accum, Conj, Mat, MatMut, MatRef, Par};

use crate::error::{OdeError, in_range};
use crate::propagator::System;

/// Largest number of rows of a dense matrix. A matrix of this size takes two gigabytes.
const MAX_DENSE: usize = 16_384;

/// The matrix `A` of a linear system `u' = Au`.
#[derive(Clone, Debug)]
pub struct Matrix(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Dense(Mat<f64>),
    Sparse(SparseColMat<u32, f64>),
}

impl Matrix {
    /// Creates a dense matrix from its entries, row by row.
    ///
    /// ```
    /// use parareal_ode::Matrix;
    ///
    /// let rotation = Matrix::dense(2, &[0.0, -1.0, 1.0, 0.0])?;
    /// assert_eq!(rotation.size(), 2);
    /// # Ok::<(), parareal_ode::OdeError>(())
    /// ```
    ///
    /// # Errors
    /// If the size is 0 or too large, the number of entries is not `size²`, or an entry is not finite.
    pub fn dense(size: usize, rows: &[f64]) -> Result<Self, OdeError> {
        in_range("the size of a dense matrix", size, 1..=MAX_DENSE)?;
        let refuse = |message| Err(OdeError::Matrix { size, message });
        match rows.iter().position(|entry| !entry.is_finite()) {
            _ if rows.len() != size * size => {
                refuse(format!("expected {} entries, got {}", size * size, rows.len()))
            }
            Some(at) => refuse(format!("entry ({}, {}) is not finite", at / size, at % size)),
            None => Ok(Self(Kind::Dense(Mat::from_fn(size, size, |i, j| rows[i * size + j])))),
        }
    }

    /// Creates a sparse matrix, for example a banded one, from entries `(row, column, value)` in any order.
    /// Entries with the same row and column are added.
    ///
    /// # Errors
    /// If the size is 0 or too large, or an entry is outside the matrix or not finite.
    pub fn sparse(size: usize, entries: &[(usize, usize, f64)]) -> Result<Self, OdeError> {
        in_range("the size of a sparse matrix", size, 1..=u32::MAX as usize / 2)?;
        let refuse = |message| Err(OdeError::Matrix { size, message });
        let wrong =
            |&&(i, j, value): &&(usize, usize, f64)| i >= size || j >= size || !value.is_finite();
        if let Some((i, j, value)) = entries.iter().find(wrong) {
            return refuse(format!("entry ({i}, {j}) is {value}"));
        }
        let triplets: Vec<_> =
            entries.iter().map(|&(i, j, value)| Triplet::new(i as u32, j as u32, value)).collect();
        match SparseColMat::try_new_from_triplets(size, size, &triplets) {
            Ok(matrix) => Ok(Self(Kind::Sparse(matrix))),
            Err(error) => refuse(error.to_string()),
        }
    }

    /// The number of rows.
    pub fn size(&self) -> usize {
        match &self.0 {
            Kind::Dense(matrix) => matrix.nrows(),
            Kind::Sparse(matrix) => matrix.nrows(),
        }
    }

    /// Computes `product = A u`. Both slices have [`size`](Self::size) elements.
    pub(crate) fn apply(&self, u: &[f64], product: &mut [f64]) {
        let size = self.size();
        let u = MatRef::from_column_major_slice(u, size, 1);
        let product = MatMut::from_column_major_slice_mut(product, size, 1);
        match &self.0 {
            Kind::Dense(matrix) => matmul(product, Accum::Replace, matrix, u, 1.0, Par::Seq),
            Kind::Sparse(matrix) => {
                sparse_dense_matmul(product, Accum::Replace, matrix.as_ref(), u, 1.0, Par::Seq);
            }
        }
    }

    /// Converts the matrix to a dense one.
    pub(crate) fn to_dense(&self) -> Mat<f64> {
        match &self.0 {
            Kind::Dense(matrix) => matrix.clone(),
            Kind::Sparse(matrix) => matrix.to_dense(),
        }
    }

    /// Factorizes `I - factor · A`.
    pub(crate) fn factorize_shifted(&self, factor: f64) -> Result<Factors, OdeError> {
        let size = self.size();
        match &self.0 {
            Kind::Dense(matrix) => {
                let identity = |i, j| if i == j { 1.0 } else { 0.0 };
                let mut shifted =
                    Mat::from_fn(size, size, |i, j| identity(i, j) - factor * matrix[(i, j)]);
                let mut indices = [vec![0; size], vec![0; size]];
                let mut memory = MemBuffer::new(dense_scratch(size));
                factorize(shifted.as_mut(), &mut indices, MemStack::new(&mut memory));
                let singular = (0..size).any(|i| shifted[(i, i)] == 0.0);
                let dense = Factors::Dense { factors: shifted, indices };
                if singular { Err(OdeError::Singular { step: factor }) } else { Ok(dense) }
            }
            Kind::Sparse(matrix) => {
                let entries = matrix.triplet_iter().map(|entry| {
                    Triplet::new(entry.row as u32, entry.col as u32, -factor * *entry.val)
                });
                let diagonal = (0..size as u32).map(|i| Triplet::new(i, i, 1.0));
                let entries: Vec<_> = diagonal.chain(entries).collect();
                sparse_factors(size, &entries).ok_or(OdeError::Singular { step: factor })
            }
        }
    }
}

fn sparse_factors(size: usize, entries: &[Triplet<u32, u32, f64>]) -> Option<Factors> {
    let shifted = SparseColMat::try_new_from_triplets(size, size, entries).ok()?;
    let symbolic = factorize_symbolic_lu(shifted.symbolic(), Default::default()).ok()?;
    let scratch = symbolic.factorize_numeric_lu_scratch::<f64>(Par::Seq, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let mut numeric = NumericLu::new();
    let stack = MemStack::new(&mut memory);
    let shifted = shifted.as_ref();
    symbolic
        .factorize_numeric_lu(&mut numeric, shifted, Par::Seq, stack, Default::default())
        .ok()?;
    let factors = Factors::Sparse(Box::new((symbolic, numeric)));
    // `faer` does not report a zero pivot, but the division by it gives values that are not finite.
    let mut ones = vec![1.0; size];
    factors.solve(&mut ones, MemStack::new(&mut MemBuffer::new(factors.scratch())));
    ones.iter().all(|value| value.is_finite()).then_some(factors)
}

impl System for Matrix {
    fn size(&self) -> usize {
        self.size()
    }

    fn derivative(&self, _t: f64, u: &[f64], derivative: &mut [f64]) {
        self.apply(u, derivative);
    }
}

/// An LU factorization with partial pivoting.
pub(crate) enum Factors {
    Dense { factors: Mat<f64>, indices: [Vec<usize>; 2] },
    Sparse(Box<(SymbolicLu<u32>, NumericLu<u32, f64>)>),
}

impl Factors {
    /// The scratch memory that `solve` needs.
    pub(crate) fn scratch(&self) -> StackReq {
        match self {
            Self::Dense { factors, .. } => dense_scratch(factors.nrows()),
            Self::Sparse(pair) => pair.0.solve_in_place_scratch::<f64>(1, Par::Seq),
        }
    }

    /// Replaces the right-hand side with the solution.
    pub(crate) fn solve(&self, right: &mut [f64], stack: &mut MemStack) {
        let size = right.len();
        match self {
            Self::Dense { factors, indices } => {
                substitute(factors.as_ref(), indices, right, stack);
            }
            Self::Sparse(pair) => {
                let right = MatMut::from_column_major_slice_mut(right, size, 1);
                let factors = LuRef::new_unchecked(&pair.0, &pair.1);
                factors.solve_in_place_with_conj(Conj::No, right, Par::Seq, stack);
            }
        }
    }
}

/// The scratch memory that `factorize` and `substitute` need.
pub(crate) fn dense_scratch(size: usize) -> StackReq {
    let factorize =
        factor::lu_in_place_scratch::<usize, f64>(size, size, Par::Seq, Default::default());
    factorize.or(solve::solve_in_place_scratch::<usize, f64>(size, 1, Par::Seq))
}

/// Replaces a dense matrix with its LU factors, and `indices` with the row permutation and its inverse.
pub(crate) fn factorize(
    matrix: MatMut<'_, f64>,
    indices: &mut [Vec<usize>; 2],
    stack: &mut MemStack,
) {
    let [forward, inverse] = indices;
    factor::lu_in_place(matrix, forward, inverse, Par::Seq, stack, Default::default());
}

/// Replaces a right-hand side with the solution, given the factors of a dense matrix.
pub(crate) fn substitute(
    factors: MatRef<'_, f64>,
    indices: &[Vec<usize>; 2],
    right: &mut [f64],
    stack: &mut MemStack,
) {
    let size = right.len();
    let permutation = PermRef::new_checked(&indices[0], &indices[1], size);
    let right = MatMut::from_column_major_slice_mut(right, size, 1);
    let no = Conj::No;
    solve::solve_in_place_with_conj(factors, factors, permutation, no, right, Par::Seq, stack);
}
