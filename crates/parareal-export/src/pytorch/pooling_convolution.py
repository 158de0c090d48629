class PoolingConvolution(nn.Module):
    """Max poolings that halve the image, and a convolution."""

    def __init__(self, before, after, kernel, poolings):
        super().__init__()
        self.conv = conv(before, after, kernel)
        self.poolings = poolings

    def forward(self, x):
        for _ in range(self.poolings):
            x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        return self.conv(x)
