"""Times settings of `target/release/peers` in blocks: one takes a few steps in a row while the others wait.

    python3 benchmarks/peers/blocks.py BLOCKS STEPS SETTING..

A SETTING is the arguments of a case, for example `1 f32 network 164 1 bottleneck 1 4 1` (threads, precision, network, depth,
subnetworks, coarse unit, coarse units, batch, workers). Prints the median over the blocks of the steps' median for each
setting, and the median over the blocks of the first setting's time relative to it. The first step of a block is not timed.
"""

import pathlib
import statistics
import subprocess
import sys

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target/release/peers"


def main():
    if len(sys.argv) < 4 or not all(word.isdigit() and int(word) > 0 for word in sys.argv[1:3]):
        sys.exit(__doc__)
    blocks, steps, settings = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    processes = []
    for setting in settings:
        process = subprocess.Popen([PROGRAM, *setting.split()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if process.stdout.readline().strip() != "ready":
            sys.exit(f"`{PROGRAM} {setting}` did not start")
        processes.append(process)
    medians = [[] for _ in processes]
    for _ in range(blocks):
        for process, found in zip(processes, medians):
            times = []
            for _ in range(steps + 1):
                process.stdin.write("time\n")
                process.stdin.flush()
                times.append(1e3 * float(process.stdout.readline()))
            found.append(statistics.median(times[1:]))
    for setting, found in zip(settings, medians):
        ratio = statistics.median(first / own for first, own in zip(medians[0], found))
        print(f"{statistics.median(found):8.1f} ms  {ratio:.2f}  {setting}")


main()
