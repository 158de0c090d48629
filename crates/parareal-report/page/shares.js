// How each subnetwork spent its time: stacked bars with their numbers. The bars are a table.

const RUNNING = [
  ["computing", "computing"],
  ["coarse", "coarse chain"],
];
const WAITING = [["waiting", "waiting"]];
const WAITING_APART = [
  ["waiting_for_worker", "waiting for worker"],
  ["waiting_for_neighbors", "waiting for neighbors"],
];

/** The kinds of time that a run has recorded: older versions do not distinguish the kinds of waiting. */
function kindsOf(run) {
  const apart = run.end.subnetworks.every((usage) => isNumber(usage.waiting_for_worker));
  return [...RUNNING, ...(apart ? WAITING_APART : WAITING)];
}

function bar(usage, kinds) {
  const sum = kinds.reduce((total, [kind]) => total + Math.max(0, usage[kind]), 0) || 1;
  return html(
    "div",
    { class: "bar", "aria-hidden": "true" },
    kinds
      .filter(([kind]) => usage[kind] > 0)
      .map(([kind]) =>
        html("span", {
          class: kind,
          style: { width: `${(100 * Math.max(0, usage[kind])) / sum}%` },
        }),
      ),
  );
}

function shareTable(run) {
  const kinds = kindsOf(run);
  const share = (usage, kind) => ({ text: percent(usage[kind], 1), class: "number" });
  const rows = run.end.subnetworks.map((usage, index) => [
    { text: String(index + 1), class: "number" },
    { text: bar(usage, kinds), class: "wide" },
    ...kinds.map(([kind]) => share(usage, kind)),
  ]);
  const head = [
    { text: "No.", class: "number" },
    { text: html("span", { class: "unseen" }, "Bar"), class: "wide" },
    ...kinds.map(([kind, name]) => ({
      text: html("span", null, html("i", { class: `swatch ${kind}` }), name),
      class: "number",
    })),
  ];
  return table(`Shares of the training time of ${run.name}`, head, rows, { class: "shares" });
}

/** How busy the workers were, or where that is not known how much the subnetworks computed. */
function busyText(run) {
  const { subnetworks, workers } = run.end;
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  if (workers.length === 0) {
    const computing = mean(subnetworks.map((usage) => usage.computing));
    return `${plural(subnetworks.length, "subnetwork")}, ${percent(computing, 1)} computing on average`;
  }
  const busy = workers.map((worker) => worker.busy);
  const each =
    workers.length === 1
      ? `, busy ${percent(busy[0], 1)}`
      : `, busy ${percent(mean(busy), 1)} on average (${percent(Math.min(...busy), 1)} to ${percent(Math.max(...busy), 1)})`;
  return `${plural(subnetworks.length, "subnetwork")} on ${plural(workers.length, "worker")}${each}`;
}

function drawShares(section) {
  const told = runs.filter((run) => run.end?.subnetworks.length > 0);
  if (told.length === 0) {
    section.remove();
    return;
  }
  section.append(
    html(
      "p",
      { class: "hint" },
      "Shares of the training time of each subnetwork: computing (its units, preprocessing, loss and update), in " +
        "the coarse chain (its coarse network, one subnetwork after the other), waiting for its worker (which ran " +
        "another of its subnetworks), and waiting for neighbors (the worker was idle). A worker is busy while it " +
        "runs any of its subnetworks.",
    ),
  );
  for (const run of told) {
    section.append(
      html(
        "div",
        { class: "share" },
        html("h3", null, runMark(run), run.name, html("small", null, busyText(run))),
        shareTable(run),
      ),
    );
  }
  const others = runs.filter((run) => !told.includes(run));
  if (others.length > 0) {
    section.append(
      html("p", { class: "hint" }, `Not recorded: ${others.map((run) => run.name).join(", ")}.`),
    );
  }
}
