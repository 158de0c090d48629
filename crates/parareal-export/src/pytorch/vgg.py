class VggUnit(nn.Module):
    """Batch normalization and ReLU of the convolution before, 2x2 max pooling if the image is halved, and a convolution."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.norm = nn.BatchNorm2d(before)
        self.conv = conv(before, after, 3)
        self.halves = stride == 2

    def forward(self, x):
        y = functional.relu(self.norm(x))
        return self.conv(functional.max_pool2d(y, 2) if self.halves else y)
