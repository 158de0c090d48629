// Misclassifications of evaluated runs: matrices, the most frequent ones, the worst images.

function frequentTable(matrix) {
  const rows = matrix
    .frequent(12)
    .map(([row, column, count]) => [
      matrix.names[row],
      matrix.names[column],
      { text: number(count, 12), class: "number" },
      { text: percent(matrix.share(row, column), 1), class: "number" },
    ]);
  if (rows.length === 0) return html("p", null, "All predictions are correct.");
  return table(
    `Most frequent misclassifications of ${matrix.run.name}`,
    [
      "true class",
      "predicted class",
      { text: "images", class: "number" },
      { text: "of the class", class: "number" },
    ],
    rows,
  );
}

function wholeTable({ names, counts }) {
  return table(
    "Confusion matrix as a table",
    ["true class, predicted class", ...names],
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
        alt: `test image ${index}: ${names[label]}, classified as ${names[answer]}`,
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

/** Which weights were evaluated, on which images, and their error. */
function evaluationNote(run) {
  const { epoch, step, test_error: error, images, confusion } = run.evaluation;
  const { best } = run.summary;
  const of = run.epochs.find((other) => other.step === step)?.epoch;
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
  const result = isNumber(error) ? `${percent(error)} test error on ${by}` : by;
  return `weights after epoch ${epoch}, step ${number(step, 12)}${role}: ${result}`;
}

/** The matrix, and the table of its largest counts. The whole table would be too large for many classes. */
function confusion(matrix) {
  return [
    html(
      "div",
      { class: "columns" },
      matrix.figure,
      html("div", null, html("h4", null, "Most frequent misclassifications"), frequentTable(matrix)),
    ),
    matrix.names.length <= 200
      ? folded("Confusion matrix as a table", () => wholeTable(matrix))
      : null,
  ];
}

function drawEvaluation(section) {
  const evaluated = runs.filter((run) => run.evaluation);
  if (evaluated.length === 0) {
    section.remove();
    return;
  }
  for (const run of evaluated) {
    const { worst } = run.evaluation;
    const matrix = run.evaluation.confusion.length > 0 ? new ConfusionMatrix(run) : null;
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
        matrix
          ? confusion(matrix)
          : html("p", { class: "hint" }, "A confusion matrix is kept for up to 1,000 classes."),
        worst.length > 0 ? html("h4", null, "Most confident misclassifications") : null,
        worst.length > 0 ? gallery(run) : null,
      ),
    );
    matrix?.draw();
  }
}
