"""Fixtures made with the parareal networks of `parareal_network.py` and `other_networks.py`, and with a head alone.

    python references/parareal_resnet.py            write every fixture
    python references/parareal_resnet.py --check    recompute them and compare with the files
    python references/parareal_resnet.py --counts   print the parameter counts of ResNet-1001
"""

import argparse
import json
import math
import pathlib
import sys

import numpy
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from other_networks import OriginalResNetSpec, StagedSpec, VggSpec, VitSpec
from parareal_network import PararealNetwork, Spec, named_state

BATCH = 4
SMALLER_BATCHES = {"resnet50_quarter": 2, "heads/vgg16": 3}
# Fifty layers with a ReLU after each addition magnify rounding: no seed leaves room for float32.
DOUBLE_PRECISION_ONLY = {"resnet50"}
TOLERANCE = 1e-12
DEFAULT_OUTPUT = (
    pathlib.Path(__file__).resolve().parent.parent
    / "crates" / "parareal-models" / "tests" / "fixtures"
)


# ---- The fixtures ------------------------------------------------------------------------------

CASES = {
    "serial": (23, Spec(width=2, n=2, subnetworks=1)),
    "basic_3": (2, Spec(width=2, n=1, subnetworks=3)),
    "basic_6": (3, Spec(width=2, n=2, subnetworks=6, in_channels=1)),
    # The cut lies inside stage 2, right after the unit that halves the image.
    "bottleneck_2": (
        4,
        Spec(width=2, n=2, subnetworks=2, coarse_unit="bottleneck", coarse_units=1, classes=5),
    ),
    # F_1 jumps from 32x32 to 8x8: both of its units have stride 2.
    "two_halvings": (
        5,
        Spec(width=2, n=1, subnetworks=2, cuts=(1,), coarse_units=2, in_channels=1),
    ),
    "wide_3": (6, Spec(width=2, n=1, subnetworks=3, coarse_unit="coarsened", coarse_units=1, widening=3)),
    # C_2 is a second C, and F_1 passes through three stages.
    "vgg16": (
        42,
        VggSpec(width=2, subnetworks=3, cuts=(1, 8), coarse_unit="coarsened", coarse_units=3, classes=5),
    ),
    # The images of the last stage have 3x3 pixels, an odd size.
    "resnet50": (
        42,
        OriginalResNetSpec(
            width=2, subnetworks=3, cuts=(5, 11), coarse_unit="coarsened", coarse_units=1,
            in_channels=1, image_size=96,
        ),
    ),
    # The coarse units that the Rust code chooses by default.
    "resnet50_quarter": (
        44,
        OriginalResNetSpec(
            width=2, subnetworks=3, cuts=(5, 11), coarse_unit="quarter", coarse_units=1,
            in_channels=1, image_size=64,
        ),
    ),
    "vit_tiny_8": (
        43,
        VitSpec(width=6, subnetworks=3, cuts=(4, 8), coarse_unit="transformer", coarse_units=1, patch=8),
    ),
    # Every other kind: a unit that halves the image and one that does not.
    **{
        kind: (
            seed,
            Spec(width=2, n=2, subnetworks=2, cuts=(4,), coarse_unit=kind, coarse_units=2, in_channels=1),
        )
        for seed, kind in enumerate(
            ["depthwise", "coarsened", "half", "quarter", "grouped", "none"], start=31
        )
    },
}

# Heads without the networks before them, which would be too large.
HEADS = {
    # States of 18x18 pixels: 9x9 after max pooling.
    "heads/vgg16": (45, VggSpec(width=1, subnetworks=1, image_size=288, classes=5)),
}


class Head(nn.Module):
    """The head of a network, for states [batch, height, width, channels] as in the Rust code."""

    def __init__(self, spec):
        super().__init__()
        self.postprocessing = spec.make_postprocessing()

    def forward(self, state):
        return self.postprocessing(state.permute(0, 3, 1, 2))


