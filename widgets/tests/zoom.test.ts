import { expect, test } from "vitest";
import { clamped, fromPixel, isWhole, panned, SHORTEST, toPixel, wheelFactor, zoomed } from "../src/zoom";

const extent = { first: 0, stop: 1_000_000 };

test("zooming keeps what is under the pointer where it is", () => {
  const before = { first: 200_000, stop: 600_000 };
  for (const anchor of [0, 0.25, 1]) {
    const after = zoomed(before, 0.5, anchor, extent);
    expect(after.stop - after.first).toBe(200_000);
    expect(fromPixel(anchor * 800, after, 800)).toBeCloseTo(fromPixel(anchor * 800, before, 800), -1);
  }
});

test("a stretch is never shorter than ten, nor longer than all there is with its margins", () => {
  let stretch = { first: 100, stop: 200 };
  for (let n = 0; n < 20; n++) stretch = zoomed(stretch, 0.1, 0.5, extent);
  expect(stretch.stop - stretch.first).toBe(SHORTEST);
  for (let n = 0; n < 20; n++) stretch = zoomed(stretch, 10, 0.5, extent);
  expect(stretch).toEqual({ first: -20_000, stop: 1_020_000 });
  expect(isWhole(stretch, extent)).toBe(true);
});

test("panning ends at the trace's ends and keeps the length", () => {
  const end = panned({ first: 800_000, stop: 900_000 }, 9, extent);
  expect(end).toEqual({ first: 920_000, stop: 1_020_000 });
  expect(panned(end, -0.5, extent)).toEqual({ first: 870_000, stop: 970_000 });
});

test("a trace without rows has a stretch too", () => {
  const stretch = clamped({ first: 0, stop: 0 }, { first: 0, stop: 0 });
  expect(stretch.stop).toBeGreaterThan(stretch.first);
});

test("pixels and places are each other's inverse, at 64-bit lengths of time too", () => {
  const stretch = { first: 3_600_000_000_000, stop: 3_600_000_000_700 };
  expect(toPixel(3_600_000_000_350, stretch, 700)).toBe(350);
  expect(fromPixel(350, stretch, 700)).toBe(3_600_000_000_350);
});

test("a wheel's notch is the same in lines as in pixels, and a throw of it is no leap", () => {
  expect(wheelFactor(-3, 1)).toBeCloseTo(wheelFactor(-99, 0));
  expect(wheelFactor(100, 0)).toBeGreaterThan(1.15);
  expect(wheelFactor(1e6, 0)).toBeLessThan(2);
  expect(wheelFactor(100, 0) * wheelFactor(-100, 0)).toBeCloseTo(1);
});
