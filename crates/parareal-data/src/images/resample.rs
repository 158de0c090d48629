//! Antialiased bilinear resampling, to the byte as `Image.resize(size, BILINEAR, box)` of Pillow 13.

use std::ops::Range;

/// Fractional bits of a weight.
const BITS: u32 = 22;
/// One half, added before rounding down.
const HALF: i32 = 1 << (BITS - 1);

/// Stored pixels, 8 bits per channel.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<'a> {
    pub(crate) values: &'a [u8],
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) layout: PixelLayout,
}

/// Order of the values of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PixelLayout {
    /// `[height, width, channels]`, as in a decoded file.
    ChannelsLast,
    /// `[channels, height, width]`, as in an [`ImageSet`](crate::ImageSet).
    ChannelsFirst,
}

impl Pixels<'_> {
    /// Returns the distances between the channels, rows and columns in `values`.
    fn strides(&self) -> [usize; 3] {
        match self.layout {
            PixelLayout::ChannelsLast => [1, self.width * self.channels, self.channels],
            PixelLayout::ChannelsFirst => [self.height * self.width, self.width, 1],
        }
    }
}

/// The resampling of one axis of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    /// The part of the source that is scaled to `size`, in pixels. Positions are those of Pillow's `box`: single precision,
    /// and pixels outside of the part contribute to the values at its edges.
    pub(crate) part: [f32; 2],
    /// Number of pixels to which the part is scaled.
    pub(crate) size: usize,
    /// The pixels of these that are computed.
    pub(crate) window: Range<usize>,
}

/// Weights of the source pixels for each computed pixel of an axis.
struct Weights {
    /// First source pixel and number of source pixels of each computed pixel.
    bounds: Vec<(usize, usize)>,
    /// The weights of all computed pixels, one after the other.
    weights: Vec<i32>,
}

impl Span {
    /// Scales `len` pixels from `start` to `size` pixels.
    pub(crate) fn of_part(start: usize, len: usize, size: usize) -> Self {
        Self { part: [start as f32, (start + len) as f32], size, window: 0..size }
    }

    /// Computes the weights for a source of `len` pixels, in the order of operations of Pillow.
    fn weights(&self, len: usize) -> Weights {
        let [start, end] = self.part;
        let scale = f64::from(end - start) / self.size as f64;
        // The triangle filter reaches over one pixel of the larger grid.
        let support = scale.max(1.0);
        let mut found = Weights { bounds: Vec::new(), weights: Vec::new() };
        let mut exact = Vec::new();
        for pixel in self.window.clone() {
            let center = f64::from(start) + (pixel as f64 + 0.5) * scale;
            // Conversions round towards zero and saturate at zero.
            let first = (center - support + 0.5) as usize;
            let last = ((center + support + 0.5) as usize).min(len);
            exact.clear();
            exact.extend((first..last).map(|source| {
                let distance = (source as f64 - center + 0.5) * (1.0 / support);
                (1.0 - distance.abs()).max(0.0)
            }));
            let sum: f64 = exact.iter().sum();
            let rounded = exact.iter().map(|weight| {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                (0.5 + weight * f64::from(1 << BITS)) as i32
            });
            found.bounds.push((first, exact.len()));
            found.weights.extend(rounded);
        }
        found
    }
}

impl Weights {
    /// Returns the first source pixel and the weights of each computed pixel.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut rest = &self.weights[..];
        self.bounds.iter().map(move |&(first, count)| {
            let (weights, others) = rest.split_at(count);
            rest = others;
            (first, weights)
        })
    }

    /// Returns the source pixels that have a weight.
    fn sources(&self) -> Range<usize> {
        let first = self.bounds.first().map_or(0, |&(first, _)| first);
        let last = self.bounds.last().map_or(0, |&(first, count)| first + count);
        first..last.max(first)
    }
}

/// Resamples an image in two passes, each rounded to 8 bits. Returns `[channels, rows, columns]` of the windows.
///
/// The columns are resampled first, unless this takes much more time. Both orders differ in rounding, so the rule is that of
/// Pillow 13, found by comparison with its results.
pub(crate) fn resample(image: Pixels<'_>, rows: &Span, columns: &Span) -> Vec<u8> {
    let (across, down) = (columns.weights(image.width), rows.weights(image.height));
    let is_reduced = rows.size < image.height;
    if is_reduced && 2 * image.width < 2 * columns.size + image.height - rows.size {
        rows_first(image, &across, &down)
    } else {
        columns_first(image, &across, &down)
    }
}

fn columns_first(image: Pixels<'_>, across: &Weights, down: &Weights) -> Vec<u8> {
    let (width, height) = (across.bounds.len(), down.bounds.len());
    let used = down.sources();
    let [channel_stride, row_stride, stride] = image.strides();
    let (mut narrow, mut resampled) = (vec![0; used.len() * width], Vec::new());
    resampled.reserve_exact(image.channels * height * width);
    let mut sums = vec![0; width];
    for channel in 0..image.channels {
        for (row, narrow) in used.clone().zip(narrow.chunks_exact_mut(width)) {
            let values = &image.values[channel * channel_stride + row * row_stride..];
            for (value, (first, weights)) in narrow.iter_mut().zip(across.iter()) {
                *value = weighted(values[first * stride..].iter().step_by(stride), weights);
            }
        }
        for (first, weights) in down.iter() {
            sums.fill(HALF);
            let begin = (first - used.start) * width;
            for (row, weight) in narrow[begin..].chunks_exact(width).zip(weights) {
                for (sum, &pixel) in sums.iter_mut().zip(row) {
                    *sum += i32::from(pixel) * weight;
                }
            }
            resampled.extend(sums.iter().map(|&sum| rounded(sum)));
        }
    }
    resampled
}

