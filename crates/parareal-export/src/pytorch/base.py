import argparse
import pathlib
import sys

import torch
from torch import nn
from torch.nn import functional


def conv(before, after, kernel, stride=1):
    """A convolution without a bias that keeps the size at stride 1."""
    return nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)


def projection(before, after, stride):
    """The 1x1 convolution of a skip connection; None if the shape does not change."""
    return None if before == after and stride == 1 else conv(before, after, 1, stride)
