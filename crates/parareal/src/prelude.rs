//! What most programs need: `use parareal::prelude::*`.

pub use burn;
pub use burn::module::Module;
pub use burn::tensor::{Bool, Device, Int, Tensor};

pub use crate::exec::{CrossEntropy, Executor, Layout, Placement, Threads};
pub use crate::net::{
    AnyLayer, Coarsen, Cuts, FeedForward, Init, Interface, Layer, NetError, PararealNetwork,
    SampleShape, Sequential, ShapeError, WithContext, function, layer,
};
