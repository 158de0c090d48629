"""Prints the distribution of torchvision's random erasing, for the test of `RandomErasing` in parareal-data.

    pip install -r references/requirements-images.txt
    python references/random_erasing.py

Deciles of the number of erased pixels and of the ratio of height to width, and the means of the top and the left
edge, of 400,000 images of 32×32 pixels.
"""

import statistics

import torch
from torchvision.transforms import RandomErasing

SAMPLES, SIZE = 400_000, 32

torch.manual_seed(1)
image = torch.zeros(3, SIZE, SIZE)
areas, ratios, tops, lefts = [], [], [], []
for _ in range(SAMPLES):
    top, left, height, width, _ = RandomErasing.get_params(image, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=[0])
    areas.append(height * width)
    ratios.append(height / width)
    tops.append(top)
    lefts.append(left)
print("pixels", statistics.quantiles(areas, n=10))
print("ratios", [round(ratio, 4) for ratio in statistics.quantiles(ratios, n=10)])
print("edges", round(statistics.fmean(tops), 3), round(statistics.fmean(lefts), 3))
