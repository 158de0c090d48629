"""Parareal in NumPy and SciPy, written to disagree with the Rust library if one of the two is wrong.

It shares nothing with it: matrices are inverted by SciPy's LAPACK and SuperLU, the exponential is
scipy.linalg.expm, Newton's method has no tolerance but runs until nothing changes, every slice is
solved in every iteration, and the nonlinear references are DOP853's.

    python references/parareal_ode.py            writes the fixture of the tests
    python references/parareal_ode.py --check    compares with it, to 1e-9 of each number
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import scipy.integrate
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

FIXTURE = Path(__file__).parent.parent / "crates/parareal-ode/tests/fixtures/ode.json"


class Linear:
    """u' = Au with a dense or sparse matrix."""

    def __init__(self, matrix, initial):
        self.matrix, self.initial = matrix, np.asarray(initial, float)

    def method(self, name, length):
        kind, _, steps = name.partition(":")
        steps = int(steps or 1)
        h, a = length / steps, self.matrix
        sparse = scipy.sparse.issparse(a)
        eye = scipy.sparse.identity(a.shape[0], format="csc") if sparse else np.eye(len(a))
        if kind == "exact":
            exponential = scipy.linalg.expm(length * (a.toarray() if sparse else a))
            return lambda t, u: exponential @ u
        if kind == "rk4":
            return runge_kutta(lambda t, u: a @ u, h, steps)
        # The trapezoidal rule: for linear systems it is the implicit midpoint rule.
        implicit = eye - (h if kind == "backward-euler" else h / 2) * a
        if sparse:
            solve = scipy.sparse.linalg.splu(implicit.tocsc()).solve
        else:
            factors = scipy.linalg.lu_factor(implicit)
            solve = lambda b: scipy.linalg.lu_solve(factors, b)
        explicit = (eye + h / 2 * a) if kind == "midpoint" else eye

        def step(t, u):
            for _ in range(steps):
                u = solve(explicit @ u)
            return u

        return step


class Nonlinear:
    """u' = f(t, u)."""

    def __init__(self, f, jacobian, initial):
        self.f, self.jacobian, self.initial = f, jacobian, np.asarray(initial, float)

    def method(self, name, length):
        kind, _, steps = name.partition(":")
        steps = int(steps or 1)
        h = length / steps
        if kind == "rk4":
            return runge_kutta(self.f, h, steps)

        def one(t, u):
            part = h if kind == "backward-euler" else h / 2
            v = u.copy()
            for _ in range(30):
                residual = v - u - part * self.f(t + part, v)
                change = np.linalg.solve(np.eye(len(u)) - part * self.jacobian(v), residual)
                v = v - change
                if np.abs(change).max() < 1e-15 * np.abs(v).max():
                    break
            # Midpoint: u + h f(stage).
            return v if kind == "backward-euler" else u + h * self.f(t + part, v)

        def step(t, u):
            for i in range(steps):
                u = one(t + i * h, u)
            return u

        return step


def runge_kutta(f, h, steps):
    def step(t, u):
        for i in range(steps):
            s = t + i * h
            k1 = f(s, u)
            k2 = f(s + h / 2, u + h / 2 * k1)
            k3 = f(s + h / 2, u + h / 2 * k2)
            k4 = f(s + h, u + h * k3)
            u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return u

    return step


def parareal(problem, points, fine, coarse, iterations):
    """All iterates, [k][slice], as the textbook has it."""
    lengths = np.diff(points)
    fine = [problem.method(fine, length) for length in lengths]
    coarse = [problem.method(coarse, length) for length in lengths]
    u = [problem.initial]
    for j, t in enumerate(points[:-1]):
        u.append(coarse[j](t, u[j]))
    iterates = [u]
    for _ in range(iterations):
        new = [problem.initial]
        for j, t in enumerate(points[:-1]):
            new.append(coarse[j](t, new[j]) + fine[j](t, u[j]) - coarse[j](t, u[j]))
        u = new
        iterates.append(u)
    return iterates


def dahlquist(value):
    return Linear(np.array([[value.real, -value.imag], [value.imag, value.real]]), [1, 0])


def heat(n):
    diagonals = [np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)]
    matrix = scipy.sparse.diags(diagonals, [-1, 0, 1], format="csc") * (n + 1) ** 2
    x = np.arange(1, n + 1) / (n + 1)
    waves = [(1, 1), (2, 1 / 2), (5, 1 / 4)]
    return Linear(matrix.tocsc(), sum(c * np.sin(p * np.pi * x) for p, c in waves))


