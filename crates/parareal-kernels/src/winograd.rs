//! 3×3 convolutions without a stride in fewer multiplications: Winograd's minimal filtering,
//! F(2×2, 3×3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016).
//!
//! Four output pixels `y` see 4×4 input pixels `d` through a kernel `g`:
//!
//! ```text
//! y  = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A            ⊙: place by place, 16 products instead of 36
//! ∂g = Gᵀ [(A ∂y Aᵀ) ⊙ (Bᵀ d B)] G           its adjoint, for the kernel's gradient
//!
//!      ⎡ 1  0 -1  0 ⎤       ⎡ 1   0   0 ⎤
//! Bᵀ = ⎢ 0  1  1  0 ⎥   G = ⎢ ½   ½   ½ ⎥   Aᵀ = ⎡ 1  1  1  0 ⎤
//!      ⎢ 0 -1  1  0 ⎥       ⎢ ½  -½   ½ ⎥        ⎣ 0  1 -1  1 ⎦
//!      ⎣ 0 -1  0  1 ⎦       ⎣ 0   0   1 ⎦
//! ```
//!
//! Over all channels each of the 16 places is a matrix product, and what is spread over the places
//! is a sum or a difference of vectors of channels. (The last rows of `Bᵀ` and `A` have the
//! opposite sign of the paper's, which spares a negation.)

use pulp::Simd;

use crate::geometry::Geometry;
use crate::product::{Grid, Place, Window};
use crate::tile::{Columns, Depth, Output, Rows, load, store, tile, tile_width, with_tile};

/// Places of a tile: 4×4 input pixels.
const PLACES: usize = 16;

/// Channels that are a whole number of vectors at every level of instructions, and fewest that
/// pay.
const CHANNELS: usize = 16;

/// Numbers of a block of tiles at one place, about: all 16 of inputs and outputs stay in the
/// second cache.
const BLOCK: usize = 1024;

/// From one place's numbers to the next place's one line of the cache more than they take, so that
/// the same tile's places do not meet in the same set.
const APART: usize = 16;

impl Geometry {
    /// Whether this convolution takes fewer multiplications by tiles of 2×2 output pixels.
    pub(crate) fn is_minimal(&self) -> bool {
        let even = |size: usize| size.is_multiple_of(2);
        self.kernel == 3
            && self.stride == 1
            && self.output().into_iter().all(even)
            && [self.from, self.to].iter().all(|channels| channels.is_multiple_of(CHANNELS))
    }
}

/// Memory to compute in.
#[derive(Debug, Default)]
pub(crate) struct Room {
    inputs: Vec<f32>,
    outputs: Vec<f32>,
}

/// As many numbers as are wanted: zeros where nothing was written.
fn room(values: &mut Vec<f32>, len: usize) -> *mut f32 {
    if values.len() < len {
        values.resize(len, 0.0);
    }
    values.as_mut_ptr()
}

/// Tiles that are computed at once, of an image's.
#[derive(Clone, Copy)]
struct Block {
    /// The first tile's row and column.
    y: usize,
    x: usize,
    rows: usize,
    columns: usize,
}

impl Block {
    fn tiles(self) -> usize {
        self.rows * self.columns
    }

    /// The blocks of an image with so many pixels.
    fn all(window: Window, channels: usize) -> impl Iterator<Item = Self> {
        let [rows, columns] = [window.rows / 2, window.columns / 2];
        let tiles = (BLOCK / channels).max(16);
        let [height, width] = [(tiles / columns).max(1), columns.min(tiles)];
        (0..rows).step_by(height).flat_map(move |y| {
            (0..columns).step_by(width).map(move |x| Self {
                y,
                x,
                rows: height.min(rows - y),
                columns: width.min(columns - x),
            })
        })
    }

    /// From one place to the next in memory of so many channels.
    fn pitch(self, channels: usize) -> usize {
        self.tiles() * channels + APART
    }
}

/// `Bᵀ`, applied to four vectors.
#[inline(always)]
fn spread_input<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(d, b)]
}

/// `G`, applied to three vectors.
#[inline(always)]
fn spread_kernel<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
    let half = simd.splat_f32s(0.5);
    let [outer, inner] = [simd.add_f32s(a, c), b].map(|value| simd.mul_f32s(value, half));
    [a, simd.add_f32s(outer, inner), simd.sub_f32s(outer, inner), c]
}

/// `A`, applied to two vectors.
#[inline(always)]
fn spread_output<S: Simd>(simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 4] {
    [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), b]
}

