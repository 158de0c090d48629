// How each subnetwork spent its time: stacked bars with their numbers. The bars are a table.

const KINDS = [
  ["computing", "computing"],
  ["coarse", "coarse chain"],
  ["waiting", "waiting"],
];

function bar(usage) {
  const sum = KINDS.reduce((total, [kind]) => total + Math.max(0, usage[kind]), 0) || 1;
  return html(
    "div",
    { class: "bar", "aria-hidden": "true" },
    KINDS.filter(([kind]) => usage[kind] > 0).map(([kind]) =>
      html("span", {
        class: kind,
        style: { width: `${(100 * Math.max(0, usage[kind])) / sum}%` },
      }),
    ),
  );
}

function shareTable(run) {
  const share = (usage, kind) => ({ text: percent(usage[kind], 1), class: "number" });
  const rows = run.end.subnetworks.map((usage, index) => [
    { text: String(index + 1), class: "number" },
    { text: bar(usage), class: "wide" },
    ...KINDS.map(([kind]) => share(usage, kind)),
  ]);
  const head = [
    { text: "No.", class: "number" },
    { text: html("span", { class: "unseen" }, "Bar"), class: "wide" },
    ...KINDS.map(([kind, name]) => ({
      text: html("span", null, html("i", { class: `swatch ${kind}` }), name),
      class: "number",
    })),
  ];
  return table(`Shares of time in ${run.name}`, head, rows, { class: "shares" });
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
      "Shares of the training steps: computing (its own units, preprocessing, loss and update), in the coarse " +
        "chain (its coarse network, one subnetwork after the other), and waiting for its neighbours.",
    ),
  );
  for (const run of told) {
    const mean =
      run.end.subnetworks.reduce((sum, usage) => sum + usage.computing, 0) /
      run.end.subnetworks.length;
    section.append(
      html(
        "div",
        { class: "share" },
        html(
          "h3",
          null,
          runMark(run),
          run.name,
          html(
            "small",
            null,
            `${plural(run.end.subnetworks.length, "subnetwork")}, ${percent(mean, 1)} computing on average`,
          ),
        ),
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
