"""Time per iteration of parareal for the heat equation: SciPy and this library in turn.

    python benchmarks/ode/compare.py target/release/ode-scaling
"""

import json
import os
import statistics
import subprocess
import sys
import time

# Threads of BLAS that wait for work by spinning would take a core from who runs next.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import scipy
import scipy.linalg.lapack as lapack
import scipy.sparse
import scipy.sparse.linalg

INTERVAL, ROUNDS = 0.1, 5
# unknowns, slices, steps per slice
SIZES = [(1000, 16, 200), (10_000, 16, 50), (100_000, 8, 10)]


def sparse_lu(n, h):
    """SuperLU, for any sparse matrix."""
    diagonals = [-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)]
    a = scipy.sparse.diags(diagonals, [-1, 0, 1], format="csc") * (n + 1) ** 2
    return scipy.sparse.linalg.splu(
        (scipy.sparse.identity(n, format="csc") + h * a).tocsc()
    ).solve


def tridiagonal(n, h):
    """LAPACK's dgttrf and dgttrs, for tridiagonal ones only."""
    c = h * (n + 1) ** 2
    side = -c * np.ones(n - 1)
    *factors, info = lapack.dgttrf(side, (1 + 2 * c) * np.ones(n), side)
    assert info == 0
    return lambda b: lapack.dgttrs(*factors, b)[0]


def iteration(n, slices, steps, solver):
    """Seconds of the first iteration: all fine slices, one after the other, then the correction."""
    length = INTERVAL / slices
    fine, coarse = solver(n, length / steps), solver(n, length)
    x = np.arange(1, n + 1) / (n + 1)
    u = [np.sin(np.pi * x) + np.sin(2 * np.pi * x) / 2 + np.sin(5 * np.pi * x) / 4]
    for _ in range(slices):
        u.append(coarse(u[-1]))
    old = u[1:]
    begun = time.perf_counter()
    ends = []
    for state in u[:-1]:
        for _ in range(steps):
            state = fine(state)
        ends.append(state)
    new = [u[0], ends[0]]
    for j in range(1, slices):
        new.append(coarse(new[j]) + ends[j] - old[j])
    jumps = [np.linalg.norm(end - state) for end, state in zip(ends, u[1:])]
    seconds = time.perf_counter() - begun
    assert np.isfinite(jumps).all()
    return seconds


def ours(binary, *numbers):
    output = subprocess.run([binary, *map(str, numbers), "1", "--json"], capture_output=True, check=True)
    return json.loads(output.stdout)["iteration"]


def main():
    binary = sys.argv[1]
    print(f"NumPy {np.__version__}, SciPy {scipy.__version__}; medians of {ROUNDS}, ms per iteration")
    print("| unknowns, slices, steps | SuperLU | dgttrs | here, 1 thread | here, 2 threads |")
    print("| --- | --- | --- | --- | --- |")
    for size in SIZES:
        times = [[], [], [], []]
        for _ in range(ROUNDS):
            times[0].append(iteration(*size, sparse_lu))
            times[1].append(iteration(*size, tridiagonal))
            one, two = ours(binary, *size)
            times[2].append(one)
            times[3].append(two)
        cells = [f"{1e3 * statistics.median(column):.1f}" for column in times]
        print(f"| {size[0]:,}, {size[1]}, {size[2]} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
