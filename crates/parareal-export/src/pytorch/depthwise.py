class DepthwiseUnit(nn.Module):
    """A 1x1 and a 3x3 depthwise convolution after batch normalization and ReLU, twice, and a skip connection."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = conv(before, after, 1)
        self.norm2 = nn.BatchNorm2d(after)
        self.conv2 = conv(after, after, 1)
        self.depthwise1 = nn.Conv2d(after, after, 3, stride, padding=1, groups=after, bias=False)
        self.depthwise2 = nn.Conv2d(after, after, 3, padding=1, groups=after, bias=False)
        self.projection = projection(before, after, stride)

    def forward(self, x):
        y = functional.relu(self.norm1(x))
        skip = x if self.projection is None else self.projection(y)
        y = self.depthwise1(self.conv1(y))
        y = functional.relu(self.norm2(y))
        return skip + self.depthwise2(self.conv2(y))
