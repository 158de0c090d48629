"""A parareal network in PyTorch, written as the paper writes it.

`PararealNetwork.forward` is equations (2), (3a)-(3c) and (4) of "A Parareal Architecture for Very
Deep Convolutional Neural Network" (Lee, Lee, Park) with nothing rearranged: all the residuals
r_j first, then the coarse sweep, then the sum. Autograd differentiates it as a whole. The Rust
code runs another form of the same network, neighbour by neighbour and cut at the interfaces, with
its backward pass derived by hand; nothing here shares that derivation, and that is the point.

It needs PyTorch and nothing else.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

IMAGE_SIZE = 32
STAGES = 3


# ---- What a network is -------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Channels and side length of the images at one place in the network."""

    channels: int
    size: int


@dataclass(frozen=True)
class Spec:
    """A pre-activation ResNet of depth 9n + 2, or a wide one of depth 6n + 4, and the way it is made parareal."""

    width: int
    n: int
    subnetworks: int
    cuts: tuple[int, ...] | None = None  # None: as even as possible
    coarse_unit: str = "basic"
    coarse_units: int | None = None  # None: ceil(12 / N), or as many as there are halvings
    in_channels: int = 3
    classes: int = 10
    widening: int | None = None  # None: bottleneck units; otherwise basic units, this much wider

    image_size = IMAGE_SIZE

    @property
    def unit_count(self):
        return STAGES * self.n

    def stage_shape(self, stage):
        factor = 4 if self.widening is None else self.widening
        return Shape(factor * self.width * 2**stage, IMAGE_SIZE >> stage)

    def shape_at(self, position):
        """The shape after `position` units; position 0 is W_0, before the first unit."""
        if position == 0:
            return Shape(self.width, IMAGE_SIZE)
        return self.stage_shape((position - 1) // self.n)

    def stage_at(self, position):
        """The stage of the state after `position` units."""
        return max(position - 1, 0) // self.n

    def make_unit(self, before, after):
        return (BottleneckUnit if self.widening is None else BasicUnit)(before, after)

    def make_first_preprocessing(self):
        return FirstPreprocessing(self)

    def make_interface_preprocessing(self, target):
        return InterfacePreprocessing(self, target)

    def make_postprocessing(self):
        return Postprocessing(self.stage_shape(STAGES - 1).channels, self.classes)

    def positions(self):
        """p_0 .. p_N: subnetwork j holds the units from p_{j-1} up to, without, p_j."""
        if self.cuts is not None:
            pieces = [0, *self.cuts, self.unit_count]
        elif self.subnetworks % STAGES == 0:
            pieces = [0]
            for _ in range(STAGES):
                for length in even_lengths(self.n, self.subnetworks // STAGES):
                    pieces.append(pieces[-1] + length)
        else:
            pieces = [0]
            for length in even_lengths(self.unit_count, self.subnetworks):
                pieces.append(pieces[-1] + length)
        assert len(pieces) == self.subnetworks + 1
        assert all(a < b for a, b in zip(pieces, pieces[1:])), f"an empty subnetwork: {pieces}"
        return pieces

    def coarse_unit_count(self, steps):
        """N_c of an F_j that passes into the next stage this many times."""
        if self.coarse_units is not None:
            assert self.coarse_units >= steps
            return self.coarse_units
        assert self.coarse_unit == "basic", "the paper has a default for basic units only"
        return max(math.ceil(12 / self.subnetworks), steps)


def even_lengths(total, parts):
    """`total` in `parts` whole pieces that differ by at most one, the larger ones first."""
    return [total // parts + (1 if k < total % parts else 0) for k in range(parts)]


def halvings_between(before, after):
    return int(math.log2(before.size // after.size))


# ---- The operators -----------------------------------------------------------------------------


def convolution(before, after, kernel, stride=1, groups=1):
    padding = kernel // 2
    return nn.Conv2d(before, after, kernel, stride=stride, padding=padding, groups=groups, bias=False)


def normalization(channels):
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


def unit_stride(before, after):
    assert before.size in (after.size, 2 * after.size)
    return before.size // after.size


def projection(before, after):
    """The 1x1 convolution on the skip, or None where the skip can stay the identity."""
    if before == after:
        return None
    return convolution(before.channels, after.channels, 1, unit_stride(before, after))


class BottleneckUnit(nn.Module):
    """1x1 to a quarter of the channels, 3x3 (with the stride), 1x1 back, plus skip."""

    def __init__(self, before, after):
        super().__init__()
        narrow = after.channels // 4
        self.norm1 = normalization(before.channels)
        self.conv1 = convolution(before.channels, narrow, 1)
        self.norm2 = normalization(narrow)
        self.conv2 = convolution(narrow, narrow, 3, unit_stride(before, after))
        self.norm3 = normalization(narrow)
        self.conv3 = convolution(narrow, after.channels, 1)
        self.projection = projection(before, after)

    def forward(self, x):
        o = functional.relu(self.norm1(x))
        y = self.conv1(o)
        y = self.conv2(functional.relu(self.norm2(y)))
        y = self.conv3(functional.relu(self.norm3(y)))
        skip = x if self.projection is None else self.projection(o)
        return skip + y


class BasicUnit(nn.Module):
    """Two 3x3 convolutions (the first with the stride), plus skip."""

    def __init__(self, before, after):
        super().__init__()
        self.norm1 = normalization(before.channels)
        self.conv1 = convolution(before.channels, after.channels, 3, unit_stride(before, after))
        self.norm2 = normalization(after.channels)
        self.conv2 = convolution(after.channels, after.channels, 3)
        self.projection = projection(before, after)

    def forward(self, x):
        o = functional.relu(self.norm1(x))
        y = self.conv1(o)
        y = self.conv2(functional.relu(self.norm2(y)))
        skip = x if self.projection is None else self.projection(o)
        return skip + y


class DepthwiseUnit(nn.Module):
    """A 1x1 and a 3x3 depthwise convolution (the first with the stride), twice, plus skip."""

    def __init__(self, before, after):
        super().__init__()
        channels, stride = after.channels, unit_stride(before, after)
        self.norm1 = normalization(before.channels)
        self.conv1 = convolution(before.channels, channels, 1)
        self.depthwise1 = convolution(channels, channels, 3, stride, groups=channels)
        self.norm2 = normalization(channels)
        self.conv2 = convolution(channels, channels, 1)
        self.depthwise2 = convolution(channels, channels, 3, groups=channels)
        self.projection = projection(before, after)

    def forward(self, x):
        o = functional.relu(self.norm1(x))
        y = self.depthwise1(self.conv1(o))
        y = self.depthwise2(self.conv2(functional.relu(self.norm2(y))))
        skip = x if self.projection is None else self.projection(o)
        return skip + y


class CoarsenedUnit(nn.Module):
    """The basic unit at half the resolution: average pooling, two 3x3, nearest-neighbour interpolation.

    The skip has the full resolution. Where the image is halved it is a projection of the pooled
    and activated image, which is of the output's size already. At an odd size the last row and
    column are pooled by themselves, and the interpolated image is cropped.
    """

    def __init__(self, before, after):
        super().__init__()
        self.norm1 = normalization(before.channels)
        self.conv1 = convolution(before.channels, after.channels, 3, unit_stride(before, after))
        self.norm2 = normalization(after.channels)
        self.conv2 = convolution(after.channels, after.channels, 3)
        self.projection = None if before == after else convolution(before.channels, after.channels, 1)

    def forward(self, x):
        o = functional.relu(self.norm1(functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)))
        y = self.conv1(o)
        y = self.conv2(functional.relu(self.norm2(y)))
        skip = x if self.projection is None else self.projection(o)
        height, width = skip.shape[2:]
        return skip + functional.interpolate(y, scale_factor=2, mode="nearest")[:, :, :height, :width]


class NarrowUnit(nn.Module):
    """1x1 to a part of the channels, two 3x3 (the first with the stride), 1x1 back, plus skip."""

    def __init__(self, divisor, before, after):
        super().__init__()
        narrow = max(after.channels // divisor, 1)
        self.norm1 = normalization(before.channels)
        self.conv1 = convolution(before.channels, narrow, 1)
        self.norm2 = normalization(narrow)
        self.conv2 = convolution(narrow, narrow, 3, unit_stride(before, after))
        self.norm3 = normalization(narrow)
        self.conv3 = convolution(narrow, narrow, 3)
        self.norm4 = normalization(narrow)
        self.conv4 = convolution(narrow, after.channels, 1)
        self.projection = projection(before, after)

    def forward(self, x):
        o = functional.relu(self.norm1(x))
        y = self.conv1(o)
        y = self.conv2(functional.relu(self.norm2(y)))
        y = self.conv3(functional.relu(self.norm3(y)))
        y = self.conv4(functional.relu(self.norm4(y)))
        skip = x if self.projection is None else self.projection(o)
        return skip + y


class BalancedGroupConvolution(nn.Module):
    """A group convolution, plus a convolution of the mean of the groups (arXiv 2310.12461)."""

    def __init__(self, before, after, groups, stride):
        super().__init__()
        self.groups = groups
        self.stride = stride
        shape = (after, before // groups, 3, 3)
        self.weight = nn.Parameter(torch.empty(shape))
        self.mean_weight = nn.Parameter(torch.empty(shape))
        for weight in (self.weight, self.mean_weight):
            nn.init.normal_(weight, std=0.1)

    def forward(self, x):
        own = functional.conv2d(x, self.weight, stride=self.stride, padding=1, groups=self.groups)
        means = torch.stack(x.chunk(self.groups, dim=1)).mean(dim=0)
        return own + functional.conv2d(means, self.mean_weight, stride=self.stride, padding=1)


class GroupedUnit(nn.Module):
    """Two balanced group convolutions (the first with the stride), plus skip."""

    def __init__(self, before, after):
        super().__init__()

        def groups(*channels):
            return max(g for g in range(1, 9) if all(c % g == 0 for c in channels))

        stride = unit_stride(before, after)
        first = groups(before.channels, after.channels)
        self.norm1 = normalization(before.channels)
        self.conv1 = BalancedGroupConvolution(before.channels, after.channels, first, stride)
        self.norm2 = normalization(after.channels)
        self.conv2 = BalancedGroupConvolution(after.channels, after.channels, groups(after.channels), 1)
        self.projection = projection(before, after)

    def forward(self, x):
        o = functional.relu(self.norm1(x))
        y = self.conv2(functional.relu(self.norm2(self.conv1(o))))
        skip = x if self.projection is None else self.projection(o)
        return skip + y


class SkipUnit(nn.Module):
    """The skip alone."""

    def __init__(self, before, after):
        super().__init__()
        self.projection = projection(before, after)
        self.norm1 = None if self.projection is None else normalization(before.channels)

    def forward(self, x):
        return x if self.projection is None else self.projection(functional.relu(self.norm1(x)))


# `other_networks.py` adds the unit of a vision transformer.
COARSE_UNITS = {
    "basic": BasicUnit,
    "bottleneck": BottleneckUnit,
    "depthwise": DepthwiseUnit,
    "coarsened": CoarsenedUnit,
    "half": partial(NarrowUnit, 2),
    "quarter": partial(NarrowUnit, 4),
    "grouped": GroupedUnit,
    "none": SkipUnit,
}


class FirstPreprocessing(nn.Module):
    """C = C_1, one 3x3 convolution."""

    def __init__(self, spec):
        super().__init__()
        self.conv = convolution(spec.in_channels, spec.width, 3)

    def forward(self, image):
        return self.conv(image)


class InterfacePreprocessing(nn.Module):
    """C_{j+1}: max pooling down to the size at the cut, a 1x1 convolution to its channels.

    Two windows that overlap may pick the same pixel, so the second of two poolings can meet
    equal values; whichever it takes, the gradient arrives at that one pixel.
    """

    def __init__(self, spec, target):
        super().__init__()
        self.poolings = halvings_between(Shape(spec.in_channels, spec.image_size), target)
        self.conv = convolution(spec.in_channels, target.channels, 1)

    def forward(self, image):
        for _ in range(self.poolings):
            image = functional.max_pool2d(image, kernel_size=3, stride=2, padding=1)
        return self.conv(image)


class Postprocessing(nn.Module):
    """h: batch normalization, ReLU, global average pooling, linear."""

    def __init__(self, channels, classes):
        super().__init__()
        self.norm = normalization(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(functional.relu(self.norm(x)).mean(dim=(2, 3)))


class Interface(nn.Module):
    """What the parareal network adds between the subnetworks j and j + 1: C_{j+1} and F_j."""

    def __init__(self, spec, position, following):
        super().__init__()
        before, after = spec.shape_at(position), spec.shape_at(following)
        self.preprocessing = spec.make_interface_preprocessing(before)
        # The first units pass into the next stage, one step each.
        first, last = spec.stage_at(position), spec.stage_at(following)
        make_unit = COARSE_UNITS[spec.coarse_unit]
        units, shape = [], before
        for k in range(spec.coarse_unit_count(last - first)):
            next_shape = spec.stage_shape(min(first + k + 1, last))
            units.append(make_unit(shape, next_shape))
            shape = next_shape
        assert shape == after
        self.coarse = nn.Sequential(*units)


# ---- The network -------------------------------------------------------------------------------


class PararealNetwork(nn.Module):
    """The parareal network f~; with one subnetwork it is the original network f."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.positions = spec.positions()
        self.preprocessing = spec.make_first_preprocessing()
        self.units = nn.ModuleList(
            spec.make_unit(spec.shape_at(i), spec.shape_at(i + 1)) for i in range(spec.unit_count)
        )
        self.postprocessing = spec.make_postprocessing()
        self.interfaces = nn.ModuleDict({
            str(j): Interface(spec, self.positions[j], self.positions[j + 1])
            for j in range(1, spec.subnetworks)
        })

    def C(self, j, image):
        if j == 1:
            return self.preprocessing(image)
        return self.interfaces[str(j - 1)].preprocessing(image)

    def g(self, j, x):
        for i in range(self.positions[j - 1], self.positions[j]):
            x = self.units[i](x)
        return x

    def F(self, j, r):
        return self.interfaces[str(j)].coarse(r)

    def fine(self, image):
        """Equation (2): x_1 .. x_N and y_1 .. y_N, as dictionaries from j."""
        x, y = {}, {}
        for j in range(1, self.spec.subnetworks + 1):
            x[j] = self.C(j, image)
            y[j] = self.g(j, x[j])
        for j in range(1, self.spec.subnetworks):
            assert y[j].shape == x[j + 1].shape  # so that no subtraction broadcasts
        return x, y

    def forward(self, image):
        N = self.spec.subnetworks
        x, y = self.fine(image)
        # (3a)
        r = {j: y[j] - x[j + 1] for j in range(1, N)}
        r[N] = torch.zeros_like(y[N])
        # (3b)
        r_tilde = {1: r[1]}
        for j in range(1, N):
            correction = self.F(j, r_tilde[j])
            assert correction.shape == r[j + 1].shape
            r_tilde[j + 1] = r[j + 1] + correction
        # (3c), (4)
        y_tilde = y[N] + r_tilde[N]
        return self.postprocessing(y_tilde)

    def forward_by_neighbours(self, image):
        """The same network as U_1 = y_1, U_{j+1} = y_{j+1} + F_j(U_j - x_{j+1})."""
        x, y = self.fine(image)
        U = y[1]
        for j in range(1, self.spec.subnetworks):
            U = y[j + 1] + self.F(j, U - x[j + 1])
        return self.postprocessing(U)


def named_state(network):
    """Parameters and running statistics by their dotted names."""
    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
