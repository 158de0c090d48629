class ClassifierHead(nn.Module):
    """Batch normalization, ReLU, max pooling, average pooling to 7x7 pixels, and three linear layers with dropout."""

    def __init__(self, channels, wide, classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.linear1 = nn.Linear(49 * channels, wide)
        self.linear2 = nn.Linear(wide, wide)
        self.linear3 = nn.Linear(wide, classes)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        y = functional.max_pool2d(functional.relu(self.norm(x)), 2)
        y = functional.adaptive_avg_pool2d(y, 7).flatten(1)
        y = self.dropout(functional.relu(self.linear1(y)))
        y = self.dropout(functional.relu(self.linear2(y)))
        return self.linear3(y)
