// A chart of lines: its frame, its picture, the values under the pointer, its table.

const HINT =
  "Drag to zoom. Ctrl and the wheel, or + and −, zoom at the pointer; after a click, the wheel alone is " +
  "enough. Arrow keys move from point to point, with Shift in larger steps; 0 or a double click resets the zoom.";
const TOUCH_HINT = "Move a finger sideways to see the values under it; use the buttons to zoom.";

class LineChart {
  /** `series()` returns the lines, `format` formats a value, `table()` returns the rows of the table. */
  constructor({
    title,
    note,
    format,
    ticks = format,
    series,
    table: rows,
    logarithmic = false,
    canBeLogarithmic = true,
    fromZero = false,
    small = false,
  }) {
    Object.assign(this, { title, note, format, ticks, series, rows, logarithmic, fromZero, small });
    this.cursor = null;
    this.selection = null;
    this.build(canBeLogarithmic);
    attachPointer(this);
    attachKeys(this);
    view.listeners.push(() => this.refresh());
    new ResizeObserver(() => this.refresh()).observe(this.plot);
  }

  build(canBeLogarithmic) {
    const titleId = newId("chart");
    const button = (text, label, click) =>
      html(
        "button",
        { type: "button", "aria-label": `${this.title}: ${label}`, title: label, click },
        text,
      );
    this.log =
      canBeLogarithmic &&
      html(
        "button",
        {
          type: "button",
          "aria-pressed": String(this.logarithmic),
          "aria-label": `${this.title}: log scale`,
          title: "logarithmic scale",
          click: () => {
            this.logarithmic = !this.logarithmic;
            this.log.setAttribute("aria-pressed", String(this.logarithmic));
            this.refresh();
          },
        },
        "log",
      );
    this.looks = html("p", { class: "looks" });
    this.picture = svg("svg", {
      tabindex: "0",
      role: "application",
      "aria-roledescription": "chart",
      "aria-labelledby": titleId,
      "aria-describedby": "curves-hint",
    });
    this.tip = html("div", { class: "tip", "aria-hidden": "true" });
    this.plot = html("div", { class: "plot" }, this.picture, this.tip);
    this.spoken = html("p", { class: "unseen", role: "status" });
    this.figure = html(
      "figure",
      { class: this.small ? "chart small" : "chart" },
      html(
        "figcaption",
        null,
        html("h3", { id: titleId }, this.title),
        html(
          "div",
          { class: "tools" },
          this.log || null,
          button("−", "zoom out", () => this.zoom(2)),
          button("+", "zoom in", () => this.zoom(0.5)),
          button("Reset", "reset zoom", () => this.showAll()),
        ),
        this.looks,
      ),
      this.plot,
      this.spoken,
      folded(`${this.title} as a table`, () => this.tableOfValues()),
    );
    this.clip = newId("clip");
  }

  get empty() {
    return this.series().length === 0;
  }

  /** Redraws everything. */
  refresh() {
    const width = Math.round(this.plot.clientWidth);
    if (width === 0) return;
    const height = width < 480 ? 220 : this.small ? 230 : 320;
    this.lines = this.series().filter((line) => !view.hidden.has(line.run.index));
    this.whole = wholeRange(this.lines);
    const range = view.range ?? this.whole;
    const [low, high] = verticalRange(this.lines, range, this.logarithmic, this.fromZero);
    const ticks = (this.logarithmic ? logarithmicTicks : linearTicks)(low, high, height / 52);
    const left = 18 + 6.4 * Math.max(3, ...ticks.map((tick) => this.ticks(tick).length));
    this.scale = this.scaleOf(range, [low, high], {
      left,
      right: width - 10,
      top: 10,
      bottom: height - 42,
    });
    const { scale } = this;
    this.overlay = svg("g");
    const inside = {
      x: left,
      y: scale.top - 5,
      width: scale.right - left + 6,
      height: scale.bottom - scale.top + 5,
    };
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.picture.replaceChildren(
      svg("clipPath", { id: this.clip }, svg("rect", inside)),
      svg("g", { class: "axes" }, drawAxes(scale, ticks, this.ticks)),
      svg(
        "g",
        { "clip-path": `url(#${this.clip})` },
        this.lines.map((line, i) => drawSeries(line, scale, this.width(line, i))),
      ),
      this.overlay,
    );
    if (this.lines.length === 0) {
      this.picture.append(
        svg(
          "text",
          { class: "nothing", x: (left + scale.right) / 2, y: height / 2, "text-anchor": "middle" },
          "all runs are hidden",
        ),
      );
    }
    this.describeLooks();
    this.drawCursor();
  }

  scaleOf(range, [low, high], box) {
    const { left, right, top, bottom } = box;
    const map = this.logarithmic ? (v) => (v > 0 ? Math.log(v) : NaN) : (v) => v;
    const [from, to] = [map(low), map(high)];
    return {
      ...box,
      range,
      x: (value) => left + ((value - range[0]) / (range[1] - range[0])) * (right - left),
      y: (value) =>
        isNumber(value) ? bottom - ((map(value) - from) / (to - from)) * (bottom - top) : NaN,
      value: (px) => range[0] + ((px - left) / (right - left)) * (range[1] - range[0]),
    };
  }

  /** Learning rates often coincide: lower lines are wider, so that all of them are visible. */
  width(line, index) {
    return line.stairs ? 1.5 + 1.75 * Math.min(3, this.lines.length - 1 - index) : null;
  }

