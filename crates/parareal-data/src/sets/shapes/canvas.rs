//! A small color image on which smooth-edged marks are painted.

/// Red, green and blue, each from 0 to 1.
pub(crate) type Color = [f32; 3];

/// Number of samples along each side of a pixel, to measure the fraction that a mark covers.
const SAMPLES: usize = 4;

/// A square image of `side` x `side` pixels; pixel (0, 0) spans the square from 0 to 1.
pub(crate) struct Canvas {
    side: usize,
    /// Pixels in row-major order.
    pixels: Vec<Color>,
}

impl Canvas {
    /// Creates an image whose color at each point is a function of its position.
    pub(crate) fn new(side: usize, color: impl Fn(f32, f32) -> Color) -> Self {
        let pixels = (0..side * side)
            .map(|pixel| color((pixel % side) as f32 + 0.5, (pixel / side) as f32 + 0.5))
            .collect();
        Self { side, pixels }
    }

    /// Paints the points for which `covers(x, y)` is true; they must lie within `reach` of `center`.
    ///
    /// A partly covered pixel gets a mixture of the colors, which smooths the edges.
    pub(crate) fn paint(
        &mut self,
        center: [f32; 2],
        reach: f32,
        color: Color,
        covers: impl Fn(f32, f32) -> bool,
    ) {
        // The conversion to usize saturates at 0, so parts of a mark outside the image are cut off.
        let first = |middle: f32| (middle - reach) as usize;
        let last = |middle: f32| ((middle + reach) as usize + 1).min(self.side);
        for row in first(center[1])..last(center[1]) {
            for column in first(center[0])..last(center[0]) {
                let share = coverage(column, row, &covers);
                if share > 0.0 {
                    let pixel = &mut self.pixels[row * self.side + column];
                    *pixel = mixed(*pixel, color, share);
                }
            }
        }
    }

    /// Writes the image plane by plane (red, green, blue) as 8-bit values. `noise()` is added to
    /// each value, and the sum is clamped to [0, 1].
    pub(crate) fn write(&self, mut noise: impl FnMut() -> f32, planes: &mut [u8]) {
        for (channel, plane) in planes.chunks_exact_mut(self.pixels.len()).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(&self.pixels) {
                // The conversion truncates and clamps to 0..=255. Adding one half makes it round.
                *value = ((pixel[channel] + noise()) * 255.0 + 0.5) as u8;
            }
        }
    }
}

/// Returns the fraction of a pixel that a mark covers.
fn coverage(column: usize, row: usize, covers: &impl Fn(f32, f32) -> bool) -> f32 {
    let place = |pixel: usize, sample: usize| pixel as f32 + (sample as f32 + 0.5) / SAMPLES as f32;
    let mut inside = 0;
    for y in 0..SAMPLES {
        for x in 0..SAMPLES {
            inside += usize::from(covers(place(column, x), place(row, y)));
        }
    }
    inside as f32 / (SAMPLES * SAMPLES) as f32
}

/// Interpolates linearly between two colors.
pub(crate) fn mixed(from: Color, to: Color, share: f32) -> Color {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Color = [1.0; 3];

    fn grey_values(canvas: &Canvas) -> Vec<u8> {
        let mut planes = vec![0; 3 * canvas.pixels.len()];
        canvas.write(|| 0.0, &mut planes);
        planes.truncate(canvas.pixels.len());
        planes
    }

    #[test]
    fn edges_are_smooth_and_marks_are_cut_off_at_the_border() {
        let mut canvas = Canvas::new(4, |_, _| [0.0; 3]);
        canvas.paint([0.0, 0.0], 9.0, WHITE, |x, y| x <= 1.5 && y <= 1.0);
        assert_eq!(grey_values(&canvas)[..8], [255, 128, 0, 0, 0, 0, 0, 0]);
        canvas.paint([-20.0, 50.0], 3.0, WHITE, |_, _| true);
        assert_eq!(grey_values(&canvas)[4..], [0; 12]);
    }

    #[test]
    fn planes_are_consecutive_and_values_stay_in_range() {
        let canvas = Canvas::new(1, |_, _| [0.2, 0.4, 0.6]);
        let mut planes = [0; 3];
        canvas.write(|| 0.0, &mut planes);
        assert_eq!(planes, [51, 102, 153]);
        canvas.write(|| -3.0, &mut planes);
        assert_eq!(planes, [0; 3]);
        canvas.write(|| 3.0, &mut planes);
        assert_eq!(planes, [255; 3]);
    }
}
