use crate::error::{OdeError, in_range};

/// One slice `[start, start + length]` of the time interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// The index, from 0.
    pub index: usize,
    /// `T_j`.
    pub start: f64,
    /// `ΔT_j`.
    pub length: f64,
}

/// The time interval, cut into slices.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    slices: Vec<Slice>,
    end: f64,
}

impl Grid {
    /// The maximum number of slices.
    pub const MAX_SLICES: usize = 100_000;

    /// Creates slices of equal length on `[0, interval]`.
    ///
    /// # Errors
    /// If `slices` is 0 or greater than [`MAX_SLICES`](Self::MAX_SLICES), or the interval is not a positive
    /// number.
    pub fn uniform(interval: f64, slices: usize) -> Result<Self, OdeError> {
        in_range("the number of slices", slices, 1..=Self::MAX_SLICES)?;
        // The lengths are bitwise equal, so that factorizations are shared.
        let length = interval / slices as f64;
        Self::check(0, length)?;
        let slice = |index| Slice { index, start: length * index as f64, length };
        Ok(Self { slices: (0..slices).map(slice).collect(), end: interval })
    }

    /// Creates slices between points `T_0 < T_1 < .. < T_N`.
    ///
    /// # Errors
    /// If there are fewer than two points or too many, or the points do not increase or are not finite.
    pub fn from_points(points: &[f64]) -> Result<Self, OdeError> {
        in_range("the number of slices", points.len().saturating_sub(1), 1..=Self::MAX_SLICES)?;
        let slice = |(index, pair): (usize, &[f64])| {
            let (start, length) = (pair[0], pair[1] - pair[0]);
            Self::check(index, length).map(|()| Slice { index, start, length })
        };
        let slices = points.windows(2).enumerate().map(slice).collect::<Result<_, _>>()?;
        Ok(Self { slices, end: points[points.len() - 1] })
    }

    fn check(index: usize, length: f64) -> Result<(), OdeError> {
        match length > 0.0 && length.is_finite() {
            true => Ok(()),
            false => Err(OdeError::Grid(format!(
                "slice {} has length {length}: expected a positive number",
                index + 1
            ))),
        }
    }

    /// The slices, in order; at least one.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// The points `T_0 .. T_N`.
    pub fn points(&self) -> impl Iterator<Item = f64> {
        self.slices.iter().map(|slice| slice.start).chain([self.end])
    }

    /// The distinct lengths of the slices, in increasing order.
    pub fn lengths(&self) -> Vec<f64> {
        let mut lengths: Vec<f64> = self.slices.iter().map(|slice| slice.length).collect();
        lengths.sort_by(f64::total_cmp);
        lengths.dedup();
        lengths
    }
}
