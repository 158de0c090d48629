class PreactivationHead(nn.Module):
    """Batch normalization, ReLU, the mean over all pixels, and a linear layer."""

    def __init__(self, channels, classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(functional.relu(self.norm(x)).mean(dim=(2, 3)))
