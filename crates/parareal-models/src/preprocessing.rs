use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::{linear, max_pool2d};
use burn::tensor::ops::MaxPoolOptions;
use parareal::net::{Init, Layer, SampleShape, ShapeError};

use crate::image::Image;
use crate::layers::{BatchNorm, Conv2d};
use crate::precision::{Precision, narrowed};
use crate::size::Size;

/// Standard deviation of the initial position embedding.
const POSITION_DEVIATION: f64 = 0.02;

/// `C_j`, which maps images to states.
#[derive(Module, Debug)]
#[non_exhaustive]
pub enum Preprocessing {
    /// Max poolings and a convolution.
    Convolution(PoolingConvolution),
    /// The first layers of the original ResNet.
    Stem(Stem),
    /// The patch embedding of a vision transformer.
    Patches(PatchEmbedding),
}

/// Max poolings (3×3, stride 2, padding 1), then a convolution.
#[derive(Module, Debug)]
pub struct PoolingConvolution {
    conv: Conv2d,
    poolings: usize,
    /// True if states are in bfloat16.
    bfloat16: bool,
}

/// A 7×7 convolution with stride 2, batch normalization, ReLU, and max pooling (3×3, stride 2, padding 1).
#[derive(Module, Debug)]
pub struct Stem {
    conv: Conv2d,
    norm: BatchNorm,
    bfloat16: bool,
}

/// A linear layer on each patch, plus a learned embedding of its position.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    /// `[channels, image channels, patch, patch]`, as the weight of a convolution.
    weight: Param<Tensor<4>>,
    /// `[channels]`.
    bias: Param<Tensor<1>>,
    /// `[rows, columns, channels]`.
    position: Param<Tensor<3>>,
    bfloat16: bool,
}

/// A kind of [`Preprocessing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreprocessingKind {
    /// A 3×3 convolution: `C_1` of most networks.
    First,
    /// `C_j` for `j > 1`: max poolings until the image has the right size, then a 1×1 convolution.
    Interface {
        /// Number of max poolings.
        poolings: usize,
    },
    /// `C_1` of the original ResNet.
    Stem,
    /// An embedding of square patches.
    Patches {
        /// Height and width of a patch in pixels.
        patch: usize,
    },
}

impl PreprocessingKind {
    /// Returns the size of a module of this kind.
    pub(crate) fn size(self, image: Image, to: Image) -> Size {
        match self {
            Self::First => Size::convolution(3, image, to),
            Self::Interface { .. } => Size::convolution(1, Image { size: to.size, ..image }, to),
            Self::Stem => {
                let convolved = Image { size: 2 * to.size, ..to };
                // The normalization and the pooling store their inputs.
                Size::convolution(7, image, convolved)
                    + Size::normalization(to).storing(2 * convolved.values())
            }
            Self::Patches { patch } => {
                let patches = Image { channels: patch * patch * image.channels, size: to.size };
                let position = Size { parameters: to.values(), ..Size::default() };
                Size::linear(patches, to.channels) + position
            }
        }
    }
}

impl Preprocessing {
    /// Creates a module of this kind, from images of `from` channels to states of shape `to`. The weights of a patch
    /// embedding are normal with variance `1 / (patch² · from)`.
    pub(crate) fn new(
        kind: PreprocessingKind,
        from: usize,
        to: Image,
        precision: Precision,
        init: &Init,
    ) -> Self {
        let Image { channels, size } = to;
        let bfloat16 = precision == Precision::Bf16;
        let conv =
            |kernel, stride| Conv2d::new(from, channels, kernel, stride, &init.scope("conv"));
        match kind {
            PreprocessingKind::First => {
                Self::Convolution(PoolingConvolution { conv: conv(3, 1), poolings: 0, bfloat16 })
            }
            PreprocessingKind::Interface { poolings } => {
                Self::Convolution(PoolingConvolution { conv: conv(1, 1), poolings, bfloat16 })
            }
            PreprocessingKind::Stem => {
                let norm = BatchNorm::new(channels, &init.scope("norm"));
                Self::Stem(Stem { conv: conv(7, 2), norm, bfloat16 })
            }
            PreprocessingKind::Patches { patch } => {
                let deviation = ((patch * patch * from) as f64).sqrt().recip();
                Self::Patches(PatchEmbedding {
                    weight: init.normal("weight", [channels, from, patch, patch], deviation),
                    bias: init.constant([channels], 0.0),
                    position: init.normal("position", [size, size, channels], POSITION_DEVIATION),
                    bfloat16,
                })
            }
        }
    }
}

