// The cards at the top, the settings, and the results.

function state({ summary }) {
  if (summary.finished) return null;
  const end = summary.early_end;
  const how = !end
    ? "not finished"
    : end.how === "diverged"
      ? `diverged at step ${number(end.step, 12)}`
      : `interrupted after step ${number(end.step, 12)}`;
  const done = summary.planned
    ? `${summary.epochs} of ${plural(summary.planned, "epoch")}`
    : `${plural(summary.epochs, "epoch")} so far`;
  return `${how}: ${done}`;
}

/** The criterion for the best epoch of a run, in words. */
function bestBy({ summary: { best } }) {
  if (best.by === "validation") return "best validation error";
  if (best.by === "test") return "best test error";
  const direction = best.highest === null ? "best" : best.highest ? "highest" : "lowest";
  return `${direction} ${best.metric === "loss" ? "validation loss" : best.metric}`;
}

/** The main result of a run and its name: an error, or a loss if errors are not counted. */
function result({ summary, epochs }) {
  const last = epochs.at(-1);
  if (isNumber(summary.test_error)) return [percent(summary.test_error), "test error"];
  if (isNumber(summary.train_error) || !isNumber(last?.train_loss)) {
    return [percent(summary.train_error), "training error"];
  }
  return isNumber(last.validation_loss)
    ? [number(last.validation_loss, 4), "validation loss"]
    : [number(last.train_loss, 4), "training loss"];
}

function card(run) {
  const { summary } = run;
  const fact = (value, what) => html("div", null, html("dd", null, value), html("dt", null, what));
  return html(
    "article",
    { class: "card", style: { "--c": runColor(run) } },
    html("h2", null, runMark(run), html("span", null, run.name)),
    state(run) ? html("p", { class: "state" }, state(run)) : null,
    html(
      "dl",
      null,
      isNumber(run.subnetworks)
        ? fact(number(run.subnetworks, 12), run.subnetworks === 1 ? "network" : "subnetworks")
        : null,
      fact(...result(run)),
      fact(duration(summary.seconds_per_epoch), "per epoch"),
      fact(
        duration(summary.seconds),
        run.end ? "in total" : `training time${summary.finished ? "" : " so far"}`,
      ),
    ),
  );
}

function drawHead() {
  const title =
    runs.length === 1
      ? runs[0].name
      : runs.length <= 4
        ? runs
            .map((run) => run.name)
            .join(" and ")
            .replace(/ and (?=.* and )/g, ", ")
        : `${runs.length} runs`;
  byId("title").textContent = title;
  byId("runs").append(...runs.map(card));
}

const runHead = (run) => ({ text: html("span", { class: "run" }, runMark(run), run.name) });
const value = (text) => (text === null ? { text: "not set", class: "unset" } : text);

function drawSettings(section) {
  const head = () => ["Setting", ...runs.map(runHead)];
  const rows = (list) =>
    list.map(({ key, values }) => [{ text: key, class: "code" }, ...values.map(value)]);
  if (runs.length > 1) {
    const differing = report.settings.filter((row) => row.differs);
    section.append(
      differing.length > 0
        ? table("Settings that differ", head(), rows(differing), { class: "settings" })
        : html("p", null, "The runs have the same settings."),
    );
  }
  const all = plural(report.settings.length, "setting");
  section.append(
    folded(runs.length > 1 ? `All ${all}` : all, () =>
      html(
        "div",
        null,
        table("All settings", head(), rows(report.settings), { class: "settings" }),
        html(
          "ul",
          { class: "paths" },
          runs.map((run) => html("li", null, `${run.name}: `, html("code", null, run.path))),
        ),
      ),
    ),
  );
}

/** Whether two runs are known to have the same samples: `training`, `validation` or `test`. */
const sameData = (run, other, samples) =>
  run.images[samples] !== null && run.images[samples] === other.images[samples];

/** Whether a run has the smallest value of a column among several runs on the same data. */
function isLeast(run, of, samples) {
  const values = runs
    .filter((other) => sameData(run, other, samples))
    .map(of)
    .filter(isNumber);
  return Math.max(...values) > Math.min(...values) && of(run) === Math.min(...values);
}

