"""Prints the distribution of torchvision's cutmix, for the test of `Mixing` in parareal-data.

    pip install -r references/requirements-images.txt
    python references/cutmix.py

For α = 1 and 400,000 batches of images of 32×32 pixels: deciles of the number of replaced pixels and of the height of
the rectangle, the fraction of batches without a rectangle, and the means of its first row and column where there is one.
"""

import statistics

import torch
from torchvision.transforms.v2 import CutMix

SAMPLES, SIZE = 400_000, 32

torch.manual_seed(1)
image = torch.zeros(2, 3, SIZE, SIZE)
cutmix = CutMix(alpha=1.0, num_classes=10)
pixels, heights, tops, lefts = [], [], [], []
for _ in range(SAMPLES):
    params = cutmix.make_params([image])
    left, top, right, bottom = params["box"]
    area = (bottom - top) * (right - left)
    assert abs(params["lam_adjusted"] - (1 - area / SIZE**2)) < 1e-12
    pixels.append(area)
    heights.append(bottom - top)
    if area:
        tops.append(top)
        lefts.append(left)
print("pixels", statistics.quantiles(pixels, n=10))
print("heights", statistics.quantiles(heights, n=10))
print("mean of the pixels", round(statistics.fmean(pixels), 2))
print("without a rectangle", round(1 - len(tops) / SAMPLES, 4))
print("edges", round(statistics.fmean(tops), 3), round(statistics.fmean(lefts), 3))
