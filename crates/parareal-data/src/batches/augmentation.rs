//! Random crops and mirroring of training images.

use crate::rng::{KeyedRng, Purpose};

/// Random changes to a training image each time it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Augmentation {
    /// No change: the image as stored.
    #[default]
    None,
    /// A random crop of the image padded with `padding` black pixels (stored value 0) on every side,
    /// and a horizontal flip with probability one half.
    ///
    /// Not suitable for digits, because a mirrored digit is no longer the same digit.
    CropFlip {
        /// Black pixels added on every side; smaller than the height and the width.
        padding: usize,
    },
    /// A random part of the image, resized to the size of the set, and a horizontal flip with probability one half.
    ///
    /// The part has 8 to 100 % of the pixels and a ratio of width to height between 3/4 and 4/3, with the distribution of
    /// torchvision's `RandomResizedCrop`. For images in files it is a part of the whole image, before any resizing. It is
    /// interpolated bilinearly with antialiasing, as `Image.resize(size, BILINEAR, box)` of Pillow does.
    ResizedCropFlip,
}

/// Crop and mirroring of one image in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Rows by which the image is shifted up.
    up: isize,
    /// Columns by which the image is shifted left (before mirroring).
    left: isize,
    mirrored: bool,
}

impl Augmentation {
    /// Returns the placement of image `index` in an epoch. It depends on the arguments alone.
    pub(crate) fn placement(self, seed: u64, epoch: usize, index: usize) -> Placement {
        let mut rng = KeyedRng::new(Purpose::Augmentation, seed, epoch as u64, index as u64);
        let padding = match self {
            Self::None => return Placement { up: 0, left: 0, mirrored: false },
            Self::ResizedCropFlip => {
                return Placement { up: 0, left: 0, mirrored: rng.below(2) == 1 };
            }
            Self::CropFlip { padding } => padding,
        };
        let places = 2 * padding as u64 + 1;
        let mut shift = || rng.below(places) as isize - padding as isize;
        let (up, left) = (shift(), shift());
        Placement { up, left, mirrored: rng.below(2) == 1 }
    }
}

impl Placement {
    /// Writes one augmented channel to `values`. `plane` holds the stored pixels of the channel,
    /// `[height, width]`, and `convert` returns the value for a stored value.
    pub(crate) fn write<T>(
        self,
        plane: &[u8],
        width: usize,
        convert: impl Fn(u8) -> T,
        values: &mut [T],
    ) {
        if (Self { up: 0, left: 0, mirrored: false }) == self {
            for (value, &pixel) in values.iter_mut().zip(plane) {
                *value = convert(pixel);
            }
            return;
        }
        let height = plane.len() / width;
        let inside = |position: Option<usize>, len| position.filter(|&position| position < len);
        for (y, values) in values.chunks_exact_mut(width).enumerate() {
            let row = inside(y.checked_add_signed(self.up), height);
            for (x, value) in values.iter_mut().enumerate() {
                let x = if self.mirrored { width - 1 - x } else { x };
                let column = inside(x.checked_add_signed(self.left), width);
                let pixel = match (row, column) {
                    (Some(row), Some(column)) => plane[row * width + column],
                    _ => 0,
                };
                *value = convert(pixel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(placement: Placement) -> Vec<f32> {
        let mut values = vec![0.0; 6];
        placement.write(&[1, 2, 3, 4, 5, 6], 3, f32::from, &mut values);
        values
    }

    #[test]
    fn pictures_move_and_turn_over() {
        let still = Placement { up: 0, left: 0, mirrored: false };
        assert_eq!(placed(still), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mirrored = Placement { mirrored: true, ..still };
        assert_eq!(placed(mirrored), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        let up = Placement { up: 1, ..still };
        assert_eq!(placed(up), [4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
        let right = Placement { left: -1, ..still };
        assert_eq!(placed(right), [0.0, 1.0, 2.0, 0.0, 4.0, 5.0]);
        let right_mirrored = Placement { left: -1, mirrored: true, ..still };
        assert_eq!(placed(right_mirrored), [2.0, 1.0, 0.0, 5.0, 4.0, 0.0]);
    }

    #[test]
    fn placements_reach_every_shift_and_both_sides() {
        let augmentation = Augmentation::CropFlip { padding: 2 };
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..2_000 {
            let Placement { up, left, mirrored } = augmentation.placement(1, 0, index);
            assert!(up.abs() <= 2 && left.abs() <= 2);
            seen.insert((up, left, mirrored));
        }
        assert_eq!(seen.len(), 50);
    }
}
