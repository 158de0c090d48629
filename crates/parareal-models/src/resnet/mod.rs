//! The pre-activation bottleneck ResNet for 32×32 images (depth 9n+2) and its parareal form, as
//! in the paper's section 4.
//!
//! Three stages of `n` residual units each, of 64, 128 and 256 channels (at the paper's width) at
//! 32×32, 16×16 and 8×8 pixels; `n = 111` is ResNet-1001. See [`ResNet`].

mod coarse;
mod coarsen;
mod costs;
mod head;
mod image;
mod network;
mod preprocessing;
mod summary;
mod unit;

pub use coarse::{Coarse, CoarseChoice, CoarseKind};
pub use costs::{
    Component, ComponentCost, CostError, CostTable, PAPER_BATCH, PAPER_CLASSES, PAPER_DEPTH,
    PAPER_EPOCHS, PAPER_HOURS, PAPER_IMAGES, PAPER_ROWS, PaperRow, Passes, ResNetCosts,
};
pub use head::Head;
pub use image::Image;
pub use network::{PAPER_WIDTH, ResNet, ResNetError};
pub use preprocessing::Preprocessing;
pub use summary::{ParameterCounts, Summary};
pub use unit::*;
