"""PyTorch's side: training steps of one network on a GPU, timed.

    python peer.py VARIANT DEPTH SUBNETWORKS BATCH STEPS [DEVICE]

VARIANT joins any of these by `+`, or is `eager`:

- `compiled`: `torch.compile`, unit by unit;
- `graph`: a CUDA graph of the whole step;
- `channels-last`: the memory format;
- `float32`: no TF32 in convolutions, which PyTorch uses where nothing is said.

Prints one JSON value. DEVICE is `cuda` unless it is given; on `cpu` everything but `graph` runs.
"""

import json
import statistics
import sys
import time

import torch
from torch.nn import functional

from parareal_network import PararealResNet, Spec

VARIANTS = {"eager", "compiled", "graph", "channels-last", "float32"}
WARM_UP = 5


def training_step(variant, depth, subnetworks, batch, device):
    """A training step of a parareal ResNet as a function; with one subnetwork it is the serial ResNet."""
    if "float32" in variant:
        torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    spec = Spec(width=16, n=(depth - 2) // 9, subnetworks=subnetworks)
    network = PararealResNet(spec).train().to(device)
    # A batch comes from the host in every step, as on our side.
    host_images, host_labels = torch.randn(batch, 3, 32, 32), torch.arange(batch) % 10
    images, labels = host_images.to(device), host_labels.to(device)
    if "channels-last" in variant:
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    if "compiled" in variant:
        # Units of one shape share what is compiled.
        torch._dynamo.config.recompile_limit = 64
        parts = [*network.units, network.preprocessing, network.postprocessing]
        for interface in network.interfaces.values():
            parts += [interface.preprocessing, *interface.coarse]
        for part in parts:
            part.compile(dynamic=False)
    is_graph = "graph" in variant
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True
    )

    def step():
        optimizer.zero_grad(set_to_none=True)
        # The form with the fewest additions, which is ours too.
        loss = functional.cross_entropy(network.forward_by_neighbours(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    def upload():
        images.copy_(host_images)
        labels.copy_(host_labels)

    def eager():
        upload()
        return step().item()

    if not is_graph:
        return eager
    # As PyTorch's documentation asks: warmed up on another stream, then captured once.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        upload()
        graph.replay()
        return loss.item()

    return replay


def main():
    if len(sys.argv) not in (6, 7):
        sys.exit(f"error: {len(sys.argv) - 1} arguments, expected 5 or 6\n\n{__doc__}")
    variant = set(sys.argv[1].split("+"))
    depth, subnetworks, batch, steps = map(int, sys.argv[2:6])
    device = sys.argv[6] if len(sys.argv) > 6 else "cuda"
    if not variant <= VARIANTS:
        sys.exit(f"error: `{sys.argv[1]}`: expected {', '.join(sorted(VARIANTS))}, joined by `+`")
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"error: PyTorch {torch.__version__} finds no GPU")
    begun = time.perf_counter()
    step = training_step(variant, depth, subnetworks, batch, device)
    step()
    first = time.perf_counter() - begun
    for _ in range(WARM_UP):
        step()
    milliseconds = []
    for _ in range(steps):
        # Reading the loss waits for the device, as it does on our side.
        begun = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        milliseconds.append(1e3 * (time.perf_counter() - begun))
    print(json.dumps({
        "variant": sys.argv[1],
        "depth": depth,
        "subnetworks": subnetworks,
        "batch_size": batch,
        "torch": torch.__version__,
        "until_first_step_seconds": first,
        "median_ms": statistics.median(milliseconds),
        "milliseconds": milliseconds,
        "reserved_bytes": torch.cuda.max_memory_reserved() if device == "cuda" else None,
    }))


if __name__ == "__main__":
    main()
