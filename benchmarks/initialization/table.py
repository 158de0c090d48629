"""Results of the runs of run.sh, and the tables of README.md.

    table.py result RUN TIMES     the result of one run as JSON; TIMES has the processor seconds of its processes
    table.py tables RESULTS README
"""

import json
import sys
from pathlib import Path

# The run that the initial weights of each one come from.
SOURCES = {
    "distilled": "serial-29",
    "from-serial": "serial-29",
    "nested": "serial-20",
    "nested-distilled": "serial-20",
}
NAMES = {
    "serial-29": "N = 1, depth 29",
    "serial-20": "N = 1, depth 20",
    "scratch": "N = 3 from scratch",
    "from-serial": "N = 3 from the serial run",
    "distilled": "N = 3 from the serial run, distilled",
    "nested": "N = 3 from the serial run of depth 20",
    "nested-distilled": "N = 3 from the serial run of depth 20, distilled",
}
BEGIN, END = "<!-- tables of table.py -->\n", "<!-- end of the tables -->\n"


def result(run: Path, times: Path) -> dict:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    of = lambda event: [line for line in lines if line["event"] == event]
    end = of("end")
    if not end:
        raise SystemExit(f"{run} has not ended")
    processor = sum(float(number) for number in times.read_text().split())
    distillation = of("distillation")
    training = sum(epoch["seconds"] for epoch in of("epoch"))
    return {
        "validation_error": [round(epoch["validation_error"], 4) for epoch in of("epoch")],
        "train_loss": [round(epoch["train_loss"], 4) for epoch in of("epoch")],
        "processor_seconds": round(processor),
        "seconds": round(end[-1]["seconds"]),
        "training_seconds": round(training),
        "distillation_seconds": round(distillation[-1]["seconds"]) if distillation else 0,
        "distillation": [
            {"step": line["step"], "interfaces": line["interfaces"]}
            for line in (distillation[:1] + distillation[-1:])
        ],
    }


def tables(folder: Path) -> str:
    results = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    found = [name for name in NAMES if name in results]
    epochs = max((len(results[name]["validation_error"]) for name in found), default=0)
    rows = [
        ["validation error in %, after epoch"] + [str(epoch + 1) for epoch in range(epochs)],
        ["---"] + ["---:"] * epochs,
    ]
    for name in found:
        rows.append([NAMES[name]] + [f"{100 * e:.1f}" for e in results[name]["validation_error"]])
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n\n"
    rows = [
        ["processor time in minutes", "serial run", "distillation", "training and validation", "in all"],
        ["---"] + ["---:"] * 4,
    ]
    for name in found:
        own = results[name]
        source = results.get(SOURCES.get(name, ""), {}).get("processor_seconds", 0)
        # Processor time is known for the whole run: the distillation has its share of the run's wall clock.
        distillation = own["processor_seconds"] * own["distillation_seconds"] / max(own["seconds"], 1)
        parts = [source, distillation, own["processor_seconds"] - distillation]
        rows.append([NAMES[name]] + [f"{part / 60:.1f}" if part else "" for part in parts + [sum(parts)]])
    text += "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n\n"
    rows = [["losses of C / F, at the start → at the end", "interface 1", "interface 2"], ["---", "---:", "---:"]]
    for name in found:
        ends = results[name]["distillation"]
        if ends:
            cells = [
                " → ".join(f"{end['interfaces'][j]['preprocessing']:.2f} / {end['interfaces'][j]['coarse']:.2f}" for end in ends)
                for j in range(2)
            ]
            rows.append([NAMES[name]] + cells)
    if len(rows) > 2:
        text += "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n\n"
    return text


def main(arguments: list[str]) -> None:
    match arguments:
        case ["result", run, times]:
            print(json.dumps(result(Path(run), Path(times)), indent=1))
        case ["tables", folder, readme]:
            path = Path(readme)
            before, rest = path.read_text().split(BEGIN)
            path.write_text(before + BEGIN + "\n" + tables(Path(folder)) + END + rest.split(END)[1])
        case _:
            raise SystemExit(__doc__)


main(sys.argv[1:])
