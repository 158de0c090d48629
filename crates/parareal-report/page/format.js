// Formatting of numbers, and round numbers for axes.

const NONE = "–";
const NARROW = "\u202f";

const formats = new Map();
function significant(digits) {
  if (!formats.has(digits)) {
    formats.set(digits, new Intl.NumberFormat("en", { maximumSignificantDigits: digits }));
  }
  return formats.get(digits);
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function number(value, digits = 4) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) {
    const [mantissa, exponent] = value.toExponential(Math.min(digits, 3) - 1).split("e");
    const power = String(Number(exponent)).replace(
      /[-\d]/g,
      (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)],
    );
    return Number(mantissa) === 1 ? `10${power}` : `${Number(mantissa)}·10${power}`;
  }
  return significant(digits).format(value);
}

/** A share as a percentage with two decimals, which is one image in ten thousand. */
function percent(share, decimals = 2) {
  return isNumber(share) ? `${(100 * share).toFixed(decimals)}${NARROW}%` : NONE;
}

/** A duration with two units at most. */
function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 10) return `${number(seconds, 2)}${NARROW}s`;
  const whole = Math.round(seconds);
  const part = (size, unit) => `${Math.floor(whole / size)}${NARROW}${unit}`;
  const rest = (size, small, unit) => `${Math.floor((whole % size) / small)}${NARROW}${unit}`;
  if (whole < 60) return part(1, "s");
  if (whole < 3600) return `${part(60, "min")} ${rest(60, 1, "s")}`;
  if (whole < 86400) return `${part(3600, "h")} ${rest(3600, 60, "min")}`;
  return `${part(86400, "d")} ${rest(86400, 3600, "h")}`;
}

const plural = (count, word) => `${number(count, 12)} ${word}${count === 1 ? "" : "s"}`;

/** Round numbers from one value to another, about `count` of them. */
function linearTicks(from, to, count) {
  const rough = (to - from) / Math.max(1, count);
  if (!(rough > 0)) return [from];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const ticks = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i += 1) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
}

/** The same for a logarithmic axis; within a decade its ticks are linear. */
function logarithmicTicks(from, to, count) {
  const decades = Math.log10(to / from);
  if (decades < 0.8) return linearTicks(from, to, count).filter((tick) => tick > 0);
  const factors = decades <= 2.2 ? [1, 2, 5] : decades <= 4 ? [1, 3] : [1];
  const stride = Math.max(1, Math.ceil(decades / Math.max(2, count)));
  const ticks = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power += 1) {
    if (power % stride !== 0) continue;
    for (const factor of factors) {
      const tick = Number((factor * 10 ** power).toPrecision(6));
      if (tick >= from * 0.9999 && tick <= to * 1.0001) ticks.push(tick);
    }
  }
  return ticks;
}
