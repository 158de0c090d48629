//! Receptive fields, and the number of units of a coarse network that follows from them.

/// The receptive field, along one axis, of a layer, a unit or a sequence of these.
///
/// It is the number of elements of the input that one element of the output depends on.
///
/// ```
/// use parareal::net::ReceptiveField;
///
/// let conv3x3 = ReceptiveField::of_kernel(3, 1);
/// let strided = ReceptiveField::of_kernel(3, 2);
/// // After a stride of 2, a convolution adds twice as many elements of the input.
/// assert_eq!(strided.then(conv3x3), ReceptiveField { size: 7, stride: 2 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptiveField {
    /// Number of elements of the input along the axis, at least 1.
    pub size: usize,
    /// Distance in the input that corresponds to neighboring elements of the output, at least 1.
    pub stride: usize,
}

impl ReceptiveField {
    /// The receptive field of a layer that processes each position separately.
    pub const POINTWISE: Self = Self { size: 1, stride: 1 };

    /// Returns the receptive field of a convolution or pooling with this kernel size and stride. The size of
    /// a dilated kernel is `dilation · (kernel - 1) + 1`.
    #[must_use]
    pub fn of_kernel(kernel: usize, stride: usize) -> Self {
        Self { size: kernel, stride }
    }

    /// Returns the receptive field of this layer followed by another one.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let farther = next.size.saturating_sub(1).saturating_mul(self.stride);
        Self {
            size: self.size.saturating_add(farther),
            stride: self.stride.saturating_mul(next.stride),
        }
    }

    /// Returns the receptive field of a sequence of layers.
    #[must_use]
    pub fn of_sequence(layers: impl IntoIterator<Item = Self>) -> Self {
        layers.into_iter().fold(Self::POINTWISE, Self::then)
    }
}

/// Returns `N_c`, the number of units with which a coarse network `F_j` covers about as much of its input as
/// the subnetwork that it approximates.
///
/// The paper derives `N_c` in this way for `N = 3`, and uses `⌈12/N⌉` for any other `N`.
///
/// `fine` contains the receptive fields of the units of `g_{j+1}`, and `coarse(k)` returns the receptive
/// field of unit `k` of the coarse network. `extent` is the size of the state at the interface along the same
/// axis. The size to be covered is the receptive field of the subnetwork, but at most `extent`. The result is
/// the number of units, at least 1, whose receptive field is closest to this size. If two numbers are equally
/// close, it is the smaller one.
///
/// For example, the network of the paper has 333 units. With `N = 3`, states at the first interface have a
/// width of 32. Each coarse unit has two 3×3 convolutions, and the first convolution of the coarse network
/// has stride 2:
///
/// ```
/// use parareal::net::{ReceptiveField, units_to_cover};
///
/// let conv = |stride| ReceptiveField::of_kernel(3, stride);
/// let stride = |unit| if unit == 0 { 2 } else { 1 };
/// let fine = (0..111).map(|unit| conv(stride(unit)));
/// let coarse = |unit| conv(stride(unit)).then(conv(1));
/// // Four units cover 31 of 32 pixels.
/// assert_eq!(ReceptiveField::of_sequence((0..4).map(coarse)).size, 31);
/// assert_eq!(units_to_cover(fine, 32, coarse), 4);
/// ```
pub fn units_to_cover(
    fine: impl IntoIterator<Item = ReceptiveField>,
    extent: usize,
    coarse: impl Fn(usize) -> ReceptiveField,
) -> usize {
    let target = covered_elements(fine, extent);
    let (mut covered, mut units) = (coarse(0), 1);
    let mut best = (covered.size.abs_diff(target), units);
    while covered.size < target {
        let more = covered.then(coarse(units));
        if more.size == covered.size {
            // Further pointwise units do not increase the receptive field.
            break;
        }
        (covered, units) = (more, units + 1);
        best = best.min((covered.size.abs_diff(target), units));
    }
    best.1
}

/// Returns the number of elements of its input, at most `extent`, that a sequence of units covers.
pub(super) fn covered_elements(
    units: impl IntoIterator<Item = ReceptiveField>,
    extent: usize,
) -> usize {
    ReceptiveField::of_sequence(units).size.min(extent)
}

/// Returns `N_c` by cost: the largest number of coarse units, at least 1, whose total cost is at most the
/// fraction `share` of the cost of the subnetwork.
///
/// `fine` is the cost of the subnetwork, and `unit` that of one coarse unit. Costs are times or
/// multiply-adds.
///
/// ```
/// use parareal::net::units_within_cost;
///
/// // A quarter of the cost of 22 units, with coarse units that cost as much as those of the subnetwork.
/// assert_eq!(units_within_cost(22.0, 1.0, 0.25), 5);
/// assert_eq!(units_within_cost(2.0, 1.0, 0.25), 1);
/// ```
#[must_use]
pub fn units_within_cost(fine: f64, unit: f64, share: f64) -> usize {
    // A cast to an integer rounds down and turns NaN into 0.
    ((share * fine / unit) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONV: ReceptiveField = ReceptiveField { size: 3, stride: 1 };

    #[test]
    fn fields_grow_by_the_strides_before_them() {
        let layers = [(3, 1), (2, 2), (3, 1), (1, 2), (5, 1)];
        let layers = layers.map(|(kernel, stride)| ReceptiveField::of_kernel(kernel, stride));
        // 1 + 2 + 1 + 2·2 + 0 + 4·4
        assert_eq!(ReceptiveField::of_sequence(layers), ReceptiveField { size: 24, stride: 4 });
        assert_eq!(ReceptiveField::of_sequence([]), ReceptiveField::POINTWISE);
    }

    #[test]
    fn a_coarse_network_covers_what_its_piece_covers() {
        // Ten units with one convolution of size 3 cover 21 elements, and so do five units with two
        // convolutions each.
        assert_eq!(units_to_cover([CONV; 10], 100, |_| CONV.then(CONV)), 5);
        // At most the extent of 15 is to be covered. 13 and 17 are equally close to it, so the smaller number
        // of units is chosen.
        assert_eq!(units_to_cover([CONV; 10], 15, |_| CONV.then(CONV)), 3);
        assert_eq!(units_to_cover([CONV; 10], 1, |_| CONV), 1);
    }

    #[test]
    fn the_papers_number_for_three_subnetworks_follows_and_its_rule_for_others_does_not() {
        let coarse = |first| {
            move |unit| ReceptiveField::of_kernel(3, if unit == 0 { first } else { 1 }).then(CONV)
        };
        assert_eq!(units_to_cover([CONV; 111], 32, coarse(2)), 4);
        assert_eq!(units_to_cover([CONV; 28], 32, coarse(1)), 8);
    }

    #[test]
    fn pointwise_units_end_the_search() {
        assert_eq!(units_to_cover([CONV; 10], 100, |_| ReceptiveField::POINTWISE), 1);
    }
}
