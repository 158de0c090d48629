// Shapes of SVG: lines, bands, marks and axes.

const SHAPES = [
  (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (r) => `M${-r * 0.9} ${-r * 0.9}h${1.8 * r}v${1.8 * r}h${-1.8 * r}z`,
  (r) => `M0 ${-1.2 * r}L${1.15 * r} ${0.85 * r}H${-1.15 * r}z`,
  (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0z`,
  (r) => `M0 ${1.2 * r}L${1.15 * r} ${-0.85 * r}H${-1.15 * r}z`,
];

/** The mark of a run: its shape distinguishes runs of similar colors. */
const markShape = (run, radius) => SHAPES[run.index % SHAPES.length](radius);

function runMark(run) {
  return svg(
    "svg",
    { class: "mark", viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" },
    svg("path", { d: markShape(run, 5), style: { fill: runColor(run) } }),
  );
}

const coordinate = (value) => Math.round(Math.max(-1e4, Math.min(1e4, value)) * 100) / 100;

/** The indices of the points between two x, with one more on each side. */
function visible(x, [from, to]) {
  let first = 0;
  while (first < x.length && x[first] < from) first += 1;
  let last = x.length - 1;
  while (last >= 0 && !(x[last] <= to)) last -= 1;
  return [Math.max(0, first - 1), Math.min(x.length - 1, last + 1)];
}

/** A line through the points, interrupted at missing ones. */
function linePath({ x, y, stairs }, scale) {
  const [first, last] = visible(x, scale.range);
  let [path, open] = ["", false];
  for (let i = first; i <= last; i += 1) {
    const [px, py] = [scale.x(x[i]), scale.y(y[i])];
    if (!isNumber(px) || !isNumber(py)) {
      open = false;
      continue;
    }
    const [a, b] = [coordinate(px), coordinate(py)];
    // A step belongs to the value that it was made with: up or down first, then on.
    path += !open ? `M${a} ${b}` : stairs ? `V${b}H${a}` : `L${a} ${b}`;
    open = true;
  }
  return path;
}

/** The area between two lines. */
function bandPath(x, low, high, scale) {
  const [first, last] = visible(x, scale.range);
  let path = "";
  let [above, below] = [[], []];
  const close = () => {
    if (above.length > 1) path += `M${above.join("L")}L${below.reverse().join("L")}z`;
    [above, below] = [[], []];
  };
  for (let i = first; i <= last; i += 1) {
    const [px, top] = [scale.x(x[i]), scale.y(high[i])];
    // A logarithmic axis has no 0: the area extends to the end of the axis.
    const bottom =
      low[i] === null ? NaN : Number.isNaN(scale.y(low[i])) ? scale.bottom : scale.y(low[i]);
    if (!isNumber(px) || !isNumber(top) || !isNumber(bottom)) {
      close();
      continue;
    }
    above.push(`${coordinate(px)} ${coordinate(top)}`);
    below.push(`${coordinate(px)} ${coordinate(bottom)}`);
  }
  close();
  return path;
}

/** Marks on a line, spaced so that they can be distinguished. */
function drawMarks(line, scale) {
  const { x, y, run, look } = line;
  const [first, last] = visible(x, scale.range);
  const marks = [];
  let free = -Infinity;
  for (let i = first; i <= last; i += 1) {
    const [px, py] = [scale.x(x[i]), scale.y(y[i])];
    if (!isNumber(px) || !isNumber(py) || (px < free && i !== x.length - 1)) continue;
    free = px + 16;
    marks.push(
      svg("path", {
        d: markShape(run, 3.6),
        transform: `translate(${coordinate(px)} ${coordinate(py)})`,
        class: look === "solid" ? "point" : "point open",
        style: { "--c": runColor(run) },
      }),
    );
  }
  return marks;
}

/** A series: its background, its line (with the given width, if any) and its marks. */
function drawSeries(line, scale, width) {
  const style = { "--c": runColor(line.run) };
  const parts = [];
  const { background } = line;
  if (background?.low) {
    parts.push(
      svg("path", {
        class: "band",
        d: bandPath(line.x, background.low, background.high, scale),
        style,
      }),
    );
  } else if (background) {
    parts.push(
      svg("path", { class: "faint", d: linePath({ x: line.x, y: background.mean }, scale), style }),
    );
  }
  parts.push(
    svg("path", {
      class: `line ${line.look ?? "solid"}`,
      d: linePath(line, scale),
      style: { ...style, ...(width ? { "stroke-width": `${width}px` } : {}) },
    }),
  );
  if (line.marks) parts.push(...drawMarks(line, scale));
  return parts;
}

/** The ticks of a time axis and their unit. */
function horizontalTicks([from, to], count) {
  if (view.unit !== "second") {
    const ticks = linearTicks(from, to, count).filter(
      (tick) => view.unit !== "step" || Number.isInteger(tick),
    );
    return { ticks, show: (tick) => number(tick, 12), name: UNITS[view.unit].axis };
  }
  const [size, unit] =
    to > 2 * 86400
      ? [86400, "days"]
      : to > 2 * 3600
        ? [3600, "hours"]
        : to > 120
          ? [60, "minutes"]
          : [1, "seconds"];
  const ticks = linearTicks(from / size, to / size, count).map((tick) => tick * size);
  return { ticks, show: (tick) => number(tick / size, 6), name: `training time (${unit})` };
}

/** The frame of a chart: grid lines, ticks and the names of the axes. */
function drawAxes(scale, verticalTicks, format) {
  const { left, right, top, bottom } = scale;
  const horizontal = horizontalTicks(scale.range, Math.max(3, (right - left) / 90));
  const parts = [];
  for (const tick of verticalTicks) {
    const y = coordinate(scale.y(tick));
    parts.push(svg("path", { class: "grid", d: `M${left} ${y}H${right}` }));
    parts.push(svg("text", { x: left - 8, y, dy: "0.32em", "text-anchor": "end" }, format(tick)));
  }
  for (const tick of horizontal.ticks) {
    const x = coordinate(scale.x(tick));
    parts.push(svg("path", { class: "tick", d: `M${x} ${bottom}v5` }));
    parts.push(svg("text", { x, y: bottom + 18, "text-anchor": "middle" }, horizontal.show(tick)));
  }
  parts.push(svg("path", { class: "axis", d: `M${left} ${bottom}H${right}` }));
  parts.push(
    svg("text", { class: "name", x: right, y: bottom + 35, "text-anchor": "end" }, horizontal.name),
  );
  return parts;
}