  /** The legend of the line styles; the colors of the runs are explained at the top. */
  describeLooks() {
    const seen = new Map();
    for (const line of this.lines) if (!seen.has(line.label)) seen.set(line.label, line);
    const sample = ({ look = "solid", marks }) =>
      svg(
        "svg",
        { viewBox: "0 0 34 12", width: 34, height: 12, "aria-hidden": "true" },
        svg("path", { class: `line ${look}`, d: "M1 6H33", style: { "--c": "var(--ink)" } }),
        marks
          ? svg("path", {
              d: SHAPES[0](3),
              transform: "translate(17 6)",
              class: look === "solid" ? "point" : "point open",
              style: { "--c": "var(--ink)" },
            })
          : null,
      );
    const items = [...seen].map(([label, line]) => html("span", null, sample(line), label));
    this.looks.replaceChildren(
      ...items,
      this.note?.(this.lines) ? html("span", null, this.note(this.lines)) : "",
    );
  }

  /** Zooms around a value, which keeps its place. */
  zoom(factor, around = this.cursor) {
    const [from, to] = this.scale.range;
    const middle = around !== null && around >= from && around <= to ? around : (from + to) / 2;
    this.show([middle - (middle - from) * factor, middle + (to - middle) * factor]);
  }

  /** Shows a part of the axis, limited to its range. */
  show([from, to]) {
    const [start, end] = this.whole;
    const least = view.unit === "step" ? 2 : (end - start) / 20000;
    if (to - from < least) return;
    if (to - from >= (end - start) * 0.999) {
      this.showAll();
      return;
    }
    const shift = Math.max(0, start - from) - Math.max(0, to - end);
    view.change({ range: [from + shift, to + shift] });
  }

  showAll() {
    view.change({ range: null });
  }

  /** The point of each line nearest to a value of the axis, and the nearest of these. */
  pointsAt(value) {
    const points = [];
    for (const line of this.lines) {
      let index = nearest(line.x, value);
      // Near a gap, take the closest existing value.
      for (let away = 0; away < line.x.length && !isNumber(line.y[index]); away += 1) {
        const [before, after] = [index - away, index + away];
        if (isNumber(line.y[before])) index = before;
        else if (isNumber(line.y[after])) index = after;
      }
      if (isNumber(line.x[index]) && isNumber(line.y[index]))
        points.push({ line, index, x: line.x[index], y: line.y[index] });
    }
    const distance = (point) => Math.abs(point.x - value);
    const closest = points.reduce(
      (best, point) => (best === null || distance(point) < distance(best) ? point : best),
      null,
    );
    return { points, x: closest?.x ?? null };
  }

  /** Moves the cursor to the point nearest to a value of the axis; null removes it. */
  moveTo(value, aloud = false) {
    const { x } = value === null ? { x: null } : this.pointsAt(value);
    this.cursor = x;
    this.drawCursor();
    if (aloud && x !== null) this.spoken.textContent = this.words();
  }

  drawCursor() {
    const parts = [];
    const { scale } = this;
    if (this.selection) {
      const [a, b] = this.selection.map((px) => Math.max(scale.left, Math.min(scale.right, px)));
      parts.push(
        svg("rect", {
          class: "selection",
          x: Math.min(a, b),
          y: scale.top,
          width: Math.abs(b - a),
          height: scale.bottom - scale.top,
        }),
      );
    }
    const shown =
      this.cursor !== null && this.cursor >= scale.range[0] && this.cursor <= scale.range[1];
    this.tip.classList.toggle("shown", shown);
    if (shown) {
      const { points, x } = this.pointsAt(this.cursor);
      const px = coordinate(scale.x(x));
      parts.push(svg("path", { class: "cursor", d: `M${px} ${scale.top}V${scale.bottom}` }));
      for (const point of points) {
        const [cx, cy] = [coordinate(scale.x(point.x)), coordinate(scale.y(point.y))];
        if (cx < scale.left - 4 || cx > scale.right + 4 || cy < 0 || cy > scale.bottom + 4)
          continue;
        parts.push(
          svg("circle", {
            class: "here",
            cx,
            cy,
            r: 4.5,
            style: { "--c": runColor(point.line.run) },
          }),
        );
      }
      this.fillTip(UNITS[view.unit].show(x), points, px);
    } else {
      // If there is room below the chart, it shows the last values.
      this.fillTip("at the end", this.pointsAt(this.whole[1]).points, 0);
    }
    this.overlay.replaceChildren(...parts);
  }

  fillTip(title, points, px) {
    const row = ({ line, index, y }) =>
      html(
        "tr",
        null,
        html("td", null, runMark(line.run)),
        html(
          "th",
          { scope: "row" },
          runs.length > 1 ? html("b", null, line.run.name) : null,
          " ",
          line.label,
        ),
        html("td", { class: "number" }, this.format(y)),
        html("td", { class: "aside" }, this.aside(line, index)),
      );
    this.tip.replaceChildren(html("p", null, title), html("table", null, points.map(row)));
    const { width } = this.tip.getBoundingClientRect();
    const room = this.plot.clientWidth;
    const left = px + 14 + width <= room ? px + 14 : Math.max(0, px - 14 - width);
    this.tip.style.setProperty("left", `${Math.min(left, Math.max(0, room - width))}px`);
  }

  /** The step or epoch of a value, and its range. */
  aside({ background, place }, index) {
    const low = background?.low?.[index] ?? null;
    if (low !== null)
      return `${place(index)}: ${this.format(low)} to ${this.format(background.high[index])}`;
    if (background) return `${place(index)}: ${this.format(background.mean[index])}`;
    return place(index);
  }

  words() {
    const { points, x } = this.pointsAt(this.cursor);
    const value = ({ line, y }) =>
      `${runs.length > 1 ? `${line.run.name}, ` : ""}${line.label}: ${this.format(y)}`;
    return `${UNITS[view.unit].show(x)}. ${points.map(value).join("; ")}`;
  }

  tableOfValues() {
    const { head, rows } = this.rows();
    return table(`${this.title} as a table`, head, rows, { class: "values" });
  }
}