/// `Aᵀ`, applied to four vectors.
#[inline(always)]
fn gather_output<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
    let [sum, difference] = [simd.add_f32s(b, c), simd.sub_f32s(b, c)];
    [simd.add_f32s(a, sum), simd.add_f32s(difference, d)]
}

/// `Gᵀ`, applied to four numbers.
fn gather_kernel([a, b, c, d]: [f32; 4]) -> [f32; 3] {
    let [sum, difference] = [b + c, b - c].map(|value| 0.5 * value);
    [a + sum, difference, sum + d]
}

/// A kernel spread over the places: `[place][panel][from][width]`, the last panel of each place
/// filled up with zeros.
pub(crate) struct Filter {
    values: Vec<f32>,
    from: usize,
    to: usize,
    width: usize,
}

impl Filter {
    /// Packs a kernel: at `step`, that is `[kernel row, kernel column, from]`, its `column` is
    /// `weight[first + column · stride]`, with `[first, stride] = place(step)`.
    #[inline(always)]
    pub(crate) fn pack<S: Simd>(
        simd: S,
        from: usize,
        to: usize,
        weight: &[f32],
        place: impl Fn(usize) -> [usize; 2],
    ) -> Self {
        let width = tile_width::<S>(to);
        let size = to.div_ceil(width) * from * width;
        let mut values = vec![0.0; PLACES * size];
        let mut lines = vec![0.0; 9 * to];
        for channel in 0..from {
            for (step, line) in lines.chunks_exact_mut(to).enumerate() {
                let [first, stride] = place(step * from + channel);
                let column = weight[first..].iter().step_by(stride);
                line.iter_mut().zip(column).for_each(|(to, &value)| *to = value);
            }
            for column in (0..to).step_by(S::F32_LANES) {
                let (panel, lane) = (column / width, column % width);
                let first = (panel * from + channel) * width + lane;
                // SAFETY: `to` is a whole number of vectors, in the lines and in the panels.
                unsafe {
                    let line = |step: usize| load::<S>(lines.as_ptr().add(step * to + column));
                    let rows: [_; 3] = std::array::from_fn(|row| {
                        spread_kernel(simd, [line(3 * row), line(3 * row + 1), line(3 * row + 2)])
                    });
                    for j in 0..4 {
                        let spread = spread_kernel(simd, rows.map(|row| row[j]));
                        for (i, value) in spread.into_iter().enumerate() {
                            let index = (4 * i + j) * size + first;
                            store::<S>(values[index..][..S::F32_LANES].as_mut_ptr(), value);
                        }
                    }
                }
            }
        }
        Self { values, from, to, width }
    }

    /// `to = add + grid * kernel`.
    ///
    /// # Safety
    /// The grid can be read wherever the window sees it, which has even numbers of rows and
    /// columns; the place can be written for `rows · columns` pixels, and what it adds (if not
    /// null) read.
    #[inline(always)]
    pub(crate) unsafe fn convolve<S: Simd>(
        &self,
        simd: S,
        grid: Grid<'_>,
        window: Window,
        place: Place,
        Room { inputs, outputs }: &mut Room,
    ) {
        for block in Block::all(window, self.from.max(self.to)) {
            let inputs = room(inputs, PLACES * block.pitch(self.from));
            let outputs = room(outputs, PLACES * block.pitch(self.to));
            // SAFETY: the block's tiles are in the window; there is room for them.
            unsafe {
                spread_inputs(simd, grid, block, inputs);
                with_tile!(S, self.to, multiply(simd, self, block, inputs, outputs));
                gather_outputs(simd, self.to, block, outputs, place);
            }
        }
    }
}

