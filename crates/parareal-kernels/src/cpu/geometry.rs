//! The sizes of a convolution.

/// A convolution of images that lie in memory as `[batch, height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Images.
    pub(crate) batch: usize,
    /// Rows of the input.
    pub(crate) height: usize,
    /// Columns of the input.
    pub(crate) width: usize,
    /// Channels of the input.
    pub(crate) from: usize,
    /// Channels of the output.
    pub(crate) to: usize,
    /// Rows and columns of the kernel.
    pub(crate) kernel: usize,
    /// Rows and columns from one place of the kernel to the next.
    pub(crate) stride: usize,
    /// Rows and columns of zeros on each side.
    pub(crate) padding: usize,
}

impl Geometry {
    /// Rows and columns of the output.
    ///
    /// # Panics
    /// Where the kernel is larger than the padded input, or the stride is zero.
    pub(crate) fn output(&self) -> [usize; 2] {
        [self.height, self.width]
            .map(|size| (size + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    /// Whether the fused passes know this convolution: the kernel fits into the padded input, and
    /// no place of it sees padding alone.
    pub(crate) fn is_supported(&self) -> bool {
        let padded = self.height.min(self.width) + 2 * self.padding;
        let sizes = [self.batch, self.height, self.width, self.from, self.to, self.stride];
        !sizes.contains(&0) && (1..=padded).contains(&self.kernel) && self.padding < self.kernel
    }

    /// Whether each output pixel sees one input pixel, its own.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// Pixels of an input image.
    pub(crate) fn input_pixels(&self) -> usize {
        self.height * self.width
    }

    /// Pixels of an output image.
    pub(crate) fn output_pixels(&self) -> usize {
        let [height, width] = self.output();
        height * width
    }

    /// Numbers of the whole input.
    pub(crate) fn input_len(&self) -> usize {
        self.batch * self.input_pixels() * self.from
    }

    /// Numbers of the whole output.
    pub(crate) fn output_len(&self) -> usize {
        self.batch * self.output_pixels() * self.to
    }

    /// Numbers of the kernel.
    pub(crate) fn weight_len(&self) -> usize {
        self.to * self.from * self.kernel * self.kernel
    }

    /// Input values that one output value is made of.
    pub(crate) fn depth(&self) -> usize {
        self.kernel * self.kernel * self.from
    }
}
