class BalancedGroupConv2d(nn.Module):
    """A 3x3 group convolution plus a convolution of the mean of all groups (arXiv:2310.12461)."""

    def __init__(self, before, after, groups, stride=1):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(after, before // groups, 3, 3))
        self.mean_weight = nn.Parameter(torch.empty(after, before // groups, 3, 3))
        for weight in (self.weight, self.mean_weight):
            nn.init.normal_(weight, std=(9 * after / groups) ** -0.5)
        self.groups, self.stride = groups, stride

    def forward(self, x):
        mean = x.unflatten(1, (self.groups, -1)).mean(dim=1)
        own = functional.conv2d(x, self.weight, stride=self.stride, padding=1, groups=self.groups)
        return own + functional.conv2d(mean, self.mean_weight, stride=self.stride, padding=1)


class GroupedUnit(nn.Module):
    """Two balanced group convolutions, each after batch normalization and ReLU, and a skip connection."""

    def __init__(self, before, after, stride):
        super().__init__()
        groups = max(g for g in range(1, 9) if before % g == 0 and after % g == 0)
        last = max(g for g in range(1, 9) if after % g == 0)
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = BalancedGroupConv2d(before, after, groups, stride)
        self.norm2 = nn.BatchNorm2d(after)
        self.conv2 = BalancedGroupConv2d(after, after, last)
        self.projection = projection(before, after, stride)

    def forward(self, x):
        y = functional.relu(self.norm1(x))
        skip = x if self.projection is None else self.projection(y)
        y = self.conv1(y)
        return skip + self.conv2(functional.relu(self.norm2(y)))