/// `Bᵀ d B` of the block's tiles: `[place][tile, channel]`.
///
/// # Safety
/// The block can be read from the grid, and written for each place.
#[inline(always)]
unsafe fn spread_inputs<S: Simd>(simd: S, grid: Grid<'_>, block: Block, to: *mut f32) {
    let (channels, pitch) = (grid.channels, block.pitch(grid.channels));
    for tile_row in 0..block.rows {
        let first = 2 * (block.y + tile_row) * grid.row + 2 * block.x * channels;
        debug_assert!(
            first + 3 * grid.row + (2 * block.columns + 2) * channels <= grid.values.len()
        );
        let to = to.wrapping_add(tile_row * block.columns * channels);
        for channel in (0..channels).step_by(S::F32_LANES) {
            // SAFETY: pixels of these tiles, and their places.
            unsafe {
                let from = grid.values.as_ptr().add(first + channel);
                let column = |x: usize| {
                    let pixel = |y: usize| load::<S>(from.add(y * grid.row + x * channels));
                    spread_input(simd, [pixel(0), pixel(1), pixel(2), pixel(3)])
                };
                let mut columns = [column(0), column(1)];
                for tile in 0..block.columns {
                    let next = [column(2 * tile + 2), column(2 * tile + 3)];
                    let to = to.add(tile * channels + channel);
                    for i in 0..4 {
                        let row = [columns[0][i], columns[1][i], next[0][i], next[1][i]];
                        for (j, value) in spread_input(simd, row).into_iter().enumerate() {
                            store::<S>(to.add((4 * i + j) * pitch), value);
                        }
                    }
                    columns = next;
                }
            }
        }
    }
}

/// `A ∂y Aᵀ` of the block's tiles: `[place][tile, channel]`, the channels filled up to `padded`.
///
/// # Safety
/// The block can be read from the gradient, whose rows have `row` numbers, and written for each
/// place.
#[inline(always)]
unsafe fn spread_gradients<S: Simd>(
    simd: S,
    gradient: Grid<'_>,
    padded: usize,
    block: Block,
    to: *mut f32,
) {
    let (channels, pitch) = (gradient.channels, block.pitch(padded));
    for tile_row in 0..block.rows {
        let first = 2 * (block.y + tile_row) * gradient.row + 2 * block.x * channels;
        debug_assert!(first + gradient.row + 2 * block.columns * channels <= gradient.values.len());
        for tile in 0..block.columns {
            for channel in (0..channels).step_by(S::F32_LANES) {
                // SAFETY: pixels of these tiles, and their places.
                unsafe {
                    let from = gradient.values.as_ptr().add(first + 2 * tile * channels + channel);
                    let column = |x: usize| {
                        let pixel = |y: usize| load::<S>(from.add(y * gradient.row + x * channels));
                        spread_output(simd, [pixel(0), pixel(1)])
                    };
                    let columns = [column(0), column(1)];
                    let tile = tile_row * block.columns + tile;
                    let to = to.add(tile * padded + channel);
                    let [left, right] = columns;
                    for (i, row) in left.into_iter().zip(right).enumerate() {
                        let spread = spread_output(simd, [row.0, row.1]);
                        for (j, value) in spread.into_iter().enumerate() {
                            store::<S>(to.add((4 * i + j) * pitch), value);
                        }
                    }
                }
            }
        }
    }
}

/// `Aᵀ · A` of the block's tiles, where they belong.
///
/// # Safety
/// The block can be read from each place, and written where `place` says; what it adds (if not
/// null) can be read.
#[inline(always)]
unsafe fn gather_outputs<S: Simd>(
    simd: S,
    channels: usize,
    block: Block,
    from: *const f32,
    place: Place,
) {
    let pitch = block.pitch(channels);
    for tile_row in 0..block.rows {
        for tile in 0..block.columns {
            let pixel = 2 * (block.y + tile_row) * place.row + 2 * (block.x + tile) * place.pixel;
            for channel in (0..channels).step_by(S::F32_LANES) {
                // SAFETY: places of these tiles, and their pixels.
                unsafe {
                    let tile = tile_row * block.columns + tile;
                    let from = from.add(tile * channels + channel);
                    let column = |j: usize| {
                        let value = |i: usize| load::<S>(from.add((4 * i + j) * pitch));
                        gather_output(simd, [value(0), value(1), value(2), value(3)])
                    };
                    let columns = [column(0), column(1), column(2), column(3)];
                    for y in 0..2 {
                        let row = gather_output(simd, columns.map(|column| column[y]));
                        for (x, mut value) in row.into_iter().enumerate() {
                            let index = pixel + y * place.row + x * place.pixel + channel;
                            if !place.add.is_null() {
                                value = simd.add_f32s(value, load::<S>(place.add.add(index)));
                            }
                            store::<S>(place.to.add(index), value);
                        }
                    }
                }
            }
        }
    }
}

