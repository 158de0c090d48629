//! The forward pass: `to = residual + convolution(activation(input))`.

use pulp::{Simd, WithSimd};

use crate::SimdLevel;
use crate::elementwise::{Affine, activate};
use crate::geometry::Geometry;
use crate::kernel::Kernel;
use crate::memory::{Target, written_by};
use crate::parts::{Part, each_part};
use crate::product::{Ahead, Grid, Place, Window};
use crate::statistics::Moments;
use crate::winograd::Scratch;

/// Numbers of a block of pixels that is activated at once: about half of a first cache.
const BLOCK: usize = 4096;

/// Pixels of such a block.
pub(crate) fn block_pixels(channels: usize) -> usize {
    (BLOCK / channels).clamp(32, 512)
}

/// The operands of a convolution.
#[derive(Clone, Copy)]
pub(crate) struct Convolution<'a> {
    pub(crate) geometry: Geometry,
    /// `[batch, height, width, from]`.
    pub(crate) input: &'a [f32],
    /// What each input channel goes through first, if anything.
    pub(crate) activation: Option<&'a Affine>,
    /// `[to, from, kernel, kernel]`.
    pub(crate) weight: &'a [f32],
}

impl Convolution<'_> {
    pub(crate) fn check(&self) {
        let geometry = &self.geometry;
        assert!(geometry.is_supported(), "{geometry:?}");
        assert_eq!(self.input.len(), geometry.input_len());
        assert_eq!(self.weight.len(), geometry.weight_len());
        if let Some(activation) = self.activation {
            assert_eq!(activation.slope.len(), geometry.from);
            assert_eq!(activation.offset.len(), geometry.from);
        }
    }

    /// `residual + convolution`, `[batch, output height, output width, to]`, and the mean and the
    /// variance of its channels if they are wanted: taken from the cache, they are nearly free.
    ///
    /// # Panics
    /// Where the operands do not have the sizes that the geometry says.
    pub(crate) fn forward(
        &self,
        level: SimdLevel,
        residual: Option<&[f32]>,
        statistics: bool,
    ) -> (Vec<f32>, Option<[Vec<f64>; 2]>) {
        self.check();
        let len = self.geometry.output_len();
        assert!(residual.is_none_or(|residual| residual.len() == len));
        let kernel = level.run(PackForward { weight: self.weight, geometry: &self.geometry });
        let convolution = *self;
        let mut parts = Vec::new();
        // SAFETY: the parts write all output pixels, and read none before.
        let output = unsafe {
            written_by(len, |to| {
                parts = each_part(self.geometry.batch, |part| {
                    let kernel = &kernel;
                    level.run(Forward { convolution, kernel, residual, to, statistics, part })
                });
            })
        };
        let parts: Option<Vec<Moments>> = parts.into_iter().collect();
        (output, parts.map(|parts| Moments::finish(&parts, self.geometry.to)))
    }

    /// Pixels as the kernel sees them: activated in `block`, or where they are.
    ///
    /// # Safety
    /// `block` has room for `pixels` pixels.
    #[inline(always)]
    pub(crate) unsafe fn activated<'b, S: Simd>(
        &'b self,
        simd: S,
        pixel: usize,
        pixels: usize,
        block: &'b mut [f32],
    ) -> &'b [f32] {
        let from = self.geometry.from;
        let input = &self.input[pixel * from..][..pixels * from];
        let Some(map) = self.activation else { return input };
        let block = &mut block[..pixels * from];
        // SAFETY: both are these pixels.
        unsafe { activate(simd, map, input.as_ptr(), block.as_mut_ptr(), pixels) };
        block
    }

    /// Activates one image into a grid with a margin, which is left alone.
    ///
    /// # Safety
    /// `grid` has `height + 2 padding` rows of `width + 2 padding` pixels.
    #[inline(always)]
    pub(crate) unsafe fn fill_grid<S: Simd>(&self, simd: S, image: usize, grid: &mut [f32]) {
        let Geometry { height, width, from, padding, .. } = self.geometry;
        let row = self.grid_row();
        for y in 0..height {
            let begin = (image * height + y) * width * from;
            let input = &self.input[begin..][..width * from];
            let to = &mut grid[(y + padding) * row + padding * from..][..width * from];
            match self.activation {
                // SAFETY: both are one row of pixels.
                Some(map) => unsafe {
                    activate(simd, map, input.as_ptr(), to.as_mut_ptr(), width);
                },
                None => to.copy_from_slice(input),
            }
        }
    }

    /// The grid that [`Self::fill_grid`] fills.
    pub(crate) fn new_grid(&self) -> Vec<f32> {
        vec![0.0; (self.geometry.height + 2 * self.geometry.padding) * self.grid_row()]
    }

    /// How the grid is seen by the kernel.
    pub(crate) fn window(&self) -> Window {
        let [rows, columns] = self.geometry.output();
        Window { rows, columns, kernel: [self.geometry.kernel; 2], stride: self.geometry.stride }
    }

    /// From one row of the grid to the next.
    pub(crate) fn grid_row(&self) -> usize {
        (self.geometry.width + 2 * self.geometry.padding) * self.geometry.from
    }
}

