"""Writes the results of torchvision's operations of TrivialAugment, for the test of `parareal-data`.

    pip install -r references/requirements-images.txt
    python references/trivial_augment.py            # --check compares instead

For an image of three channels and one of one channel: its pixels, then the results of all operations in the order of
`TrivialAugmentWide` with the magnitudes 7, 20 and 30 of 0 to 30, forward and reversed. Writes
`crates/parareal-data/tests/fixtures/trivial_augment.bin`.
"""

import pathlib
import sys

import torch
from torchvision.transforms import TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op
from torchvision.transforms.functional import InterpolationMode

FILE = pathlib.Path(__file__).resolve().parents[1] / "crates/parareal-data/tests/fixtures/trivial_augment.bin"
BINS = 31


def image(channels, height, width):
    """A smooth image with some noise, in a part of the range of values."""
    generator = torch.Generator().manual_seed(channels)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = [110 + 60 * torch.sin(x / (3 + c) + c) * torch.cos(y / (4 - c / 2)) for c in range(channels)]
    noise = torch.randint(-25, 26, (channels, height, width), generator=generator)
    return (torch.stack(planes) + noise).clamp(12, 231).to(torch.uint8)


def results(source):
    space = TrivialAugmentWide(num_magnitude_bins=BINS)._augmentation_space(BINS)
    for name, (magnitudes, signed) in space.items():
        for chosen in (7, 20, 30):
            for reverse in (False, True):
                magnitude = float(magnitudes[chosen].item()) if magnitudes.ndim > 0 else 0.0
                if signed and reverse:
                    magnitude = -magnitude
                yield _apply_op(source, name, magnitude, InterpolationMode.NEAREST, None)


content = bytearray()
for shape in ((3, 24, 30), (1, 18, 16)):
    source = image(*shape)
    for pixels in (source, *results(source)):
        content += bytes(pixels.flatten().tolist())
if sys.argv[1:] == ["--check"]:
    sys.exit(0 if FILE.read_bytes() == content else f"{FILE} differs")
FILE.write_bytes(content)
