//! Division of a matrix product among blocks and units.

use cubecl::CubeCount;
use cubecl::CubeDim;
use cubecl::client::Client;

use super::matrices::{FactorType, MatrixInstruction};

/// The largest number of blocks along a dimension of a grid that all devices support.
pub(crate) const MAX_BLOCKS: usize = 65_535;

/// The largest number of units in a block that all GPUs support.
const MAX_UNITS: usize = 256;

/// The largest number of blocks of an elementwise kernel. Each unit computes several values if there are more.
pub(crate) const ELEMENTWISE_BLOCKS: usize = 4096;

/// The largest number of elements of a tensor. Indices have 32 bits, and units go on until they have passed the end.
pub(crate) const MAX_ELEMENTS: usize =
    u32::MAX as usize - ELEMENTWISE_BLOCKS * Scale::Wide.elementwise_units();

/// The largest number of buffers that a kernel of a chain uses, with those for scalars and lengths. Devices in a browser may have
/// fewer.
pub(crate) const CHAIN_BUFFERS: u32 = 12;

/// The part of a matrix product that one block computes. Its factors pass through shared memory, `depth` values of a row or
/// column at a time. Each unit computes `unit_rows · unit_columns` of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) unit_rows: usize,
    pub(crate) unit_columns: usize,
    /// True if the loops that load values into shared memory are unrolled, so that a unit waits for several values at a time.
    /// It takes a compiler for processors several times as long.
    pub(crate) unrolls_loads: bool,
    /// The instruction that multiplies, if the planes of a block do. Otherwise each unit multiplies by itself.
    pub(crate) instruction: Option<MatrixInstruction>,
}

impl Tile {
    /// Returns the tile for a product with this number of columns and a large number of rows.
    pub(crate) fn tall(scale: Scale, columns: usize) -> Self {
        match scale {
            // With twice the depth, each unit would load 16 values at a time, for which it has too few registers.
            Scale::Wide if columns <= 16 => Self { depth: 8, ..Self::wide(128, 16) },
            Scale::Wide if columns <= 32 => Self::wide(64, 32),
            Scale::Wide => Self::wide(64, 64),
            Scale::Narrow => Self::NARROW,
        }
    }

    /// Returns the tile for a product of this size.
    pub(crate) fn fitting(scale: Scale, rows: usize, columns: usize) -> Self {
        let fit = |size: usize| size.next_power_of_two().clamp(16, 64);
        match scale {
            Scale::Wide => Self::wide(fit(rows), fit(columns)),
            Scale::Narrow => Self::NARROW,
        }
    }

    /// A tile of one unit.
    const NARROW: Self = Self {
        rows: 4,
        columns: 4,
        depth: 8,
        unit_rows: 4,
        unit_columns: 4,
        unrolls_loads: false,
        instruction: None,
    };

    fn wide(rows: usize, columns: usize) -> Self {
        Self { rows, columns, depth: 16, unrolls_loads: true, ..Self::NARROW }
    }

    /// Returns this tile for a factor whose places in memory take many registers to compute: units load fewer values at a time.
    pub(crate) fn with_costly_places(self) -> Self {
        Self { depth: self.depth.min(8), ..self }
    }

    /// Returns this tile for products with the largest of the device's instructions for factors of this type that fits. Without one, the
    /// tile is unchanged.
    pub(crate) fn with_matrices(self, client: &Client, factors: Option<FactorType>) -> Self {
        let shared = client.properties().hardware.max_shared_memory_size;
        let instructions =
            factors.into_iter().flat_map(|factors| MatrixInstruction::all(client, factors));
        self.with_largest(instructions, shared)
    }

    /// As [`Self::with_matrices`], with one of these instructions and at most this number of bytes of shared memory.
    fn with_largest(
        self,
        instructions: impl IntoIterator<Item = MatrixInstruction>,
        shared: usize,
    ) -> Self {
        let tiles = instructions.into_iter().filter_map(|instruction| {
            let tile = self.with_instruction(instruction)?;
            (tile.matrix_product_bytes() <= shared)
                .then_some(((instruction.rows, instruction.depth), tile))
        });
        tiles.max_by_key(|(size, _)| *size).map_or(self, |(_, tile)| tile)
    }

    /// Returns this tile for products with an instruction. Returns `None` if the tile does not consist of its matrices, the same number
    /// for each plane.
    fn with_instruction(self, instruction: MatrixInstruction) -> Option<Self> {
        let depth = self.depth.next_multiple_of(instruction.depth);
        let tile = Self { instruction: Some(instruction), depth, ..self };
        let fits = tile.rows.is_multiple_of(instruction.rows)
            && tile.columns.is_multiple_of(instruction.columns)
            && tile.units().is_multiple_of(instruction.plane)
            && tile.matrices().is_multiple_of(tile.planes());
        fits.then_some(tile)
    }

    /// Number of matrices across the tile.
    pub(crate) fn matrices_across(&self) -> usize {
        self.instruction.map_or(0, |instruction| self.columns / instruction.columns)
    }

    /// Number of matrices in the tile.
    pub(crate) fn matrices(&self) -> usize {
        self.instruction
            .map_or(0, |instruction| self.matrices_across() * (self.rows / instruction.rows))
    }

    /// Number of planes in the block.
    pub(crate) fn planes(&self) -> usize {
        self.instruction.map_or(0, |instruction| self.units() / instruction.plane)
    }

    /// Number of units whose results are in the same rows.
    pub(crate) fn units_across(&self) -> usize {
        self.columns / self.unit_columns
    }

    /// Number of units whose results are in the same columns.
    pub(crate) fn units_down(&self) -> usize {
        self.rows / self.unit_rows
    }

