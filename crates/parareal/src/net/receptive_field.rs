//! Receptive fields, and the number of units that a coarse network needs to cover as much.

/// The receptive field of a layer, a unit or a sequence of them along one axis: how many elements of the
/// input one element of the output depends on.
///
/// ```
/// use parareal::net::ReceptiveField;
///
/// let conv3x3 = ReceptiveField::of_kernel(3, 1);
/// let strided = ReceptiveField::of_kernel(3, 2);
/// // A second convolution after one of stride 2 sees twice as many elements of the input.
/// assert_eq!(strided.then(conv3x3), ReceptiveField { size: 7, stride: 2 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptiveField {
    /// Elements of the input along the axis, at least 1.
    pub size: usize,
    /// Distance in the input between neighbors of the output, at least 1.
    pub stride: usize,
}

impl ReceptiveField {
    /// A layer that treats each position alone.
    pub const POINTWISE: Self = Self { size: 1, stride: 1 };

    /// A convolution or a pooling with this kernel and stride. A dilated kernel has the size
    /// `dilation · (kernel - 1) + 1`.
    #[must_use]
    pub fn of_kernel(kernel: usize, stride: usize) -> Self {
        Self { size: kernel, stride }
    }

    /// The receptive field of this layer followed by another one.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let farther = next.size.saturating_sub(1).saturating_mul(self.stride);
        Self {
            size: self.size.saturating_add(farther),
            stride: self.stride.saturating_mul(next.stride),
        }
    }

    /// The receptive field of a sequence of layers.
    #[must_use]
    pub fn of_sequence(layers: impl IntoIterator<Item = Self>) -> Self {
        layers.into_iter().fold(Self::POINTWISE, Self::then)
    }
}

/// Returns `N_c`, the number of units with which a coarse network `F_j` covers about as much of its input as
/// the subnetwork that it approximates. The paper argues in this way for `N = 3`, and takes `⌈12/N⌉` for any
/// other `N`.
///
/// `fine` are the units of `g_{j+1}`, `extent` is the size of the state at the interface along the same axis,
/// beyond which nothing is to be covered, and `coarse(k)` is unit `k` of a coarse network. The result is the
/// number, at least 1, whose receptive field is closest to that of the subnetwork or to the extent,
/// whichever is less; the smaller of two that are equally close.
///
/// The paper has 333 units. Take `N = 3`. At the first interface states are 32 wide, and coarse units have
/// two 3×3 convolutions, of which the first one of all has stride 2:
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
            // Pointwise units cover no more, however many they are.
            break;
        }
        (covered, units) = (more, units + 1);
        best = best.min((covered.size.abs_diff(target), units));
    }
    best.1
}

/// The number of elements, at most `extent`, that a sequence of units covers of its input.
pub(super) fn covered_elements(
    units: impl IntoIterator<Item = ReceptiveField>,
    extent: usize,
) -> usize {
    ReceptiveField::of_sequence(units).size.min(extent)
}

/// Returns `N_c` by cost: the largest number of units, at least 1, that together cost at most `share` of what the
/// subnetwork costs. Costs are times or multiply-adds, `fine` that of the subnetwork and `unit` that of one coarse
/// unit.
///
/// ```
/// use parareal::net::units_within_cost;
///
/// // A quarter of a subnetwork of 22 units, by units that cost as much as its own.
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
        // Ten 3-wide units cover 21; two convolutions each, five cover as much.
        assert_eq!(units_to_cover([CONV; 10], 100, |_| CONV.then(CONV)), 5);
        // But not more than there is: 17 is as far from 15 as 13, so the smaller number counts.
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
