"""Sums up the last milliseconds of a trace that `kernel_trace.c` has written: times by kernel and grid.

    python3 kernels.py TRACE [--milliseconds M] [--rows K]
"""

import argparse
import collections
import math
import re


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trace")
    parser.add_argument("--milliseconds", type=float, default=500, help="duration from the end of the trace (default: 500)")
    parser.add_argument("--rows", type=int, default=20, help="rows of the table (default: 20)")
    arguments = parser.parse_args()
    launches = []
    with open(arguments.trace) as lines:
        for line in lines:
            start, duration, grid, block, name = line.rstrip("\n").split("\t")
            launches.append((int(start), int(duration), grid, block, name))
    if not launches:
        parser.error(f"{arguments.trace} has no kernels")
    end = max(start + duration for start, duration, *_ in launches)
    launches = [launch for launch in launches if launch[0] >= end - 1e6 * arguments.milliseconds]
    busy = sum(launch[1] for launch in launches)
    print(f"{len(launches)} launches, the GPU computes for {busy / 1e6:.0f} of {arguments.milliseconds:.0f} ms\n")
    times = collections.defaultdict(list)
    for _, duration, grid, block, name in launches:
        name = re.match(r"[a-z_0-9]*?(?=_(f32|c|t|e|lhs|in)_|$)", name).group() or name
        times[name, math.prod(map(int, grid.split(",")))].append(duration)
    print("| kernel | blocks | launches | one | all |\n| --- | ---: | ---: | ---: | ---: |")
    for (name, blocks), spans in sorted(times.items(), key=lambda item: -sum(item[1]))[:arguments.rows]:
        print(f"| {name} | {blocks} | {len(spans)} | {sum(spans) / len(spans) / 1e3:.0f} µs | {sum(spans) / 1e6:.1f} ms |")


if __name__ == "__main__":
    main()
