// The confusion matrix, as a heat map that is readable for ten classes and usable for a few hundred.

const LEVELS = 12;
const NUMBERED = 16;

class ConfusionMatrix {
  constructor(run) {
    this.run = run;
    this.names = run.evaluation.class_names;
    this.counts = run.evaluation.confusion;
    this.sums = this.counts.map((row) => row.reduce((sum, count) => sum + count, 0));
    // The strongest orange: the most frequent misclassification, at least one in a hundred.
    this.mostWrong = Math.max(
      0.01,
      ...this.counts.map((row, r) =>
        Math.max(...row.map((_, c) => (r === c ? 0 : this.share(r, c)))),
      ),
    );
    this.cell = null;
    const title = newId("matrix");
    this.picture = svg("svg", {
      tabindex: "0",
      role: "application",
      "aria-roledescription": "heat map",
      "aria-label": `Confusion matrix of ${run.name}`,
      "aria-describedby": title,
    });
    this.readout = html("p", { class: "readout", role: "status" });
    this.plot = html("div", { class: "plot" }, this.picture);
    this.figure = html(
      "figure",
      { class: "matrix" },
      html(
        "figcaption",
        { id: title, class: "hint" },
        "Rows: true class. Columns: predicted class. Blue: correct predictions. Orange: wrong ones, stronger the more frequent they are in their row. Arrow keys move.",
      ),
      this.plot,
      this.readout,
    );
    this.listen();
    this.tell();
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  share(row, column) {
    return this.sums[row] > 0 ? this.counts[row][column] / this.sums[row] : 0;
  }

  draw() {
    const size = this.names.length;
    const width = Math.min(620, Math.round(this.plot.clientWidth));
    if (width === 0 || size === 0) return;
    const named = size <= 24;
    const longest = Math.max(...this.names.map((name) => name.length));
    const margin = named ? Math.min(Math.round(width * 0.28), 14 + 6.3 * longest) : 34;
    const cell = Math.min(named ? 46 : 100, (width - margin - 2) / size);
    Object.assign(this, { margin, side: cell });
    const total = Math.round(margin + cell * size + 2);
    this.picture.setAttribute("viewBox", `0 0 ${total} ${total}`);
    this.picture.style.setProperty("max-width", `${total}px`);
    this.here = svg("rect", { class: "here", width: cell, height: cell });
    this.picture.replaceChildren(
      ...this.fields(cell, margin),
      ...this.labels(cell, margin, named),
      svg("rect", {
        class: "frame",
        x: margin,
        y: margin,
        width: cell * size,
        height: cell * size,
      }),
      this.here,
    );
    this.mark();
  }

  /** The cells, one path for each color, and their counts if there is room. */
  fields(cell, margin) {
    const paths = new Map();
    const texts = [];
    const numbers = this.names.length <= NUMBERED;
    const largest = Math.max(...this.counts.map((row) => Math.max(...row)));
    const digits = String(largest).length;
    const font = Math.min(13, (cell - 3) / (0.6 * Math.max(2, digits)));
    this.counts.forEach((row, r) =>
      row.forEach((count, c) => {
        if (count === 0) return;
        // The square root keeps rare misclassifications visible next to frequent ones.
        const part = r === c ? this.share(r, c) : Math.sqrt(this.share(r, c) / this.mostWrong);
        const level = Math.max(1, Math.ceil(part * LEVELS));
        const key = `${r === c ? "right" : "wrong"} ${level}`;
        const [x, y] = [margin + c * cell, margin + r * cell].map(coordinate);
        paths.set(
          key,
          `${paths.get(key) ?? ""}M${x} ${y}h${coordinate(cell)}v${coordinate(cell)}h${-coordinate(cell)}z`,
        );
        if (numbers && font >= 6) {
          texts.push(
            svg(
              "text",
              {
                class: level > LEVELS * 0.8 ? "strong" : level > LEVELS * 0.5 ? "middle" : "",
                x: x + cell / 2,
                y: y + cell / 2,
                dy: "0.36em",
                "text-anchor": "middle",
                style: { "font-size": `${font.toFixed(1)}px` },
              },
              String(count),
            ),
          );
        }
      }),
    );
    const path = ([key, d]) => {
      const [kind, level] = key.split(" ");
      return svg("path", {
        class: `field ${kind}`,
        d,
        "fill-opacity": (0.08 + 0.92 * (level / LEVELS)).toFixed(3),
      });
    };
    return [...[...paths].map(path), ...texts];
  }

  labels(cell, margin, named) {
    const stride = named ? 1 : this.names.length <= 200 ? 10 : 100;
    const font = named ? Math.max(8, Math.min(12, cell * 0.8)) : 10;
    const most = Math.floor((margin - 12) / (0.54 * font));
    const short = (name) =>
      name.length > most ? `${name.slice(0, Math.max(1, most - 1))}…` : name;
    return this.names.flatMap((name, i) => {
      if (i % stride !== 0) return [];
      const text = named ? short(name) : String(i);
      const at = margin + (i + 0.5) * cell;
      const style = { "font-size": `${font}px` };
      return [
        svg("text", { x: margin - 6, y: at, dy: "0.35em", "text-anchor": "end", style }, text),
        named
          ? svg(
              "text",
              { transform: `translate(${at} ${margin - 6}) rotate(-90)`, dy: "0.35em", style },
              text,
            )
          : svg("text", { x: at, y: margin - 6, "text-anchor": "middle", style }, text),
      ];
    });
  }

  mark() {
    if (!this.here) return;
    this.here.style.setProperty("display", this.cell ? "inline" : "none");
    if (!this.cell) return;
    this.here.setAttribute("x", this.margin + this.cell[1] * this.side);
    this.here.setAttribute("y", this.margin + this.cell[0] * this.side);
  }

  tell() {
    if (!this.cell) {
      const wrong = this.sums.reduce((sum, count, i) => sum + count - this.counts[i][i], 0);
      this.readout.textContent = `${number(wrong, 12)} of ${plural(
        this.sums.reduce((a, b) => a + b, 0),
        "image",
      )} are misclassified.`;
      return;
    }
    const [row, column] = this.cell;
    const answer = row === column ? "classified correctly" : `classified as ${this.names[column]}`;
    this.readout.textContent = `${this.names[row]}, ${answer}: ${number(this.counts[row][column], 12)} of ${number(this.sums[row], 12)} (${percent(this.share(row, column), 1)})`;
  }

  moveTo(cell) {
    this.cell = cell;
    this.mark();
    this.tell();
  }

  listen() {
    const size = this.names.length;
    const { picture } = this;
    const point = (event) => {
      const box = picture.getBoundingClientRect();
      const scale = picture.viewBox.baseVal.width / box.width;
      const at = (px) => Math.floor((px * scale - this.margin) / this.side);
      const cell = [at(event.clientY - box.top), at(event.clientX - box.left)];
      this.moveTo(cell.every((i) => i >= 0 && i < size) ? cell : null);
    };
    picture.addEventListener("pointermove", point);
    picture.addEventListener("pointerdown", point);
    picture.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") this.moveTo(null);
    });
    picture.addEventListener("blur", () => this.moveTo(null));
    picture.addEventListener("keydown", (event) => {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (event.key === "Escape") this.moveTo(null);
      if (
        !Object.hasOwn(moves, event.key) ||
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        size === 0
      )
        return;
      event.preventDefault();
      const far = event.shiftKey ? 10 : 1;
      const next = (i) =>
        Math.max(
          0,
          Math.min(
            size - 1,
            (this.cell ? this.cell[i] : 0) + (this.cell ? moves[event.key][i] * far : 0),
          ),
        );
      this.moveTo([next(0), next(1)]);
    });
  }

  /** The most frequent misclassifications. */
  frequent(most) {
    const wrong = [];
    this.counts.forEach((row, r) =>
      row.forEach((count, c) => {
        if (r !== c && count > 0) wrong.push([r, c, count]);
      }),
    );
    wrong.sort((a, b) => b[2] - a[2] || a[0] - b[0] || a[1] - b[1]);
    return wrong.slice(0, most);
  }
}