/// Applies max pooling with 3×3 windows, stride 2 and padding 1.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, ⌈height/2⌉, ⌈width/2⌉]`.
fn max_pool(images: Tensor<4>) -> Tensor<4> {
    let options = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
    max_pool2d(images, options)
}

fn channels_last(images: Tensor<4>) -> Tensor<4> {
    images.permute([0, 2, 3, 1])
}

fn channels_first(images: Tensor<4>) -> Tensor<4> {
    images.permute([0, 3, 1, 2])
}

impl PatchEmbedding {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [batch, from, height, width] = input.dims();
        let [channels, _, patch, _] = self.weight.dims();
        let [rows, columns] = [height / patch, width / patch];
        let patches = input
            .reshape([batch, from, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows, columns, from * patch * patch]);
        let weight = self.weight.val().reshape([channels, from * patch * patch]);
        let embedded = linear(patches, weight.transpose(), Some(self.bias.val()));
        embedded + self.position.val().unsqueeze()
    }
}

impl Layer<Tensor<4>, Tensor<4>> for Preprocessing {
    /// # Shapes
    /// `[batch, channels, height, width]`, as images are stored, to
    /// `[batch, height, width, channels]`, in the precision of states.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Convolution(PoolingConvolution { conv, poolings, bfloat16 }) => {
                let pooled = (0..*poolings).fold(input, |images, _| max_pool(images));
                conv.forward(narrowed(channels_last(pooled), *bfloat16))
            }
            Self::Stem(Stem { conv, norm, bfloat16 }) => {
                let activated = norm.relu(conv.forward(channels_last(input)));
                narrowed(channels_last(max_pool(channels_first(activated))), *bfloat16)
            }
            Self::Patches(embedding) => narrowed(embedding.forward(input), embedding.bfloat16),
        }
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let halved = |size, halvings| (0..halvings).fold(size, |size: usize, _| size.div_ceil(2));
        let refused = |expected| ShapeError { expected, found: input.clone() };
        let any_size = |channels| refused(format!("[{channels}, height, width]"));
        match (self, input.dims()) {
            (Self::Convolution(PoolingConvolution { conv, poolings, .. }), Some(&[c, h, w])) => {
                let is_right = c == conv.in_channels();
                let [h, w] = [h, w].map(|size| halved(size, *poolings));
                let shape = [h, w, conv.out_channels()].into();
                is_right.then_some(shape).ok_or_else(|| any_size(conv.in_channels()))
            }
            (Self::Stem(Stem { conv, .. }), Some(&[c, h, w])) => {
                let shape = [halved(h, 2), halved(w, 2), conv.out_channels()].into();
                let is_right = c == conv.in_channels();
                is_right.then_some(shape).ok_or_else(|| any_size(conv.in_channels()))
            }
            (Self::Patches(PatchEmbedding { weight, position, .. }), _) => {
                let [_, channels, patch, _] = weight.shape().dims();
                let [rows, columns, to] = position.shape().dims();
                let expected = [channels, rows * patch, columns * patch];
                match input.dims() == Some(&expected[..]) {
                    true => Ok([rows, columns, to].into()),
                    false => Err(refused(format!("{expected:?}"))),
                }
            }
            (
                Self::Convolution(PoolingConvolution { conv, .. }) | Self::Stem(Stem { conv, .. }),
                _,
            ) => Err(any_size(conv.in_channels())),
        }
    }
}
