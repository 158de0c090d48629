/// A state of a system: an element of a vector space with a norm.
///
/// Every type that can be borrowed as a slice of `f64` is a state, for example `Vec<f64>` and `[f64; 3]`.
/// Other types must implement these operations. Only `clone` may allocate memory.
///
/// ```
/// use parareal_ode::State;
///
/// #[derive(Clone)]
/// struct Position { x: f64 }
///
/// impl State for Position {
///     fn size(&self) -> usize { 1 }
///     fn assign(&mut self, other: &Self) { self.x = other.x; }
///     fn add_scaled(&mut self, factor: f64, other: &Self) { self.x += factor * other.x; }
///     fn norm(&self) -> f64 { self.x.abs() }
///     fn distance(&self, other: &Self) -> f64 { (self.x - other.x).abs() }
/// }
/// ```
pub trait State: Clone + Send + Sync {
    /// The number of unknowns.
    fn size(&self) -> usize;

    /// Sets `self = other`.
    fn assign(&mut self, other: &Self);

    /// Sets `self += factor · other`.
    fn add_scaled(&mut self, factor: f64, other: &Self);

    /// Returns `‖self‖`. The result must not be finite if an element is not finite.
    fn norm(&self) -> f64;

    /// Returns `‖self - other‖`.
    fn distance(&self, other: &Self) -> f64;
}

/// Slices of numbers with the Euclidean norm.
impl<T: AsRef<[f64]> + AsMut<[f64]> + Clone + Send + Sync> State for T {
    fn size(&self) -> usize {
        self.as_ref().len()
    }

    fn assign(&mut self, other: &Self) {
        self.as_mut().copy_from_slice(other.as_ref());
    }

    fn add_scaled(&mut self, factor: f64, other: &Self) {
        for (own, other) in self.as_mut().iter_mut().zip(other.as_ref()) {
            *own += factor * other;
        }
    }

    fn norm(&self) -> f64 {
        self.as_ref().iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    fn distance(&self, other: &Self) -> f64 {
        let pairs = self.as_ref().iter().zip(other.as_ref());
        pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
    }
}
