"""Compares exported networks with the command: `parareal export` against `parareal predict` and `parareal eval`.

    python references/check_exports.py [--parareal target/release/parareal] [--networks NAME,..] [--data-dir DIR]

Trains tiny networks of every kind on made images, exports each in every format, and evaluates the files with PyTorch,
onnxruntime and `parareal predict FILE`. Prints a table with the largest difference of scores (log-probabilities, relative to the
largest one) and the number of wrong test images, and fails if a score differs by more than 1e-4, other images are wrong, or
`parareal eval` has another number of them. With `--data-dir`, networks are also trained on MNIST and CIFAR-10 in this folder and
evaluated on their test images. Then it converts weights that torchvision and timm have written, and compares scores with those
of the original network.
"""

import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
import safetensors.torch
import timm
import torch
import torchvision
from PIL import Image

from published import unpacked

TOLERANCE = 1e-4
# Number of images on which other libraries' networks are compared.
IMAGES = 5
# Number of test images of MNIST and CIFAR-10.
TEST_IMAGES = 500
CLASSES = ("dark", "light", "striped")

# Name of the network, the size of made images or the name of a data set, width, N, coarse unit (None: the recommended one).
CASES = [
    ("resnet-20", 32, 4, 1, None),
    *[("resnet-20", 32, 8, 3, kind)
      for kind in ("basic", "bottleneck", "depthwise", "coarsened", "half", "quarter", "grouped", "none")],
    ("resnet-29", 32, 4, 6, None),
    ("wide-resnet-16-2", 32, 4, 3, None),
    ("vgg16", 32, 4, 3, None),
    ("vgg16", 256, 1, 2, "quarter"),
    ("resnet50", 96, 4, 3, None),
    ("resnet50", 96, 4, 4, "coarsened"),
    ("vit-tiny-8", 32, 12, 3, None),
    ("vit-small-16", 64, 64, 2, None),
]

PUBLISHED = [("resnet-20", "mnist", None, 3, None), ("resnet-29", "cifar10", None, 3, None)]


def make_images(folder, size):
    """Images of three classes. Test images are resized as in Pillow if the network is larger than 32x32 pixels, and otherwise not
    resized at all: stretched images may differ by rounding."""
    random = numpy.random.RandomState(1)
    for split, count in (("train", 24), ("test", 12)):
        for label, name in enumerate(CLASSES):
            target = folder / split / name
            target.mkdir(parents=True)
            for index in range(count):
                shape = (32, 32) if split == "test" and size == 32 else (70 + index, 80)
                pixels = random.randint(0, 128, (*shape, 3)) + (0, 120, 60)[label]
                if label == 2:
                    pixels[::4] = 255
                Image.fromarray(pixels.astype(numpy.uint8)).save(target / f"{index}.png")


def run(command, *arguments, cwd):
    done = subprocess.run([command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"parareal {' '.join(map(str, arguments))}: {done.stderr}")
    return json.loads(done.stdout) if "--json" in arguments else None


def softmax(scores):
    powers = numpy.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def predicted(command, folder, source, images, classes):
    """Probabilities `[images, classes]` that `parareal predict` prints; NaN for those after the first five."""
    answers = run(command, "predict", source, *images, "--json", cwd=folder)
    rows = numpy.full((len(answers), classes), numpy.nan)
    for row, answer in zip(rows, answers):
        for each in answer["answers"]:
            row[each["class"]] = each["probability"]
    return rows


def difference(found, expected):
    """Largest difference of log-probabilities, relative to the largest. Those of less than 1e-30 are rounded too much."""
    found, expected = (numpy.log(numpy.maximum(values, 1e-30)) for values in (found, expected))
    return float(numpy.nanmax(numpy.abs(found - expected)) / max(1, numpy.nanmax(numpy.abs(expected))))


def made_images(folder, size, number):
    """Files of random values that the command only crops, and the cropped values from 0 to 1.

    Images of more than 32 pixels are resized so that the shorter side has 256/224 of the size, which these have already.
    """
    random = numpy.random.RandomState(2)
    side = size if size == 32 else round(size * 256 / 224)
    first = round((side - size) / 2)
    pixels = random.randint(0, 256, (IMAGES, side, side, 3)).astype(numpy.uint8)
    paths = [folder / f"made{number}-{index}.png" for index in range(IMAGES)]
    for path, image in zip(paths, pixels):
        Image.fromarray(image).save(path)
    cropped = pixels[:, first : first + size, first : first + size]
    return paths, cropped.transpose(0, 3, 1, 2).astype(numpy.float32) / 255


# Networks of other libraries with random weights: the name here, the library's, the image size.
PRETRAINED = [
    ("resnet50", "torchvision", "resnet50", 64, {}),
    ("resnet50", "timm", "resnet50", 64, {}),
    ("resnet101", "torchvision", "resnet101", 64, {}),
    ("resnet152", "timm", "resnet152", 64, {}),
    ("vgg16", "torchvision", "vgg16_bn", 224, {}),
    ("vgg16", "timm", "vgg16_bn", 224, {}),
    ("vit-tiny", "timm", "vit_tiny_patch16_224", 224, {"class_token": False, "global_pool": "avg", "fc_norm": False}),
    ("vit-small", "timm", "vit_small_patch16_224", 224, {"class_token": False, "global_pool": "avg", "fc_norm": False}),
]


# Mean and standard deviation of torchvision's and timm's networks, and of timm's vision transformers.
NORMALIZATION = [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5,) * 3, (0.5,) * 3)]


