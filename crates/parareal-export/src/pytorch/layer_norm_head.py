class LayerNormHead(nn.Module):
    """Layer normalization, the mean over all pixels, and a linear layer."""

    def __init__(self, channels, classes):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(self.norm(x.flatten(2).transpose(1, 2)).mean(dim=1))
