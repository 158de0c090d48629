class CoarsenedUnit(nn.Module):
    """Two 3x3 convolutions at half the resolution, each after batch normalization and ReLU, and a skip connection."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = conv(before, after, 3, stride)
        self.norm2 = nn.BatchNorm2d(after)
        self.conv2 = conv(after, after, 3)
        # Applied to the pooled input, which has the size of the output.
        self.projection = None if before == after and stride == 1 else conv(before, after, 1)

    def forward(self, x):
        pooled = functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        y = functional.relu(self.norm1(pooled))
        skip = x if self.projection is None else self.projection(y)
        y = self.conv1(y)
        y = self.conv2(functional.relu(self.norm2(y)))
        y = functional.interpolate(y, scale_factor=2, mode="nearest")
        height, width = skip.shape[2:]
        return skip + y[:, :, :height, :width]
