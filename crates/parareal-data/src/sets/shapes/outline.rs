//! The outlines of the ten shapes.
//!
//! A shape is a set of points `(u, v)` around the origin, about one unit in radius; `u` points
//! right and `v` down before the shape is rotated. Only arithmetic is used, no sines and cosines, so
//! that all machines draw the same pixels.

/// The names of the classes; the label of an image is a position in this list.
pub const CLASS_NAMES: [&str; 10] =
    ["disc", "ring", "square", "frame", "triangle", "plus", "star", "crescent", "bars", "arrow"];

/// The greatest distance of a point of any shape from the origin.
pub(crate) const REACH: f32 = 1.35;

/// The directions to the five tips of a star: cosines and sines of multiples of 72 degrees.
const TIPS: [[f32; 2]; 5] = [
    [1.0, 0.0],
    [0.309_017, 0.951_056_5],
    [-0.809_017, 0.587_785_25],
    [-0.809_017, -0.587_785_25],
    [0.309_017, -0.951_056_5],
];

/// Half the square root of three.
const HALF_ROOT_3: f32 = 0.866_025_4;

/// Returns true if the point `(u, v)` belongs to the shape of a class.
pub(crate) fn covers(class: usize, u: f32, v: f32) -> bool {
    let (width, height) = (u.abs(), v.abs());
    let square = u * u + v * v;
    match class {
        0 => square <= 0.95 * 0.95,
        1 => (0.55 * 0.55..=1.0).contains(&square),
        2 => width.max(height) <= 0.84,
        3 => (0.45..=0.86).contains(&width.max(height)),
        4 => v <= 0.57 && HALF_ROOT_3 * width - 0.5 * v <= 0.57,
        5 => width.min(height) <= 0.3 && width.max(height) <= 1.0,
        6 => {
            // The five lines through the edges enclose a pentagon. Each tip lies beyond only one of
            // them.
            let beyond = TIPS.iter().filter(|[x, y]| u * x + v * y < -0.4).count();
            beyond <= 1
        }
        7 => square <= 1.0 && (u - 0.5) * (u - 0.5) + v * v >= 0.75 * 0.75,
        8 => height <= 0.95 && (width <= 0.19 || (0.57..=0.95).contains(&width)),
        9 => {
            let head = v <= 0.0 && width <= 0.85 * (v + 1.0);
            let shaft = (0.0..=1.0).contains(&v) && width <= 0.26;
            head || shaft
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fraction of the square [-1.5, 1.5]^2 that a shape covers, and the distance of its
    /// farthest point.
    fn extent(class: usize) -> (f32, f32) {
        let (mut inside, mut farthest) = (0, 0.0_f32);
        for row in 0..300 {
            for column in 0..300 {
                let (u, v) = (column as f32 / 100.0 - 1.495, row as f32 / 100.0 - 1.495);
                if covers(class, u, v) {
                    inside += 1;
                    farthest = farthest.max((u * u + v * v).sqrt());
                }
            }
        }
        (inside as f32 / 90_000.0, farthest)
    }

    #[test]
    fn shapes_are_of_similar_size() {
        for (class, name) in CLASS_NAMES.into_iter().enumerate() {
            let (share, farthest) = extent(class);
            assert!((0.08..0.35).contains(&share), "{name}: share {share}");
            assert!((0.9..REACH).contains(&farthest), "{name}: {farthest}");
        }
    }

    #[test]
    fn no_two_shapes_are_alike() {
        let points: Vec<(f32, f32)> = (0..900)
            .map(|point| ((point % 30) as f32 / 15.0 - 1.0, (point / 30) as f32 / 15.0 - 1.0))
            .collect();
        for (one, name) in CLASS_NAMES.into_iter().enumerate() {
            for (other, other_name) in CLASS_NAMES.into_iter().enumerate().take(one) {
                let different = |&&(u, v): &&(f32, f32)| covers(one, u, v) != covers(other, u, v);
                let count = points.iter().filter(different).count();
                assert!(count > 90, "{name} and {other_name} differ in {count} points");
            }
        }
    }
}
