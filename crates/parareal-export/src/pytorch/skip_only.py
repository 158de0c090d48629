class SkipUnit(nn.Module):
    """The skip connection alone: the identity or, if the shape changes, a 1x1 convolution after normalization and ReLU."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.projection = projection(before, after, stride)
        self.norm1 = None if self.projection is None else nn.BatchNorm2d(before)

    def forward(self, x):
        return x if self.projection is None else self.projection(functional.relu(self.norm1(x)))
