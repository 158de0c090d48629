use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::adaptive_avg_pool2d;
use parareal::net::{Init, Layer, SampleShape, ShapeError};
use parareal::nn::{Dropout, DropoutConfig};

use crate::architecture::Architecture;
use crate::image::{Image, height_and_width};
use crate::image_network::ImageNetwork;
use crate::layers::{BatchNorm, LayerNorm, Linear};
use crate::precision::widened;
use crate::size::Size;
use crate::unit::halve;

/// Smallest image size for which VGG-16 has three linear layers.
const LARGE_IMAGE: usize = 224;
/// Height and width of the image before the three linear layers of VGG-16.
const CLASSIFIER_SIZE: usize = 7;
/// Number of channels of the first two linear layers of VGG-16, relative to those of its first convolution.
const CLASSIFIER_FACTOR: usize = 64;
/// Standard deviation of the initial weights of a vision transformer.
const VIT_DEVIATION: f64 = 0.02;

/// A kind of [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// Batch normalization, ReLU, the mean over all pixels, and a linear layer.
    Preactivation,
    /// Batch normalization, ReLU, 2×2 max pooling, the mean over all pixels, and a linear layer.
    MaxPooled,
    /// Batch normalization, ReLU, 2×2 max pooling, average pooling to 7×7 pixels, and three linear layers with ReLU and
    /// dropout in between.
    Classifier,
    /// The mean over all pixels, and a linear layer.
    Mean,
    /// Layer normalization, the mean over all pixels, and a linear layer.
    LayerNorm,
}

/// `h`: class scores from the last state.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a network has one head, and Burn has no modules in boxes"
)]
#[non_exhaustive]
pub enum Head {
    /// Batch normalization, ReLU, the mean over all pixels, and a linear layer.
    Preactivation(PreactivationHead),
    /// Batch normalization, ReLU, 2×2 max pooling, the mean over all pixels, and a linear layer.
    MaxPooled(PreactivationHead),
    /// The three linear layers of VGG.
    Classifier(ClassifierHead),
    /// The mean over all pixels, and a linear layer.
    Mean(MeanHead),
    /// Layer normalization, the mean over all pixels, and a linear layer.
    LayerNorm(LayerNormHead),
}

/// The modules of [`Head::Preactivation`] and [`Head::MaxPooled`].
#[derive(Module, Debug)]
pub struct PreactivationHead {
    norm: BatchNorm,
    linear: Linear,
}

/// Batch normalization, ReLU, 2×2 max pooling, average pooling to 7×7 pixels, and three linear layers with ReLU and
/// dropout in between.
#[derive(Module, Debug)]
pub struct ClassifierHead {
    norm: BatchNorm,
    linear1: Linear,
    linear2: Linear,
    linear3: Linear,
    dropout: Dropout,
}

/// The module of [`Head::Mean`].
#[derive(Module, Debug)]
pub struct MeanHead {
    channels: usize,
    linear: Linear,
}

/// The modules of [`Head::LayerNorm`].
#[derive(Module, Debug)]
pub struct LayerNormHead {
    norm: LayerNorm,
    linear: Linear,
}

impl ImageNetwork {
    /// Number of features of the first two linear layers of [`HeadKind::Classifier`].
    pub fn classifier_features(&self) -> usize {
        CLASSIFIER_FACTOR * self.width()
    }

    /// The kind of `h`.
    pub fn head_kind(&self) -> HeadKind {
        match self.architecture() {
            Architecture::ResNet { .. } | Architecture::WideResNet { .. } => {
                HeadKind::Preactivation
            }
            Architecture::Vgg16 if self.image_size() < LARGE_IMAGE => HeadKind::MaxPooled,
            Architecture::Vgg16 => HeadKind::Classifier,
            Architecture::OriginalResNet { .. } => HeadKind::Mean,
            Architecture::Vit { .. } => HeadKind::LayerNorm,
        }
    }
}

