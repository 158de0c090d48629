"""Times this project and PyTorch in turn, on the same cores, and prints how they compare.

    benchmarks/peers/run                      all cases
    benchmarks/peers/run --case serial-n18    one case
    benchmarks/peers/run --json               one JSON value on standard output
    benchmarks/peers/run --list               the cases

PyTorch is tried with channels last and not, compiled and not; this project with one worker and, where
there are subnetworks for it, a worker for each thread. In bfloat16, PyTorch runs under autocast, and
this project's fastest way in float32 joins. The fastest of each side take a step each, in turn, until
each has ROUNDS, and their medians are compared.
"""

import argparse
import contextlib
import datetime
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
VARIANTS = ["plain", "channels-last", "compiled", "channels-last+compiled"]
PRECISIONS = ["f32", "bf16"]
TRIALS = 3
# The C library keeps freed blocks for the next step, as our allocator does. Without this it hands
# the large ones back to the system, which clears their pages anew in every step.
RETAIN = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**36),
          "MALLOC_TOP_PAD_": str(2**26)}
# Seconds from one side's turn to the other's: threads that wait for more work spin for a while.
PAUSE = 0.1

# Units of each stage, subnetworks, coarse units (kind and number: what `parareal plan` chooses for
# these networks), batch.
NETWORKS = {
    "serial-n18": (18, 1, "bottleneck", 1, 32),
    "serial-1001": (111, 1, "bottleneck", 1, 16),
    "parareal6-n18": (18, 6, "bottleneck", 2, 32),
    "parareal6-1001": (111, 6, "basic", 2, 16),
}
# Size, channels before and after, kernel, stride, batch.
OPERATIONS = {
    f"{kernel}x{kernel}-{before}-{after}-at-{size}" + ("-stride-2" if stride == 2 else ""):
        (size, before, after, kernel, stride, 32)
    for size, before, after, kernel, stride in [
        (32, 64, 16, 1, 1), (32, 16, 16, 3, 1), (32, 16, 64, 1, 1),
        (16, 128, 32, 1, 1), (16, 32, 32, 3, 1), (16, 32, 128, 1, 1),
        (8, 256, 64, 1, 1), (8, 64, 64, 3, 1), (8, 64, 256, 1, 1),
        (32, 64, 64, 3, 1), (32, 32, 32, 3, 2),
    ]
}
CASES = [*NETWORKS, *OPERATIONS]


class Side:
    """A process that runs a case whenever it is asked."""

    def __init__(self, command, retain=True):
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **(RETAIN if retain else {})},
        )
        self.command = " ".join(map(str, command))
        self.times = []
        self.expect("ready")

    def expect(self, what):
        """The next line; an empty one where the process has ended."""
        answer = self.process.stdout.readline().strip()
        if not answer or (what and answer != what):
            self.close()
            raise RuntimeError(f"`{self.command}` exited or sent an unexpected answer: `{answer}`")
        return answer

    def ask(self, what):
        time.sleep(PAUSE)
        try:
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
            return float(self.expect(None))
        except (OSError, ValueError) as error:
            raise RuntimeError(f"`{self.command}`: {error}") from error

    def time(self):
        self.times.append(self.ask("time"))

    def median(self):
        return statistics.median(self.times)

    def close(self):
        """Ends the process: it stops where its input does."""
        try:
            self.process.stdin.close()
        except OSError:
            pass  # it has ended already
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def commands(case, threads, precision, ours):
    """The ways to run a case: this project's commands and PyTorch's, by name."""
    if case in NETWORKS:
        n, subnetworks, *rest = NETWORKS[case]
        workers = sorted({1, min(threads, subnetworks)})
        mine = {placement(each, threads // each): ["network", 9 * n + 2, subnetworks, *rest, each]
                for each in workers}
        theirs = ["network", n, subnetworks, *rest]
    else:
        mine = {placement(1, threads): ["operation", *OPERATIONS[case]]}
        theirs = ["operation", *OPERATIONS[case]]
    return (
        {name: [ours, threads, precision, *words] for name, words in mine.items()},
        {variant: [sys.executable, HERE / "peer.py", threads, precision, variant, *theirs] for variant in VARIANTS},
    )


def placement(workers, threads):
    return f"{workers} worker{'s' * (workers > 1)} of {threads} thread{'s' * (threads > 1)}"


def trials(case, ways):
    """The median time of a few steps for each way that runs here."""
    medians = {}
    for name, command in ways.items():
        try:
            with Side(command) as side:
                for _ in range(TRIALS):
                    side.time()
                medians[name] = side.median()
        except RuntimeError as error:  # no compiler on the machine, say
            say(f"{case}, {name}: {error}")
    if not medians:
        raise RuntimeError(f"{case}: no variant runs; see above")
    return medians


def compare(case, threads, precision, ours, rounds):
    mine, theirs = commands(case, threads, precision, ours)
    our_trials = trials(case, mine)
    peer_trials = trials(case, theirs)
    fastest = min(our_trials, key=our_trials.get)
    best = min(peer_trials, key=peer_trials.get)
    with contextlib.ExitStack() as stack:
        our, peer = (stack.enter_context(Side(command)) for command in (mine[fastest], theirs[best]))
        sides = [our, peer]
        if precision != "f32":
            single, _ = commands(case, threads, "f32", ours)
            single_trials = trials(case, single)
            sides.append(stack.enter_context(Side(single[min(single_trials, key=single_trials.get)])))
        for _ in range(rounds):
            for side in sides:
                side.time()
        peaks = [peer.ask("peak")]
        if case in NETWORKS:
            # Slower, but it gives back what it does not need: the least of both counts.
            with Side(theirs[best], retain=False) as lean:
                lean.time()
                peaks.append(lean.ask("peak"))
        single = {}
        if precision != "f32":
            single = {"f32_seconds": sides[-1].median(), "f32_peak_gb": sides[-1].ask("peak")}
        return {
            "case": case,
            "threads": threads,
            "precision": precision,
            "ours_seconds": our.median(),
            "peer_seconds": peer.median(),
            "ratio": our.median() / peer.median(),
            "ours_peak_gb": our.ask("peak"),
            "peer_peak_gb": min(peaks),
            "ours": fastest,
            "ours_trials": our_trials,
            "peer": best,
            "peer_trials": peer_trials,
            **single,
        }


def machine():
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cpus = len(os.sched_getaffinity(0))
    return {"cpu": names[0] if names else platform.machine(), "cpus": cpus}


def versions():
    import torch

    rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True
    ).stdout.strip()
    return {"parareal": commit, "rust": rust, "torch": torch.__version__}


