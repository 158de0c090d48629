"""Writes small valid files of each format, from which the fuzzers start, into fuzz/corpus."""

import gzip
import io
import json
import pathlib
import struct
import tarfile
import zlib

CORPUS = pathlib.Path(__file__).parent / "corpus"
JPEG = CORPUS.parents[1] / "crates/parareal-data/tests/fixtures/jpeg"


def seed(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data)


def gz(data):
    return gzip.compress(data, mtime=0)


def idx():
    images = bytes([0, 0, 8, 3]) + struct.pack(">3I", 1, 28, 28) + bytes(range(196)) * 4
    labels = bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + bytes([1, 2, 9])
    for name, data in [("images", images), ("labels", labels)]:
        seed("idx", name, data)
        seed("idx", name + "-gz", gz(data))


def record(*labels):
    return bytes(labels) + bytes(3072)


def cifar():
    for name, data in [("10", record(9)), ("100", record(19, 99))]:
        seed("cifar", name, data)
        seed("cifar", name + "-gz", gz(data * 2))


def tar(files, form=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if form == tarfile.PAX_FORMAT:
                entry.pax_headers = {"mtime": "1.5"}
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def shortened(data):
    """Without the zeros that Python adds behind the two blocks of them that end an archive."""
    data = data.rstrip(b"\0")
    return data + bytes(-len(data) % 512 + 1024)


def archive():
    names = b"".join(b"%d\n" % number for number in range(100))
    folder = "cifar-100-binary/"
    files = [(folder + "train.bin", record(1, 2)), (folder + "fine_label_names.txt", names)]
    seed("archive", "100", shortened(tar(files)))
    whole = files + [(folder + "test.bin", record(3, 4))]
    for name, form in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT),
                       ("pax", tarfile.PAX_FORMAT)]:
        seed("archive", f"100-{name}-gz", gz(tar(whole, form)))
    folder = "cifar-10-batches-bin/"
    batches = [(f"{folder}data_batch_{number}.bin", record(number)) for number in range(1, 6)]
    seed("archive", "10-gz", gz(tar(batches)))


def element(order, kind, data):
    if 0 < len(data) <= 4:
        return struct.pack(order + "I", len(data) << 16 | kind) + data.ljust(4, b"\0")
    return struct.pack(order + "2I", kind, len(data)) + data + bytes(-len(data) % 8)


def array(order, name, kind, number_class, dimensions, numbers):
    words = lambda values: struct.pack(order + f"{len(values)}I", *values)
    contents = element(order, 6, words([number_class, 0])) + element(order, 5, words(dimensions))
    contents += element(order, 1, name) + element(order, kind, numbers)
    return struct.pack(order + "2I", 14, len(contents)) + contents


def matlab():
    for name, order, version in [("little", "<", b"\0\1IM"), ("big", ">", b"\1\0MI")]:
        header = b"MATLAB 5.0 MAT-file".ljust(124) + version
        labels = struct.pack(order + "d", 10)
        variables = [
            array(order, b"X", 2, 9, [32, 32, 3, 1], bytes(3072)),
            array(order, b"y", 9, 6, [1, 1], labels),
            array(order, b"other", 4, 4, [1, 2], b"a\0b\0"),
        ]
        seed("matlab", name, header + b"".join(variables))
        packed = [zlib.compress(variable) for variable in variables]
        packed = [struct.pack(order + "2I", 15, len(data)) + data for data in packed]
        seed("matlab", name + "-compressed", header + b"".join(packed))


def tensors(names, metadata=None):
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, kind, shape, numbers in names:
        header[name] = {
            "dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(numbers)],
        }
        data += numbers
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


ONE = [("a.weight", "F32", [2, 1], bytes(8))]
MORE = ONE + [("b", "F64", [1], bytes(8)), ("c", "U64", [], bytes(8)), ("d", "I64", [0, 3], b"")]


def safetensors():
    seed("safetensors", "one", tensors(ONE))
    seed("safetensors", "more", tensors(MORE))
    seed("safetensors", "none", tensors([]))


def checkpoint():
    def made(files, channels, held):
        manifest = {
            "format_version": 3, "step": 7, "epoch": 2, "epoch_steps": 3,
            "epoch_tally": {"images": 48, "wrong": 40, "loss": 110.5}, "epoch_seconds": 0.25,
            "metrics_bytes": 1234, "configuration": {"depth": 11, "seed": 1},
            "images": {
                "fingerprint": "00", "channels": channels, "height": 32, "width": 32,
                "class_names": ["a", "b"], "mean": [0.5] * channels, "deviation": [0.25] * channels,
            },
            "files": [
                {"subnetwork": 1, "holds": holds, "name": f"subnetwork-01.{holds}.safetensors",
                 "bytes": 0, "sha256": "SHA256", "tensors": len(held)} for holds in files
            ],
        }
        text = json.dumps(manifest).replace('"bytes": 0', '"bytes": BYTES')
        return text.encode() + b"\0" + tensors(held)

    seed("checkpoint", "weights", made(["weights"], 3, MORE))
    seed("checkpoint", "grey", made(["weights", "average"], 1, ONE))
    seed("checkpoint", "both", made(["weights", "optimizer"], 3, [("s", "U64", [], bytes(8))]))


