// Pointer, wheel and keys on a chart.

/** Hover with any pointer; drag with a mouse or pen to zoom. A finger that moves sideways hovers,
    one that moves up or down scrolls the page. */
function attachPointer(chart) {
  const { picture } = chart;
  let start = null;
  const place = (event) => {
    const box = picture.getBoundingClientRect();
    return (event.clientX - box.left) * (picture.viewBox.baseVal.width / box.width);
  };
  const stop = () => {
    start = null;
    chart.selection = null;
  };

  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (event.pointerType !== "touch") {
      start = place(event);
      picture.setPointerCapture(event.pointerId);
    }
    chart.moveTo(chart.scale.value(place(event)));
  });
  picture.addEventListener("pointermove", (event) => {
    const px = place(event);
    if (start !== null) chart.selection = Math.abs(px - start) > 4 ? [start, px] : null;
    const { left, right } = chart.scale;
    chart.moveTo(px < left - 20 || px > right + 20 ? null : chart.scale.value(px));
  });
  picture.addEventListener("pointerup", (event) => {
    const from = start;
    const selected = chart.selection !== null;
    stop();
    if (selected) {
      const { left, right } = chart.scale;
      const [a, b] = [from, place(event)].map((px) =>
        chart.scale.value(Math.max(left, Math.min(right, px))),
      );
      chart.show([Math.min(a, b), Math.max(a, b)]);
    }
    chart.drawCursor();
  });
  picture.addEventListener("pointercancel", () => {
    stop();
    chart.drawCursor();
  });
  picture.addEventListener("pointerleave", (event) => {
    if (start === null && event.pointerType !== "touch") chart.moveTo(null);
  });
  picture.addEventListener("dblclick", () => chart.showAll());

  // The page scrolls on under a wheel, unless it is meant for the chart.
  picture.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey && document.activeElement !== picture) return;
      if (event.deltaY === 0 || (event.deltaY > 0 && view.range === null)) return;
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 0 ? 1 : 30);
      chart.zoom(
        Math.exp(Math.max(-200, Math.min(200, pixels)) * 0.003),
        chart.scale.value(place(event)),
      );
    },
    { passive: false },
  );
}

function attachKeys(chart) {
  const { picture } = chart;
  picture.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 10 : 1;
    const actions = {
      ArrowLeft: () => step(chart, -1, far),
      ArrowRight: () => step(chart, 1, far),
      Home: () => chart.moveTo(chart.scale.range[0], true),
      End: () => chart.moveTo(chart.scale.range[1], true),
      "+": () => chart.zoom(0.5),
      "=": () => chart.zoom(0.5),
      "-": () => chart.zoom(2),
      0: () => chart.showAll(),
      Escape: () => {
        chart.selection = null;
        chart.moveTo(null);
      },
    };
    const action = Object.hasOwn(actions, event.key) ? actions[event.key] : null;
    if (!action) return;
    event.preventDefault();
    action();
  });
  picture.addEventListener("blur", () => chart.moveTo(null));
}

/** Moves to the next point that is distinguishable in the chart, or by `far` such points. */
function step(chart, direction, far) {
  // Uses the scale of the next frame if a redraw is pending.
  const [from, to] = view.range ?? chart.whole;
  if (chart.cursor === null || chart.cursor < from || chart.cursor > to) {
    chart.moveTo(direction > 0 ? from : to, true);
    return;
  }
  const least = ((to - from) / 200) * far;
  const target = chart.cursor + direction * least;
  let next = null;
  for (const { x, y } of chart.lines) {
    for (let i = 0; i < x.length; i += 1) {
      const ahead = (x[i] - target) * direction;
      if (
        ahead >= -1e-9 &&
        x[i] !== chart.cursor &&
        isNumber(y[i]) &&
        (next === null || ahead < (next - target) * direction)
      )
        next = x[i];
    }
  }
  if (next === null) next = direction > 0 ? chart.whole[1] : chart.whole[0];
  if (view.range && (next > to || next < from)) {
    const width = to - from;
    const start = Math.max(chart.whole[0], Math.min(chart.whole[1] - width, next - width / 2));
    view.change({ range: [start, start + width] });
  }
  chart.moveTo(next, true);
}
