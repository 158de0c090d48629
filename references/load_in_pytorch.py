"""Builds a trained network in PyTorch from a checkpoint and evaluates it on the same test images.

    python references/load_in_pytorch.py RUN --data-dir DIR [--checkpoint best] [--limit-test K]

RUN is the folder of a run on MNIST or CIFAR. The script prints the number of images that are classified wrongly, which
`parareal eval RUN` prints as well.
"""

import argparse
import gzip
import hashlib
import json
import pathlib
import re
import sys

import numpy
import torch
from safetensors.torch import load
from torch import nn

from parareal_network import COARSE_UNITS, PararealNetwork, Shape, Spec, halvings_between, named_state

DATASETS = ["mnist", "cifar10", "cifar100"]
BATCH = 128


def checkpoint_folder(run, which):
    folder = run / "checkpoints"
    steps = {int(path.name.removeprefix("step-")): path for path in folder.glob("step-*")}
    if which == "best":
        which = json.loads((folder / "best.json").read_text())["step"]
    elif which == "latest":
        which = max(steps)
    return steps[int(which)]


def read_weights(folder, manifest):
    """The weights to evaluate: their moving average if there is one."""
    kinds = {entry["holds"] for entry in manifest["files"]}
    tensors = {}
    for entry in manifest["files"]:
        if entry["holds"] == ("average" if "average" in kinds else "weights"):
            content = (folder / entry["name"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entry["sha256"], f"{entry['name']} is damaged"
            tensors.update(load(content))
    # Rust's F_j keeps its units in a field of that name.
    return {re.sub(r"(\.coarse)\.units\.", r"\1.", name): tensor for name, tensor in tensors.items()}


def build(manifest, tensors, channels):
    """The network that the weights belong to."""
    configuration = manifest["configuration"]
    name = configuration.get("network", "resnet-")
    if not re.match("(wide-)?resnet-", name):
        raise SystemExit(f"expected a run of resnet-D or wide-resnet-D-K, got {name}")
    wide = re.fullmatch(r"wide-resnet-(\d+)-(\d+)", name)
    depth = configuration["depth"]
    spec = Spec(width=configuration.get("width", 16), n=(depth - 4) // 6 if wide else (depth - 2) // 9,
                widening=int(wide[2]) if wide else None,
                subnetworks=configuration["subnetworks"], cuts=cuts_of(manifest), coarse_units=2,
                in_channels=channels, classes=tensors["postprocessing.linear.bias"].numel())
    network = PararealNetwork(spec)
    for j, interface in network.interfaces.items():
        interface.coarse = build_coarse(network, int(j), configuration["coarse-unit"], tensors)
    state = named_state(network)
    assert state.keys() == tensors.keys(), sorted(state.keys() ^ tensors.keys())
    for name, tensor in state.items():
        tensor.copy_(tensors[name])
    return network.eval()


def cuts_of(manifest):
    """The positions of the cuts; None for even ones. Before format version 5 they follow from the setting."""
    if "cuts" in manifest:
        return tuple(manifest["cuts"])
    text = manifest["configuration"]["cuts"]
    return None if text == "even" else tuple(int(cut) for cut in text.split(",") if cut)


def build_coarse(network, j, kind, tensors):
    """F_j: as many units as there are tensors for. The kind `basic-or-bottleneck` differs by interface."""
    before, after = (network.spec.shape_at(network.positions[j + k]) for k in (0, 1))
    pattern = re.compile(rf"interfaces\.{j}\.coarse\.(\d+)\.(?:conv(\d))?.*")
    found = [match.groups() for match in map(pattern.fullmatch, tensors) if match]
    unit = COARSE_UNITS.get(kind) or COARSE_UNITS["bottleneck" if ("0", "3") in found else "basic"]
    units, shape, halvings = [], before, halvings_between(before, after)
    # Units of the kind `none` that do not change the shape have no tensors, and no effect.
    for k in range(1 + max((int(number) for number, _ in found), default=-1)):
        following = Shape(2 * shape.channels, shape.size // 2) if k < halvings else shape
        units.append(unit(shape, following))
        shape = following
    assert shape == after
    return nn.Sequential(*units)


def read(folder, *names):
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                content = path.read_bytes()
                return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    sys.exit(f"{folder}: expected one of {', '.join(names)}")


def test_images(dataset, data_dir):
    """Pixels [n, c, 32, 32] and labels [n] of the test set."""
    if dataset == "mnist":
        folder = data_dir / "mnist"
        pixels = numpy.frombuffer(read(folder, "t10k-images-idx3-ubyte"), numpy.uint8, offset=16)
        labels = numpy.frombuffer(read(folder, "t10k-labels-idx1-ubyte"), numpy.uint8, offset=8)
        pixels = numpy.pad(pixels.reshape(-1, 1, 28, 28), ((0, 0), (0, 0), (2, 2), (2, 2)))
        return pixels, labels
    leading = {"cifar10": 1, "cifar100": 2}[dataset]
    folder = data_dir / dataset.replace("cifar", "cifar-")
    records = numpy.frombuffer(read(folder, "test_batch.bin", "test.bin"), numpy.uint8)
    records = records.reshape(-1, leading + 3072)
    return records[:, leading:].reshape(-1, 3, 32, 32), records[:, leading - 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--checkpoint", default="latest", help="latest, best or a step")
    parser.add_argument("--limit-test", type=int, help="the first K test images only")
    arguments = parser.parse_args()

    folder = checkpoint_folder(arguments.run, arguments.checkpoint)
    manifest = json.loads((folder / "manifest.json").read_text())
    configuration = manifest["configuration"]
    dataset = configuration["dataset"]
    if dataset not in DATASETS:
        sys.exit(f"cannot read the images of {dataset}: expected a run on MNIST or CIFAR")
    limit = arguments.limit_test or configuration.get("limit-test")
    pixels, labels = (values[:limit] for values in test_images(dataset, arguments.data_dir))
    data = manifest["data"] if manifest["format_version"] >= 5 else manifest["images"]
    mean, deviation = (numpy.float32(data[key]).reshape(1, -1, 1, 1) for key in ("mean", "deviation"))
    network = build(manifest, read_weights(folder, manifest), pixels.shape[1])
    wrong = 0
    with torch.no_grad():
        for first in range(0, len(labels), BATCH):
            batch = slice(first, first + BATCH)
            images = (pixels[batch].astype(numpy.float32) / 255 - mean) / deviation
            answers = network(torch.from_numpy(images)).argmax(1).numpy()
            wrong += int((answers != labels[batch]).sum())
    print(f"step {manifest['step']}: test error {100 * wrong / len(labels):.1f} % "
          f"({wrong} of {len(labels)} images wrong)")


if __name__ == "__main__":
    main()
