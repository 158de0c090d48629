// The charts, and the controls that they share.

const whole = (value) => number(value, 4);
const present = (list) => list.filter((item) => item !== null);

/** The values of each epoch, with a column for each run. `columns` are `[name, value of (run, epoch)]`. */
function epochTable(columns, format) {
  const last = Math.max(0, ...runs.map((run) => run.epochs.at(-1)?.epoch ?? 0));
  const used = runs.flatMap((run) =>
    columns
      .filter(([, value]) => run.epochs.some((epoch, i) => isNumber(value(run, epoch, i))))
      .map(([name, value]) => ({ run, name, value })),
  );
  const rows = [];
  for (let epoch = 1; epoch <= last; epoch += 1) {
    const cells = used.map(({ run, value }) => {
      const index = run.epochs.findIndex((record) => record.epoch === epoch);
      return index < 0 ? "" : format(value(run, run.epochs[index], index));
    });
    if (cells.some((cell) => cell !== "")) rows.push([String(epoch), ...cells]);
  }
  if (rows.length === 0) rows.push(["no finished epoch yet"]);
  const name = ({ run, name: column }) => (runs.length > 1 ? `${run.name}, ${column}` : column);
  return { head: ["Epoch", ...used.map(name)], rows };
}

/** The mean of a step series over each epoch, or its last value. */
function overEpoch(column, last = false) {
  return (run, epoch, index) => {
    const curve = run.steps[column];
    if (!curve || epoch.step === null) return null;
    const values = curve.mean ?? curve;
    const from = index > 0 ? run.epochs[index - 1].step : -Infinity;
    const inside = values.filter(
      (v, i) => v !== null && run.steps.step[i] > from && run.steps.step[i] <= epoch.step,
    );
    if (inside.length === 0) return null;
    return last ? inside.at(-1) : inside.reduce((sum, v) => sum + v, 0) / inside.length;
  };
}

/** Training, validation and test curves of one quantity. */
function trainAndTest(quantity) {
  return () =>
    runs.flatMap((run) =>
      present([
        stepSeries(run, quantity, { label: "training" }) ??
          epochSeries(run, `train_${quantity}`, { label: "training" }),
        epochSeries(run, `validation_${quantity}`, {
          label: "validation",
          look: "dotted",
          marks: false,
        }),
        epochSeries(run, `test_${quantity}`, { label: "test", look: "dashed" }),
      ]),
    );
}

const ofSteps = (column, options) => () =>
  present(runs.map((run) => stepSeries(run, column, options)));

function trainAndTestTable(quantity, format) {
  const columns = [
    ["training", `train_${quantity}`],
    ["validation", `validation_${quantity}`],
    ["test", `test_${quantity}`],
  ];
  return () =>
    epochTable(
      columns.map(([name, field]) => [name, (run, epoch) => epoch[field]]),
      format,
    );
}

/** A chart of each further metric of the validation samples. */
function metricCharts() {
  return metricNames().map((name) => {
    const value = (epoch) => epoch.metrics?.[name];
    return {
      title: name,
      format: whole,
      series: () => present(runs.map((run) => epochSeries(run, value, { label: "validation" }))),
      table: () => epochTable([["validation", (_, epoch) => value(epoch)]], whole),
    };
  });
}

/** The description of the background of smoothed lines. */
function note(lines) {
  const behind = lines.some((line) => line.background);
  if (!behind) return "";
  const ranges = lines.some((line) => line.background?.low);
  const means = smoothingInWords();
  const shade = ranges ? "shaded: range over steps" : "faint: individual steps";
  return present([means && `smoothed over ${means}`, shade]).join(", ");
}

