"""Compares exported networks with the command: `parareal export` against `parareal predict` and `parareal eval`.

    python references/check_exports.py [--parareal target/release/parareal] [--networks NAME,..]

Trains tiny networks of every kind on made images, exports each in every format, and evaluates the files with PyTorch,
onnxruntime and `parareal predict FILE`. Prints a table with the largest difference between probabilities and the number of
wrong test images, and fails if a probability differs by more than 1e-4 or a number of wrong images differs. Then it converts
weights that torchvision and timm have written, and compares probabilities and scores with those of the original network.
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

TOLERANCE = 1e-4
# Number of images on which probabilities are compared.
IMAGES = 5
CLASSES = ("dark", "light", "striped")

# Name of the network, image size, width, N, coarse unit (None: the recommended one).
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


def make_images(folder):
    """Images of three classes, in sizes that are not those of the networks."""
    random = numpy.random.RandomState(1)
    for split, count in (("train", 24), ("test", 12)):
        for label, name in enumerate(CLASSES):
            target = folder / split / name
            target.mkdir(parents=True)
            for index in range(count):
                pixels = random.randint(0, 128, (70 + index, 80, 3)) + (0, 120, 60)[label]
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


def probabilities(answers):
    """`[images, classes]` from the answers of `parareal predict --json`."""
    rows = numpy.zeros((len(answers), len(CLASSES)))
    for row, answer in zip(rows, answers):
        for each in answer["answers"]:
            row[each["class"]] = each["probability"]
    return rows


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


def randomized(network):
    """The network in evaluation mode, with statistics and biases that are not the usual 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1, generator=generator)
            elif name.endswith(("pos_embed", "norm1.weight", "norm2.weight", "norm.weight")):
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
    return network.eval()


def check_pretrained(command, folder, case, number):
    name, library, theirs, size, options = case
    if library == "timm":
        network = timm.create_model(theirs, num_classes=7, **options)
    else:
        network = torchvision.models.get_model(theirs, num_classes=7)
    network = randomized(network)
    original, converted, graph = (f"other{number}{end}" for end in (".safetensors", "-converted.safetensors", ".onnx"))
    safetensors.torch.save_file(network.state_dict(), folder / original)
    of = ["--network", name, "--image-size", size]
    run(command, "export", original, *of, "--output", converted, cwd=folder)
    run(command, "export", original, *of, "--format", "onnx", "--normalize", "--output", graph, cwd=folder)
    made, pixels = made_images(folder, size, f"-other{number}")
    mean, deviation = (numpy.float32(values).reshape(1, -1, 1, 1)
                       for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        scores = network(torch.from_numpy((pixels - mean) / deviation)).double().numpy()
    answers = run(command, "predict", converted, *made, "--json", cwd=folder)
    expected = softmax(scores)
    # The five most likely classes of seven.
    of_predict = max(abs(expected[image, each["class"]] - each["probability"])
                     for image, answer in enumerate(answers) for each in answer["answers"])
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


def check(command, folder, case, number):
    name, size, width, subnetworks, coarse = case
    training = ["train", "--dataset", "folder", "--data-dir", "images", "--network", name, "--width", width,
                "--image-size", size, "--subnetworks", subnetworks, "--epochs", 1, "--batch-size", 12,
                "--workers", 1, "--threads", 1, "--output", f"run{number}"]
    if coarse:
        training += ["--coarse-unit", coarse]
    run(command, *training, cwd=folder)
    evaluated = run(command, "eval", f"run{number}", "--json", cwd=folder)
    tests = sorted((folder / "images/test").glob("*/*.png"))
    labels = [CLASSES.index(path.parent.name) for path in tests]
    made, pixels = made_images(folder, size, number)
    predicted = lambda source, paths: probabilities(run(command, "predict", source, *paths, "--json", cwd=folder))
    expected = predicted(f"run{number}", made)

    safetensors, plain, normalizing = (f"run{number}{end}" for end in (".safetensors", ".onnx", "-n.onnx"))
    python = f"run{number}-pytorch"
    run(command, "export", f"run{number}", "--output", safetensors, cwd=folder)
    run(command, "export", f"run{number}", "--format", "onnx", "--output", plain, cwd=folder)
    run(command, "export", f"run{number}", "--format", "onnx", "--normalize", "--output", normalizing, cwd=folder)
    run(command, "export", f"run{number}", "--format", "pytorch", "--output", python, cwd=folder)
    found = [predicted(safetensors, made)]
    module = load_module(folder / python / "model.py")
    network = module.load()
    with torch.no_grad():
        scores = network(module.normalize(torch.from_numpy(pixels)))
        found.append(softmax(scores.double().numpy()))
        read = torch.stack([module.read(path) for path in made])
    assert torch.equal(read, torch.from_numpy(pixels)), "model.read"
    model = onnx.load(folder / plain)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["class-names"]) == list(CLASSES), metadata
    mean, deviation = (numpy.float32(json.loads(metadata[key])).reshape(1, -1, 1, 1) for key in ("mean", "deviation"))
    for file, images in ((plain, (pixels - mean) / deviation), (normalizing, pixels)):
        session = onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
        found.append(softmax(session.run(["scores"], {"images": images})[0].astype(numpy.float64)))
    differences = [float(numpy.abs(values - expected).max()) for values in found]
    answers = predicted(safetensors, tests).argmax(axis=1)
    wrong = int((answers != labels).sum())
    fits = max(differences) <= TOLERANCE and wrong == evaluated["wrong"]
    print(f"{name:16} {size:4} {subnetworks:3} {coarse or 'auto':12}"
          f" {differences[0]:11.1e} {differences[1]:8.1e} {differences[2]:8.1e} {differences[3]:16.1e}"
          f" {wrong:5} of {len(tests)} {'ok' if fits else 'DIFFERENT'}", flush=True)
    return fits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parareal", type=pathlib.Path, default="target/release/parareal")
    parser.add_argument("--networks", help="only these, separated by commas")
    arguments = parser.parse_args()
    cases = [case for case in CASES if not arguments.networks or case[0] in arguments.networks.split(",")]
    print("network          size   N coarse unit  safetensors  pytorch     onnx onnx, normalizing  wrong")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_images(folder / "images")
        command = arguments.parareal.resolve()
        fits = [check(command, folder, case, number) for number, case in enumerate(cases)]
        cases = [case for case in PRETRAINED if not arguments.networks or case[0] in arguments.networks.split(",")]
        print("\nweights of       library      size     predict  onnx, scores")
        fits += [check_pretrained(command, folder, case, number) for number, case in enumerate(cases)]
    sys.exit(0 if all(fits) else 1)


if __name__ == "__main__":
    main()
