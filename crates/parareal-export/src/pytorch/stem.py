class Stem(nn.Module):
    """A 7x7 convolution with stride 2, batch normalization, ReLU, and max pooling."""

    def __init__(self, before, after):
        super().__init__()
        self.conv = conv(before, after, 7, 2)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x):
        y = functional.relu(self.norm(self.conv(x)))
        return functional.max_pool2d(y, kernel_size=3, stride=2, padding=1)
