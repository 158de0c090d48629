"""VGG-16, the original ResNet and the vision transformer, to be made parareal by `parareal_network.py`.

Each is a specification like `parareal_network.Spec`: the shapes of its states, its modules, and
the modules at the cuts. Nothing here is taken from the Rust code but the names of the parameters
and the rules that it documents.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from parareal_network import (
    COARSE_UNITS, IMAGE_SIZE, InterfacePreprocessing, Shape, Spec, convolution, normalization,
)


@dataclass(frozen=True, kw_only=True)
class StagedSpec(Spec):
    """A network whose stages have different numbers of units; `n` has no meaning."""

    n: int = 0
    image_size: int = IMAGE_SIZE
    stage_units = ()

    @property
    def unit_count(self):
        return sum(self.stage_units)

    def stage_at(self, position):
        stage, end = 0, self.stage_units[0]
        while position > end:
            stage += 1
            end += self.stage_units[stage]
        return stage

    def shape_at(self, position):
        return self.first_shape() if position == 0 else self.stage_shape(self.stage_at(position))

    def last_shape(self):
        return self.shape_at(self.unit_count)

    def make_interface_preprocessing(self, target):
        if target == self.shape_at(0):
            return self.make_first_preprocessing()
        return InterfacePreprocessing(self, target)


# ---- VGG-16 with batch normalization -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class VggSpec(StagedSpec):
    """VGG-16: thirteen 3x3 convolutions, the first of which is the preprocessing."""

    name = "vgg16"
    stage_units = (1, 2, 3, 3, 3)

    def stage_shape(self, stage):
        return Shape(self.width * (1, 2, 4, 8, 8)[stage], self.image_size // 2**stage)

    def first_shape(self):
        return self.stage_shape(0)

    def make_unit(self, before, after):
        return VggUnit(before, after)

    def make_postprocessing(self):
        if self.image_size >= 224:
            return VggClassifier(self)
        return VggPostprocessing(self.last_shape().channels, self.classes)


class VggUnit(nn.Module):
    """Normalization and ReLU of the convolution before, pooling between stages, a convolution."""

    def __init__(self, before, after):
        super().__init__()
        self.norm = normalization(before.channels)
        self.conv = convolution(before.channels, after.channels, 3)
        self.pools = before.size != after.size

    def forward(self, x):
        x = functional.relu(self.norm(x))
        return self.conv(functional.max_pool2d(x, 2) if self.pools else x)


class VggPostprocessing(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.norm = normalization(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.norm(x)), 2)
        return self.linear(x.mean(dim=(2, 3)))


class VggClassifier(nn.Module):
    """Pooling to 7x7 pixels and three linear layers, without dropout."""

    def __init__(self, spec):
        super().__init__()
        channels, wide = spec.last_shape().channels, 64 * spec.width
        self.norm = normalization(channels)
        self.linear1 = nn.Linear(7 * 7 * channels, wide)
        self.linear2 = nn.Linear(wide, wide)
        self.linear3 = nn.Linear(wide, spec.classes)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.norm(x)), 2)
        x = functional.adaptive_avg_pool2d(x, 7).flatten(1)
        x = functional.relu(self.linear1(x))
        return self.linear3(functional.relu(self.linear2(x)))


# ---- The original ResNet -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OriginalResNetSpec(StagedSpec):
    """ResNet-50, with the strides in the 3x3 convolutions, as in torchvision."""

    name = "resnet50"
    stage_units = (3, 4, 6, 3)

    def stage_shape(self, stage):
        return Shape(4 * self.width * 2**stage, self.image_size // 4 // 2**stage)

    def first_shape(self):
        return Shape(self.width, self.image_size // 4)

    def make_unit(self, before, after):
        return OriginalBottleneckUnit(before, after)

    def make_first_preprocessing(self):
        return OriginalStem(self)

    def make_postprocessing(self):
        return MeanPostprocessing(self.last_shape().channels, self.classes)


class OriginalStem(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.conv = convolution(spec.in_channels, spec.width, 7, 2)
        self.norm = normalization(spec.width)

    def forward(self, image):
        x = functional.relu(self.norm(self.conv(image)))
        return functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class OriginalBottleneckUnit(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        narrow, stride = after.channels // 4, before.size // after.size
        self.conv1 = convolution(before.channels, narrow, 1)
        self.norm1 = normalization(narrow)
        self.conv2 = convolution(narrow, narrow, 3, stride)
        self.norm2 = normalization(narrow)
        self.conv3 = convolution(narrow, after.channels, 1)
        self.norm3 = normalization(after.channels)
        if before != after:
            self.projection = convolution(before.channels, after.channels, 1, stride)
            self.projection_norm = normalization(after.channels)
        else:
            self.projection = self.projection_norm = None

    def forward(self, x):
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        skip = x if self.projection is None else self.projection_norm(self.projection(x))
        return functional.relu(y + skip)


class MeanPostprocessing(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(x.mean(dim=(2, 3)))


# ---- The vision transformer --------------------------------------------------------------------

EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class VitSpec(StagedSpec):
    """A vision transformer of twelve blocks; its states are images whose pixels are the patches."""

    patch: int
    stage_units = (12,)

    @property
    def name(self):
        return f"vit-tiny-{self.patch}"

    def stage_shape(self, stage):
        return Shape(self.width, self.image_size // self.patch)

    def first_shape(self):
        return self.stage_shape(0)

    def make_unit(self, before, after):
        return TransformerUnit(before, after)

    def make_first_preprocessing(self):
        return PatchEmbedding(self)

    def make_postprocessing(self):
        return NormPostprocessing(self.width, self.classes)


def to_tokens(x):
    """[batch, channels, height, width] to [batch, height * width, channels]."""
    return x.flatten(2).transpose(1, 2)


class PatchEmbedding(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(spec.width, spec.in_channels, spec.patch, spec.patch))
        self.bias = nn.Parameter(torch.empty(spec.width))
        side = spec.image_size // spec.patch
        self.position = nn.Parameter(torch.empty(side, side, spec.width))
        self.patch = spec.patch

    def forward(self, image):
        embedded = functional.conv2d(image, self.weight, self.bias, stride=self.patch)
        return embedded + self.position.permute(2, 0, 1)


class TransformerUnit(nn.Module):
    """Self-attention and two linear layers, each after layer normalization and with a skip."""

    def __init__(self, before, after):
        super().__init__()
        assert before == after
        channels = after.channels
        if channels % 64 == 0:
            self.heads = channels // 64
        else:
            self.heads = max(heads for heads in (1, 2, 3) if channels % heads == 0)
        self.norm1 = nn.LayerNorm(channels, eps=EPSILON)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels, eps=EPSILON)
        self.linear1 = nn.Linear(channels, 4 * channels)
        self.linear2 = nn.Linear(4 * channels, channels)

    def forward(self, x):
        height, width = x.shape[2:]
        tokens = to_tokens(x)
        attended, _ = functional.multi_head_attention_forward(
            *(self.norm1(tokens).transpose(0, 1),) * 3,
            embed_dim_to_check=tokens.shape[2],
            num_heads=self.heads,
            in_proj_weight=self.qkv.weight,
            in_proj_bias=self.qkv.bias,
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=self.proj.weight,
            out_proj_bias=self.proj.bias,
            need_weights=False,
        )
        tokens = tokens + attended.transpose(0, 1)
        tokens = tokens + self.linear2(functional.gelu(self.linear1(self.norm2(tokens))))
        return tokens.transpose(1, 2).unflatten(2, (height, width))


COARSE_UNITS["transformer"] = TransformerUnit


class NormPostprocessing(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(self.norm(to_tokens(x)).mean(dim=1))