def randomized(network, images):
    """The network in evaluation mode, with statistics and biases that are not the usual 0 and 1. The last layer is scaled so that
    scores differ between images by about 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1, generator=generator)
            elif name.endswith(("pos_embed", "norm1.weight", "norm2.weight", "norm.weight")):
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
        network.eval()
        scores = network(images)
        last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
        scale = scores.std(dim=0).mean()
        last.bias.sub_(scores.mean(dim=0)).div_(scale)
        last.weight.div_(scale)
    return network


def check_pretrained(command, folder, case, number):
    name, library, theirs, size, options = case
    torch.manual_seed(1)
    if library == "timm":
        network = timm.create_model(theirs, num_classes=7, **options)
    else:
        network = torchvision.models.get_model(theirs, num_classes=7)
    made, pixels = made_images(folder, size, f"-other{number}")
    mean, deviation = (numpy.float32(values).reshape(1, -1, 1, 1) for values in NORMALIZATION[name.startswith("vit")])
    images = torch.from_numpy((pixels - mean) / deviation)
    network = randomized(network, images)
    original, converted, graph = (f"other{number}{end}" for end in (".safetensors", "-converted.safetensors", ".onnx"))
    safetensors.torch.save_file(network.state_dict(), folder / original)
    of = ["--network", name, "--image-size", size]
    run(command, "export", original, *of, "--output", converted, cwd=folder)
    run(command, "export", original, *of, "--format", "onnx", "--normalize", "--output", graph, cwd=folder)
    with torch.no_grad():
        scores = network(images).double().numpy()
    of_predict = difference(softmax(scores), predicted(command, folder, converted, made, 7))
    session = onnxruntime.InferenceSession(folder / graph, providers=["CPUExecutionProvider"])
    found = session.run(["scores"], {"images": pixels})[0]
    of_scores = float(numpy.abs(found - scores).max() / numpy.abs(scores).max())
    fits = max(of_predict, of_scores) <= TOLERANCE
    print(f"{name:16} {library:12} {size:4} {of_predict:11.1e} {of_scores:13.1e} {'ok' if fits else 'DIFFERENT'}", flush=True)
    for file in (original, converted, graph):
        (folder / file).unlink()
    return fits


def load_module(path):
    spec = importlib.util.spec_from_file_location("model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published(data_dir, dataset, folder):
    """Writes the first test images of a published data set as files. Returns their paths and labels."""
    source = data_dir / dataset.replace("cifar", "cifar-")
    if dataset == "mnist":
        images, labels = (unpacked(next(source.glob(f"t10k-{name}*"))) for name in ("images", "labels"))
        pixels = numpy.frombuffer(images, numpy.uint8, offset=16).reshape(-1, 28, 28)
        labels = numpy.frombuffer(labels, numpy.uint8, offset=8)
    else:
        records = numpy.frombuffer(unpacked(next(source.glob("test_batch.bin*"))), numpy.uint8).reshape(-1, 3073)
        pixels, labels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
    paths = [folder / f"{dataset}-{index}.png" for index in range(TEST_IMAGES)]
    for path, image in zip(paths, pixels):
        Image.fromarray(image).save(path)
    return paths, labels[:TEST_IMAGES]


def check(command, folder, case, number, data_dir=None):
    name, images, width, subnetworks, coarse = case
    run_name = f"run{number}"
    training = ["train", "--network", name, "--subnetworks", subnetworks, "--epochs", 1, "--workers", 1, "--threads", 1,
                "--output", run_name]
    if data_dir:
        tests, labels = published(data_dir, images, folder)
        classes = 10
        training += ["--dataset", images, "--data-dir", data_dir, "--limit-train", 1000, "--limit-test", TEST_IMAGES]
    else:
        made = folder / f"images{images}"
        if not made.exists():
            make_images(made, images)
        tests = sorted((made / "test").glob("*/*.png"))
        labels = [CLASSES.index(path.parent.name) for path in tests]
        classes = len(CLASSES)
        training += ["--dataset", "folder", "--data-dir", made, "--width", width, "--image-size", images, "--batch-size", 12]
    if coarse:
        training += ["--coarse-unit", coarse]
    run(command, *training, cwd=folder)
    evaluated = run(command, "eval", run_name, "--json", cwd=folder)
    expected = predicted(command, folder, run_name, tests, classes)

    weights, plain, normalizing = (f"{run_name}{end}" for end in (".safetensors", ".onnx", "-n.onnx"))
    python = f"{run_name}-pytorch"
    run(command, "export", run_name, "--output", weights, cwd=folder)
    run(command, "export", run_name, "--format", "onnx", "--output", plain, cwd=folder)
    run(command, "export", run_name, "--format", "onnx", "--normalize", "--output", normalizing, cwd=folder)
    run(command, "export", run_name, "--format", "pytorch", "--output", python, cwd=folder)
    found = [predicted(command, folder, weights, tests, classes)]
    module = load_module(folder / python / "model.py")
    network = module.load()
    with torch.no_grad():
        pixels = torch.stack([module.read(path) for path in tests])
        found.append(softmax(network(module.normalize(pixels)).double().numpy()))
    pixels = pixels.numpy()
    model = onnx.load(folder / plain)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert len(json.loads(metadata["class-names"])) == classes, metadata
    mean, deviation = (numpy.float32(json.loads(metadata[key])).reshape(1, -1, 1, 1) for key in ("mean", "deviation"))
    for file, batch in ((plain, (pixels - mean) / deviation), (normalizing, pixels)):
        session = onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
        found.append(softmax(session.run(["scores"], {"images": batch})[0].astype(numpy.float64)))
    differences = [difference(values, expected) for values in found]
    # Missing probabilities are the smaller ones.
    wrong = [numpy.nan_to_num(values).argmax(axis=1) != labels for values in (expected, *found)]
    same = all((each == wrong[0]).all() for each in wrong) and wrong[0].sum() == evaluated["wrong"]
    fits = max(differences) <= TOLERANCE and same
    print(f"{name:16} {images:>7} {subnetworks:3} {coarse or 'auto':12}"
          f" {differences[0]:11.1e} {differences[1]:8.1e} {differences[2]:8.1e} {differences[3]:16.1e}"
          f" {wrong[0].sum():5} of {len(tests)} {'ok' if fits else 'DIFFERENT'}", flush=True)
    return fits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parareal", type=pathlib.Path, default="target/release/parareal")
    parser.add_argument("--networks", help="only these, separated by commas")
    parser.add_argument("--data-dir", type=pathlib.Path, help="folder with mnist/ and cifar-10/")
    arguments = parser.parse_args()
    data_dir = arguments.data_dir and arguments.data_dir.resolve()
    names = arguments.networks and arguments.networks.split(",")
    unknown = set(names or []) - {case[0] for case in CASES + PUBLISHED + PRETRAINED}
    if unknown:
        parser.error(f"unknown networks: {', '.join(sorted(unknown))}")
    chosen = lambda cases: [case for case in cases if not names or case[0] in names]
    print("network          images    N coarse unit  safetensors  pytorch     onnx onnx, normalizing  wrong")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        command = arguments.parareal.resolve()
        fits = [check(command, folder, case, number) for number, case in enumerate(chosen(CASES))]
        if data_dir:
            fits += [check(command, folder, case, case[1], data_dir) for case in chosen(PUBLISHED)]
        print("\nweights of       library      size     predict          onnx")
        fits += [check_pretrained(command, folder, case, number) for number, case in enumerate(chosen(PRETRAINED))]
    sys.exit(0 if all(fits) else 1)


if __name__ == "__main__":
    main()