function drawResults(section) {
  const s = (field) => (run) => run.summary[field];
  const columns = [
    ["Test error", s("test_error"), percent],
    ["Top-5 error", s("test_top5_error"), percent],
    ["Validation error", s("validation_error"), percent],
    ["Training error", s("train_error"), percent],
    ["Test loss", s("test_loss"), whole],
    ["Validation loss", s("validation_loss"), whole],
    [
      "Training loss",
      ({ summary }) => (isNumber(summary.train_error) ? null : summary.train_loss),
      whole,
    ],
    ...metricNames().map((name) => [name, (run) => run.summary.metrics[name], whole]),
    [
      "Best epoch",
      (run) => run.summary.best?.epoch,
      null,
      (run) => {
        const { best } = run.summary;
        if (!best) return NONE;
        if (best.by === "metric") return `${best.epoch}: ${whole(best.value)}`;
        return `${best.epoch}: ${percent(best.test_error ?? best.validation_error)}`;
      },
    ],
    [
      "Epochs",
      s("epochs"),
      null,
      (run) => `${run.summary.epochs}${run.summary.finished ? "" : " so far"}`,
    ],
    ["Per epoch", s("seconds_per_epoch"), duration],
    [
      "Total",
      s("seconds"),
      null,
      (run) =>
        duration(run.summary.seconds) +
        (run.summary.finished || !isNumber(run.summary.seconds) ? "" : " so far"),
    ],
  ].filter(([, of]) => runs.some((run) => isNumber(of(run))));
  if (runs.length > 1 && isNumber(runs[0].summary.seconds_per_epoch)) {
    const time = (run) => run.summary.seconds_per_epoch;
    const relative = (run) =>
      isNumber(time(run)) && (run === runs[0] || sameData(run, runs[0], "training"))
        ? time(run) / time(runs[0])
        : null;
    columns.splice(columns.findIndex(([name]) => name === "Per epoch") + 1, 0, [
      "Relative",
      relative,
      null,
      (run) => {
        return isNumber(relative(run)) ? `${relative(run).toFixed(2)} ×` : NONE;
      },
    ]);
  }
  // The samples that must be the same for runs to be compared.
  const comparable = {
    "Test error": "test",
    "Top-5 error": "test",
    "Validation error": "validation",
    "Test loss": "test",
    "Validation loss": "validation",
    "Per epoch": "training",
  };
  const rows = runs.map((run) => [
    runHead(run),
    ...columns.map(([name, of, format, show]) => ({
      text: show ? show(run) : format(of(run)),
      class:
        Object.hasOwn(comparable, name) && isLeast(run, of, comparable[name]) ? "number best" : "number",
    })),
  ]);
  section.append(
    table(
      "Table of results",
      ["Run", ...columns.map(([name]) => ({ text: name, class: "number" }))],
      rows,
      {
        class: "results",
      },
    ),
  );
  const notes = ["Errors and losses: after the last epoch."];
  if (runs.some((run) => run.summary.best)) {
    const found = runs.filter((run) => run.summary.best);
    const words = new Set(found.map(bestBy));
    const byMetric = (run) => run.summary.best.by === "metric";
    const beside = found.every(byMetric)
      ? "that value"
      : found.some(byMetric)
        ? "its test error or that value"
        : "its test error";
    notes.push(
      `Best epoch: the first with the ${[...words].join(" or the ")}, followed by ${beside}.`,
    );
  }
  notes.push("Time per epoch: training only, without evaluation.");
  if (columns.some(([name]) => name === "Relative"))
    notes.push(`Relative: time per epoch divided by that of ${runs[0].name}.`);
  if (rows.flat().some((cell) => cell.class === "number best"))
    notes.push(`Bold: smallest value among runs on the same ${SAMPLES === "Images" ? "images" : "data"}.`);
  section.append(html("p", { class: "hint" }, notes.join(" ")));
}
