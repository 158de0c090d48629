//! Pre-activation ResNets for 32×32 images and their parareal networks: the bottleneck ResNet of depth 9n+2 in
//! section 4 of the paper, and wide residual networks of depth 6n+4.
//!
//! The networks have three stages of `n` residual units each. At the paper's width, those of bottleneck units have
//! 64, 128 and 256 channels at 32×32, 16×16 and 8×8 pixels. ResNet-1001 has `n = 111`. See [`ResNet`].

mod coarse;
mod coarsen;
mod costs;
mod head;
mod image;
mod name;
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
pub use name::{ResNetName, ResNetNameError};
pub use network::{PAPER_WIDTH, ResNet, ResNetError};
pub use preprocessing::Preprocessing;
pub use summary::{ParameterCounts, Summary};
pub use unit::*;
