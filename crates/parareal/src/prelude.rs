//! Imports for most programs: `use parareal::prelude::*`.

pub use burn;
pub use burn::module::Module;
pub use burn::tensor::{Bool, Device, Int, Tensor};

pub use crate::exec::{
    ClosureLoss, CrossEntropy, Executor, ExecutorBuilder, Layout, Loss, MeanSquaredError,
    SoftTargetCrossEntropy, StateKind, Update, loss_fn,
};
pub use crate::net::{
    AnyLayer, Coarsen, Cuts, FeedForward, Init, Interface, Layer, NetError, PararealNetwork,
    SampleShape, Sequential, ShapeError, WithContext, layer, layer_fn,
};
pub use crate::nn::{Dropout, DropoutConfig};
