"""Prints the distribution of torchvision's random resized crops, for the test of `Crop` in parareal-data.

    pip install -r references/requirements-images.txt
    python references/resized_crop.py

For images of three sizes and 400,000 crops each: deciles of the number of pixels and of the ratio of width to height, the
means of the top and the left edge, and the share of crops that are the one in the center, as lines of Rust.
"""

import statistics

import torch
from torchvision.transforms import RandomResizedCrop

SAMPLES = 400_000

torch.manual_seed(1)
for height, width in [(96, 128), (64, 64), (40, 120)]:
    image = torch.zeros(3, height, width)
    areas, ratios, tops, lefts, central = [], [], [], [], 0
    columns = round(height * 4 / 3) if width / height > 4 / 3 else width
    center = (0, (width - columns) // 2, height, columns)
    for _ in range(SAMPLES):
        crop = RandomResizedCrop.get_params(image, scale=[0.08, 1.0], ratio=[3 / 4, 4 / 3])
        top, left, h, w = crop
        areas.append(h * w)
        ratios.append(w / h)
        tops.append(top)
        lefts.append(left)
        central += tuple(crop) == center
    print(f"([{height}, {width}],")
    print(" ", [float(area) for area in statistics.quantiles(areas, n=10)], ",")
    print(" ", [round(ratio, 4) for ratio in statistics.quantiles(ratios, n=10)], ",")
    print(f"  [{statistics.fmean(tops):.3f}, {statistics.fmean(lefts):.3f}], {central / SAMPLES:.4f}),")
