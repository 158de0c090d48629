use burn::module::Module;
use burn::tensor::Tensor;
use parareal::net::{Init, Layer, ShapeError};
use parareal_kernels::residual;

use crate::layers::{BatchNorm, Conv2d, DepthwiseConv2d};

/// A pre-activation residual unit: convolutions, each behind batch normalization and ReLU, added
/// to the input, or where the shape changes to a 1×1 convolution of the activated input.
#[derive(Module, Debug)]
pub struct ResidualUnit {
    norm1: BatchNorm,
    conv1: Conv2d,
    norm2: BatchNorm,
    conv2: Conv2d,
    norm3: Option<BatchNorm>,
    conv3: Option<Conv2d>,
    depthwise1: Option<DepthwiseConv2d>,
    depthwise2: Option<DepthwiseConv2d>,
    projection: Option<Conv2d>,
}

impl ResidualUnit {
    /// The unit of the fine network: 1×1, 3×3 (with the stride) and 1×1 convolutions, the middle
    /// one on a quarter of the output's channels.
    pub fn bottleneck(from: usize, to: usize, stride: usize, init: &Init) -> Self {
        let narrow = to / 4;
        let conv = |name, from, to, kernel, stride| {
            Conv2d::new(from, to, kernel, stride, &init.scope(name))
        };
        let norm = |name, channels| BatchNorm::new(channels, &init.scope(name));
        Self {
            norm1: norm("norm1", from),
            conv1: conv("conv1", from, narrow, 1, 1),
            norm2: norm("norm2", narrow),
            conv2: conv("conv2", narrow, narrow, 3, stride),
            norm3: Some(norm("norm3", narrow)),
            conv3: Some(conv("conv3", narrow, to, 1, 1)),
            depthwise1: None,
            depthwise2: None,
            projection: projection(from, to, stride, init),
        }
    }

    /// The paper's coarse unit: two 3×3 convolutions, the first with the stride.
    pub fn basic(from: usize, to: usize, stride: usize, init: &Init) -> Self {
        Self {
            norm1: BatchNorm::new(from, &init.scope("norm1")),
            conv1: Conv2d::new(from, to, 3, stride, &init.scope("conv1")),
            norm2: BatchNorm::new(to, &init.scope("norm2")),
            conv2: Conv2d::new(to, to, 3, 1, &init.scope("conv2")),
            norm3: None,
            conv3: None,
            depthwise1: None,
            depthwise2: None,
            projection: projection(from, to, stride, init),
        }
    }

    /// A coarse unit that sees as far as the paper's for a fraction of its work: each 3×3
    /// convolution is taken apart into a 1×1 convolution over all channels and a 3×3 convolution of
    /// each channel by itself, the first with the stride. With the 1×1 convolution first, as in
    /// blueprint separable convolutions (Haase and Amthor, 2020), normalization and ReLU stay in
    /// front of it.
    pub fn depthwise(from: usize, to: usize, stride: usize, init: &Init) -> Self {
        let depthwise = |name, stride| Some(DepthwiseConv2d::new(to, stride, &init.scope(name)));
        Self {
            norm1: BatchNorm::new(from, &init.scope("norm1")),
            conv1: Conv2d::new(from, to, 1, 1, &init.scope("conv1")),
            norm2: BatchNorm::new(to, &init.scope("norm2")),
            conv2: Conv2d::new(to, to, 1, 1, &init.scope("conv2")),
            norm3: None,
            conv3: None,
            depthwise1: depthwise("depthwise1", stride),
            depthwise2: depthwise("depthwise2", 1),
            projection: projection(from, to, stride, init),
        }
    }

    fn convolutions(&self) -> impl Iterator<Item = &Conv2d> {
        [&self.conv1, &self.conv2].into_iter().chain(&self.conv3)
    }

    /// The unit whose 3×3 convolutions are taken apart.
    fn forward_depthwise(
        &self,
        input: Tensor<4>,
        [first, second]: [&DepthwiseConv2d; 2],
    ) -> Tensor<4> {
        let (state, center) = self.norm1.relu_conv2d(input.clone(), &self.conv1, None);
        let skip = match &self.projection {
            Some(projection) => self.norm1.relu_conv2d_by(input, projection, center, None).0,
            None => input,
        };
        let state = first.forward(state, None);
        let state = self.norm2.relu_conv2d(state, &self.conv2, None).0;
        second.forward(state, Some(skip))
    }

    /// The unit whose skip is the identity, as one operation.
    fn forward_by_identity(&self, input: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, _] = input.dims();
        let norms = || [&self.norm1, &self.norm2].into_iter().chain(&self.norm3);
        let layers = norms().zip(self.convolutions()).map(|(norm, conv)| norm.layer(conv));
        let (output, statistics) = residual(input, layers.collect());
        for (norm, statistics) in norms().zip(&statistics) {
            norm.saw(statistics, batch * height * width);
        }
        output
    }
}

fn projection(from: usize, to: usize, stride: usize, init: &Init) -> Option<Conv2d> {
    (from != to || stride != 1).then(|| Conv2d::new(from, to, 1, stride, &init.scope("projection")))
}

impl Layer<Tensor<4>, Tensor<4>> for ResidualUnit {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        if let (Some(first), Some(second)) = (&self.depthwise1, &self.depthwise2) {
            return self.forward_depthwise(input, [first, second]);
        }
        let Some(projection) = &self.projection else {
            return self.forward_by_identity(input);
        };
        let (mut state, center) = self.norm1.relu_conv2d(input.clone(), &self.conv1, None);
        let skip = self.norm1.relu_conv2d_by(input, projection, center, None).0;
        if let (Some(norm3), Some(conv3)) = (&self.norm3, &self.conv3) {
            state = self.norm2.relu_conv2d(state, &self.conv2, None).0;
            norm3.relu_conv2d(state, conv3, Some(skip)).0
        } else {
            self.norm2.relu_conv2d(state, &self.conv2, Some(skip)).0
        }
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, ShapeError> {
        let [height, width] = image(input, self.norm1.channels())?;
        let depthwise = || self.depthwise1.iter().chain(&self.depthwise2);
        let size = |size| {
            let size = self.convolutions().fold(size, |size, conv| conv.output_size(size));
            depthwise().fold(size, |size, conv| conv.output_size(size))
        };
        let to = self.conv3.as_ref().unwrap_or(&self.conv2).channels_out();
        Ok(vec![size(height), size(width), to])
    }
}

/// Height and width of an image with so many channels.
pub(super) fn image(shape: &[usize], channels: usize) -> Result<[usize; 2], ShapeError> {
    match *shape {
        [height, width, found] if found == channels => Ok([height, width]),
        _ => Err(ShapeError {
            expected: format!("an image of {channels} channels"),
            found: shape.to_vec(),
        }),
    }
}
