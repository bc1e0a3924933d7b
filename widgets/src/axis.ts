// Ticks of an axis of time or of row numbers, and lengths of time as people read them.

export interface Tick {
  /** Where it stands: nanoseconds since the origin, or a row number. */
  at: number;
  label: string;
}

export interface Axis {
  ticks: Tick[];
  /** What the axis shows, with its unit. */
  label: string;
}

const UNITS: [number, string][] = [
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
  [1, "ns"],
];

/** A length of time, three digits: "1.23 µs". */
export function duration(ns: number): string {
  for (const [factor, unit] of UNITS) {
    if (Math.abs(ns) >= factor * 0.9995 || unit === "ns") return `${Number((ns / factor).toPrecision(3))} ${unit}`;
  }
  return "0 ns";
}

/** The smallest of 1, 2, 5, 10, 20 … that is at least `least`; never below 1, because both axes count whole things. */
export function niceStep(least: number): number {
  if (!(least > 1)) return 1;
  const power = 10 ** Math.floor(Math.log10(least));
  for (const factor of [1, 2, 5, 10]) {
    if (factor * power >= least * (1 - 1e-12)) return factor * power;
  }
  return 10 * power;
}

/** Ticks for a stretch, at most about `most` of them. */
export function timeAxis(first: number, stop: number, most: number, zero = "the trace began"): Axis {
  const span = Math.max(stop - first, 1);
  const step = niceStep(span / Math.max(most, 1));
  const [unit, name] = UNITS.find(([factor]) => span >= 2 * factor) ?? UNITS[UNITS.length - 1]!;
  // In a short and late stretch the digits that differ would drown in those that do not.
  const base = Math.abs(first) < 20 * span ? 0 : Math.floor(first / (1000 * unit)) * 1000 * unit;
  const digits = Math.max(0, Math.round(Math.log10(unit)) - Math.floor(Math.log10(step) + 1e-9));
  const after = zero === "the trace began" ? `${seconds(base)} s` : `${seconds(base)} s since ${zero}`;
  const label = base === 0 ? `time since ${zero} (${name})` : `time after ${after} (${name})`;
  const ticks = places(first, stop, step).map((at) => ({ at, label: grouped(((at - base) / unit).toFixed(digits)) }));
  return { ticks, label };
}

/** Ticks at row numbers. */
export function rowAxis(first: number, stop: number, most: number): Axis {
  const step = niceStep((stop - first) / Math.max(most, 1));
  return { ticks: places(first, stop, step).map((at) => ({ at, label: grouped(`${at}`) })), label: "row number" };
}

function places(first: number, stop: number, step: number): number[] {
  const found: number[] = [];
  for (let n = Math.ceil(first / step); n * step <= stop && found.length < 1000; n++) found.push(n * step);
  return found;
}

/** Groups of three digits before the point. */
export function grouped(number: string): string {
  const [whole = "", rest] = number.split(".");
  const spaced = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return rest === undefined ? spaced : `${spaced}.${rest}`;
}

/** Nanoseconds in seconds, every digit that is not a zero at the end. */
export function seconds(ns: number): string {
  const whole = Math.trunc(ns / 1e9);
  const rest = Math.abs(ns - whole * 1e9).toFixed(0).padStart(9, "0").replace(/0+$/, "");
  return rest ? `${whole}.${rest}` : `${whole}`;
}