/// The products of all places.
///
/// # Safety
/// Inputs and outputs have room for the block's tiles.
#[inline(always)]
unsafe fn multiply<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    filter: &Filter,
    block: Block,
    inputs: *const f32,
    outputs: *mut f32,
) {
    let &Filter { ref values, from, to, width } = filter;
    debug_assert_eq!(width, NV * S::F32_LANES);
    let size = values.len() / PLACES;
    let depth = Depth { runs: 1, steps: from };
    for (place, values) in values.chunks_exact(size).enumerate() {
        for (panel, values) in values.chunks_exact(from * width).enumerate() {
            let (first, columns) = (panel * width, width.min(to - panel * width));
            let b = Columns { start: values.as_ptr(), step: width, run: 0 };
            for begin in (0..block.tiles()).step_by(MR) {
                let rows = MR.min(block.tiles() - begin);
                // SAFETY: tiles of the block, at this place.
                unsafe {
                    let start = inputs.add(place * block.pitch(from) + begin * from);
                    let a = Rows { start, pitch: from, step: 1, run: 0 };
                    let to_place = outputs.add(place * block.pitch(to) + begin * to + first);
                    let add = std::ptr::null();
                    let out = Output { to: to_place, pitch: to, add, rows, columns };
                    tile::<S, MR, NV>(simd, depth, a, b, out);
                }
            }
        }
    }
}

/// Numbers of a kernel's gradient while it is spread over the places.
pub(crate) fn spread_len(from: usize, padded: usize) -> usize {
    PLACES * from * padded
}

/// Adds to `sum`, `[place][from][to, padded]`, what the outputs' gradient says of a kernel.
///
/// # Safety
/// The grid can be read wherever the window sees it, which has even numbers of rows and columns;
/// `gradient` has `rows · columns` pixels of `columns` channels; `sum` has [`spread_len`] numbers.
#[inline(always)]
pub(crate) unsafe fn correlate<S: Simd>(
    simd: S,
    grid: Grid<'_>,
    window: Window,
    gradient: Grid<'_>,
    padded: usize,
    sum: *mut f32,
    Room { inputs, outputs }: &mut Room,
) {
    for block in Block::all(window, grid.channels.max(padded)) {
        let inputs = room(inputs, PLACES * block.pitch(grid.channels));
        let outputs = room(outputs, PLACES * block.pitch(padded));
        // SAFETY: the block's tiles are in the window; there is room for them.
        unsafe {
            spread_inputs(simd, grid, block, inputs);
            spread_gradients(simd, gradient, padded, block, outputs);
            let channels = [grid.channels, padded];
            with_tile!(
                S,
                gradient.channels,
                accumulate(simd, channels, block, inputs, outputs, sum)
            );
        }
    }
}

/// The products of all places, over tiles.
///
/// # Safety
/// As for [`correlate`]; inputs and outputs hold the block's tiles.
#[inline(always)]
unsafe fn accumulate<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    [from, padded]: [usize; 2],
    block: Block,
    inputs: *const f32,
    outputs: *const f32,
    sum: *mut f32,
) {
    let width = NV * S::F32_LANES;
    let depth = Depth { runs: 1, steps: block.tiles() };
    for place in 0..PLACES {
        for step in (0..from).step_by(MR) {
            let rows = MR.min(from - step);
            for first in (0..padded).step_by(width) {
                // SAFETY: tiles of the block, at this place.
                unsafe {
                    let start = inputs.add(place * block.pitch(from) + step);
                    let a = Rows { start, pitch: 1, step: from, run: 0 };
                    let start = outputs.add(place * block.pitch(padded) + first);
                    let b = Columns { start, step: padded, run: 0 };
                    let to = sum.add((place * from + step) * padded + first);
                    let add = to.cast_const();
                    let out = Output { to, pitch: padded, add, rows, columns: width };
                    tile::<S, MR, NV>(simd, depth, a, b, out);
                }
            }
        }
    }
}

/// `Gᵀ · G`: the gradient of a kernel, `[to, from, 3, 3]`, of the sums over places.
pub(crate) fn gather_kernels(sum: &[f32], from: usize, to: usize) -> Vec<f32> {
    let size = sum.len() / PLACES;
    let padded = size / from;
    let mut weight = vec![0.0; to * from * 9];
    for channel in 0..from {
        for column in 0..to {
            let value = |place: usize| sum[place * size + channel * padded + column];
            let rows: [[f32; 3]; 4] =
                std::array::from_fn(|i| gather_kernel(std::array::from_fn(|j| value(4 * i + j))));
            let kernel = &mut weight[(column * from + channel) * 9..][..9];
            for x in 0..3 {
                for (y, value) in gather_kernel(rows.map(|row| row[x])).into_iter().enumerate() {
                    kernel[3 * y + x] = value;
                }
            }
        }
    }
    weight
}
