// The data, and the state that all charts share: the axis, the visible range, smoothing, hidden runs.

const report = JSON.parse(byId("data").textContent);
const runs = report.runs;
runs.forEach((run, index) => {
  run.index = index;
});

/** The name of the samples that the runs were trained on. */
const SAMPLES = runs.every((run) => run.of_images) ? "Images" : "Samples";

/** The names of further metrics of the validation samples. */
function metricNames() {
  const names = runs.flatMap((run) =>
    run.epochs.flatMap((epoch) => Object.keys(epoch.metrics ?? {})),
  );
  return [...new Set(names)].sort();
}

const COLORS = 7;
const runColor = (run) => `var(--run-${run.index % COLORS})`;

const UNITS = {
  epoch: { name: "Epochs", axis: "epoch", show: (x) => `epoch ${number(x, 4)}` },
  step: { name: "Steps", axis: "step", show: (x) => `step ${number(Math.round(x), 12)}` },
  second: { name: "Training time", axis: "training time", show: duration },
};

const view = {
  unit: "epoch",
  /** The visible range of the axis, `[from, to]`; null for all of it. */
  range: null,
  /** From 0 (none) to 1. */
  smoothing: 0.6,
  hidden: new Set(),
  listeners: [],
  pending: false,

  /** Changes some fields; listeners are called once before the next frame. */
  change(part) {
    Object.assign(this, part);
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      for (const listener of this.listeners) listener();
    });
  },
};

/** The number of steps of the means: from 2 to a fifth of the run, on a logarithmic scale. */
function smoothingSteps(run) {
  if (view.smoothing === 0) return 1;
  return Math.round(2 * Math.max(1, run.steps.total / 10) ** view.smoothing);
}

/** The same in words, for all visible runs with steps. */
function smoothingInWords() {
  const steps = runs
    .filter((run) => run.steps.total > 0 && !view.hidden.has(run.index))
    .map(smoothingSteps);
  const [least, most] = [Math.min(...steps), Math.max(...steps)];
  if (most <= 1 || steps.length === 0) return null;
  return least === most ? plural(most, "step") : `${number(least, 12)} to ${plural(most, "step")}`;
}

/** Where the steps of a run lie in epochs and in seconds: known at the end of each epoch, linear
    between, and behind the last one at its pace. */
class Clock {
  constructor(run) {
    const known = run.epochs.filter((epoch) => epoch.step !== null);
    const first = run.steps.step.length > 0 ? run.steps.step[0] - run.steps.per_point : 0;
    this.knots = [{ step: Math.max(0, first), epoch: (known[0]?.epoch ?? 1) - 1, second: 0 }];
    let second = 0;
    for (const epoch of known) {
      second += epoch.seconds ?? NaN;
      this.knots.push({ step: epoch.step, epoch: epoch.epoch, second });
    }
  }

  get exists() {
    return this.knots.length > 1;
  }

  at(step, unit) {
    if (unit === "step") return step;
    if (!this.exists) return NaN;
    let end = 1;
    while (end < this.knots.length - 1 && this.knots[end].step < step) end += 1;
    const [a, b] = [this.knots[end - 1], this.knots[end]];
    const way = (step - a.step) / Math.max(1, b.step - a.step);
    return a[unit] + way * (b[unit] - a[unit]);
  }
}

/** The positions of a run's steps on the chosen axis. */
function positions(run) {
  run.positions[view.unit] ??= run.steps.step.map((step) => run.clock.at(step, view.unit));
  return run.positions[view.unit];
}

for (const run of runs) {
  run.clock = new Clock(run);
  run.positions = {};
  let second = 0;
  run.places = run.epochs.map((epoch) => {
    second += epoch.seconds ?? NaN;
    return { step: epoch.step ?? NaN, epoch: epoch.epoch, second };
  });
}

if (!runs.some((run) => run.epochs.length > 0)) view.unit = "step";