    /// Number of units in a block.
    pub(crate) fn units(&self) -> usize {
        self.units_across() * self.units_down()
    }

    /// Number of results of a unit.
    pub(crate) fn unit_results(&self) -> usize {
        self.unit_rows * self.unit_columns
    }

    /// Distance in shared memory between the steps of a factor with this number of lines. It is one more than there are lines,
    /// so that units that write one step each use different banks.
    pub(crate) fn stride(lines: usize) -> usize {
        lines + 1
    }

    /// Number of values that each unit loads of a factor with this number of lines, rounded up.
    pub(crate) fn loads(&self, lines: usize) -> usize {
        (lines * self.depth).div_ceil(self.units())
    }

    /// The dimensions of a block.
    pub(crate) fn block(&self) -> CubeDim {
        CubeDim::new_1d(self.units() as u32)
    }
}

/// Number of units in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scale {
    /// Up to 256, on GPUs.
    Wide,
    /// One, on processors. CubeCL's CPU runtime runs each unit on a thread, and units that wait for others spin.
    Narrow,
}

impl Scale {
    pub(crate) fn of(client: &Client) -> Self {
        // Units of a GPU run in planes of at least four.
        let hardware = &client.properties().hardware;
        if hardware.plane_size_max == 1 || (hardware.max_units_per_cube as usize) < MAX_UNITS {
            Self::Narrow
        } else {
            Self::Wide
        }
    }

    /// Number of units of a block that computes one sum.
    pub(crate) fn reducing_units(self) -> usize {
        match self {
            Self::Wide => 128,
            Self::Narrow => 1,
        }
    }

    /// Number of units of a block that computes each value apart from the others.
    pub(crate) const fn elementwise_units(self) -> usize {
        match self {
            Self::Wide => 256,
            Self::Narrow => 1,
        }
    }
}

/// Returns a grid of these sizes.
///
/// # Panics
/// If a size is larger than [`MAX_BLOCKS`].
pub(crate) fn grid(x: usize, y: usize, z: usize) -> CubeCount {
    assert!([x, y, z].into_iter().all(|size| size <= MAX_BLOCKS), "a grid of {x} × {y} × {z}");
    CubeCount::Static(x as u32, y as u32, z as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits of WebGPU, which all other devices but processors exceed.
    #[test]
    fn wide_tiles_fit_into_blocks_of_all_devices() {
        for columns in [1, 16, 17, 32, 33, 64, 1000] {
            let tall = Tile::tall(Scale::Wide, columns);
            let fitting = [1, 20, 100].map(|rows| Tile::fitting(Scale::Wide, rows, columns));
            for tile in fitting.into_iter().chain([tall]) {
                assert!(tile.units() <= MAX_UNITS, "{tile:?}");
                let factors = tile.depth * (Tile::stride(tile.rows) + Tile::stride(tile.columns));
                let sums = tile.columns * (tile.units_down() + 1);
                assert!(4 * (factors + sums) <= 16_384, "{tile:?}");
            }
        }
    }

    #[test]
    fn units_compute_all_results_of_a_tile() {
        let wide = Tile::tall(Scale::Wide, 64);
        for tile in [wide, Tile::tall(Scale::Narrow, 64)] {
            assert_eq!(tile.units() * tile.unit_results(), tile.rows * tile.columns);
            assert!(tile.units() * tile.loads(tile.rows) >= tile.rows * tile.depth);
            assert!(tile.units() * tile.loads(tile.columns) >= tile.columns * tile.depth);
        }
    }

    /// Shared memory of a block on every device with such instructions, in bytes.
    const SHARED: usize = 32 << 10;

    fn instruction(size: usize, depth: usize, plane: usize) -> MatrixInstruction {
        let factors = FactorType::Bfloat16;
        MatrixInstruction { factors, rows: size, columns: size, depth, plane }
    }

    /// The instruction of NVIDIA's GPUs.
    #[test]
    fn tiles_consist_of_matrices() {
        let found = instruction(16, 16, 32);
        let talls = [16, 17, 33].map(|columns| Tile::tall(Scale::Wide, columns));
        let costly = talls.map(Tile::with_costly_places);
        for tile in talls.into_iter().chain(costly).chain([Tile::fitting(Scale::Wide, 64, 576)]) {
            let tile = tile.with_largest([found], SHARED);
            assert_eq!((tile.instruction, tile.depth), (Some(found), 16), "{tile:?}");
            assert!(tile.units() <= MAX_UNITS, "{tile:?}");
            assert_eq!(tile.units() * tile.unit_results(), tile.rows * tile.columns);
            assert_eq!(tile.matrices() * 256, tile.rows * tile.columns);
        }
        // A tile for one unit, and one for half of a plane.
        for tile in [Tile::tall(Scale::Narrow, 64), Tile::fitting(Scale::Wide, 16, 16)] {
            assert_eq!(tile.with_largest([found], SHARED), tile);
        }
    }

    /// Instructions as those of AMD's CDNA GPUs, with planes of 64 units.
    #[test]
    fn the_largest_instruction_that_fits_is_chosen() {
        let [small, large] = [instruction(16, 16, 64), instruction(32, 8, 64)];
        let chosen = |columns, shared| {
            Tile::tall(Scale::Wide, columns).with_largest([small, large], shared).instruction
        };
        assert_eq!(chosen(64, SHARED), Some(large));
        assert_eq!(chosen(16, SHARED), Some(small));
        assert_eq!(chosen(64, 4 << 10), None);
    }

    #[test]
    #[should_panic(expected = "a grid of 1 × 65536 × 1")]
    fn grids_have_limits() {
        grid(1, MAX_BLOCKS + 1, 1);
    }
}
