"""Reads the event files of a run back with TensorBoard itself and compares them with metrics.jsonl.

    python references/read_events.py RUN
"""

import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

STEP = {"loss": "step/loss", "error": "step/error", "learning_rate": "step/learning_rate",
        "gradient_norm": "step/gradient_norm"}
EPOCH = {"train_loss": "loss/train", "train_error": "error/train", "test_loss": "loss/test",
         "test_error": "error/test", "test_top5_error": "error/test_top5",
         "validation_loss": "loss/validation", "validation_error": "error/validation"}


def main():
    run = pathlib.Path(sys.argv[1])
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    compared = 0
    for event, tags in (("step", STEP), ("epoch", EPOCH)):
        for key, tag in tags.items():
            expected = [line[key] for line in lines if line["event"] == event
                        and line.get(key) is not None]
            if not expected:
                continue
            found = [scalar.value for scalar in events.Scalars(tag)]
            assert len(found) == len(expected), f"{tag}: {len(found)} values, {len(expected)} expected"
            for a, b in zip(found, expected):
                assert abs(a - b) <= 1e-6 * max(1, abs(b)), f"{tag}: {a}, not {b}"
            compared += len(found)
    assert compared, "nothing to compare"
    print(f"{compared} values agree")


if __name__ == "__main__":
    main()
