"""Differences between PyTorch's gradients with and without TF32.

    python3 tf32.py [DEPTH [BATCH]]

A serial ResNet with the same weights and images, forward and backward, once in float32 and once with TF32 in convolutions and
matrix products. The relative differences are those of `gpu agree`: of the outputs, of all gradients together, and the
largest of a parameter. Prints one JSON value.
"""

import json
import sys

import torch
from torch.nn import functional

from parareal_network import PararealNetwork, Spec


def gradients(network, images, labels, tf32):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    network.zero_grad()
    output = network(images)
    functional.cross_entropy(output, labels).backward()
    return output.detach().double(), {name: own.grad.double() for name, own in network.named_parameters()}


def main():
    depth, batch = (int(text) for text in (sys.argv[1:] + ["20", "32"][len(sys.argv) - 1:]))
    torch.manual_seed(1)
    network = PararealNetwork(Spec(width=16, n=(depth - 2) // 9, subnetworks=1)).train().cuda()
    images, labels = torch.randn(batch, 3, 32, 32).cuda(), torch.arange(batch).cuda() % 10
    output, exact = gradients(network, images, labels, False)
    rounded_output, rounded = gradients(network, images, labels, True)
    distances = {name: (rounded[name] - exact[name]).norm() for name in exact}
    together = sum(own**2 for own in distances.values()) / sum(own.norm() ** 2 for own in exact.values())
    worst = max(exact, key=lambda name: (distances[name] / exact[name].norm().clamp_min(1e-30)).item())
    print(json.dumps({
        "depth": depth,
        "batch": batch,
        "output": ((rounded_output - output).norm() / output.norm()).item(),
        "all_gradients": together.sqrt().item(),
        "gradients": (distances[worst] / exact[worst].norm()).item(),
        "worst_gradient": worst,
    }))


if __name__ == "__main__":
    main()
