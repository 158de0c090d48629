class PatchEmbedding(nn.Module):
    """A linear layer on each patch, plus an embedding of its position."""

    def __init__(self, before, after, patch, rows):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(after, before, patch, patch))
        self.bias = nn.Parameter(torch.zeros(after))
        self.position = nn.Parameter(torch.empty(rows, rows, after))
        nn.init.normal_(self.weight, std=(before * patch**2) ** -0.5)
        nn.init.normal_(self.position, std=0.02)
        self.patch = patch

    def forward(self, x):
        embedded = functional.conv2d(x, self.weight, self.bias, stride=self.patch)
        return embedded + self.position.permute(2, 0, 1)
