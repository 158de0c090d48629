mod balanced_group_conv2d;
mod batch_norm;
mod conv2d;
mod depthwise_conv2d;
mod layer_norm;
mod linear;

pub use balanced_group_conv2d::BalancedGroupConv2d;
pub use batch_norm::BatchNorm;
pub use conv2d::Conv2d;
pub use depthwise_conv2d::DepthwiseConv2d;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
