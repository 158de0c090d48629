"""Trains torchvision's ResNet-50 on six classes of CIFAR-10 and fine-tunes it as a parareal network on the other four.

    python references/fine_tune.py --data-dir DIR [--parareal target/release/parareal] [--output runs/fine-tune]

PyTorch trains the network at 64x64 pixels and writes its weights as a safetensors file. `parareal train` then trains five networks on
the other classes: N = 1 and N = 3, each from scratch and from the file, and N = 3 with distillation. Prints the test error after
each epoch. Weights and runs that are there already are used again, and interrupted runs are resumed.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch.nn import functional
from torchvision import transforms

from published import unpacked

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
# The classes of the fine-tuned network.
TARGET = ["automobile", "bird", "cat", "ship"]
SIZE = 64
SOURCE_EPOCHS, TARGET_EPOCHS, BATCH = 6, 4, 32
DISTILLATION = 100
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_images(source, folder):
    """The images of CIFAR-10 as `folder/source` and `folder/target`, each with `train` and `test`."""
    for split, pattern in (("train", "data_batch_*.bin*"), ("test", "test_batch.bin*")):
        index = 0
        for file in sorted(source.glob(pattern)):
            for record in numpy.frombuffer(unpacked(file), numpy.uint8).reshape(-1, 3073):
                name = NAMES[record[0]]
                path = folder / ("target" if name in TARGET else "source") / split / name / f"{index:05}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0)).save(path)
                index += 1


def train_source(folder, weights):
    """Trains torchvision's ResNet-50 as usual, and writes its weights."""
    torch.manual_seed(1)
    finish = [transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    augment = transforms.Compose([transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), *finish])
    plain = transforms.Compose([transforms.Resize(round(SIZE * 256 / 224)), transforms.CenterCrop(SIZE), *finish])
    images = torchvision.datasets.ImageFolder(folder / "train", augment)
    tests = torchvision.datasets.ImageFolder(folder / "test", plain)
    batches = torch.utils.data.DataLoader(images, BATCH, shuffle=True, drop_last=True)
    network = torchvision.models.resnet50(num_classes=len(images.classes))
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SOURCE_EPOCHS * len(batches))
    for epoch in range(SOURCE_EPOCHS):
        network.train()
        for pixels, labels in batches:
            optimizer.zero_grad()
            functional.cross_entropy(network(pixels), labels).backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            wrong = sum((network(pixels).argmax(dim=1) != labels).sum().item()
                        for pixels, labels in torch.utils.data.DataLoader(tests, BATCH))
        print(f"ResNet-50 of torchvision, epoch {epoch + 1}: test error {100 * wrong / len(tests):.1f} %", flush=True)
    safetensors.torch.save_file(network.state_dict(), weights)


def test_errors(run):
    events = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {event["epoch"]: event["test_error"] for event in events if event["event"] == "epoch"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=pathlib.Path, required=True, help="folder with cifar-10/")
    parser.add_argument("--parareal", type=pathlib.Path, default="target/release/parareal")
    parser.add_argument("--output", type=pathlib.Path, default="runs/fine-tune")
    arguments = parser.parse_args()
    output = arguments.output
    images, weights = output / "images", output / "resnet50.safetensors"
    if not images.exists():
        unfinished = output / "unfinished"
        write_images(arguments.data_dir / "cifar-10", unfinished)
        unfinished.rename(images)
    if not weights.exists():
        train_source(images / "source", weights)
    from_file = ["--init-from", weights]
    rows = {
        "N = 1 from scratch": ["--subnetworks", 1],
        "N = 3 from scratch": ["--subnetworks", 3],
        "N = 1 from the file": ["--subnetworks", 1, *from_file],
        "N = 3 from the file": ["--subnetworks", 3, *from_file],
        "N = 3 from the file, distilled": ["--subnetworks", 3, *from_file, "--distill", DISTILLATION],
    }
    table = []
    for number, (name, flags) in enumerate(rows.items(), start=1):
        run = output / str(number)
        if len(test_errors(run) if run.exists() else {}) < TARGET_EPOCHS:
            rate = 0.01 if from_file[0] in flags else 0.02
            command = [arguments.parareal, "train", "--network", "resnet50", "--image-size", SIZE, "--dataset", "folder",
                       "--data-dir", images / "target", "--batch-size", BATCH, "--epochs", TARGET_EPOCHS,
                       "--learning-rate", rate, "--schedule", "cosine", *flags, "--output", run]
            if (run / "config.toml").exists():
                command = [arguments.parareal, "train", "--resume", "--output", run]
            done = subprocess.run([*map(str, command)])
            if done.returncode != 0:
                sys.exit(done.returncode)
        table.append((name, test_errors(run)))
    print(f"{'test error, %, after epoch':32}" + "".join(f"{epoch:7}" for epoch in range(1, TARGET_EPOCHS + 1)))
    for name, errors in table:
        print(f"{name:32}" + "".join(f"{100 * errors[epoch]:7.1f}" for epoch in range(1, TARGET_EPOCHS + 1)))


if __name__ == "__main__":
    main()