def weights():
    metadata = {
        "format": "pt", "parareal-version": "0.1.0", "network": "resnet-11", "width": "1",
        "image-size": "32", "cuts": "[1,2]", "coarse-unit": "none", "coarse-units": "1",
        "classes": "2", "class-names": '["cat","dog"]', "channels": "1", "padding": "2",
        "mean": "[0.5]", "deviation": "[0.25]", "dataset": "folder", "step": "7",
    }
    network = [("units.0.conv1.weight", "F32", [1400], bytes(5600))]
    seed("weights", "serial", tensors(network, {**metadata, "cuts": "[]"}))
    seed("weights", "parareal", tensors(network, metadata))
    vector = lambda name: (name, "F32", [2], bytes(8))
    count = ("bn1.num_batches_tracked", "I64", [], bytes(8))
    for name, names in [
        ("resnet", ["conv1.weight", "layer1.0.bn2.running_var", "layer2.0.downsample.1.bias", "fc.bias"]),
        ("vgg", ["features.0.bias", "features.1.running_mean", "features.40.weight", "classifier.6.weight", "head.fc.bias"]),
        ("vit", ["cls_token", "pos_embed", "blocks.11.mlp.fc2.weight", "head.weight", "head.bias"]),
    ]:
        seed("weights", name, tensors([*map(vector, names), count], {"format": "pt"}))


def toml():
    seed("toml", "empty", b"")
    seed("toml", "paper", b'recipe = "paper"\ndataset = "cifar10"\ndata-dir = "data"\n')
    seed("toml", "cuts", b'depth = 20\ncuts = "2,4"\ncoarse-unit = "basic"\ncoarse-units = 2\n')
    seed("toml", "all", b"""recipe = "quick"
dataset = "shapes"
limit-train = 96
limit-test = 50
validation = 0.1
augment = false
depth = 29
subnetworks = 3
epochs = 9
batch-size = 8
learning-rate = 0.1
momentum = 0.9
weight-decay = 1e-4
nesterov = true
schedule = "cosine"
milestones = [3, 5]
warmup-epochs = 0.5
label-smoothing = 0.1
ema-decay = 0.999
clip-norm = 1.0
seed = 7
executor = "threads"
device = ["cpu"]
workers = 2
threads = 1
recompute = 2
patience = 3
checkpoint-every = "10m"
keep-checkpoints = 2
""")


def metrics():
    step = {"event": "step", "epoch": 1, "step": 1, "loss": 2.5, "error": 0.5,
            "learning_rate": 0.1, "gradient_norm": 1.5, "images_per_second": 100.0}
    epoch = {"event": "epoch", "epoch": 1, "train_loss": 1.0, "train_error": 0.5,
             "test_loss": None, "test_error": 0.5, "test_top5_error": 0.1, "seconds": 3.5}
    end = {"event": "end", "seconds": 4.5,
           "subnetworks": [{"computing": 0.5, "coarse": 0.25, "waiting": 0.25}]}
    steps = [step | {"step": number} for number in range(1, 6)]
    lines = lambda events: "".join(json.dumps(event) + "\n" for event in events).encode()
    seed("metrics", "short", lines([step, epoch, end]))
    seed("metrics", "resumed", lines([*steps, epoch, end, *steps[2:], epoch, end]))
    mistake = {"index": 3, "label": 0, "answer": 1, "probability": 0.75, "png": "iVBORw0K"}
    evaluation = {"epoch": 1, "step": 5, "test_error": 0.25, "class_names": ["cat", "dog"],
                  "confusion": [[3, 1], [0, 4]], "worst": [mistake]}
    seed("evaluation", "one", json.dumps(evaluation).encode())


def image():
    chunk = lambda kind, data: (struct.pack(">I", len(data)) + kind + data
                                + struct.pack(">I", zlib.crc32(kind + data)))
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" + bytes(range(6)) + b"\0" + bytes(6))
    png = [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    seed("image", "png", b"\x89PNG\r\n\x1a\n" + b"".join(png))
    for file in sorted(JPEG.glob("*.jpg")):
        seed("image", file.stem, file.read_bytes())
    # No seed: a frame that states more pixels than are read.
    large = bytearray((JPEG / "progressive.jpg").read_bytes())
    frame = large.index(b"\xff\xc2") + 5
    large[frame:frame + 4] = b"\xff" * 4
    (CORPUS / "image" / "too-large").write_bytes(large)


for make in [idx, cifar, archive, matlab, image, safetensors, checkpoint, weights, toml,
             metrics]:
    make()
