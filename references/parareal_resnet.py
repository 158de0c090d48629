"""A parareal ResNet in PyTorch, written as the paper writes it, and the fixtures made with it.

    python references/parareal_resnet.py            write every fixture
    python references/parareal_resnet.py --check    recompute them and compare with the files
    python references/parareal_resnet.py --counts   print the parameter counts of ResNet-1001

`PararealResNet.forward` is equations (2), (3a)-(3c) and (4) of "A Parareal Architecture for Very
Deep Convolutional Neural Network" (Lee, Lee, Park) with nothing rearranged: all the residuals
r_j first, then the coarse sweep, then the sum. Autograd differentiates it as a whole. The Rust
code runs another form of the same network, neighbour by neighbour and cut at the interfaces, with
its backward pass derived by hand; nothing here shares that derivation, and that is the point.
"""

import argparse
import json
import math
import pathlib
import sys
from dataclasses import dataclass

import numpy
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from torch.nn import functional

IMAGE_SIZE = 32
STAGES = 3
BATCH = 4
TOLERANCE = 1e-12
DEFAULT_OUTPUT = (
    pathlib.Path(__file__).resolve().parent.parent
    / "crates" / "parareal-models" / "tests" / "fixtures"
)


# ---- What a network is -------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Channels and side length of the images at one place in the network."""

    channels: int
    size: int


