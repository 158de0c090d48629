"""The tables of README.md from what run.sh has measured.

    python3 tables.py RESULTS             prints them
    python3 tables.py RESULTS README.md   puts them between the marks in that file
"""

import json
import math
import sys
from pathlib import Path

IMAGES, EPOCHS = 50_000, 200
# The paper's Table 3: seconds of 200 epochs of CIFAR-100.
PAPER_SECONDS = {1: 81_893.0, 3: 59_318.0, 6: 42_493.0}
BEGIN, END = "<!-- tables: made by tables.py -->", "<!-- end of tables -->"


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def both(time):
    return f"{time['forward']:.2f}/{time['backward']:.2f}" if time else "-"


def total(paper):
    parts = [paper[key] for key in ("preprocessing", "fine", "coarse", "postprocessing") if paper[key]]
    return {way: sum(part[way] for part in parts) for way in ("forward", "backward")}


def whole(time):
    return time["forward"] + time["backward"]


def is_papers(benched):
    """Whether the paper has measured this network, whose times are then comparable but for the batch."""
    return benched["network"] == "resnet-1001" and benched["classes"] == 100


def table_2(benched):
    rows = []
    serial = None
    for row in benched["rows"]:
        own, paper, count = row["virtual"], row["paper"], row["subnetworks"]
        coarse = own["coarse_ms"] if count > 1 else None
        rows.append([
            str(count), "here", both(own["preprocessing_ms"]), both(own["subnetworks_ms"]),
            both(coarse), both(own["postprocessing_ms"]), both(own["total_ms"]),
            f"{own['speedup']:.2f}",
        ])
        if paper and is_papers(benched):
            serial = serial or whole(total(paper))
            rows.append([
                "", "paper, batch 128", both(paper["preprocessing"]), both(paper["fine"]),
                both(paper["coarse"]), both(paper["postprocessing"]), both(total(paper)),
                f"{serial / whole(total(paper)):.2f}",
            ])
    heads = ["N", "", "preprocessing", "subnetworks", "coarse", "postprocessing", "total", "gain"]
    return table(heads, rows)


def steps(benched):
    rows = []
    for row in benched["rows"]:
        virtual, predicted, measured = row["virtual"], row["predicted"], row["measured"]
        rows.append([
            str(row["subnetworks"]),
            f"{whole(virtual['total_ms']):.1f} ms", f"{virtual['speedup']:.2f}",
            f"{predicted['step_ms']:.1f} ms", f"{predicted['speedup']:.2f}",
            f"{measured['step_ms']:.1f} ms", f"{measured['speedup']:.2f}",
            str(measured["devices"]),
        ])
    heads = ["N", "virtual", "gain", "predicted, N devices", "gain", "measured", "gain", "workers"]
    return table(heads, rows)


def duration(seconds):
    return f"{seconds / 3600:.2f} h"


def table_3(benched):
    count = math.ceil(IMAGES / benched["batch_size"]) * EPOCHS
    rows = []
    for row in benched["rows"]:
        cells = [str(row["subnetworks"])]
        for kind in ("predicted", "measured"):
            saved = 1 - 1 / row[kind]["speedup"]
            cells += [duration(count * row[kind]["step_ms"] / 1e3), f"{100 * saved:.1f} %"]
        if is_papers(benched):
            seconds = PAPER_SECONDS.get(row["subnetworks"])
            saved = 1 - seconds / PAPER_SECONDS[1] if seconds else None
            cells += [duration(seconds), f"{100 * saved:.1f} %"] if seconds else ["", ""]
        rows.append(cells)
    heads = ["N", "predicted, N devices", "saved", "measured here", "saved"]
    if is_papers(benched):
        heads += ["paper, batch 128", "saved"]
    return table(heads, rows)


def clock(all_benched):
    rows, errors = [], []
    for benched in all_benched:
        for row in benched["rows"]:
            own = row["clock"]
            error = own["predicted_ms"] / own["measured_ms"] - 1
            errors.append(abs(error))
            rows.append([
                f"{benched['network']}, batch {benched['batch_size']}, {benched['coarse_unit']}",
                str(row["subnetworks"]), " + ".join(map(str, own["held"])),
                f"{own['predicted_ms']:.1f} ms", f"{own['measured_ms']:.1f} ms",
                f"{own['spread_ms']:.1f} ms", f"{100 * error:+.1f} %",
            ])
    heads = ["network", "N", "on each worker", "predicted", "measured", "spread", "error"]
    within = sum(error <= 0.15 for error in errors)
    return f"{within} of {len(errors)} are within 15 %.\n\n" + table(heads, rows)


def gains(paper, ours):
    rows = []
    for theirs, own in zip(paper["rows"], ours["rows"]):
        rows.append([
            str(own["subnetworks"]), f"{theirs['virtual']['speedup']:.2f}",
            f"{theirs['predicted']['speedup']:.2f}", f"{own['virtual']['speedup']:.2f}",
            f"{own['predicted']['speedup']:.2f}",
        ])
    heads = ["N", "paper's network and schedule", "paper's network, overlap",
             "depthwise and balanced, paper's schedule", "depthwise and balanced, overlap"]
    return table(heads, rows)


def main():
    results = Path(sys.argv[1])
    load = lambda name: json.loads((results / f"{name}.json").read_text())
    command = lambda name: f"`{(results / f'{name}.command').read_text().strip()}`"
    names = ["deep-paper", "middle-paper", "deep-ours", "shallow-bottleneck", "shallow-depthwise"]
    benches = {name: load(name) for name in names}
    sections = [(results / "machine.txt").read_text().strip() + "."]
    for name in names[:2]:
        benched = benches[name]
        title = f"{benched['network']}, batch {benched['batch_size']}"
        sections += [
            f"### {title}, the paper's coarse networks and cuts", command(name),
            "Table 2, medians in milliseconds, forward/backward:", table_2(benched),
            "The step:", steps(benched),
            f"Table 3, {EPOCHS} epochs of {IMAGES} images:", table_3(benched),
        ]
    sections += [
        "### The fastest settings beside the paper's",
        f"{command('deep-paper')} and {command('deep-ours')}; how many times shorter a step is than "
        "that of N = 1, a device for each subnetwork:",
        gains(benches["deep-paper"], benches["deep-ours"]),
        "### Predicted and on the clock",
        "\n".join(f"- {command(name)}" for name in names),
        clock(benches.values()),
    ]
    text = "\n\n".join(sections)
    if len(sys.argv) < 3:
        print(text)
        return
    readme = Path(sys.argv[2])
    before, rest = readme.read_text().split(BEGIN)
    behind = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{behind}")


main()
