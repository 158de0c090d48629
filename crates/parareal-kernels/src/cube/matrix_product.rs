//! Products by the matrix instructions of a device.

use cubecl::cmma::{self, Matrix, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

use super::matrices::MatrixInstruction;
use super::product::{Factor, Order, Part, first_column, first_row, load};
use super::tile::Tile;

/// Bytes to whose multiples the addresses of matrices have to be aligned.
const ALIGNMENT: usize = 32;

/// Factors between lines or steps, beside those of the tile. Strides have to be multiples of 16 bytes, and neighbors should use
/// different banks.
const PADDING: usize = 8;

/// Results between rows, beside those of the tile.
const RESULT_PADDING: usize = 4;

impl Part {
    /// Returns a part in which the values that neighboring units load follow each other.
    fn in_order(tile: &Tile, lines: usize, order: Order) -> Self {
        let steps = tile.depth;
        let (line_stride, step_stride) = match order {
            Order::Steps => (steps + PADDING, 1),
            Order::Lines => (1, lines + PADDING),
        };
        Self { lines, steps, order, line_stride, step_stride }
    }

    /// Distance between rows or columns of a matrix, as its layout has them.
    fn stride(&self) -> u32 {
        self.line_stride.max(self.step_stride) as u32
    }

    /// The layout of a matrix of the first factor, whose rows are lines.
    fn left_layout(&self) -> MatrixLayout {
        match self.order {
            Order::Steps => MatrixLayout::RowMajor,
            Order::Lines => MatrixLayout::ColMajor,
        }
    }

    /// The layout of a matrix of the second factor, whose columns are lines.
    fn right_layout(&self) -> MatrixLayout {
        match self.order {
            Order::Steps => MatrixLayout::ColMajor,
            Order::Lines => MatrixLayout::RowMajor,
        }
    }
}

impl Tile {
    /// Number of matrices that each plane computes.
    fn plane_matrices(&self) -> usize {
        self.matrices() / self.planes()
    }

    /// Distance in shared memory between rows of results.
    fn result_stride(&self) -> usize {
        self.columns + RESULT_PADDING
    }

    /// The largest number of bytes of shared memory that a product and the sums over its columns take, with factors of two bytes.
    #[cfg(test)]
    pub(crate) fn matrix_product_bytes(&self) -> usize {
        let part = |lines| {
            let orders =
                [Order::Steps, Order::Lines].map(|order| Part::in_order(self, lines, order));
            orders.into_iter().map(|part| (2 * part.len()).next_multiple_of(ALIGNMENT)).max()
        };
        let factors = [self.rows, self.columns].into_iter().filter_map(part).sum::<usize>();
        let results = self.rows * self.result_stride();
        factors + 4 * (results + self.columns * (self.units_down() + 1))
    }
}

/// Computes [`product`](super::product::product) with the tile's instruction. Factors are rounded to `F`, and sums are 32-bit floats.
#[cube]
pub(crate) fn matrix_product<L: Factor, R: Factor, F: Float>(
    left: &L,
    right: &R,
    begin_row: usize,
    begin_column: usize,
    begin: usize,
    end: usize,
    #[comptime] orders: [Order; 2],
    #[comptime] tile: Tile,
) -> Array<f32> {
    let instruction = comptime!(tile.instruction.expect("the caller has checked"));
    let MatrixInstruction { rows: m, columns: n, depth: k, .. } = comptime!(instruction);
    let left_part = comptime!(Part::in_order(&tile, tile.rows, orders[0]));
    let right_part = comptime!(Part::in_order(&tile, tile.columns, orders[1]));
    let mut lefts = Shared::<[F]>::new_aligned_slice(comptime!(left_part.len()), ALIGNMENT);
    let mut rights = Shared::<[F]>::new_aligned_slice(comptime!(right_part.len()), ALIGNMENT);
    let mut sums = Sequence::<Matrix<f32>>::new();
    #[unroll]
    for _ in 0..comptime!(tile.plane_matrices()) {
        let ident = MatrixIdent::Accumulator;
        sums.push(Matrix::<f32>::from_value(ident, m, n, k, MatrixLayout::Undefined, 0.0f32));
    }
    let mut step = begin;
    while step < end {
        load::<L, F>(left, &mut lefts, begin_row, step, left_part, tile);
        load::<R, F>(right, &mut rights, begin_column, step, right_part, tile);
        sync_cube();
        #[unroll]
        for number in 0..comptime!(tile.plane_matrices()) {
            let row = matrix_row(number, tile) * comptime!(left_part.line_stride);
            let column = matrix_column(number, tile) * comptime!(right_part.line_stride);
            #[unroll]
            for part in 0..comptime!(tile.depth / instruction.depth) {
                let first = row + comptime!(part * instruction.depth * left_part.step_stride);
                let a = Matrix::<F>::from_slice(
                    MatrixIdent::A,
                    m,
                    n,
                    k,
                    comptime!(left_part.left_layout()),
                    &lefts[first..],
                    comptime!(left_part.stride()),
                );
                let first = column + comptime!(part * instruction.depth * right_part.step_stride);
                let b = Matrix::<F>::from_slice(
                    MatrixIdent::B,
                    m,
                    n,
                    k,
                    comptime!(right_part.right_layout()),
                    &rights[first..],
                    comptime!(right_part.stride()),
                );
                let sum = sums.index(number);
                cmma::execute(&a, &b, sum, sum);
            }
        }
        sync_cube();
        step += comptime!(tile.depth);
    }
    own_results(&sums, tile)
}

/// The first row, within the tile, of one of this plane's matrices.
#[cube]
fn matrix_row(#[comptime] number: usize, #[comptime] tile: Tile) -> usize {
    let matrix = PLANE_POS as usize * comptime!(tile.plane_matrices()) + number;
    matrix / comptime!(tile.matrices_across()) * comptime!(tile.instruction.unwrap().rows)
}

/// The first column, within the tile, of one of this plane's matrices.
#[cube]
fn matrix_column(#[comptime] number: usize, #[comptime] tile: Tile) -> usize {
    let matrix = PLANE_POS as usize * comptime!(tile.plane_matrices()) + number;
    matrix % comptime!(tile.matrices_across()) * comptime!(tile.instruction.unwrap().columns)
}

/// Returns this unit's results. Which unit of a plane holds which values of a matrix is not known, so they pass through shared
/// memory.
#[cube]
fn own_results(sums: &Sequence<Matrix<f32>>, #[comptime] tile: Tile) -> Array<f32> {
    let stride = comptime!(tile.result_stride());
    let mut all = Shared::<[f32]>::new_aligned_slice(comptime!(tile.rows * stride), ALIGNMENT);
    #[unroll]
    for number in 0..comptime!(tile.plane_matrices()) {
        let first = matrix_row(number, tile) * stride + matrix_column(number, tile);
        cmma::store(
            &mut all[first..],
            sums.index(number),
            comptime!(stride as u32),
            MatrixLayout::RowMajor,
        );
    }
    sync_cube();
    let first = first_row(tile) * stride + first_column(tile);
    let mut results = Array::<f32>::new(comptime!(tile.unit_results()));
    #[unroll]
    for i in 0..comptime!(tile.unit_rows) {
        #[unroll]
        for j in 0..comptime!(tile.unit_columns) {
            let place = comptime!(i * tile.units_down() * stride + j * tile.units_across());
            results[comptime!(i * tile.unit_columns + j)] = all[first + place];
        }
    }
    results
}

#[cfg(all(test, feature = "cube-wgpu"))]
mod tests {
    use burn::tensor::{Tensor, TensorData};
    use burn_cubecl::tensor::CubeTensor;

    use super::super::factors::FOLDED_ROWS;
    use super::super::forward::{Convolution, forward};
    use super::super::input_gradient::{OutputGradient, OutputNorm, input_gradient};
    use super::super::matrices::FactorType;
    use super::super::shape::ConvShape;
    use super::super::tensors::{Operand, constant};
    use super::super::test_device;
    use super::super::tile::Scale;
    use super::super::weight_gradient::{partial_gradient, sum_parts};
    use super::*;

    /// Returns a tensor of integers from `-range` to `range`, divided by 4. Their products and sums are exact in every order and in
    /// every type.
    fn quarters(len: usize, range: usize, seed: usize) -> CubeTensor {
        let values = (0..len).map(|index| {
            let mixed = (index + 7 * seed).wrapping_mul(0x9E37_79B9) >> 7;
            (mixed % (2 * range + 1)) as f32 / 4.0 - range as f32 / 4.0
        });
        let data = TensorData::new(values.collect::<Vec<_>>(), [len]);
        Operand::new(&Tensor::<1>::from_data(data, &test_device())).unwrap().values
    }

    fn shaped<const D: usize>(tensor: CubeTensor, shape: [usize; D]) -> CubeTensor {
        Operand::new(&constant::<1>(tensor).reshape(shape)).unwrap().values
    }

    fn numbers(tensor: CubeTensor) -> Vec<f32> {
        let len = tensor.meta.shape().num_elements();
        constant::<4>(tensor).reshape([len]).into_data().try_into_vec().unwrap()
    }

    /// Returns all results of the three products of a convolution, with or without the instruction.
    fn results(
        shape: ConvShape,
        batch: usize,
        normalized: bool,
        instruction: Option<MatrixInstruction>,
    ) -> Vec<Vec<f32>> {
        let ConvShape { height, width, out_height, out_width, in_channels, out_channels, .. } =
            shape;
        let input_shape = [batch, height, width, in_channels];
        let output_shape = [batch, out_height, out_width, out_channels];
        let [input_len, output_len] =
            [input_shape, output_shape].map(|shape| shape.iter().product());
        let input = shaped(quarters(input_len, 6, 1), input_shape);
        let weight = [out_channels, in_channels, shape.kernel, shape.kernel];
        let weight = shaped(quarters(shape.weight_len(), 3, 2), weight);
        let map =
            normalized.then(|| shaped(quarters(4 * in_channels, 2, 3), [FOLDED_ROWS, in_channels]));
        let residual = shaped(quarters(output_len, 5, 4), output_shape);
        let map = map.as_ref();
        let convolution =
            Convolution { shape, batch, input: &input, map, weight: &weight, instruction };
        let (output, moments) = forward(convolution, Some(&residual), true);
        let mut all = vec![numbers(output), numbers(shaped4(moments.unwrap().values))];
        let norm = normalized.then(|| OutputNorm {
            values: residual,
            coefficients: quarters(4 * out_channels, 2, 5),
        });
        let gradient = shaped(quarters(output_len, 4, 6), output_shape);
        let along = OutputGradient { gradient, norm };
        let (delta, sums) = input_gradient(convolution, &along, None);
        all.push(numbers(delta));
        all.extend(sums.map(|sums| numbers(shaped4(sums.0))));
        let partial = partial_gradient(convolution, &along);
        all.extend(sum_parts(&[partial]).into_iter().map(numbers));
        all
    }

    fn shaped4(tensor: CubeTensor) -> CubeTensor {
        let [a, b, c] = tensor.meta.shape().dims();
        Operand::new(&constant::<3>(tensor).reshape([a, b, c, 1])).unwrap().values
    }

    #[test]
    #[ignore = "needs a device that multiplies matrices in half precision: see .ci/matrices"]
    fn an_instruction_changes_no_exact_result() {
        let client = quarters(1, 1, 0).client;
        let instruction = MatrixInstruction::of(&client, FactorType::Half);
        let instruction = instruction.expect("the device multiplies matrices in half precision");
        let sizes = [
            // batch, size, from, to, kernel, stride
            (2, [6, 5], 16, 16, 1, 1),
            (3, [7, 9], 20, 70, 1, 1),
            (2, [6, 6], 16, 33, 3, 1),
            (2, [9, 8], 12, 24, 3, 2),
            (1, [5, 5], 130, 18, 3, 1),
        ];
        for (batch, [height, width], in_channels, out_channels, kernel, stride) in sizes {
            let padding = kernel / 2;
            let [out_height, out_width] =
                [height, width].map(|size| (size + 2 * padding - kernel) / stride + 1);
            #[rustfmt::skip]
            let shape = ConvShape {
                height, width, out_height, out_width, in_channels, out_channels, kernel, stride, padding,
            };
            for channels in [in_channels, out_channels] {
                let tile = Tile::tall(Scale::of(&client), channels);
                assert_eq!(tile.with_instruction(Some(instruction)).instruction, Some(instruction));
            }
            for normalized in [false, true] {
                let expected = results(shape, batch, normalized, None);
                let found = results(shape, batch, normalized, Some(instruction));
                assert_eq!(found.len(), expected.len());
                for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert!(expected.iter().any(|value| *value != 0.0));
                    assert!(found == expected, "{shape:?}, {normalized}: result {index} differs");
                }
            }
        }
    }
}