fn rows_first(image: Pixels<'_>, across: &Weights, down: &Weights) -> Vec<u8> {
    let (width, height) = (across.bounds.len(), down.bounds.len());
    let used = across.sources();
    let [channel_stride, row_stride, stride] = image.strides();
    let mut resampled = Vec::with_capacity(image.channels * height * width);
    let (mut sums, mut flat) = (vec![0; used.len()], vec![0; used.len()]);
    for channel in 0..image.channels {
        for (first, weights) in down.iter() {
            sums.fill(HALF);
            for (row, weight) in (first..).zip(weights) {
                let begin = channel * channel_stride + row * row_stride + used.start * stride;
                let pixels = image.values[begin..].iter().step_by(stride);
                for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                    *sum += i32::from(pixel) * weight;
                }
            }
            for (value, &sum) in flat.iter_mut().zip(&sums) {
                *value = rounded(sum);
            }
            let row = across.iter();
            resampled.extend(
                row.map(|(first, weights)| weighted(flat[first - used.start..].iter(), weights)),
            );
        }
    }
    resampled
}

/// Returns the weighted sum of pixels.
fn weighted<'a>(pixels: impl Iterator<Item = &'a u8>, weights: &[i32]) -> u8 {
    let sum: i32 = pixels.zip(weights).map(|(&pixel, weight)| i32::from(pixel) * weight).sum();
    rounded(sum + HALF)
}

fn rounded(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::preprocessing::center_crop;

    /// Results of Pillow, written by `references/resize.py`. Read when the test runs, because packages are checked without
    /// the folder `tests`.
    const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/resize.bin");

    /// Takes a 16-bit number from the start of `rest`.
    fn number(rest: &mut &[u8]) -> usize {
        let (bytes, others) = rest.split_first_chunk::<2>().unwrap();
        *rest = others;
        usize::from(u16::from_le_bytes(*bytes))
    }

    fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (first, others) = rest.split_at(count);
        *rest = others;
        first
    }

    #[test]
    fn results_are_those_of_pillow_and_torchvision_to_the_byte() {
        let expected = std::fs::read(EXPECTED).unwrap();
        let mut rest = &expected[..];
        let (mut cases, mut scaled_up) = (0, 0);
        for _ in 0..number(&mut rest) {
            let [height, width] = [number(&mut rest), number(&mut rest)];
            let values = take(&mut rest, 3 * height * width);
            let image =
                Pixels { values, channels: 3, height, width, layout: PixelLayout::ChannelsLast };
            let plane = |channel: usize| values.iter().skip(channel).step_by(3).copied();
            let planes: Vec<u8> = (0..3).flat_map(plane).collect();
            let by_planes = Pixels { values: &planes, layout: PixelLayout::ChannelsFirst, ..image };
            for _ in 0..number(&mut rest) {
                let edges = [(); 4].map(|()| number(&mut rest) as f32 / 8.0);
                let [rows, columns] = [(); 2].map(|()| number(&mut rest));
                let [left, top, right, bottom] = edges;
                let down = Span { part: [top, bottom], size: rows, window: 0..rows };
                let across = Span { part: [left, right], size: columns, window: 0..columns };
                let expected = take(&mut rest, 3 * rows * columns);
                assert!(resample(image, &down, &across) == expected, "{down:?}, {across:?}");
                assert!(resample(by_planes, &down, &across) == expected, "{down:?}, {across:?}");
                // A window has the same pixels as the whole.
                let [y, x] = [rows / 3..rows - rows / 4, columns / 4..columns - columns / 3];
                let part = resample(
                    image,
                    &Span { window: y.clone(), ..down },
                    &Span { window: x.clone(), ..across },
                );
                let whole = expected.chunks_exact(columns).enumerate();
                let inside = whole.filter(|(row, _)| y.contains(&(row % rows)));
                let inside = inside.flat_map(|(_, row)| row[x.clone()].iter().copied());
                assert!(part.iter().copied().eq(inside));
                cases += 1;
                scaled_up += usize::from(columns as f32 > right - left);
            }
        }
        assert!(cases > 20 && scaled_up > 3);
        for _ in 0..number(&mut rest) {
            let [height, width, size] = [(); 3].map(|()| number(&mut rest));
            let values: Vec<u8> = (0..height * width * 3)
                .map(|index| {
                    let (y, x, channel) = (index / 3 / width, index / 3 % width, index % 3);
                    (7 * x + 13 * y + x * y / 5 + 50 * channel) as u8
                })
                .collect();
            let (values, layout) = (&values[..], PixelLayout::ChannelsLast);
            let found = center_crop(Pixels { values, channels: 3, height, width, layout }, size);
            let expected = take(&mut rest, 3 * size * size);
            assert!(found == expected, "{height} x {width} pixels, cropped to {size}");
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn an_image_of_the_same_size_stays_as_it_is() {
        let values: Vec<u8> = (0..60).map(|value| value * 4).collect();
        let layout = PixelLayout::ChannelsFirst;
        let image = Pixels { values: &values, channels: 3, height: 4, width: 5, layout };
        assert_eq!(resample(image, &Span::of_part(0, 4, 4), &Span::of_part(0, 5, 5)), values);
    }
}
