// Series of numbers over the chosen axis.
//
// A series has x and y, and may have a background: the unsmoothed values or, if a point represents
// several steps, their range.

/** Means of means, over `width` steps around each point in total, with larger weights for nearer steps. */
function smoothed(steps, values, perPoint, total, width) {
  const once = runningMeans(steps, values, perPoint, total, width / 2);
  return runningMeans(steps, once, perPoint, total, width / 2);
}

/** Means over `width` steps around each point, weighted by the number of steps that a point represents. */
function runningMeans(steps, values, perPoint, total, width) {
  const weight = (i) =>
    i === values.length - 1 ? total - perPoint * (values.length - 1) : perPoint;
  const result = new Array(values.length).fill(null);
  // Running sums accumulate rounding errors: no mean is below all values.
  const floor = values.reduce((least, v) => (v !== null && v < least ? v : least), Infinity);
  let [from, to, sum, count] = [0, 0, 0, 0];
  for (let i = 0; i < values.length; i += 1) {
    while (to < values.length && steps[to] <= steps[i] + width / 2) {
      if (values[to] !== null) {
        sum += weight(to) * values[to];
        count += weight(to);
      }
      to += 1;
    }
    while (steps[from] < steps[i] - width / 2) {
      if (values[from] !== null) {
        sum -= weight(from) * values[from];
        count -= weight(from);
      }
      from += 1;
    }
    if (values[i] !== null && count > 0) result[i] = Math.max(floor, sum / count);
  }
  return result;
}

/** The step series of a run, by the name of its column, over the chosen axis. */
function stepSeries(run, column, { label, smooth = true, stairs = false }) {
  const { step, per_point: perPoint, total } = run.steps;
  const curve = run.steps[column];
  if (!curve || step.length === 0) return null;
  const raw = Array.isArray(curve) ? { mean: curve } : curve;
  if (!raw.mean.some(isNumber)) return null;
  const width = smooth ? smoothingSteps(run) : 1;
  const smooths = smooth && width > perPoint;
  const x = positions(run);
  return {
    run,
    label,
    x,
    stairs,
    y: smooths ? smoothed(step, raw.mean, perPoint, total, width) : raw.mean,
    background: raw.low || smooths ? raw : null,
    place: (i) =>
      perPoint > 1 && !stairs
        ? `steps ${number(i > 0 ? step[i - 1] + 1 : Math.max(1, step[0] - perPoint + 1), 12)} to ${number(step[i], 12)}`
        : `step ${number(step[i], 12)}`,
  };
}

/** A value of each epoch, placed at its end: a field of it, or a function of it. */
function epochSeries(run, field, { label, look = "solid", marks = true }) {
  const value = typeof field === "function" ? field : (epoch) => epoch[field];
  if (!run.epochs.some((epoch) => isNumber(value(epoch)))) return null;
  return {
    run,
    label,
    look,
    marks,
    x: run.places.map((place) => place[view.unit]),
    y: run.epochs.map((epoch) => value(epoch) ?? null),
    place: (i) => `epoch ${run.epochs[i].epoch}`,
  };
}

/** The index of the x nearest to a value; x ascends and may hold NaN at its end. */
function nearest(x, value) {
  let [low, high] = [0, x.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && !(x[low] - value < value - x[low - 1]) ? low - 1 : low;
}

/** The range of all x, starting at 0. */
function wholeRange(lines) {
  let [from, to] = [0, 0];
  for (const { x } of lines) {
    for (const value of x) if (value > to) to = value;
  }
  return to > from ? [from, to] : [0, 1];
}

/** The range of the vertical axis for the lines between two x: all of the lines, most of the background. */
function verticalRange(lines, [from, to], logarithmic, fromZero) {
  const [values, rest] = [[], []];
  const take = (list, value) => {
    if (isNumber(value) && (!logarithmic || value > 0)) list.push(value);
  };
  for (const { x, y, background } of lines) {
    for (let i = 0; i < x.length; i += 1) {
      // One more point on each side, because lines start there.
      if (!((x[i + 1] ?? x[i]) >= from && (x[i - 1] ?? x[i]) <= to)) continue;
      take(values, y[i]);
      if (background) {
        take(rest, (background.low ?? background.mean)[i]);
        take(rest, (background.high ?? background.mean)[i]);
      }
    }
  }
  rest.sort((a, b) => a - b);
  if (rest.length > 0) {
    values.push(
      rest[Math.floor(0.02 * (rest.length - 1))],
      rest[Math.ceil(0.98 * (rest.length - 1))],
    );
  }
  if (values.length === 0) return logarithmic ? [0.1, 1] : [0, 1];
  let [low, high] = values.reduce(
    ([a, b], v) => [Math.min(a, v), Math.max(b, v)],
    [Infinity, -Infinity],
  );
  if (logarithmic) {
    const margin = Math.max((high / low) ** 0.05, 1.05);
    return [low / margin, high * margin];
  }
  if (low >= 0 && (fromZero || low < 0.35 * high)) return [0, high > 0 ? high * 1.05 : 1];
  const margin = 0.06 * (high - low) || Math.abs(high) * 0.1 || 1;
  return [low - margin, high + margin];
}