def draw(random, name, tensor):
    """Initial values away from the usual 0 and 1 of norms and biases, where mistakes could hide."""
    shape = tuple(tensor.shape)
    if name.endswith("running_var"):
        values = 1 + 0.2 * random.random_sample(shape)
    elif "norm" in name.split(".")[-2] and name.endswith(".weight"):
        values = 1 + 0.2 * random.standard_normal(shape)
    elif name.endswith(("running_mean", ".bias")):
        values = 0.1 * random.standard_normal(shape)
    elif name.endswith("bias") or name.endswith("position"):
        values = 0.1 * random.standard_normal(shape)
    elif len(shape) == 2:
        values = random.standard_normal(shape) / math.sqrt(shape[1])
    else:  # a convolution: He initialization, fan-out
        fan_out = shape[0] * shape[2] * shape[3]
        values = random.standard_normal(shape) * math.sqrt(2 / fan_out)
    return single(values)


def single(values):
    """Rounded to what float32 holds, so that files can keep it in half the space, exactly."""
    return torch.from_numpy(values.astype(numpy.float32))


def compute_network(spec, seed, batch):
    """What the fixture of a network holds."""
    shape = (batch, spec.in_channels, spec.image_size, spec.image_size)
    single_precision = getattr(spec, "name", None) not in DOUBLE_PRECISION_ONLY
    network, tensors = compute(lambda: PararealNetwork(spec), shape, spec.classes, seed, single_precision)
    with torch.no_grad():
        by_neighbours = network.forward_by_neighbours(tensors["images"].double())
    difference = relative_difference(by_neighbours, tensors["expected/evaluation_logits"])
    assert difference < TOLERANCE, f"the two forms of the network differ by {difference:.1e}"
    return tensors


def compute_head(spec, seed, batch):
    """What the fixture of a head holds."""
    last = spec.last_shape()
    shape = (batch, last.size, last.size, last.channels)
    return compute(lambda: Head(spec), shape, spec.classes, seed, single_precision=True)[1]


def compute(make_network, shape, classes, seed, single_precision):
    """One training step's forward and backward pass, and an evaluation: the network and the tensors of a fixture."""
    # RandomState's streams are frozen by NumPy's promise; those of the newer generators are not.
    random = numpy.random.RandomState(seed)
    network = make_network().double()
    tensors = {}

    for name, tensor in named_state(network).items():
        tensors[f"initial/{name}"] = draw(random, name, tensor)
        tensor.copy_(tensors[f"initial/{name}"])  # from float32 to float64
    images = single(random.standard_normal(shape))
    labels = torch.from_numpy(random.randint(0, classes, shape[0]).astype(numpy.int64))
    tensors["images"], tensors["labels"] = images, labels

    # A ReLU that sees a value within rounding of 0 would make gradients a matter of luck.
    closest_to_kink = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: closest_to_kink.append(out.abs().min()))
        for module in network.modules()
        if isinstance(module, (nn.BatchNorm2d, nn.Linear))
    ]
    network.train()
    images = images.double().requires_grad_()
    logits = network(images)
    loss = functional.cross_entropy(logits, labels)
    loss.backward()
    for hook in hooks:
        hook.remove()
    assert min(closest_to_kink, default=1) > 1e-9, "a value too close to the kink of ReLU; try another seed"

    tensors["expected/logits"] = logits.detach()
    tensors["expected/loss"] = loss.detach().reshape(1)
    tensors["expected/input_gradient"] = images.grad
    for name, parameter in network.named_parameters():
        assert parameter.grad.norm() > 1e-6, f"no gradient reaches {name}"
        tensors[f"gradient/{name}"] = parameter.grad
    for name, tensor in named_state(network).items():
        if ".running_" in name:
            tensors[f"after/{name}"] = tensor.clone()

    if single_precision:
        lost = single_precision_error(make_network(), tensors)
        assert lost < 5e-5, f"single precision differs by {lost:.1e}; try another seed"

    network.eval()
    with torch.no_grad():
        tensors["expected/evaluation_logits"] = network(images)
    return network, {name: tensor.contiguous() for name, tensor in tensors.items()}


def single_precision_error(network, tensors):
    """The largest relative error of a gradient when PyTorch computes in float32.

    A gradient whose terms all but cancel keeps few digits in float32, whoever computes it: the
    tests ask for 1e-4 there, so a case must leave room for it.
    """
    for name, tensor in named_state(network).items():
        tensor.copy_(tensors[f"initial/{name}"])
    network.train()
    functional.cross_entropy(network(tensors["images"]), tensors["labels"]).backward()
    return max(
        relative_difference(parameter.grad.double(), tensors[f"gradient/{name}"])
        for name, parameter in network.named_parameters()
    )


