"""PyTorch's side: training steps of one network, timed.

VARIANT joins any of these by `+`, or is `eager`:

- `compiled`: `torch.compile`, unit by unit;
- `graph`: a CUDA graph of the whole step;
- `channels-last`: the memory format;
- `bf16`: convolutions in bfloat16 (`torch.autocast`);
- `float32`: no TF32 in convolutions, which PyTorch uses where nothing is said.

Prints one JSON value. It belongs to the package that `benchmarks/gpu/pack` makes.
"""

import argparse
import json
import statistics
import sys
import time

try:
    import torch
    from torch.nn import functional

    from parareal_network import PararealResNet, Spec
except ImportError as error:
    sys.exit(f"error: {error}")

VARIANTS = {"eager", "compiled", "graph", "channels-last", "bf16", "float32"}
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
        with torch.autocast(device, torch.bfloat16, enabled="bf16" in variant, cache_enabled="graph" not in variant):
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", metavar="VARIANT")
    for name in ("depth", "subnetworks", "batch", "steps"):
        parser.add_argument(name, metavar=name.upper(), type=int)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    arguments = parser.parse_args()
    variant, device = set(arguments.variant.split("+")), arguments.device
    depth, subnetworks, batch, steps = arguments.depth, arguments.subnetworks, arguments.batch, arguments.steps
    if not variant <= VARIANTS:
        parser.error(f"invalid value `{arguments.variant}` for the variant: expected {', '.join(sorted(VARIANTS))}, joined by `+`")
    if depth < 11 or depth % 9 != 2:
        parser.error(f"invalid value `{depth}` for depth: expected 9n + 2")
    if min(subnetworks, batch, steps) < 1 or subnetworks > (depth - 2) // 3:
        parser.error("expected 1 to n subnetworks of a network of n units, and at least one image and step")
    if "graph" in variant and device == "cpu":
        parser.error("CUDA graphs require a GPU")
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"error: PyTorch {torch.__version__} found no GPU")
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
        "variant": arguments.variant,
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