def advection_diffusion(n):
    right = scipy.sparse.csc_array((np.ones(n), (np.arange(n), (np.arange(n) + 1) % n)), (n, n))
    eye = scipy.sparse.identity(n, format="csc")
    matrix = 0.02 * n**2 * (right + right.T - 2 * eye) - n / 2 * (right - right.T)
    x = np.arange(n) / n
    waves = [(0, 1), (1, 1), (2, 1 / 2), (3, 1 / 4)]
    return Linear(matrix.tocsc(), sum(c * np.cos(2 * p * np.pi * x) for p, c in waves))


lotka_volterra = Nonlinear(
    lambda t, u: np.array([1.5 * u[0] - u[0] * u[1], u[0] * u[1] - 3 * u[1]]),
    lambda u: np.array([[1.5 - u[1], -u[0]], [u[1], u[0] - 3]]),
    [4, 2],
)
lorenz = Nonlinear(
    lambda t, u: np.array(
        [10 * (u[1] - u[0]), u[0] * (28 - u[2]) - u[1], u[0] * u[1] - 8 / 3 * u[2]]
    ),
    lambda u: np.array([[-10, 10, 0], [28 - u[2], -1, -u[0]], [u[1], u[0], -8 / 3]]),
    [20, 5, -5],
)

# problem, parameter, points, fine, coarse, iterations
CASES = [
    ("dahlquist", [-1, 0], 10, 10, "exact", "backward-euler:1", 10),
    ("dahlquist", [-0.4, 2], 4, 8, "midpoint:30", "backward-euler:2", 5),
    ("dahlquist", [-0.4, 2], 4, 8, "rk4:20", "midpoint:1", 4),
    ("heat", 25, 0.1, 6, "backward-euler:20", "backward-euler:1", 6),
    ("heat", 25, 0.1, [0, 0.01, 0.03, 0.1], "midpoint:50", "backward-euler:1", 3),
    ("heat", 10, 0.1, 5, "exact", "backward-euler:2", 4),
    ("advection-diffusion", 24, 0.5, 8, "backward-euler:20", "backward-euler:1", 8),
    ("advection-diffusion", 24, 0.5, 8, "rk4:50", "midpoint:1", 4),
    ("lotka-volterra", None, 3, 12, "rk4:50", "rk4:1", 6),
    ("lotka-volterra", None, 3, 12, "midpoint:30", "backward-euler:5", 4),
    ("lorenz", None, 1, 20, "rk4:80", "rk4:1", 6),
    ("lorenz", None, 0.5, 10, "backward-euler:40", "backward-euler:4", 3),
]


def build(name, parameter):
    if name == "dahlquist":
        return dahlquist(complex(*parameter))
    if name == "heat":
        return heat(parameter)
    if name == "advection-diffusion":
        return advection_diffusion(parameter)
    return {"lotka-volterra": lotka_volterra, "lorenz": lorenz}[name]


def compute():
    cases = []
    for name, parameter, interval, slices, fine, coarse, iterations in CASES:
        points = slices if isinstance(slices, list) else np.linspace(0, interval, slices + 1)
        problem = build(name, parameter)
        iterates = parareal(problem, points, fine, coarse, iterations)
        cases.append(
            {
                "problem": name,
                "parameter": parameter,
                "points": list(map(float, points)),
                "fine": fine,
                "coarse": coarse,
                # Not all of each state: every fourth number of large ones, and the last.
                "iterates": [[thin(state) for state in states] for states in iterates],
            }
        )
    references = []
    for name, end in [("lotka-volterra", 6), ("lorenz", 5)]:
        problem = build(name, None)
        solution = scipy.integrate.solve_ivp(
            problem.f, (0, end), problem.initial, method="DOP853", rtol=3e-14, atol=1e-14
        )
        references.append({"problem": name, "time": end, "state": solution.y[:, -1].tolist()})
    return {"cases": cases, "references": references}


def thin(state):
    values = [float(value) for value in state]
    return values if len(values) <= 3 else values[::4] + values[-1:]


def compare(found, expected, where="fixture"):
    """The largest relative difference of numbers; anything else must be equal."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        return max(compare(found[key], expected[key], f"{where}.{key}") for key in expected)
    if isinstance(expected, list):
        assert len(found) == len(expected), where
        pairs = enumerate(zip(found, expected))
        return max((compare(a, b, f"{where}[{i}]") for i, (a, b) in pairs), default=0)
    if isinstance(expected, (int, float)):
        return math.fabs(found - expected) / (1 + math.fabs(expected))
    assert found == expected, where
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    computed = compute()
    if arguments.check:
        difference = compare(json.loads(json.dumps(computed)), json.loads(FIXTURE.read_text()))
        print(f"the fixture differs by {difference:.1e}")
        assert difference < 1e-9, "expected at most 1e-9"
        return
    FIXTURE.write_text(json.dumps(computed, separators=(",", ":")) + "\n")
    print(f"{FIXTURE}: {len(computed['cases'])} cases, {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
