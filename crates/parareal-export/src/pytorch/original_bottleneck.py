class OriginalBottleneckUnit(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each before batch normalization, and a skip connection, as in torchvision."""

    def __init__(self, before, after, stride):
        super().__init__()
        narrow = after // 4
        self.conv1 = conv(before, narrow, 1)
        self.norm1 = nn.BatchNorm2d(narrow)
        self.conv2 = conv(narrow, narrow, 3, stride)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.conv3 = conv(narrow, after, 1)
        self.norm3 = nn.BatchNorm2d(after)
        self.projection = projection(before, after, stride)
        self.projection_norm = None if self.projection is None else nn.BatchNorm2d(after)

    def forward(self, x):
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        skip = x if self.projection is None else self.projection_norm(self.projection(x))
        return functional.relu(skip + y)
