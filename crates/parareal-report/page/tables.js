// The cards at the top, the settings, and the results.

function subnetworks(run) {
  const row = report.settings.find(({ key }) => key === "subnetworks");
  return row?.values[run.index] ?? null;
}

const state = (run) =>
  run.summary.finished
    ? null
    : `not finished: ${run.summary.planned ? `${run.summary.epochs} of ${plural(run.summary.planned, "epoch")}` : `${plural(run.summary.epochs, "epoch")} so far`}`;

const bestBy = (run) =>
  run.summary.best?.by === "validation" ? "best validation error" : "best test error";

function card(run) {
  const { summary } = run;
  const error = summary.test_error ?? summary.train_error;
  const fact = (value, what) => html("div", null, html("dd", null, value), html("dt", null, what));
  return html(
    "article",
    { class: "card", style: { "--c": runColor(run) } },
    html("h2", null, runMark(run), html("span", null, run.name)),
    state(run) ? html("p", { class: "state" }, state(run)) : null,
    html(
      "dl",
      null,
      subnetworks(run)
        ? fact(subnetworks(run), Number(subnetworks(run)) === 1 ? "network" : "subnetworks")
        : null,
      fact(percent(error), isNumber(summary.test_error) ? "test error" : "training error"),
      fact(duration(summary.seconds_per_epoch), "an epoch"),
      fact(
        duration(summary.seconds),
        run.end ? "in all" : `of training${summary.finished ? "" : " so far"}`,
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

/** The least of a column, where several runs can be compared by it. */
function least(of) {
  const values = runs.map(of).filter(isNumber);
  return values.length > 1 && Math.max(...values) > Math.min(...values)
    ? Math.min(...values)
    : null;
}

function drawResults(section) {
  const s = (field) => (run) => run.summary[field];
  const columns = [
    ["Test error", s("test_error"), percent],
    ["Top-5 error", s("test_top5_error"), percent],
    ["Validation error", s("validation_error"), percent],
    ["Training error", s("train_error"), percent],
    ["Test loss", s("test_loss"), whole],
    [
      "Best epoch",
      (run) => run.summary.best?.epoch,
      null,
      (run) => {
        const { best } = run.summary;
        if (!best) return NONE;
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
    const relative = (run) => (isNumber(time(run)) ? time(run) / time(runs[0]) : null);
    columns.splice(columns.findIndex(([name]) => name === "Per epoch") + 1, 0, [
      "Relative",
      relative,
      null,
      (run) => {
        return isNumber(relative(run)) ? `${relative(run).toFixed(2)} ×` : NONE;
      },
    ]);
  }
  const comparable = new Set([
    "Test error",
    "Top-5 error",
    "Validation error",
    "Test loss",
    "Per epoch",
  ]);
  const best = columns.map(([name, of]) => (comparable.has(name) ? least(of) : null));
  const rows = runs.map((run) => [
    runHead(run),
    ...columns.map(([, of, format, show], i) => ({
      text: show ? show(run) : format(of(run)),
      class: best[i] !== null && of(run) === best[i] ? "number best" : "number",
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
  const notes = ["Errors and losses are those after the last epoch."];
  if (runs.some((run) => run.summary.best)) {
    const words = new Set(runs.filter((run) => run.summary.best).map(bestBy));
    notes.push(
      `The best epoch is the first with the ${[...words].join(" or the ")}; beside it stands its test error.`,
    );
  }
  notes.push("Time per epoch is training alone, without evaluation.");
  if (columns.some(([name]) => name === "Relative"))
    notes.push(`Relative: time per epoch, divided by that of ${runs[0].name}.`);
  if (rows.flat().some((cell) => cell.class === "number best"))
    notes.push("Bold: the least of the runs.");
  section.append(html("p", { class: "hint" }, notes.join(" ")));
}
