"""Images resized by Pillow, for a test of parareal-data.

Writes `crates/parareal-data/tests/fixtures/resize.bin`. All numbers are unsigned, 16 bits, little-endian: the number of
images; for each image its height and width, its pixels `[height, width, 3]` and the number of results; for each result the
four edges of the box (left, top, right, bottom) in eighths of a pixel, height and width of the result, and its pixels
`[3, height, width]`, from `Image.resize((width, height), BILINEAR, box)`.

Then the number of center crops; for each of them the height and width of an image, whose pixels follow from their position
(`pattern` below), the size of the crop, and its pixels `[3, size, size]`, from torchvision's `Resize` of the shorter side to 256/224
of the size and `CenterCrop`.

    pip install -r references/requirements-images.txt
    python references/resize.py
"""

import sys
from pathlib import Path
from struct import pack

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

OUTPUT = Path(__file__).parent.parent / "crates/parareal-data/tests/fixtures/resize.bin"
# Height and width of each image.
IMAGES = [(23, 37), (40, 29), (1, 7), (5, 1)]


def boxes(height: int, width: int) -> list[tuple[float, ...]]:
    """The whole image, and parts of it that begin and end at pixels and between them."""
    return [
        (0, 0, width, height),
        (width // 3, height // 4, width // 3 + (width + 1) // 2, height // 4 + (height + 1) // 2),
        (width / 8, 0, width, height - height / 8),
        (0, height / 4, width / 2, height),
    ]


def pattern(height: int, width: int) -> Image.Image:
    y, x, channel = np.ogrid[:height, :width, :3]
    return Image.fromarray(((7 * x + 13 * y + x * y // 5 + 50 * channel) % 256).astype(np.uint8))


def numbers(*values: float) -> bytes:
    return b"".join(pack("<H", int(value)) for value in values)


content = [numbers(len(IMAGES))]
random = np.random.default_rng(1)
for height, width in IMAGES:
    # Noise, edges and a gradient, with black and white pixels.
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[height // 2 :, : width // 2] = 255
    pixels[: height // 2, width // 2 :, 0] = 0
    content.append(numbers(height, width) + pixels.tobytes())
    image = Image.fromarray(pixels)
    sizes = [(12, 12), (9, 31), (24, 20)] if height > 5 else [(4, 6), (1, 1)]
    results = [(box, size) for box in boxes(height, width) for size in sizes]
    content.append(numbers(len(results)))
    for box, (rows, columns) in results:
        box = tuple(round(8 * edge) / 8 for edge in box)
        resized = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR, box))
        content.append(numbers(*(8 * edge for edge in box), rows, columns))
        content.append(np.ascontiguousarray(resized.transpose(2, 0, 1)).tobytes())
crops = [(130, 90, 12), (61, 200, 20), (9, 9, 16), (300, 7, 9), (37, 38, 37)]
content.append(numbers(len(crops)))
for height, width, size in crops:
    transform = Compose([Resize(round(size * 256 / 224)), CenterCrop(size)])
    cropped = np.asarray(transform(pattern(height, width)))
    content.append(numbers(height, width, size))
    content.append(np.ascontiguousarray(cropped.transpose(2, 0, 1)).tobytes())
if sys.argv[1:] == ["--check"]:
    is_same = OUTPUT.read_bytes() == b"".join(content)
    print("ok" if is_same else f"{OUTPUT} differs")
    sys.exit(0 if is_same else 1)
OUTPUT.write_bytes(b"".join(content))
print(OUTPUT.stat().st_size, "bytes")
