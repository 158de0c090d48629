//! Operations on stored images, with the formulas of torchvision's functions for tensors of bytes.

/// Weights of red, green and blue in a gray image.
const GRAY: [f32; 3] = [0.2989, 0.587, 0.114];

/// The stored pixels of an image, `[channels, height, width]`.
#[derive(Debug)]
pub(super) struct Pixels<'a> {
    pub(super) values: &'a mut [u8],
    pub(super) height: usize,
    pub(super) width: usize,
}

/// The source of a pixel: `x = xx·x' + xy·y' + x1` and `y = yx·x' + yy·y' + y1`, in pixels from the center of the
/// image, with the center of the pixel at `(x', y')`.
#[derive(Clone, Copy, Debug)]
struct Affine {
    xx: f64,
    xy: f64,
    x1: f64,
    yx: f64,
    yy: f64,
    y1: f64,
}

impl Affine {
    const IDENTITY: Self = Self { xx: 1.0, xy: 0.0, x1: 0.0, yx: 0.0, yy: 1.0, y1: 0.0 };
}

impl Pixels<'_> {
    fn planes(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.values.chunks_exact_mut(self.height * self.width)
    }

    fn channels(&self) -> usize {
        self.values.len() / (self.height * self.width)
    }

    /// Moves each row to the left, in proportion to its distance from the upper edge.
    pub(super) fn shear_x(&mut self, share: f64) {
        let x1 = share * self.height as f64 / 2.0;
        self.transform(Affine { xy: share, x1, ..Affine::IDENTITY });
    }

    /// Moves each column up, in proportion to its distance from the left edge.
    pub(super) fn shear_y(&mut self, share: f64) {
        let y1 = share * self.width as f64 / 2.0;
        self.transform(Affine { yx: share, y1, ..Affine::IDENTITY });
    }

    /// Moves the image to the right by whole pixels.
    pub(super) fn translate_x(&mut self, pixels: f64) {
        self.transform(Affine { x1: -pixels.trunc(), ..Affine::IDENTITY });
    }

    /// Moves the image down by whole pixels.
    pub(super) fn translate_y(&mut self, pixels: f64) {
        self.transform(Affine { y1: -pixels.trunc(), ..Affine::IDENTITY });
    }

    /// Rotates the image about its center, counterclockwise.
    pub(super) fn rotate(&mut self, degrees: f64) {
        let (sin, cos) = degrees.to_radians().sin_cos();
        self.transform(Affine { xx: cos, xy: -sin, yx: sin, yy: cos, ..Affine::IDENTITY });
    }

    /// Takes each pixel from the nearest source; pixels from outside are black.
    fn transform(&mut self, source: Affine) {
        let (height, width) = (self.height, self.width);
        let [middle_x, middle_y] = [width, height].map(|size| size as f64 / 2.0);
        let inside = |position: f64, size: usize| {
            let rounded = (position - 0.5).round_ties_even();
            (0.0..size as f64).contains(&rounded).then_some(rounded as usize)
        };
        for plane in self.planes() {
            let before = plane.to_vec();
            for (place, pixel) in plane.iter_mut().enumerate() {
                let x = (place % width) as f64 + 0.5 - middle_x;
                let y = (place / width) as f64 + 0.5 - middle_y;
                let Affine { xx, xy, x1, yx, yy, y1 } = source;
                let column = inside(xx * x + xy * y + x1 + middle_x, width);
                let row = inside(yx * x + yy * y + y1 + middle_y, height);
                *pixel = row.zip(column).map_or(0, |(row, column)| before[row * width + column]);
            }
        }
    }

    /// Multiplies all pixels by a factor.
    pub(super) fn brightness(&mut self, factor: f64) {
        self.values.iter_mut().for_each(|pixel| *pixel = blend(*pixel, 0.0, factor));
    }

    /// Changes the distance from the gray image: 0 gives the gray image. An image of one channel is unchanged.
    pub(super) fn color(&mut self, factor: f64) {
        if self.channels() != 3 {
            return;
        }
        let gray = self.gray();
        for plane in self.planes() {
            for (pixel, gray) in plane.iter_mut().zip(&gray) {
                *pixel = blend(*pixel, f32::from(*gray), factor);
            }
        }
    }

    /// Changes the distance from the mean of the gray image.
    pub(super) fn contrast(&mut self, factor: f64) {
        let gray = if self.channels() == 3 { self.gray() } else { self.values.to_vec() };
        let sum: u64 = gray.iter().map(|&pixel| u64::from(pixel)).sum();
        let mean = (sum as f64 / gray.len() as f64) as f32;
        self.values.iter_mut().for_each(|pixel| *pixel = blend(*pixel, mean, factor));
    }

    /// Changes the distance from a blurred image, which equals the image at the edges.
    pub(super) fn sharpness(&mut self, factor: f64) {
        let (height, width) = (self.height, self.width);
        if height <= 2 || width <= 2 {
            return;
        }
        for plane in self.planes() {
            let before = plane.to_vec();
            for (place, pixel) in plane.iter_mut().enumerate() {
                let (y, x) = (place / width, place % width);
                let is_inside = (1..height - 1).contains(&y) && (1..width - 1).contains(&x);
                let blurred = if is_inside { blurred(&before, width, place) } else { *pixel };
                *pixel = blend(*pixel, f32::from(blurred), factor);
            }
        }
    }

    fn gray(&self) -> Vec<u8> {
        let plane = self.height * self.width;
        let gray = |place: usize| {
            let parts = (0..3)
                .map(|channel| GRAY[channel] * f32::from(self.values[channel * plane + place]));
            parts.sum::<f32>() as u8
        };
        (0..plane).map(gray).collect()
    }

    /// Keeps the highest bits of each pixel.
    pub(super) fn posterize(&mut self, bits: u32) {
        let mask = u8::MAX << (8 - bits.clamp(1, 8));
        self.values.iter_mut().for_each(|pixel| *pixel &= mask);
    }

    /// Inverts the pixels from a threshold on.
    pub(super) fn solarize(&mut self, threshold: f64) {
        for pixel in self.values.iter_mut().filter(|pixel| f64::from(**pixel) >= threshold) {
            *pixel = u8::MAX - *pixel;
        }
    }

    /// Scales each channel to the whole range of values.
    pub(super) fn auto_contrast(&mut self) {
        for plane in self.planes() {
            let (lowest, highest) = (plane.iter().min().copied(), plane.iter().max().copied());
            let Some((lowest, highest)) = lowest.zip(highest).filter(|(low, high)| low < high)
            else {
                continue;
            };
            let scale = f32::from(highest - lowest).recip() * 255.0;
            for pixel in plane {
                *pixel = (f32::from(*pixel - lowest) * scale) as u8;
            }
        }
    }

    /// Makes the values of each channel as equally frequent as a table of values can.
    pub(super) fn equalize(&mut self) {
        for plane in self.planes() {
            let mut counts = [0; 256];
            plane.iter().for_each(|&pixel| counts[usize::from(pixel)] += 1);
            let Some(last) = counts.iter().rposition(|&count| count > 0) else { continue };
            let step = (plane.len() - counts[last]) / 255;
            if step == 0 {
                continue;
            }
            let mut below = 0;
            let table = counts.map(|count| {
                let value = (below + step / 2) / step;
                below += count;
                value.min(255) as u8
            });
            plane.iter_mut().for_each(|pixel| *pixel = table[usize::from(*pixel)]);
        }
    }
}

/// Returns the mean of a pixel and its eight neighbors, with five times the weight for the pixel, rounded.
fn blurred(plane: &[u8], width: usize, place: usize) -> u8 {
    let rows = [place - width, place, place + width].map(|center| &plane[center - 1..=center + 1]);
    let sum: u32 = rows.iter().copied().flatten().map(|&pixel| u32::from(pixel)).sum();
    ((sum + 4 * u32::from(plane[place])) as f32 / 13.0).round_ties_even() as u8
}

/// Returns `factor·pixel + (1 - factor)·other`, limited to the range of a byte and rounded down.
fn blend(pixel: u8, other: f32, factor: f64) -> u8 {
    let [own, rest] = [factor, 1.0 - factor].map(|share| share as f32);
    // The conversion limits and truncates.
    (own * f32::from(pixel) + rest * other) as u8
}
