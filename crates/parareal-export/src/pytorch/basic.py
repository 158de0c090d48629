class BasicUnit(nn.Module):
    """Two 3x3 convolutions, each after batch normalization and ReLU, and a skip connection."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = conv(before, after, 3, stride)
        self.norm2 = nn.BatchNorm2d(after)
        self.conv2 = conv(after, after, 3)
        self.projection = projection(before, after, stride)

    def forward(self, x):
        y = functional.relu(self.norm1(x))
        skip = x if self.projection is None else self.projection(y)
        y = self.conv1(y)
        return skip + self.conv2(functional.relu(self.norm2(y)))
