import { expect, test } from "vitest";
import { duration, grouped, niceStep, rowAxis, seconds, timeAxis } from "../src/axis";

test("steps are 1, 2 or 5 times a power of ten, and whole", () => {
  expect([0.2, 1, 1.1, 3, 5, 7, 1200, 2e9].map(niceStep)).toEqual([1, 1, 2, 5, 5, 10, 2000, 2e9]);
});

test("ticks are in the unit that reads best", () => {
  expect(timeAxis(0, 4_200_000_000, 5)).toEqual({
    ticks: [0, 1, 2, 3, 4].map((n) => ({ at: n * 1e9, label: `${n}` })),
    label: "time since the trace began (s)",
  });
  expect(timeAxis(0, 900, 4).ticks.map((tick) => tick.label)).toEqual(["0", "500"]);
  expect(timeAxis(0, 900, 4).label).toContain("(ns)");
  expect(timeAxis(0, 3_000, 7).ticks.map((tick) => tick.label)).toEqual(["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"]);
});

test("in a short and late stretch the axis says after when, and no two labels are the same", () => {
  const axis = timeAxis(391_247_904, 391_302_047, 6);
  expect(axis.label).toBe("time after 0.391 s (µs)");
  expect(axis.ticks[0]).toEqual({ at: 391_250_000, label: "250" });
  expect(new Set(axis.ticks.map((tick) => tick.label)).size).toBe(axis.ticks.length);
});

test("ticks lie within the stretch and are not more than were asked for, give or take one", () => {
  for (let span = 7; span < 1e13; span *= 3.7) {
    for (const first of [0, 123_456, -5_000, 9e12]) {
      const { ticks } = timeAxis(first, first + span, 8);
      expect(ticks.length).toBeLessThanOrEqual(9);
      expect(ticks.every((tick) => tick.at >= first && tick.at <= first + span)).toBe(true);
      expect(new Set(ticks.map((tick) => tick.label)).size).toBe(ticks.length);
    }
  }
});

test("row numbers are whole and grouped", () => {
  expect(rowAxis(0, 10_000_000, 4).ticks.map((tick) => tick.label)).toEqual(["0", "5,000,000", "10,000,000"]);
  expect(rowAxis(7, 10, 100).ticks.map((tick) => tick.at)).toEqual([7, 8, 9, 10]);
});

test("lengths of time have three digits", () => {
  expect([0, 7, 999, 1234, 999_600, 66_600_000, 4e9].map(duration)).toEqual([
    "0 ns", "7 ns", "999 ns", "1.23 µs", "1 ms", "66.6 ms", "4 s",
  ]);
  expect(seconds(3_600_000_000_123)).toBe("3600.000000123");
  expect(grouped("-1234567.250")).toBe("-1,234,567.250");
});
