// What evaluated runs take for what: matrices, the most frequent mistakes, the worst images.

function frequentTable(matrix) {
  const rows = matrix
    .frequent(12)
    .map(([row, column, count]) => [
      matrix.names[row],
      matrix.names[column],
      { text: number(count, 12), class: "number" },
      { text: percent(matrix.share(row, column), 1), class: "number" },
    ]);
  if (rows.length === 0) return html("p", null, "Every answer is right.");
  return table(
    `The most frequent wrong answers of ${matrix.run.name}`,
    [
      "It is",
      "taken for",
      { text: "images", class: "number" },
      { text: "of its class", class: "number" },
    ],
    rows,
  );
}

function wholeTable({ names, counts }) {
  return table(
    "Confusion matrix as a table",
    ["It is, taken for", ...names],
    counts.map((row, r) => [
      names[r],
      ...row.map((count) => ({ text: String(count), class: "number" })),
    ]),
    { class: "values" },
  );
}

function gallery(run) {
  const { worst, class_names: names } = run.evaluation;
  const picture = ({ index, label, answer, probability, png }) =>
    html(
      "figure",
      null,
      html("img", {
        src: `data:image/png;base64,${png}`,
        alt: `test image ${index}: ${names[label]}, taken for ${names[answer]}`,
        width: 72,
        height: 72,
      }),
      html(
        "figcaption",
        null,
        html("span", null, names[label]),
        html("b", null, `→ ${names[answer]}`),
        html(
          "small",
          null,
          `${percent(probability, 1)} · no. ${number(index, 12).replace(/,/g, "")}`,
        ),
      ),
    );
  const shown = 24;
  const block = (list) => html("div", { class: "gallery" }, list.map(picture));
  return [
    block(worst.slice(0, shown)),
    worst.length > shown
      ? folded(`${worst.length - shown} more`, () => block(worst.slice(shown)))
      : null,
  ];
}

/** Which weights were evaluated, by what, and how well. */
function evaluationNote(run) {
  const { epoch, step: behind, test_error: error, images, confusion } = run.evaluation;
  const { best } = run.summary;
  const of = run.epochs.find((other) => other.step === behind)?.epoch;
  const role =
    of === undefined
      ? ""
      : of === run.summary.epochs
        ? " (the last epoch)"
        : of === best?.epoch
          ? " (the best epoch)"
          : "";
  const dataset = report.settings.find(({ key }) => key === "dataset")?.values[run.index];
  const count = images ?? confusion.flat().reduce((sum, part) => sum + part, 0);
  const by = `${plural(count, "test image")}${dataset ? ` of ${dataset}` : ""}`;
  const result = isNumber(error) ? `${percent(error)} test error of ${by}` : by;
  return `weights after epoch ${epoch}, step ${number(behind, 12)}${role}: ${result}`;
}

function drawEvaluation(section) {
  const evaluated = runs.filter((run) => run.evaluation);
  if (evaluated.length === 0) {
    section.remove();
    return;
  }
  for (const run of evaluated) {
    const { worst } = run.evaluation;
    const matrix = new ConfusionMatrix(run);
    section.append(
      html(
        "div",
        { class: "evaluation" },
        html(
          "h3",
          null,
          runMark(run),
          run.name,
          html("small", null, evaluationNote(run)),
        ),
        html(
          "div",
          { class: "columns" },
          matrix.figure,
          html("div", null, html("h4", null, "Most frequent wrong answers"), frequentTable(matrix)),
        ),
        folded("Confusion matrix as a table", () => wholeTable(matrix)),
        worst.length > 0 ? html("h4", null, "Most confidently wrong") : null,
        worst.length > 0 ? gallery(run) : null,
      ),
    );
    matrix.draw();
  }
}
