"""PyTorch's side of the comparison: one case, timed when `compare.py` asks.

    python peer.py THREADS PRECISION VARIANT network N SUBNETWORKS KIND COARSE_UNITS BATCH
    python peer.py THREADS PRECISION VARIANT operation SIZE FROM TO KERNEL STRIDE BATCH

PRECISION is `f32`, or `bf16` for autocast to bfloat16. VARIANT joins any of `channels-last` and `compiled` by `+`, or is `plain`. It prints `ready` once
it has warmed up; then the seconds that the case took for each line `time` on standard input, and
the gigabytes that it has needed at most since for a line `peak`.
"""

import gc
import os
import pathlib
import sys
import time

import torch
from torch.nn import functional

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "references"))
from parareal_network import PararealNetwork, Spec  # noqa: E402

WARM_UP = 2
REPETITIONS = 20  # of a single operation, timed as one


def status(key):
    """A line of /proc/self/status, in gigabytes of 10^9 bytes."""
    with open("/proc/self/status") as lines:
        line = next(line for line in lines if line.startswith(key))
    return int(line.split()[1]) * 1024 / 1e9


def forget_peak():
    """Starts a new peak of memory, where the system lets a process do so."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError as error:
        print(f"the memory peak is that of the whole process: {error}", file=sys.stderr)


def autocast(precision):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")


def network(precision, variant, n, subnetworks, kind, coarse_units, batch):
    """A training step of a parareal ResNet; with one subnetwork it is the serial ResNet."""
    spec = Spec(
        width=16, n=int(n), subnetworks=int(subnetworks), coarse_unit=kind, coarse_units=int(coarse_units)
    )
    torch.manual_seed(1)
    model = PararealNetwork(spec).train()
    images = torch.randn(int(batch), 3, 32, 32)
    labels = torch.arange(int(batch)) % 10
    if "channels-last" in variant:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    if "compiled" in variant:
        # Unit by unit: units of one shape share what is compiled, where the whole of a network of
        # a thousand layers would take hours.
        torch._dynamo.config.recompile_limit = 64
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        parts = [*model.units, model.preprocessing, model.postprocessing]
        for interface in model.interfaces.values():
            parts += [interface.preprocessing, *interface.coarse]
        for part in parts:
            part.compile(dynamic=False)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True
    )

    def step():
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        # The form with the fewest additions, which is ours too.
        with autocast(precision):
            loss = functional.cross_entropy(model.forward_by_neighbours(images), labels)
        loss.backward()
        optimizer.step()
        return time.perf_counter() - begun

    return step


def operation(precision, variant, size, before, after, kernel, stride, batch):
    """Batch normalization, ReLU and convolution, forward and backward; the mean of many runs."""
    size, before, after, kernel, stride, batch = map(int, (size, before, after, kernel, stride, batch))
    layout = torch.channels_last if "channels-last" in variant else torch.contiguous_format
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32  # what a convolution before this returns
    image = torch.randn(batch, before, size, size, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(after, before, kernel, kernel).contiguous(memory_format=layout).requires_grad_()
    scale, shift = (torch.randn(before, requires_grad=True) for _ in range(2))
    cotangent = torch.randn(batch, after, size // stride, size // stride, dtype=dtype)
    cotangent = cotangent.contiguous(memory_format=layout)

    def run():
        with autocast(precision):
            normalized = functional.batch_norm(image, None, None, scale, shift, training=True)
            return functional.conv2d(functional.relu(normalized), weight, None, stride, kernel // 2)

    if "compiled" in variant:
        run = torch.compile(run, dynamic=False)

    def repeat():
        begun = time.perf_counter()
        for _ in range(REPETITIONS):
            torch.autograd.grad(run(), [image, weight, scale, shift], cotangent)
        return (time.perf_counter() - begun) / REPETITIONS

    return repeat


def main():
    threads, precision, variant, what, *sizes = sys.argv[1:]
    torch.set_num_threads(int(threads))
    variant = variant.split("+")
    # A tiny network first: what the libraries load and keep once is not the case's memory.
    network(precision, variant, 1, 1, "bottleneck", 1, 2)()
    gc.collect()
    before = status("VmRSS")
    case = {"network": network, "operation": operation}[what](precision, variant, *sizes)
    for _ in range(WARM_UP):
        case()
    forget_peak()
    print("ready", flush=True)
    for line in sys.stdin:
        print(case() if line.strip() == "time" else status("VmHWM") - before, flush=True)
    os._exit(0)  # the compiler's helpers would keep the process for a while


if __name__ == "__main__":
    main()
