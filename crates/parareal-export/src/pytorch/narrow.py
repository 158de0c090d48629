class NarrowUnit(nn.Module):
    """Two 3x3 convolutions on fewer channels, between 1x1 convolutions, and a skip connection."""

    def __init__(self, before, after, stride, divisor):
        super().__init__()
        narrow = max(after // divisor, 1)
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = conv(before, narrow, 1)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.conv2 = conv(narrow, narrow, 3, stride)
        self.norm3 = nn.BatchNorm2d(narrow)
        self.conv3 = conv(narrow, narrow, 3)
        self.norm4 = nn.BatchNorm2d(narrow)
        self.conv4 = conv(narrow, after, 1)
        self.projection = projection(before, after, stride)

    def forward(self, x):
        y = functional.relu(self.norm1(x))
        skip = x if self.projection is None else self.projection(y)
        y = self.conv1(y)
        y = self.conv2(functional.relu(self.norm2(y)))
        y = self.conv3(functional.relu(self.norm3(y)))
        return skip + self.conv4(functional.relu(self.norm4(y)))
