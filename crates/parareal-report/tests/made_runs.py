"""Makes folders of runs as training would write them: a network in one piece and in three.

    python made_runs.py FOLDER

Writes FOLDER/n1, FOLDER/n3 (both finished and evaluated) and FOLDER/long (a hundred classes,
200,000 steps, killed). The numbers are made up; the same call makes the same files.
"""

import base64
import json
import math
import random
import struct
import sys
import zlib
from pathlib import Path

DIGITS = [
    "circle",
    "square",
    "triangle",
    "cross",
    "star",
    "ring",
    "pentagon",
    "bar",
    "arrow",
    "moon",
]


def png(seed, size=28):
    """A small gray picture: a blob on a dark ground."""
    draw = random.Random(seed)
    x0, y0, radius = draw.uniform(9, 19), draw.uniform(9, 19), draw.uniform(5, 9)
    rows = b""
    for y in range(size):
        rows += b"\0"
        for x in range(size):
            near = radius - math.hypot(x - x0, (y - y0) * draw.uniform(0.8, 1.2))
            rows += bytes([max(0, min(255, int(30 + 90 * near + draw.gauss(0, 12))))])

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return base64.b64encode(data).decode()


def write_run(
    folder,
    *,
    subnetworks,
    epochs,
    steps,
    pace,
    final,
    seed,
    classes=10,
    milestones=(),
    killed=False,
    clip=False,
):
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    config = {
        "dataset": "shapes" if classes == 10 else "cifar100",
        "depth": 20 if classes == 10 else 1001,
        "subnetworks": subnetworks,
        "cuts": "even",
        "coarse-unit": "auto",
        "epochs": epochs,
        "batch-size": 64,
        "learning-rate": 0.05,
        "momentum": 0.9,
        "weight-decay": 0.0005,
        "nesterov": False,
        "milestones": list(milestones),
        "seed": 1,
        "executor": "threads",
        "device": ["cpu"],
        "workers": subnetworks,
        "threads": max(1, 2 // subnetworks),
    }
    if clip:
        config["clip-norm"] = 1.0
    (folder / "config.toml").write_text(
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items())
    )
    start, rate, seconds = math.log(classes), 0.05, 0.0
    with open(folder / "metrics.jsonl", "w") as lines:

        def put(**record):
            lines.write(json.dumps(record, separators=(",", ":")) + "\n")

        for epoch in range(1, epochs + 1):
            losses, errors = [], []
            for i in range(steps):
                step = (epoch - 1) * steps + i + 1
                done = step / (epochs * steps)
                lr = rate * 0.1 ** sum(epoch > milestone for milestone in milestones)
                base = final + (start - final) * math.exp(-9 * done) * (1 if lr == rate else 0.7)
                loss = base * math.exp(draw.gauss(0, 0.35)) + (
                    4.0 if draw.random() < 0.0004 else 0.0
                )
                wrong = (
                    sum(draw.random() < min(0.95, 0.32 * loss) for _ in range(64))
                    if steps < 5000
                    else round(64 * min(0.95, 0.32 * loss))
                )
                speed = (
                    pace
                    * math.exp(draw.gauss(0, 0.05))
                    * (0.4 if step == 1 or draw.random() < 0.003 else 1)
                )
                record = dict(
                    event="step",
                    epoch=epoch,
                    step=step,
                    loss=loss,
                    error=wrong / 64,
                    learning_rate=lr,
                )
                if clip:
                    record["gradient_norm"] = (0.4 + loss) * math.exp(draw.gauss(0, 0.3))
                put(**record, images_per_second=speed)
                losses.append(loss)
                errors.append(wrong / 64)
            took = steps * 64 / pace * math.exp(draw.gauss(0, 0.02))
            seconds += took
            test = (
                0.3 * (base + 0.1 * final) * math.exp(draw.gauss(0, 0.15 if lr == rate else 0.03))
            )
            record = dict(
                event="epoch",
                epoch=epoch,
                train_loss=sum(losses) / steps,
                train_error=sum(errors) / steps,
                test_loss=3.1 * test,
                test_error=round(min(0.9, test), 4),
                seconds=took,
            )
            if classes > 10:
                record.update(
                    test_top5_error=round(min(0.9, test) / 4, 4),
                    validation_loss=3.2 * test,
                    validation_error=round(min(0.9, 1.04 * test), 4),
                    metrics={"accuracy": round(1 - min(0.9, 1.04 * test), 4)},
                )
            put(**record)
        if killed:
            lines.write('{"event":"step","epo')
        else:
            usage = []
            for j in range(subnetworks):
                coarse = 0.0 if subnetworks == 1 else 0.06 + 0.02 * draw.random()
                waiting = (
                    0.004 if subnetworks == 1 else 0.10 + 0.09 * abs(j - 1) + 0.02 * draw.random()
                )
                usage.append(
                    dict(
                        computing=1 - coarse - waiting,
                        coarse=coarse,
                        waiting=waiting,
                        waiting_for_worker=0.0,
                        waiting_for_neighbors=waiting,
                    )
                )
            workers = [
                dict(subnetworks=[j + 1], busy=1 - each["waiting"]) for j, each in enumerate(usage)
            ]
            put(event="end", seconds=seconds * 1.06, subnetworks=usage, workers=workers)
    write_evaluation(folder, draw, classes, epochs, epochs * steps, final)


def write_evaluation(folder, draw, classes, epoch, step, final):
    names = (
        DIGITS if classes == 10 else [f"kind {i // 10} of sort {i % 10}" for i in range(classes)]
    )
    each, confusion = 1000 if classes == 10 else 100, []
    for row in range(classes):
        counts = [0] * classes
        for _ in range(each):
            wrong = draw.random() < 0.35 * final * (1 + row % 3)
            near = draw.choice([(row + 1) % classes, (row + 3) % classes, draw.randrange(classes)])
            counts[near if wrong else row] += 1
        confusion.append(counts)
    wrong = sum(sum(row) - row[i] for i, row in enumerate(confusion))
    worst = []
    for i in range(30):
        label = draw.randrange(classes)
        worst.append(
            dict(
                index=draw.randrange(10000),
                label=label,
                answer=(label + 1 + i % 3) % classes,
                probability=0.9999 * 0.985**i,
                png=png(i),
            )
        )
    (folder / "evaluation.json").write_text(
        json.dumps(
            dict(
                epoch=epoch,
                step=step,
                test_error=wrong / (each * classes),
                class_names=names,
                confusion=confusion,
                worst=worst,
            )
        )
    )


def main():
    folder = Path(sys.argv[1])
    write_run(
        folder / "n1",
        subnetworks=1,
        epochs=8,
        steps=400,
        pace=410,
        final=0.05,
        seed=1,
        milestones=(5, 7),
    )
    write_run(
        folder / "n3",
        subnetworks=3,
        epochs=8,
        steps=400,
        pace=690,
        final=0.042,
        seed=2,
        milestones=(5, 7),
        clip=True,
    )
    write_run(
        folder / "long",
        subnetworks=12,
        epochs=40,
        steps=5000,
        pace=900,
        final=0.6,
        seed=3,
        classes=100,
        milestones=(20, 30),
        killed=True,
    )


if __name__ == "__main__":
    main()
