//! The costs of a network's components: measured on this machine or read from a file ([`CostTable`]), or taken
//! from the paper ([`PaperRow`]).

mod component;
mod model;
mod paper;
mod table;

pub use component::Component;
pub use model::NetworkCosts;
pub use paper::{
    PAPER_BATCH, PAPER_CLASSES, PAPER_DEPTH, PAPER_EPOCHS, PAPER_IMAGES, PAPER_ROWS, PAPER_SECONDS,
    PaperRow, Passes,
};
pub use table::{ComponentCost, CostError, CostTable};