@dataclass(frozen=True)
class Spec:
    """A pre-activation ResNet of depth 9n + 2 and the way it is made parareal."""

    width: int
    n: int
    subnetworks: int
    cuts: tuple[int, ...] | None = None  # None: as even as possible
    coarse_unit: str = "basic"
    coarse_units: int | None = None  # None: ceil(12 / N), or as many as there are halvings
    in_channels: int = 3
    classes: int = 10

    @property
    def unit_count(self):
        return STAGES * self.n

    def stage_shape(self, stage):
        return Shape(4 * self.width * 2**stage, IMAGE_SIZE >> stage)

    def shape_at(self, position):
        """The shape after `position` units; position 0 is W_0, before the first unit."""
        if position == 0:
            return Shape(self.width, IMAGE_SIZE)
        return self.stage_shape((position - 1) // self.n)

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

    def coarse_unit_count(self, halvings):
        """N_c of an F_j that passes this many halvings of the image."""
        if self.coarse_units is not None:
            assert self.coarse_units >= halvings
            return self.coarse_units
        assert self.coarse_unit == "basic", "the paper has a default for basic units only"
        return max(math.ceil(12 / self.subnetworks), halvings)


def even_lengths(total, parts):
    """`total` in `parts` whole pieces that differ by at most one, the larger ones first."""
    return [total // parts + (1 if k < total % parts else 0) for k in range(parts)]


def halvings_between(before, after):
    return int(math.log2(before.size // after.size))


# ---- The operators -----------------------------------------------------------------------------


def convolution(before, after, kernel, stride=1):
    return nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)


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


COARSE_UNITS = {"basic": BasicUnit, "bottleneck": BottleneckUnit}


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
        self.poolings = halvings_between(Shape(spec.in_channels, IMAGE_SIZE), target)
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

    def __init__(self, spec, before, after):
        super().__init__()
        self.preprocessing = InterfacePreprocessing(spec, before)
        # The first `halvings` units halve the image and double the channels, one step each.
        halvings = halvings_between(before, after)
        make_unit = COARSE_UNITS[spec.coarse_unit]
        units, shape = [], before
        for k in range(spec.coarse_unit_count(halvings)):
            following = Shape(2 * shape.channels, shape.size // 2) if k < halvings else shape
            units.append(make_unit(shape, following))
            shape = following
        assert shape == after
        self.coarse = nn.Sequential(*units)


# ---- The network -------------------------------------------------------------------------------


class PararealResNet(nn.Module):
    """The parareal network f~; with one subnetwork it is the original network f."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.positions = spec.positions()
        self.preprocessing = FirstPreprocessing(spec)
        self.units = nn.ModuleList(
            BottleneckUnit(spec.shape_at(i), spec.shape_at(i + 1)) for i in range(spec.unit_count)
        )
        self.postprocessing = Postprocessing(spec.stage_shape(STAGES - 1).channels, spec.classes)
        self.interfaces = nn.ModuleDict({
            str(j): Interface(
                spec,
                spec.shape_at(self.positions[j]),
                spec.shape_at(self.positions[j + 1]),
            )
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
}


def draw(random, name, tensor):
    """Initial values away from the usual 0 and 1 of norms and biases, where mistakes could hide."""
    shape = tuple(tensor.shape)
    if name.endswith("running_var"):
        values = 1 + 0.2 * random.random_sample(shape)
    elif ".norm" in name and name.endswith(".weight"):
        values = 1 + 0.2 * random.standard_normal(shape)
    elif name.endswith(("running_mean", ".bias")):
        values = 0.1 * random.standard_normal(shape)
    elif name.endswith("linear.weight"):
        values = random.standard_normal(shape) / math.sqrt(shape[1])
    else:  # a convolution: He initialization, fan-out
        fan_out = shape[0] * shape[2] * shape[3]
        values = random.standard_normal(shape) * math.sqrt(2 / fan_out)
    return single(values)


def single(values):
    """Rounded to what float32 holds, so that files can keep it in half the space, exactly."""
    return torch.from_numpy(values.astype(numpy.float32))


def compute(spec, seed):
    """One training step's forward and backward pass: what the fixture of a case holds."""
    # RandomState's streams are frozen by NumPy's promise; those of the newer generators are not.
    random = numpy.random.RandomState(seed)
    network = PararealResNet(spec).double()
    tensors = {}

    for name, tensor in named_state(network).items():
        tensors[f"initial/{name}"] = draw(random, name, tensor)
        tensor.copy_(tensors[f"initial/{name}"])  # from float32 to float64
    images = single(random.standard_normal((BATCH, spec.in_channels, IMAGE_SIZE, IMAGE_SIZE)))
    labels = torch.from_numpy(random.randint(0, spec.classes, BATCH).astype(numpy.int64))
    tensors["images"], tensors["labels"] = images, labels

    # A ReLU that sees a value within rounding of 0 would make gradients a matter of luck.
    closest_to_kink = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: closest_to_kink.append(out.abs().min()))
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    network.train()
    images = images.double().requires_grad_()
    logits = network(images)
    loss = functional.cross_entropy(logits, labels)
    loss.backward()
    for hook in hooks:
        hook.remove()
    assert min(closest_to_kink) > 1e-9, "a value too close to the kink of ReLU: take another seed"

    tensors["expected/logits"] = logits.detach()
    tensors["expected/loss"] = loss.detach().reshape(1)
    tensors["expected/input_gradient"] = images.grad
    for name, parameter in network.named_parameters():
        assert parameter.grad.norm() > 1e-6, f"no gradient reaches {name}"
        tensors[f"gradient/{name}"] = parameter.grad
    for name, tensor in named_state(network).items():
        if ".running_" in name:
            tensors[f"after/{name}"] = tensor.clone()

    loss_of_precision = single_precision_error(spec, tensors)
    assert loss_of_precision < 5e-5, f"single precision misses by {loss_of_precision:.1e}: another seed"

    network.eval()
    with torch.no_grad():
        evaluation_logits = network(images)
        by_neighbours = network.forward_by_neighbours(images)
    tensors["expected/evaluation_logits"] = evaluation_logits
    difference = relative_difference(by_neighbours, evaluation_logits)
    assert difference < TOLERANCE, f"the two forms of the network differ by {difference:.1e}"

    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def single_precision_error(spec, tensors):
    """The largest relative error of a gradient when PyTorch computes in float32.

    A gradient whose terms all but cancel keeps few digits in float32, whoever computes it: the
    tests ask for 1e-4 there, so a case must leave room for it.
    """
    network = PararealResNet(spec)
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
    return {
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


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (seed, spec) in CASES.items():
        path = folder / f"{name}.safetensors"
        path.write_bytes(sort_header(save(compute(spec, seed), metadata(spec))))
        print(f"{path.name}: {path.stat().st_size} bytes")


def check(folder):
    """Inputs must be the same to the bit, results to a relative difference of 1e-12."""
    failures = 0
    for name, (seed, spec) in CASES.items():
        with safe_open(folder / f"{name}.safetensors", "pt") as file:
            stored = {key: file.get_tensor(key) for key in file.keys()}
            stored_metadata = file.metadata()
        computed = compute(spec, seed)
        problems = []
        if stored_metadata != metadata(spec):
            problems.append(f"metadata {stored_metadata}, not {metadata(spec)}")
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
            network = PararealResNet(Spec(width=16, n=111, subnetworks=N, classes=100))
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