function curveCharts() {
  const specifications = [
    {
      title: "Loss",
      format: whole,
      series: trainAndTest("loss"),
      table: trainAndTestTable("loss", whole),
      logarithmic: true,
      note,
    },
    {
      title: "Error",
      format: (v) => percent(v),
      ticks: (v) => `${number(100 * v, 3)}${NARROW}%`,
      series: trainAndTest("error"),
      table: trainAndTestTable("error", percent),
      fromZero: true,
      note,
    },
    ...metricCharts(),
    {
      title: "Learning rate",
      format: whole,
      series: ofSteps("learning_rate", { label: "learning rate", smooth: false, stairs: true }),
      table: () => epochTable([["at the end", overEpoch("learning_rate", true)]], whole),
      fromZero: true,
      small: true,
    },
    {
      title: `${SAMPLES} per second`,
      format: whole,
      series: ofSteps("images_per_second", { label: "throughput" }),
      table: () => epochTable([["mean", overEpoch("images_per_second")]], whole),
      fromZero: true,
      canBeLogarithmic: false,
      small: true,
      note,
    },
    {
      title: "Gradient norm",
      format: whole,
      series: ofSteps("gradient_norm", { label: "before clipping" }),
      table: () => epochTable([["mean", overEpoch("gradient_norm")]], whole),
      logarithmic: true,
      small: true,
      note,
    },
  ];
  return specifications
    .map((specification) => new LineChart(specification))
    .filter((chart) => !chart.empty);
}

/** A group of buttons of which one is pressed. */
function choice(label, options, chosen, choose) {
  const name = newId("choice");
  return html(
    "fieldset",
    null,
    html("legend", null, label),
    options.map(([value, text]) =>
      html(
        "label",
        null,
        html("input", {
          type: "radio",
          name,
          value,
          checked: value === chosen,
          change: () => choose(value),
        }),
        html("span", null, text),
      ),
    ),
  );
}

function runSwitches() {
  return html(
    "fieldset",
    { class: "switches" },
    html("legend", null, "Runs"),
    runs.map((run) =>
      html(
        "label",
        null,
        html("input", {
          type: "checkbox",
          checked: true,
          change: (event) => {
            if (event.target.checked) view.hidden.delete(run.index);
            else view.hidden.add(run.index);
            view.change({});
          },
        }),
        html("span", null, runMark(run), run.name),
      ),
    ),
  );
}

function smoothingSlider() {
  const output = html("output");
  const tell = () => {
    const steps = smoothingInWords();
    output.textContent = steps ? `over ${steps}` : "none";
    slider.setAttribute("aria-valuetext", output.textContent);
  };
  const slider = html("input", {
    type: "range",
    min: "0",
    max: "1",
    step: "0.05",
    value: String(view.smoothing),
    input: () => view.change({ smoothing: Number(slider.value) }),
  });
  tell();
  view.listeners.push(tell);
  return html(
    "label",
    { class: "slider" },
    html("span", { class: "legend" }, "Smoothing"),
    slider,
    output,
  );
}

function drawCurves(section) {
  if (runs.every((run) => run.steps.total === 0 && run.epochs.length === 0)) {
    section.append(html("p", null, "No steps recorded yet."));
    return;
  }
  const timed = runs.some((run) => run.epochs.length > 0);
  const units = Object.entries(UNITS)
    .filter(([unit]) => timed || unit === "step")
    .map(([unit, { name }]) => [unit, name]);
  section.append(
    html(
      "form",
      {
        class: "controls",
        "aria-label": "Controls of all charts",
        submit: (event) => event.preventDefault(),
      },
      runs.length > 1 ? runSwitches() : null,
      choice("Along", units, view.unit, (unit) => view.change({ unit, range: null })),
      smoothingSlider(),
    ),
    html(
      "p",
      { class: "hint", id: "curves-hint" },
      html("span", { class: "for-pointer" }, HINT),
      html("span", { class: "for-touch" }, TOUCH_HINT),
    ),
  );
  const late = runs.filter((run) => run.steps.total > 0 && !run.clock.exists);
  if (timed && late.length > 0) {
    section.append(
      html(
        "p",
        { class: "hint" },
        `Shown by step only, because no epoch is finished yet: ${late.map((run) => run.name).join(", ")}.`,
      ),
    );
  }
  const charts = curveCharts();
  section.append(
    html(
      "div",
      { class: "charts" },
      charts.map((chart) => chart.figure),
    ),
  );
  for (const chart of charts) chart.refresh();
}