struct PackForward<'a> {
    weight: &'a [f32],
    geometry: &'a Geometry,
}

impl WithSimd for PackForward<'_> {
    type Output = Kernel;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Kernel {
        let Geometry { from, to, kernel, .. } = *self.geometry;
        let places = kernel * kernel;
        let place = |step: usize| {
            let (place, channel) = (step / from, step % from);
            [channel * places + place, from * places]
        };
        let winograd = self.geometry.uses_winograd();
        Kernel::pack(simd, winograd, places, [from, to], self.weight, place)
    }
}

struct Forward<'a> {
    convolution: Convolution<'a>,
    kernel: &'a Kernel,
    residual: Option<&'a [f32]>,
    to: Target<'a>,
    statistics: bool,
    part: Part,
}

impl WithSimd for Forward<'_> {
    type Output = Option<Moments>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<Moments> {
        let mut moments = self.statistics.then(|| Moments::new(self.convolution.geometry.to));
        match self.convolution.geometry.is_pointwise() {
            true => self.pointwise(simd, &mut moments),
            false => self.spatial(simd, &mut moments),
        }
        moments
    }
}

impl Forward<'_> {
    /// # Safety
    /// The values from `index` on are there in the output.
    #[inline(always)]
    unsafe fn residual(&self, index: usize) -> *const f32 {
        // SAFETY: the residual is as long as the output.
        self.residual.map_or(std::ptr::null(), |values| unsafe { values.as_ptr().add(index) })
    }

    /// Blocks of pixels, activated in the first cache.
    #[inline(always)]
    fn pointwise<S: Simd>(&self, simd: S, moments: &mut Option<Moments>) {
        let geometry = self.convolution.geometry;
        let Geometry { from, to: channels, .. } = geometry;
        let block = block_pixels(from);
        let mut activated = vec![0.0; block * from];
        let mut scratch = Scratch::default();
        let end = self.part.end * geometry.input_pixels();
        let mut pixel = self.part.start * geometry.input_pixels();
        while pixel < end {
            let pixels = block.min(end - pixel);
            let window = Window { rows: 1, columns: pixels, kernel: [1, 1], stride: 1 };
            // SAFETY: these pixels belong to this part alone; the block has room for them.
            unsafe {
                let values = self.convolution.activated(simd, pixel, pixels, &mut activated);
                let grid = Grid { values, row: 0, channels: from };
                let to = self.to.at(pixel * channels, pixels * channels);
                let add = self.residual(pixel * channels);
                let mut place = Place::dense(to, pixels, channels, add);
                if pixel + pixels < end {
                    let next = self.convolution.input[(pixel + pixels) * from..].as_ptr();
                    place.ahead = Ahead { from: [next, std::ptr::null()], pixel: from };
                }
                self.kernel.convolve(simd, grid, window, place, &mut scratch);
                if let Some(moments) = moments {
                    moments.see(simd, to, pixels);
                }
            }
            pixel += pixels;
        }
    }

    /// Image by image, activated into a grid with a margin.
    #[inline(always)]
    fn spatial<S: Simd>(&self, simd: S, moments: &mut Option<Moments>) {
        let geometry = self.convolution.geometry;
        let mut grid = self.convolution.new_grid();
        let mut scratch = Scratch::default();
        let size = geometry.output_pixels() * geometry.to;
        for image in self.part.start..self.part.end {
            // SAFETY: the grid is made for this; these images belong to this part alone.
            unsafe {
                self.convolution.fill_grid(simd, image, &mut grid);
                let row = self.convolution.grid_row();
                let grid = Grid { values: &grid, row, channels: geometry.from };
                let to = self.to.at(image * size, size);
                let add = self.residual(image * size);
                let window = self.convolution.window();
                let place = Place::dense(to, window.columns, geometry.to, add);
                self.kernel.convolve(simd, grid, window, place, &mut scratch);
                if let Some(moments) = moments {
                    moments.see(simd, to, geometry.output_pixels());
                }
            }
        }
    }
}