def markdown(result):
    about, lines = result["machine"], []
    lines.append(f"{result['date']}, {about['cpus']} CPUs, {about['cpu']}; "
                 f"PyTorch {result['versions']['torch']}, {result['versions']['rust']}, "
                 f"this project at {result['versions']['parareal']}. "
                 f"`{result['command']}`, medians of {result['rounds']}.")
    lines.append("")
    lines.append("| case | precision | threads | ours | PyTorch | ratio | to our f32 | ours, peak | PyTorch, peak | ratio "
                 "| to our f32 | our best | PyTorch's best |")
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |")
    for row in result["rows"]:
        memory = row["ours_peak_gb"] / row["peer_peak_gb"]
        whole = row["case"] in NETWORKS
        peaks = [f"{row[key]:.2f} GB" for key in ("ours_peak_gb", "peer_peak_gb")]
        single = [f"{row[ours] / row[f32]:.2f}" if f32 in row else ""
                  for ours, f32 in [("ours_seconds", "f32_seconds"), ("ours_peak_gb", "f32_peak_gb")]]
        peaks = [*peaks, f"{memory:.2f}", single[1]] if whole else ["", "", "", ""]
        lines.append(" ".join([
            "|", row["case"], "|", row["precision"], "|", str(row["threads"]), "|", duration(row["ours_seconds"]), "|",
            duration(row["peer_seconds"]), "|", f"**{row['ratio']:.2f}**", "|", single[0], "|",
            " | ".join(peaks), "|", row["ours"], "|", row["peer"], "|",
        ]))
    return "\n".join(lines) + "\n"


def duration(seconds):
    return f"{1e3 * seconds:.2f} ms" if seconds < 0.1 else f"{seconds:.3f} s"


def say(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="benchmarks/peers/run", description=__doc__.splitlines()[0])
    parser.add_argument("--ours", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--case", action="append", choices=CASES, metavar="NAME",
                        help="run only this case; can be repeated (default: all)")
    parser.add_argument("--threads", type=int, action="append", metavar="T",
                        help="number of threads; can be repeated (default: 1 and 2)")
    parser.add_argument("--precision", action="append", choices=PRECISIONS,
                        help="can be repeated (default: both)")
    parser.add_argument("--rounds", type=int, default=7, metavar="R",
                        help="steps of each side (default: 7)")
    parser.add_argument("--output", type=pathlib.Path, metavar="DIR",
                        help="write results.md and results.json there, after each case")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--list", action="store_true", help="print the cases and exit")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(CASES))
        return
    if arguments.rounds < 1 or any(threads < 1 for threads in arguments.threads or []):
        parser.error("expected at least 1 round and 1 thread")

    typed = [word for word in sys.argv[1:] if word != str(arguments.ours) and word != "--ours"]
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "command": " ".join(["benchmarks/peers/run", *typed]),
        "rounds": arguments.rounds,
        "rows": [],
    }
    failed, output = False, arguments.output
    if output:
        output.mkdir(parents=True, exist_ok=True)
    for case in arguments.case or CASES:
        for threads, precision in itertools.product(arguments.threads or [1, 2], arguments.precision or PRECISIONS):
            say(f"{case}, {precision}, threads: {threads}")
            try:
                row = compare(case, threads, precision, arguments.ours, arguments.rounds)
            except RuntimeError as error:
                say(f"    {error}")
                failed = True
                continue
            result["rows"].append(row)
            say(f"    {duration(row['ours_seconds'])} against "
                f"{duration(row['peer_seconds'])}, ratio {row['ratio']:.2f}")
            if output:  # after each row: hours of measurement outlive an interrupt
                (output / "results.json").write_text(json.dumps(result, indent=2) + "\n")
                (output / "results.md").write_text(markdown(result))
    print(json.dumps(result) if arguments.json else markdown(result), end="\n" if arguments.json else "")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