def metadata(spec):
    halvings = 0  # every case has the same N_c at each of its interfaces
    wide = {} if spec.widening is None else {"widening": str(spec.widening)}
    if isinstance(spec, StagedSpec):
        wide = {"network": spec.name, "image_size": str(spec.image_size)}
    return wide | {
        "width": str(spec.width),
        "n": str(spec.n),
        "subnetworks": str(spec.subnetworks),
        "cuts": ",".join(str(p) for p in spec.positions()[1:-1]),
        "coarse_unit": spec.coarse_unit,
        "coarse_units": str(spec.coarse_unit_count(halvings)),
        "in_channels": str(spec.in_channels),
        "classes": str(spec.classes),
    }


def relative_difference(a, b):
    return float((a - b).norm() / max(float(b.norm()), 1e-6 * math.sqrt(b.numel())))


def sort_header(file):
    """The same safetensors file, its metadata in alphabetical order.

    The library writes metadata in an order that changes from run to run; sorted, the same
    tensors give the same file. A header is its length in eight bytes, then JSON, then spaces.
    """
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode().ljust(length)
    assert len(text) == length
    return file[:8] + text + file[8 + length :]


def fixtures():
    """Name, metadata and tensors of every fixture, computed one after the other."""
    for cases, compute_case in ((CASES, compute_network), (HEADS, compute_head)):
        for name, (seed, spec) in cases.items():
            batch = SMALLER_BATCHES.get(name, BATCH)
            yield name, metadata(spec), compute_case(spec, seed, batch)


def write(folder):
    for name, settings, tensors in fixtures():
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sort_header(save(tensors, settings)))
        print(f"{name}: {path.stat().st_size} bytes")


def check(folder):
    """Inputs must be the same to the bit, results to a relative difference of 1e-12."""
    failures = 0
    for name, settings, computed in fixtures():
        with safe_open(folder / f"{name}.safetensors", "pt") as file:
            stored = {key: file.get_tensor(key) for key in file.keys()}
            stored_metadata = file.metadata()
        problems = []
        if stored_metadata != settings:
            problems.append(f"metadata {stored_metadata}, not {settings}")
        for key in sorted(stored.keys() ^ computed.keys()):
            problems.append(f"{key} is only in the {'file' if key in stored else 'computation'}")
        worst = 0.0
        for key in sorted(stored.keys() & computed.keys()):
            a, b = stored[key], computed[key]
            if a.dtype != b.dtype or a.shape != b.shape:
                problems.append(f"{key} is {a.dtype} {a.shape}, not {b.dtype} {b.shape}")
            elif a.dtype != torch.float64:
                if not torch.equal(a, b):
                    problems.append(f"{key} is not the same input")
            else:
                difference = relative_difference(a, b)
                worst = max(worst, difference)
                if not difference < TOLERANCE:  # written so that NaN fails too
                    problems.append(f"{key} differs by {difference:.1e}")
        failures += len(problems)
        print(f"{name}: {'; '.join(problems) or f'ok, largest relative difference {worst:.1e}'}")
    return failures == 0


# ---- Parameter counts --------------------------------------------------------------------------


def count(modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def print_counts():
    """The parameters of Table 1 in the paper: ResNet-1001 with 100 classes."""
    print("N   original    units/N  +C_j+h /N     coarse      C_2..C_N      total")
    for N in (1, 3, 6, 12, 18):
        with torch.device("meta"):  # shapes without memory
            network = PararealNetwork(Spec(width=16, n=111, subnetworks=N, classes=100))
        units = count(network.units)
        ends = count([network.preprocessing, network.postprocessing])
        coarse = count(interface.coarse for interface in network.interfaces.values())
        pre = count(interface.preprocessing for interface in network.interfaces.values())
        total = count([network])
        assert total == units + ends + coarse + pre
        print(
            f"{N:<3} {units + ends:>9,} {units / N:>12,.1f} {(units + ends + pre) / N:>12,.1f}"
            f" {coarse:>10,} {pre:>10,} {total:>12,}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=DEFAULT_OUTPUT, metavar="DIR",
                        help="where the fixtures are (default: those of parareal-models)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="compare with the files, write nothing")
    mode.add_argument("--counts", action="store_true", help="print parameter counts")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if arguments.counts:
        print_counts()
    elif arguments.check:
        sys.exit(0 if check(arguments.output) else 1)
    else:
        write(arguments.output)


if __name__ == "__main__":
    main()