impl Head {
    /// Creates the head of a network. Linear layers are initialized as in PyTorch, those of a vision transformer with
    /// a smaller weight and no bias.
    pub(crate) fn new(net: &ImageNetwork, init: &Init) -> Self {
        let (channels, classes) = (net.last_channels(), net.classes());
        let linear = || Linear::new(channels, classes, &init.scope("linear"));
        let norm = || BatchNorm::new(channels, &init.scope("norm"));
        match net.head_kind() {
            HeadKind::Preactivation => {
                Self::Preactivation(PreactivationHead { norm: norm(), linear: linear() })
            }
            HeadKind::MaxPooled => {
                Self::MaxPooled(PreactivationHead { norm: norm(), linear: linear() })
            }
            HeadKind::Classifier => {
                let wide = net.classifier_features();
                let pixels = CLASSIFIER_SIZE * CLASSIFIER_SIZE;
                let linear = |name, from, to| Linear::new(from, to, &init.scope(name));
                Self::Classifier(ClassifierHead {
                    norm: norm(),
                    linear1: linear("linear1", pixels * channels, wide),
                    linear2: linear("linear2", wide, wide),
                    linear3: linear("linear3", wide, classes),
                    dropout: DropoutConfig::new(0.5).init(),
                })
            }
            HeadKind::Mean => Self::Mean(MeanHead { channels, linear: linear() }),
            HeadKind::LayerNorm => Self::LayerNorm(LayerNormHead {
                norm: LayerNorm::new(channels, init),
                linear: Linear::normal(channels, classes, VIT_DEVIATION, &init.scope("linear")),
            }),
        }
    }

    /// Returns the size of the head of a network.
    pub(crate) fn size(net: &ImageNetwork) -> Size {
        let (image, classes) = (net.last_image(), net.classes());
        let mean = Image { size: 1, ..image };
        let linear = Size::linear(mean, classes);
        match net.head_kind() {
            HeadKind::Preactivation => {
                // The linear layer is applied to each pixel.
                Size::linear(image, classes) + Size::normalization(image)
            }
            HeadKind::MaxPooled => linear + Size::normalization(image).storing(2 * image.values()),
            HeadKind::Classifier => {
                let features = |channels| Image { channels, size: 1 };
                let wide = net.classifier_features();
                let pooled = CLASSIFIER_SIZE * CLASSIFIER_SIZE * image.channels;
                Size::normalization(image).storing(2 * image.values())
                    + Size::linear(features(pooled), wide)
                    + Size::linear(features(wide), wide)
                    + Size::linear(features(wide), classes)
            }
            HeadKind::Mean => linear,
            HeadKind::LayerNorm => linear + Size::normalization(image).storing(image.values()),
        }
    }

    fn channels(&self) -> usize {
        match self {
            Self::Preactivation(head) | Self::MaxPooled(head) => head.norm.channels(),
            Self::Classifier(head) => head.norm.channels(),
            Self::Mean(head) => head.channels,
            Self::LayerNorm(head) => head.norm.channels(),
        }
    }

    fn classes(&self) -> usize {
        match self {
            Self::Preactivation(head) | Self::MaxPooled(head) => head.linear.outputs(),
            Self::Classifier(head) => head.linear3.outputs(),
            Self::Mean(head) => head.linear.outputs(),
            Self::LayerNorm(head) => head.linear.outputs(),
        }
    }
}

/// Returns the mean over all pixels.
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, channels]`.
fn mean(images: Tensor<4>) -> Tensor<2> {
    let [batch, height, width, channels] = images.dims();
    images.reshape([batch, height * width, channels]).mean_dim(1).squeeze_dim(1)
}

impl PreactivationHead {
    fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        // The linear layer is applied before the mean over pixels. The result is the same, and normalization,
        // ReLU and the linear layer become one fused operation.
        let scores = self.norm.relu_linear(input, self.linear.weight.val());
        mean(scores) + self.linear.bias.val().unsqueeze()
    }
}

impl ClassifierHead {
    fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        let pooled = halve(self.norm.relu(input)).permute([0, 3, 1, 2]);
        let features = match pooled.dims() {
            [_, _, CLASSIFIER_SIZE, CLASSIFIER_SIZE] => pooled,
            _ => adaptive_avg_pool2d(pooled, [CLASSIFIER_SIZE; 2]),
        };
        let hidden = [&self.linear1, &self.linear2]
            .into_iter()
            .fold(features.flatten::<2>(1, 3), |hidden, linear| {
                self.dropout.forward(relu(linear.forward(hidden)))
            });
        self.linear3.forward(hidden)
    }
}

impl Layer<Tensor<4>, Tensor<2>> for Head {
    /// Scores are in single precision.
    fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        let input = widened(input);
        match self {
            Self::Preactivation(head) => head.forward(input),
            Self::MaxPooled(PreactivationHead { norm, linear }) => {
                linear.forward(mean(halve(norm.relu(input))))
            }
            Self::Classifier(head) => head.forward(input),
            Self::Mean(MeanHead { linear, .. }) => linear.forward(mean(input)),
            Self::LayerNorm(LayerNormHead { norm, linear }) => {
                linear.forward(mean(norm.forward(input)))
            }
        }
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        height_and_width(input, self.channels())?;
        Ok([self.classes()].into())
    }
}
