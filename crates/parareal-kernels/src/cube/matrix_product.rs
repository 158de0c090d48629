//! Products by the matrix instructions of a device.

use cubecl::cmma::{self, Matrix, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

use super::matrices::MatrixInstruction;
use super::product::{Order, SharedFactor, first_column, first_row};
use super::tile::Tile;

/// Alignment of matrices in shared memory, in bytes.
pub(crate) const ALIGNMENT: usize = 32;

/// Padding between lines or steps of a factor, in values: strides have to be multiples of 16 bytes, and neighbors should use different
/// banks.
pub(crate) const PADDING: usize = 8;

/// Padding between rows of results, in values.
const RESULT_PADDING: usize = 4;

impl SharedFactor {
    /// The layout of the matrices of a factor: lines are the rows of the first, and the columns of the second.
    fn matrix_layout(&self, ident: MatrixIdent) -> MatrixLayout {
        match (ident, self.order) {
            (MatrixIdent::A, Order::Steps) | (MatrixIdent::B, Order::Lines) => {
                MatrixLayout::RowMajor
            }
            _ => MatrixLayout::ColMajor,
        }
    }

    /// Distance between the rows or columns of a matrix.
    fn leading_dimension(&self) -> u32 {
        self.line_stride.max(self.step_stride) as u32
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
    pub(crate) fn matrix_product_bytes(&self) -> usize {
        let bytes = |lines| {
            let layouts =
                [Order::Steps, Order::Lines].map(|order| SharedFactor::new(self, lines, order));
            layouts.into_iter().map(|layout| (2 * layout.len()).next_multiple_of(ALIGNMENT)).max()
        };
        let factors = [self.rows, self.columns].into_iter().filter_map(bytes).sum::<usize>();
        let results = self.rows * self.result_stride();
        factors + 4 * (results + self.columns * (self.units_down() + 1))
    }
}

/// Returns matrices of zeros, as many as each plane computes: none without an instruction.
#[cube]
pub(crate) fn zero_matrices(#[comptime] tile: Tile) -> Sequence<Matrix<f32>> {
    let mut sums = Sequence::<Matrix<f32>>::new();
    if comptime!(tile.instruction.is_some()) {
        let MatrixInstruction { rows, columns, depth, .. } = comptime!(tile.instruction.unwrap());
        #[unroll]
        for _ in 0..comptime!(tile.plane_matrices()) {
            sums.push(Matrix::<f32>::from_value(
                MatrixIdent::Accumulator,
                rows,
                columns,
                depth,
                MatrixLayout::Undefined,
                0.0f32,
            ));
        }
    }
    sums
}

/// Adds the products of two parts to the matrices of this plane.
#[cube]
pub(crate) fn add_matrix_products<F: Float>(
    left: &Shared<[F]>,
    right: &Shared<[F]>,
    sums: &Sequence<Matrix<f32>>,
    #[comptime] left_layout: SharedFactor,
    #[comptime] right_layout: SharedFactor,
    #[comptime] tile: Tile,
) {
    let depth = comptime!(tile.instruction.unwrap().depth);
    #[unroll]
    for number in 0..comptime!(tile.plane_matrices()) {
        let row = matrix_row(number, tile);
        let column = matrix_column(number, tile);
        #[unroll]
        for depth_step in 0..comptime!(tile.depth / depth) {
            let step = comptime!(depth_step * depth);
            let a = factor_matrix::<F>(left, row, step, MatrixIdent::A, left_layout, tile);
            let b = factor_matrix::<F>(right, column, step, MatrixIdent::B, right_layout, tile);
            let sum = sums.index(number);
            cmma::execute(&a, &b, sum, sum);
        }
    }
}

/// Returns the matrix of a factor that starts at this line and step of the tile.
#[cube]
fn factor_matrix<F: Float>(
    values: &Shared<[F]>,
    line: usize,
    #[comptime] step: usize,
    #[comptime] ident: MatrixIdent,
    #[comptime] layout: SharedFactor,
    #[comptime] tile: Tile,
) -> Matrix<F> {
    let MatrixInstruction { rows, columns, depth, .. } = comptime!(tile.instruction.unwrap());
    let first = line * comptime!(layout.line_stride) + comptime!(step * layout.step_stride);
    Matrix::<F>::from_slice(
        ident,
        rows,
        columns,
        depth,
        comptime!(layout.matrix_layout(ident)),
        &values[first..],
        comptime!(layout.leading_dimension()),
    )
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

/// Gives each unit its results. Which unit of a plane holds which values of a matrix is not known, so they pass through shared memory.
#[cube]
pub(crate) fn distribute(
    sums: &Sequence<Matrix<f32>>,
    results: &mut Array<f32>,
    #[comptime] tile: Tile,
) {
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
    #[unroll]
    for i in 0..comptime!(tile.unit_rows) {
        #[unroll]
        for j in 0..comptime!(tile.unit_columns) {
            let place = comptime!(i * tile.units_down() * stride + j * tile.units_across());
            results[comptime!(i * tile.unit_columns + j)] = all[first + place];
        }
    }
}

#[cfg(all(test, feature = "cube-wgpu"))]
mod tests {
    use burn::tensor::{Tensor, TensorData};
    use burn_cubecl::tensor::CubeTensor;

    use super::super::factors::FOLDED_ROWS;
    use super::super::forward::{Convolution, forward, forward_tile};
    use super::super::input_gradient::{
        OutputGradient, OutputNorm, input_gradient, input_gradient_tile,
    };
    use super::super::matrices::FactorType;
    use super::super::shape::ConvShape;
    use super::super::tensors::{Operand, constant};
    use super::super::weight_gradient::{partial_gradient, sum_parts, weight_gradient_tile};
    use super::super::{numbers, test_device};

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

    /// Returns all results of the three products of a convolution, with or without matrix instructions.
    fn results(
        shape: ConvShape,
        batch: usize,
        normalized: bool,
        factors: Option<FactorType>,
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
            Convolution { shape, batch, input: &input, map, weight: &weight, factors };
        let tiles = [forward_tile, input_gradient_tile, weight_gradient_tile];
        for tile in tiles.map(|tile| tile(convolution)) {
            let has_instruction = tile.instruction.is_some();
            assert_eq!(has_instruction, factors.is_some(), "{shape:?}, {tile:?}");
        }
        let (output, moments) = forward(convolution, Some(&residual), true);
        let mut all = vec![numbers::<4>(output), numbers::<3>(moments.unwrap().values)];
        let norm = normalized.then(|| OutputNorm {
            values: residual,
            coefficients: quarters(4 * out_channels, 2, 5),
        });
        let gradient = shaped(quarters(output_len, 4, 6), output_shape);
        let along = OutputGradient { gradient, norm };
        let (delta, sums) = input_gradient(convolution, &along, None);
        all.push(numbers::<4>(delta));
        all.extend(sums.map(|sums| numbers::<3>(sums.0)));
        let partial = partial_gradient(convolution, &along);
        all.extend(sum_parts(&[partial]).into_iter().map(numbers::<4>));
        all
    }

    #[test]
    #[ignore = "needs a device that multiplies matrices in half precision: see .ci/matrices"]
    fn an_instruction_changes_no_exact_result() {
        let factors = Some(FactorType::Half);
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
            for normalized in [false, true] {
                let expected = results(shape, batch, normalized, None);
                let found = results(shape, batch, normalized, factors);
                assert_eq!(found.len(), expected.len());
                for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert!(expected.iter().any(|value| *value != 0.0));
                    assert!(found == expected, "{shape:?}, {normalized}: result {index} differs");
                }
            }
        }
    }
}
