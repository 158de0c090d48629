use std::fmt;

/// The shape of one sample: the shapes of the tensors that it consists of, without the batch dimension.
///
/// Most values consist of a single tensor and have one component. Their shape can be converted from the
/// dimensions of this tensor.
///
/// ```
/// use parareal::net::SampleShape;
///
/// let image = SampleShape::from([3, 32, 32]);
/// assert_eq!(image.dims(), Some(&[3, 32, 32][..]));
/// let with_skip = SampleShape::of_components(vec![vec![8, 16], vec![4, 32]]);
/// assert_eq!(with_skip.dims(), None);
/// assert_eq!(with_skip.to_string(), "[8, 16] and [4, 32]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SampleShape {
    components: Vec<Vec<usize>>,
}

impl SampleShape {
    /// Creates the shape of a sample that consists of several tensors.
    #[must_use]
    pub fn of_components(components: Vec<Vec<usize>>) -> Self {
        Self { components }
    }

    /// Returns the shape of each tensor, in order.
    #[must_use]
    pub fn components(&self) -> &[Vec<usize>] {
        &self.components
    }

    /// Returns the dimensions of a sample that is a single tensor; `None` if there are several tensors or
    /// none.
    #[must_use]
    pub fn dims(&self) -> Option<&[usize]> {
        match self.components.as_slice() {
            [dims] => Some(dims),
            _ => None,
        }
    }

    /// Returns the number of elements in all tensors.
    #[must_use]
    pub fn num_elements(&self) -> usize {
        self.components.iter().map(|dims| dims.iter().product::<usize>()).sum()
    }
}

impl From<Vec<usize>> for SampleShape {
    fn from(dims: Vec<usize>) -> Self {
        Self { components: vec![dims] }
    }
}

impl<const D: usize> From<[usize; D]> for SampleShape {
    fn from(dims: [usize; D]) -> Self {
        dims.to_vec().into()
    }
}

impl fmt::Display for SampleShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.components.is_empty() {
            return f.write_str("no tensor");
        }
        for (index, dims) in self.components.iter().enumerate() {
            let before = if index > 0 { " and " } else { "" };
            write!(f, "{before}{dims:?}")?;
        }
        Ok(())
    }
}
